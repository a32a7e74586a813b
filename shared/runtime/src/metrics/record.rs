//! Records what happens: one method for each kind of occurrence, with typed labels.

use std::time::Duration;

use domain::{fault::Reason, queue::Depths};
use jiff::{SignedDuration, Timestamp};

use super::{
    Metrics, RelayMetrics,
    labels::{
        ClaimResult, ClaimStep, ConnectionName, Ending, HttpClosed, Part, Reconciled, Success,
        Webhook, WorkosResult,
    },
};
use crate::http::{Closed, ConnectionEvent};

impl Metrics {
    /// Counts one answered webhook request, which took `took`.
    pub fn webhook(&self, result: Webhook, took: Duration) {
        self.webhooks.with_label_values(&[result.label()]).inc();
        // How slowly a client sends its body says nothing about this service.
        if !matches!(result, Webhook::Incomplete | Webhook::TooLarge) {
            self.webhook_seconds.observe(took.as_secs_f64());
        }
    }

    /// Counts a connection that opened or closed on the public listener.
    pub fn http_connection(&self, event: ConnectionEvent) {
        let why = match event {
            ConnectionEvent::Opened => return self.http_connections.inc(),
            ConnectionEvent::Closed(Closed::Finished) => HttpClosed::Finished,
            ConnectionEvent::Closed(Closed::Idle) => HttpClosed::Idle,
            ConnectionEvent::Closed(Closed::Slow) => HttpClosed::Slow,
            ConnectionEvent::Closed(Closed::Unread) => HttpClosed::Unread,
            ConnectionEvent::Closed(Closed::Crowded) => HttpClosed::Crowded,
        };
        self.http_connections.dec();
        self.http_closed.with_label_values(&[why.label()]).inc();
    }

    /// Counts one request with `X-Forwarded-For` from an address that is no trusted proxy.
    pub fn untrusted_forwarded(&self) {
        self.untrusted_forwarded.inc();
    }

    /// Counts one publish, confirmed or failed after `took`.
    pub fn published(&self, result: Success, took: Duration) {
        self.publish_seconds.with_label_values(&[result.label()]).observe(took.as_secs_f64());
    }

    /// Counts one message taken from the queue, after waiting there for `age` if that is known.
    pub fn delivery(&self, age: Option<Duration>) {
        self.deliveries.inc();
        if let Some(age) = age {
            self.queue_age_seconds.observe(age.as_secs_f64());
        }
    }

    /// Counts one settled delivery. `attempt` is counted when the outcome is final.
    pub fn outcome(&self, ending: Ending, reason: Reason, attempt: u32) {
        self.outcomes.with_label_values(&[ending.label(), reason.label()]).inc();
        if ending != Ending::Retry {
            self.attempts.observe(f64::from(attempt));
        }
    }

    /// Counts one retry that was scheduled.
    pub fn retry(&self, stage: domain::retry::Stage) {
        self.retries.with_label_values(&[stage.label()]).inc();
    }

    /// Counts one mail accepted by the relay at `now`, for an event of `created_at`.
    pub fn sent(&self, created_at: Timestamp, now: Timestamp) {
        self.last_sent.set(now.as_second());
        self.delivery_seconds.observe(self.age(created_at, now).as_secs_f64());
    }

    /// `now - then`, or zero and a count when that is negative.
    pub fn age(&self, then: Timestamp, now: Timestamp) -> Duration {
        Duration::try_from(now.duration_since(then)).unwrap_or_else(|_| {
            self.clock_skew.inc();
            Duration::ZERO
        })
    }

    /// Sets how far WorkOS's clock is ahead of this machine's.
    pub fn clock_offset(&self, ahead: SignedDuration) {
        self.clock_offset.set(ahead.as_secs_f64());
    }

    /// Records that processing of a delivery began (`true`) or ended.
    pub fn in_flight(&self, begun: bool) {
        if begun { self.in_flight.inc() } else { self.in_flight.dec() }
    }

    /// Counts one answer of the claim store.
    pub fn claim(&self, result: ClaimResult) {
        self.claims.with_label_values(&[result.label()]).inc();
    }

    /// How many such answers there were.
    pub fn claims(&self, result: ClaimResult) -> u64 {
        self.claims.with_label_values(&[result.label()]).get()
    }

    /// Shows the limit on the mails to all users.
    pub fn mail_limit(&self, mails_per_hour: i64) {
        self.mail_limit.set(mails_per_hour);
    }

    /// Counts one call of the claim store.
    pub fn dedupe(&self, step: ClaimStep, result: Success, took: Duration) {
        self.dedupe_seconds
            .with_label_values(&[step.label(), result.label()])
            .observe(took.as_secs_f64());
    }

    /// Counts one read from WorkOS's API.
    pub fn workos(&self, result: WorkosResult, took: Duration) {
        self.workos_seconds.with_label_values(&[result.label()]).observe(took.as_secs_f64());
    }

    /// Takes back the states of all relays: other ones are about to be used.
    pub fn forget_relays(&self) {
        self.relays.forget();
    }

    /// The metrics of the relay with this name. Names must come from the configuration: each one is
    /// a label.
    pub fn relay(&self, name: &str) -> RelayMetrics {
        RelayMetrics::new(&self.relays, name)
    }

    /// Counts one outcome that could not be settled at the queue.
    pub fn settle_failed(&self) {
        self.settle_failures.inc();
    }

    /// Counts accepted events whose record was not made by the ingress.
    pub fn records_dropped(&self, events: usize) {
        self.records_dropped.inc_by(u64::try_from(events).unwrap_or(u64::MAX));
    }

    /// Counts dead letters that were deleted because there were too many.
    pub fn dead_letters_dropped(&self, count: u64) {
        self.dead_letters_dropped.inc_by(count);
    }

    /// How many dead letters the engine last reported.
    pub fn dead_letters(&self) -> u64 {
        let depth = self.queue_depth.with_label_values(&[Part::Dead.label()]).get();
        u64::try_from(depth).unwrap_or(0)
    }

    /// Sets the depths, as the engine reports them.
    pub fn depths(&self, depths: Depths) {
        for (part, depth) in
            [(Part::Work, depths.work), (Part::Retry, depths.retry), (Part::Dead, depths.dead)]
        {
            self.queue_depth
                .with_label_values(&[part.label()])
                .set(i64::try_from(depth).unwrap_or(i64::MAX));
        }
    }

    /// Records that a connection to the broker came up for the `generation`th time, or went down.
    pub fn connection(&self, name: ConnectionName, up: bool, generation: u64) {
        self.connected.with_label_values(&[name.label()]).set(i64::from(up));
        if up && generation > 1 {
            self.reconnects.with_label_values(&[name.label()]).inc();
        }
    }

    /// Counts one event in WorkOS's list.
    pub fn reconciled(&self, result: Reconciled) {
        self.reconciled.with_label_values(&[result.label()]).inc();
    }

    /// Sets whether the broker blocks publishing.
    pub fn blocked(&self, blocked: bool) {
        self.blocked.set(i64::from(blocked));
    }

    /// Sets whether events stay in the queue because our configuration is refused.
    pub fn paused(&self, paused: bool) {
        self.paused.set(i64::from(paused));
    }
}
