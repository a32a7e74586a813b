//! The durable queue between the roles, as ports: [`Publish`] for the ingress, [`Consume`] for the
//! worker, [`Inspect`] for health checks and metrics. Every adapter runs the same contract suite.

pub mod dead_letters;

use std::{borrow::Cow, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{
    event::{QueuedEvent, Undecodable},
    fault::{Fault, Reason},
    retry::Stage,
};

/// How long an event counts as fresh. Fresh events are taken before late ones: when more codes
/// arrive than can be mailed, those that people still wait for are sent, instead of every code a
/// moment before it expires (docs/adr/0003).
pub const FRESH_FOR: Duration = Duration::from_secs(20);

/// Every this many turns a late event is taken although fresh ones wait, so that none starves
/// during a rush.
pub const LATE_TURN: usize = 8;

/// The ingress's side: stores an event where a crash cannot lose it.
#[async_trait]
pub trait Publish: Send + Sync {
    /// Returns once the event is stored durably (fsync, or the broker's confirm), never before.
    /// Takes at most a few seconds. Dropping the future leaves open whether the event was stored;
    /// the sender retries, and the claim makes a second copy harmless.
    async fn publish(&self, event: &QueuedEvent) -> Result<(), Fault>;

    /// `Err` with the reason while publishing cannot work.
    fn ready(&self) -> Result<(), Cow<'static, str>>;

    /// OpenTelemetry's `messaging.system`: `sqlite` or `rabbitmq`.
    fn system(&self) -> &'static str;
}

/// The worker's side: one delivery at a time, each to be settled.
#[async_trait]
pub trait Consume: Send {
    /// Waits for the next delivery as long as it takes, including during outages. May be dropped at
    /// any await without losing a message.
    async fn next(&mut self) -> Delivery;

    /// Stops taking, and returns what was fetched ahead and not handed out, so that another replica
    /// gets it now rather than when this process has finished its own work.
    async fn give_back(&mut self);

    /// The value of `messaging.system`, see [`Publish::system`].
    fn system(&self) -> &'static str;
}

/// How much an engine keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Most events that may wait before publishing is refused.
    pub events: u64,
    /// Most dead letters; beyond it the oldest are deleted.
    pub dead_letters: u64,
}

impl Default for Capacity {
    fn default() -> Self {
        Self { events: 200_000, dead_letters: 100_000 }
    }
}

/// How many messages wait in which part of the queue. For the equation `accepted = sent + duplicate
/// + expired + dead + waiting`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depths {
    /// Ready to be taken, fresh and late; or taken and not settled yet, where the engine can tell.
    pub work: u64,
    /// Messages that wait for a retry.
    pub retry: u64,
    pub dead: u64,
}

/// Reads the state of a queue without changing it.
#[async_trait]
pub trait Inspect: Send + Sync {
    /// The current depths, without changing anything.
    async fn depths(&self) -> Result<Depths, Fault>;

    /// `Err` with the reason while the queue cannot be consumed.
    fn ready(&self) -> Result<(), Cow<'static, str>>;
}

/// One message that a worker holds. Settling consumes it; if it is dropped unsettled, the queue
/// delivers it again (RabbitMQ when the channel closes, the embedded engine at the next start).
pub struct Delivery {
    /// The event, or why the message cannot be read as one.
    pub event: Result<QueuedEvent, Undecodable>,
    /// Number of this attempt, from 1.
    pub attempt: u32,
    /// When this copy was queued, if the message says so.
    pub queued_at: Option<Timestamp>,
    /// Settles the message at its queue.
    pub receipt: Box<dyn Receipt>,
}

/// What the queue must do with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Delete the message: it is finished.
    Done,
    /// Deliver it again after `stage`, as attempt number `attempt`.
    Retry {
        /// The delay before that attempt.
        stage: Stage,
        /// The number of that attempt.
        attempt: u32,
        /// Why, for whoever inspects the queue.
        reason: Reason,
    },
    /// Keep it as a dead letter.
    DeadLetter {
        /// Why, as a metric label.
        reason: Reason,
        /// Why, in one clause without private data.
        detail: Cow<'static, str>,
    },
}

/// The queue's end of one delivery.
#[async_trait]
pub trait Receipt: Send {
    /// Carries out the verdict. `Err` means that the message will be delivered again.
    async fn settle(self: Box<Self>, verdict: Verdict) -> Result<(), Fault>;
}

impl Delivery {
    /// Settles the delivery, see [`Receipt::settle`].
    pub async fn settle(self, verdict: Verdict) -> Result<(), Fault> {
        self.receipt.settle(verdict).await
    }
}
