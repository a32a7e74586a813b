//! Looking after what the webhooks should have brought: asks WorkOS now and then what happened, and puts into the queue
//! what nobody here has heard of, while its code lives. From there on it is an event like every other.
//!
//! Replicas share the work: each look is spent like the state of a sign-in, so that one of them makes it.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use shared::{
    clock::Clock,
    dedupe::{once::Once, records::Records},
    event::QueuedEvent,
    fault::Fault,
    metrics::{Metrics, labels::Reconciled},
    queue::{self, Publish},
    workos::events::Events,
};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

/// Time between two looks.
const LOOK: Duration = Duration::from_secs(30);

/// Time between two questions whether the queue takes events.
const READY: Duration = Duration::from_millis(500);

/// How far back a look goes: as long as a code lives.
const BACK: SignedDuration = SignedDuration::from_mins(10);

/// How long a webhook may take to arrive before it counts as missed.
const GRACE: SignedDuration = SignedDuration::from_secs(15);

/// An event is fed one time: if it waits in the queue, nothing is on record of it yet.
const FED_KEPT: Duration = Duration::from_secs(20 * 60);

/// What a look uses.
pub struct Reconciler {
    /// What happened.
    pub events: Arc<dyn Events>,
    /// What is known here.
    pub records: Arc<dyn Records>,
    /// Who looks, and what was fed.
    pub once: Arc<dyn Once>,
    /// Where it goes.
    pub publish: Arc<dyn Publish>,
    /// The time, as WorkOS has it.
    pub clock: Arc<dyn Clock>,
    /// Where it is counted.
    pub metrics: Arc<Metrics>,
}

/// What a look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Found {
    /// Put into the queue.
    pub fed: u64,
    /// Heard of already.
    pub known: u64,
    /// Too young to be missed, or past their codes' lives.
    pub left: u64,
}

impl Reconciler {
    /// Looks every 30 s, unless another replica does, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut due = interval(LOOK);
        loop {
            tokio::select! {
                _ = due.tick() => {}
                () = stop.cancelled() => return,
            }
            // A turn is not spent on a queue that takes nothing.
            tokio::select! {
                () = self.queue_takes_events() => {}
                () = stop.cancelled() => return,
            }
            match self.in_turn().await {
                Ok(Some(Found { fed, .. })) if fed > 0 => tracing::warn!(fed, "webhooks had not brought these events"),
                Ok(_) => {}
                Err(fault) => tracing::warn!(%fault, "what the webhooks missed could not be looked for"),
            }
        }
    }

    async fn queue_takes_events(&self) {
        let mut looks = interval(READY);
        while self.publish.ready().is_err() {
            looks.tick().await;
        }
    }

    /// `None` when another replica has this turn.
    async fn in_turn(&self) -> Result<Option<Found>, Fault> {
        let turn = self.clock.now().as_second() / i64::try_from(LOOK.as_secs()).unwrap_or(1);
        if !self.once.spend(&format!("reconcile:{turn}"), 2 * LOOK).await? {
            return Ok(None);
        }
        self.look().await.map(Some)
    }

    /// One look.
    pub async fn look(&self) -> Result<Found, Fault> {
        let now = self.clock.now();
        let from = now.saturating_sub(BACK).unwrap_or(now);
        let mut found = Found::default();
        for event in self.events.since(from, now).await? {
            let became = self.consider(&event).await?;
            self.metrics.reconciled(became);
            match became {
                Reconciled::Fed => found.fed += 1,
                Reconciled::Known => found.known += 1,
                Reconciled::Left => found.left += 1,
            }
        }
        Ok(found)
    }

    async fn consider(&self, event: &QueuedEvent) -> Result<Reconciled, Fault> {
        let now = self.clock.now();
        let young = now.duration_since(event.created_at) < GRACE;
        if young || !shared::retry::starts_in_time(now, Duration::ZERO, event.expires_at) {
            return Ok(Reconciled::Left);
        }
        let fed = format!("fed:{}", event.event_id);
        if self.records.find(&event.event_id).await?.is_some() || self.once.is_spent(&fed).await? {
            return Ok(Reconciled::Known);
        }
        // Only what is in the queue has been fed: what fails here is fed by the next look.
        queue::hand_on(self.publish.as_ref(), &mut event.clone()).await?;
        self.once.spend(&fed, FED_KEPT).await?;
        tracing::info!(event_id = %event.event_id, magic_auth_id = %event.object_id, "fed");
        Ok(Reconciled::Fed)
    }
}
