//! Finds the events that the webhooks missed: lists WorkOS's recent events every 30 s, and queues
//! those that are unknown here while their codes work. From there on they are events like every
//! other.
//!
//! Replicas share the work: each round is a nonce, and the replica that consumes it does the round.

use std::{sync::Arc, time::Duration};

use domain::{
    clock::Clock,
    event::QueuedEvent,
    event_log::EventLog,
    fault::Fault,
    nonces::NonceStore,
    queue::Publish,
    records::{Progress, RecordKey, Records},
    retry::starts_in_time,
};
use jiff::SignedDuration;
use runtime::{
    metrics::{Metrics, labels::Reconciled},
    trace,
};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

const PERIOD: Duration = Duration::from_secs(30);

/// Time between two checks whether the queue accepts events.
const POLL: Duration = Duration::from_millis(500);

/// How far back a round looks: a code's lifetime.
const LOOK_BACK: SignedDuration = SignedDuration::from_mins(10);

/// How long a webhook may take to arrive before it counts as missed.
const GRACE: SignedDuration = SignedDuration::from_secs(15);

/// How long it is remembered that an event was queued: while it waits, no worker has seen it.
const QUEUED_KEPT: Duration = Duration::from_secs(20 * 60);

/// Finds and queues missed events.
pub struct Reconciler {
    pub events: Arc<dyn EventLog>,
    /// The records of events that were worked on.
    pub records: Arc<dyn Records>,
    /// The rounds that were done, and the events that were queued.
    pub nonces: Arc<dyn NonceStore>,
    /// The queue for missed events.
    pub publish: Arc<dyn Publish>,
    /// The time of day at WorkOS.
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
}

/// The numbers of one round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Found {
    pub queued: u64,
    pub known: u64,
    /// Events that are too recent to count as missed, or whose codes have expired.
    pub skipped: u64,
}

impl Reconciler {
    /// Does a round every 30 s, unless another replica does it, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut due = interval(PERIOD);
        loop {
            tokio::select! {
                _ = due.tick() => {}
                () = stop.cancelled() => return,
            }
            // A round is not wasted on a queue that accepts nothing.
            tokio::select! {
                () = self.queue_is_ready() => {}
                () = stop.cancelled() => return,
            }
            match self.run_in_turn().await {
                Ok(Some(Found { queued, .. })) if queued > 0 => {
                    tracing::warn!(queued, "queued events that no webhook delivered");
                }
                Ok(_) => {}
                Err(fault) => {
                    tracing::warn!(%fault, "cannot check for events that the webhooks missed");
                }
            }
        }
    }

    async fn queue_is_ready(&self) {
        let mut looks = interval(POLL);
        while self.publish.ready().is_err() {
            looks.tick().await;
        }
    }

    /// `None` when another replica does this round.
    async fn run_in_turn(&self) -> Result<Option<Found>, Fault> {
        let round = self.clock.now().as_second() / i64::try_from(PERIOD.as_secs()).unwrap_or(1);
        if !self.nonces.consume(&format!("reconcile:{round}"), 2 * PERIOD).await? {
            return Ok(None);
        }
        self.run_once().await.map(Some)
    }

    /// Does one round, and returns what it found.
    pub async fn run_once(&self) -> Result<Found, Fault> {
        let now = self.clock.now();
        let from = now.saturating_sub(LOOK_BACK).unwrap_or(now);
        let mut found = Found::default();
        for event in self.events.since(from, now).await? {
            let result = self.queue_if_missed(&event).await?;
            self.metrics.reconciled(result);
            match result {
                Reconciled::Fed => found.queued += 1,
                Reconciled::Known => found.known += 1,
                Reconciled::Left => found.skipped += 1,
            }
        }
        Ok(found)
    }

    async fn queue_if_missed(&self, event: &QueuedEvent) -> Result<Reconciled, Fault> {
        let now = self.clock.now();
        let recent = now.duration_since(event.created_at) < GRACE;
        if recent || !starts_in_time(now, Duration::ZERO, event.expires_at) {
            return Ok(Reconciled::Left);
        }
        let fed = format!("fed:{}", event.event_id);
        let records = self.records.find(&RecordKey::Event(event.event_id.clone())).await?;
        // One that was accepted and that no worker has seen may be lost with its queue.
        let is_worked_on = records.iter().any(|record| record.progress != Progress::Accepted);
        if is_worked_on || self.nonces.is_consumed(&fed).await? {
            return Ok(Reconciled::Known);
        }
        // Marked only once it is queued: what fails here is queued by the next round.
        trace::publish_traced(self.publish.as_ref(), &mut event.clone()).await?;
        self.nonces.consume(&fed, QUEUED_KEPT).await?;
        tracing::info!(
            event_id = %event.event_id, magic_auth_id = %event.object_id,
            "queued an event that no webhook delivered"
        );
        Ok(Reconciled::Fed)
    }
}
