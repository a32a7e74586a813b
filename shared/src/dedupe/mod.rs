//! Claims: which worker may mail for an event, and whether somebody already has.
//!
//! A claim walks `lease -> sending -> done`. `sending` is written right before the relay is told anything, so a claim
//! found in that state says: a mail may already be out. Each step is fenced by owner and counter, so a worker that lost
//! its lease cannot write over its successor. Adapters: [`embedded`] and [`redis`]; [`outage`] wraps either.
//! [`once`] is the same in its simplest form: a word that can be spent one time.

pub mod embedded;
pub mod once;
pub mod outage;
pub mod records;
pub mod redis;
pub mod redis_link;

use std::{borrow::Cow, time::Duration};

use async_trait::async_trait;
use ulid::Ulid;

use crate::{fault::Fault, ids::EventId};

/// How long a claim in progress is remembered after its lease ran out: the fence and "a mail may be out" must survive
/// a crash for longer than any code lives.
pub(crate) const UNFINISHED_KEPT: Duration = Duration::from_secs(3600);

/// Who claims. Made afresh for every handling of a delivery, so that asking again after a lost reply is harmless and
/// two handlings in one process are still two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner(Ulid);

impl Owner {
    /// A new one, unlike every other.
    pub fn fresh() -> Self {
        Self(Ulid::generate())
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// How long things last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// From the claim to the relay's connection: must cover fetching the code.
    pub lease: Duration,
    /// From `sending` on: must cover the whole SMTP transaction.
    pub sending: Duration,
    /// How long "done" is remembered.
    pub done: Duration,
}

/// The right to work on one event, until its term ends. Made only by a [`DedupeStore`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a lease is completed or released"]
pub struct Lease {
    pub(crate) event_id: EventId,
    pub(crate) owner: Owner,
    pub(crate) fence: i64,
    past: Past,
}

/// What happened to an event under earlier owners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Past {
    /// How often the relay had the whole mail and did not answer.
    pub silences: u32,
    /// Whether an owner died after it had announced that it sends.
    pub died_sending: bool,
}

impl Past {
    /// Whether a mail may be out that nobody knows of.
    pub fn may_be_out(self) -> bool {
        self.silences > 0 || self.died_sending
    }
}

impl Lease {
    pub(crate) fn new(event_id: EventId, owner: Owner, fence: i64, past: Past) -> Self {
        Self { event_id, owner, fence, past }
    }

    /// What the store knows of earlier owners.
    pub fn past(&self) -> Past {
        self.past
    }
}

/// A lease whose store knows that the relay is about to be spoken to. Made only by [`DedupeStore::sending`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "completed when the mail is out, doubted when nobody knows, turned back when it is certainly not"]
pub struct Sending(pub(crate) Lease);

impl Sending {
    /// Back to a plain lease: the relay certainly did not take the mail.
    pub fn nothing_was_sent(self) -> Lease {
        self.0
    }
}

/// The answer to a claim.
#[derive(Debug, PartialEq, Eq)]
pub enum Claim {
    /// Ours.
    Fresh(Lease),
    /// Somebody else's, for this long at most.
    Busy(Duration),
    /// Mailed already.
    Done,
}

/// What became of a completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completion {
    /// Recorded.
    Recorded,
    /// Recorded, but the lease had passed on meanwhile: another worker may have mailed as well.
    Late,
    /// Another worker had completed it: two mails are out.
    Already,
}

/// Where claims are kept.
#[async_trait]
pub trait DedupeStore: Send + Sync {
    /// Asks for an event. Repeating it with the same owner repeats the answer.
    async fn claim(&self, event_id: &EventId, owner: Owner) -> Result<Claim, Fault>;

    /// Announces that the relay is about to be spoken to. `None`: the lease is lost, send nothing. After a failure the
    /// lease comes back; asking again is harmless, even if only the reply was lost.
    async fn sending(&self, lease: Lease) -> Result<Option<Sending>, (Lease, Fault)>;

    /// The mail is out. Never refused, whatever happened to the lease. `receipt` is the relay's queue id.
    async fn complete(&self, sending: &Sending, receipt: &str) -> Result<Completion, Fault>;

    /// Gives the event back: no mail is out.
    async fn release(&self, lease: Lease) -> Result<(), Fault>;

    /// Gives the event back with the mark that the relay had the whole mail and did not answer.
    async fn doubt(&self, sending: Sending) -> Result<(), Fault>;

    /// `Err` with the reason while claims cannot be made.
    async fn ready(&self) -> Result<(), Cow<'static, str>>;
}
