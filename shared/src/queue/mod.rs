//! The durable queue between the two roles, as two ports: [`Publish`] for the front, [`Consume`] for the back.
//!
//! Adapters: [`embedded`] (one SQLite file, one machine) and [`rabbitmq`] (replicas). Both run the same contract suite.

pub mod dead;
pub mod embedded;
pub mod rabbitmq;
pub mod search;

use std::{borrow::Cow, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{
    event::{QueuedEvent, Undecodable},
    fault::{Fault, Reason},
    retry::Stage,
    trace,
};

/// How long an event stands in line as a fresh one. Longer, and newer ones are taken first: when more codes come than can
/// be mailed, those that people are still waiting for go out, instead of every code a moment before it dies
/// (docs/adr/0003).
pub const FRESH_FOR: Duration = Duration::from_secs(20);

/// Every so many turns a late one is taken although there are fresh ones: what a rush has pushed aside is looked at before
/// it ends, and what was fetched ahead is not held for ever.
pub(crate) const LATE_TURN: usize = 8;

/// The front's side: put one event where a crash cannot lose it.
#[async_trait]
pub trait Publish: Send + Sync {
    /// Returns once the event is stored durably (fsync, or the broker's confirm), never before. Takes at most a few
    /// seconds. Dropping the future leaves it open whether the event was stored; the sender retries, and the claim
    /// makes a second copy harmless.
    async fn publish(&self, event: &QueuedEvent) -> Result<(), Fault>;

    /// `Err` with the reason while publishing cannot work.
    fn ready(&self) -> Result<(), Cow<'static, str>>;

    /// What kind of queue it is, for a trace (OpenTelemetry's `messaging.system`).
    fn system(&self) -> &'static str;
}

/// Publishes an event as a step of the trace we are in; whoever takes it goes on from there.
pub async fn hand_on(queue: &dyn Publish, event: &mut QueuedEvent) -> Result<(), Fault> {
    let span = trace::publish(queue.system(), &event.event_id);
    // Without a trace of ours, the sender's passes through.
    if let Some(ours) = trace::traceparent(&span) {
        event.traceparent = Some(ours);
    }
    trace::within(&span, queue.publish(event)).await
}

/// The back's side: one delivery at a time, each to be settled.
#[async_trait]
pub trait Consume: Send {
    /// The next delivery. Waits for one as long as it takes, through outages too, and may be dropped at any await
    /// without losing a message.
    async fn next(&mut self) -> Delivery;

    /// Before a stop: takes no more, and gives back what was fetched ahead and not handed out, so that another replica
    /// has it now and not when this process has finished what it works on.
    async fn give_back(&mut self);

    /// See [`Publish::system`].
    fn system(&self) -> &'static str;
}

/// What waits where. For the account `accepted = sent + duplicate + expired + dead + waiting`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depths {
    /// Ready to be taken, fresh and late, or taken and not yet settled where the engine can tell.
    pub work: u64,
    /// Resting before a retry.
    pub retry: u64,
    /// Dead letters.
    pub dead: u64,
}

/// Looks at a queue without touching it.
#[async_trait]
pub trait Inspect: Send + Sync {
    /// Current depths.
    async fn depths(&self) -> Result<Depths, Fault>;

    /// `Err` with the reason while the queue cannot be consumed.
    fn ready(&self) -> Result<(), Cow<'static, str>>;
}

/// One message in our hands. Settling consumes it; dropping it unsettled leaves it with the queue, which hands it out
/// again (RabbitMQ when the channel closes, the embedded engine at the next start).
pub struct Delivery {
    /// The event, or why it is none.
    pub event: Result<QueuedEvent, Undecodable>,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// When this copy was put into the queue, if it says so.
    pub queued_at: Option<Timestamp>,
    /// How it is settled.
    pub receipt: Box<dyn Receipt>,
}

/// What the queue must do with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Forget it.
    Done,
    /// Hand it out again after `stage`, as attempt number `attempt`.
    Retry {
        /// The rest before it.
        stage: Stage,
        /// What the next delivery will say.
        attempt: u32,
        /// Why, for whoever looks into the queue.
        reason: Reason,
    },
    /// Keep it as a dead letter.
    Bury {
        /// Why.
        reason: Reason,
        /// One clause more.
        detail: Cow<'static, str>,
    },
}

/// The queue's end of one delivery.
#[async_trait]
pub trait Receipt: Send {
    /// Carries out the verdict. `Err` means that the message will be handed out again.
    async fn settle(self: Box<Self>, verdict: Verdict) -> Result<(), Fault>;
}

impl Delivery {
    /// See [`Receipt::settle`].
    pub async fn settle(self, verdict: Verdict) -> Result<(), Fault> {
        self.receipt.settle(verdict).await
    }
}
