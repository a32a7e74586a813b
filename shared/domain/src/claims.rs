//! Claims: which worker may send the mail for an event, and whether one was sent already.
//!
//! A claim goes `lease -> sending -> done`. `sending` is written right before the relay is
//! contacted, so a claim found in that state means that a mail may have been sent. Each step is
//! fenced by owner and counter, so a worker that lost its lease cannot overwrite its successor.

use std::{
    borrow::Cow,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use crate::{
    clock::milliseconds_before,
    event::QueuedEvent,
    fault::Fault,
    ids::{EventId, UserId},
};

mod given_back;
pub mod users;

pub use self::{
    given_back::{GivenBack, Next},
    users::Limit,
};

/// How long an unfinished claim is remembered after its lease ended: the fence and "a mail may have
/// been sent" must survive a crash for longer than any code works.
pub const UNFINISHED_KEPT: Duration = Duration::from_secs(3600);

/// Who claims. A new one for every handling of a delivery, so that repeating a call after a lost
/// reply is harmless, and two handlings in one process are two owners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    process: u64,
    handling: u64,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:x}", self.process, self.handling)
    }
}

/// Makes the owners of one process.
#[derive(Debug)]
pub struct Owners {
    process: u64,
    next: AtomicU64,
}

impl Owners {
    /// `process` is a random number that tells this process from its replicas.
    pub fn new(process: u64) -> Self {
        Self { process, next: AtomicU64::new(1) }
    }

    /// A new owner, unlike every other.
    pub fn next(&self) -> Owner {
        Owner { process: self.process, handling: self.next.fetch_add(1, Ordering::Relaxed) }
    }
}

/// How long each state of a claim lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// `lease`: must cover fetching the code and connecting to the relay.
    pub lease: Duration,
    /// `sending`: must cover the whole SMTP transaction.
    pub sending: Duration,
    /// `done`: how long it is remembered.
    pub done: Duration,
    /// How many events of one user may be claimed; `None` for any number. The retries of an event
    /// do not count again.
    pub user_limit: Option<Limit>,
    /// How many events of all users may be claimed; `None` for any number.
    pub mail_limit: Option<Limit>,
}

/// An event that a claim is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    pub event: Arc<QueuedEvent>,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Whether a newer event of its user goes first, as far as its worker knows: see
    /// [`Subject::gives_way_at`].
    pub gives_way: bool,
}

impl Subject {
    /// An event that gives way to newer ones, unless its code is about to expire.
    pub fn of(event: &Arc<QueuedEvent>, attempt: u32, now: Timestamp) -> Self {
        let left = event.expires_at.duration_since(now);
        let limit = SignedDuration::try_from(users::GIVES_WAY_UNTIL).unwrap_or_default();
        Self { event: Arc::clone(event), attempt, gives_way: left > limit }
    }

    /// Whether a newer event of its user goes first at this time of the store's, in milliseconds since
    /// 1970. Worker and store must agree: if one of their clocks is slow, the event would give way
    /// until its code has expired.
    pub fn gives_way_at(&self, now: i64) -> bool {
        let until = self.event.expires_at.as_millisecond();
        self.gives_way && now < milliseconds_before(until, users::GIVES_WAY_UNTIL)
    }

    /// The id that the claim is kept under.
    pub fn event_id(&self) -> &EventId {
        &self.event.event_id
    }

    /// Without a user, nothing is newer and nothing is limited.
    pub fn user(&self) -> Option<&UserId> {
        self.event.user_id.as_ref()
    }

    /// When it was created, in milliseconds since 1970.
    pub fn created(&self) -> i64 {
        self.event.created_at.as_millisecond()
    }
}

/// The right to work on one event until its term ends. Made only by a [`ClaimStore`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a lease is completed or released"]
pub struct Lease {
    subject: Subject,
    owner: Owner,
    fence: i64,
    history: History,
}

/// What happened to an event under earlier owners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct History {
    /// How many times the relay received the whole mail and did not answer.
    pub unanswered_sends: u32,
    /// Whether an owner crashed after it announced that it sends.
    pub crashed_sending: bool,
}

impl History {
    /// Whether a mail may have been sent that is not on record.
    pub fn may_have_sent(self) -> bool {
        self.unanswered_sends > 0 || self.crashed_sending
    }
}

impl Lease {
    /// The event that the claim is on.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The id of that event.
    pub fn event_id(&self) -> &EventId {
        self.subject.event_id()
    }

    /// The owner it was given to.
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// Its fencing counter: higher than that of every earlier owner's lease.
    pub fn fence(&self) -> i64 {
        self.fence
    }

    /// What the store knows of earlier owners.
    pub fn history(&self) -> History {
        self.history
    }
}

/// A lease whose store knows that the relay is about to be contacted. Made only by
/// [`ClaimStore::sending`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "completed when the mail was sent, doubted when that is unknown, turned back when it certainly was not"]
pub struct Sending(Lease);

impl Sending {
    /// The lease it came from.
    pub fn lease(&self) -> &Lease {
        &self.0
    }

    /// Back to a plain lease: the relay certainly did not accept the mail.
    pub fn nothing_was_sent(self) -> Lease {
        self.0
    }
}

/// Makes the stages of a claim. For adapters of [`ClaimStore`] only; a test of the repository keeps
/// everyone else out.
pub mod adapter {
    use super::{History, Lease, Owner, Sending, Subject};

    /// The store has given this event to `owner`.
    pub fn lease(subject: Subject, owner: Owner, fence: i64, history: History) -> Lease {
        Lease { subject, owner, fence, history }
    }

    /// The store has recorded that the relay is about to be contacted.
    pub fn sending(lease: Lease) -> Sending {
        Sending(lease)
    }
}

/// The answer to a claim.
#[derive(Debug, PartialEq, Eq)]
pub enum Claim {
    /// The event is ours to work on.
    Fresh(Lease),
    /// Another owner has it, for this long at most.
    Busy(Duration),
    /// Its mail was sent already.
    Done,
    /// A relay accepted the mail for a newer event of its user.
    Superseded,
    /// A newer event of its user goes first. No claim was made.
    GivesWay,
    /// It is new, and its user is at the limit. No claim was made, and nothing was counted.
    OverLimit,
    /// It is new, and all users together are at the limit, for this long. No claim was made.
    Held(Duration),
}

/// The answer to an announcement that the relay is about to be contacted.
#[derive(Debug, PartialEq, Eq)]
pub enum Announced {
    Sending(Sending),
    /// The lease has ended: send nothing.
    Lost,
    /// A relay has accepted the mail for a newer event of the user meanwhile: send nothing.
    Superseded,
}

impl Announced {
    /// What may be sent now, if anything.
    pub fn sending(self) -> Option<Sending> {
        match self {
            Self::Sending(sending) => Some(sending),
            Self::Lost | Self::Superseded => None,
        }
    }
}

/// The result of a completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completion {
    /// Recorded while our lease was valid.
    Recorded,
    /// Recorded, but the lease had passed to another worker, which may have sent a mail as well.
    Late,
    /// Another worker had completed it: two mails were sent.
    Already,
}

/// A store of claims, shared by all workers.
#[async_trait]
pub trait ClaimStore: Send + Sync {
    /// Claims an event. Repeating the call with the same owner repeats the answer.
    async fn claim(&self, subject: &Subject, owner: Owner) -> Result<Claim, Fault>;

    /// Announces that the relay is about to be contacted. A failure gives the lease back; repeating
    /// the call is harmless, even if only the reply was lost.
    async fn sending(&self, lease: Lease) -> Result<Announced, (Lease, Fault)>;

    /// Records that the mail was sent. Never refused, whatever happened to the lease. `receipt` is
    /// the relay's queue id.
    async fn complete(&self, sending: &Sending, receipt: &str) -> Result<Completion, Fault>;

    /// Gives the event back: no mail was sent, and that is what follows.
    async fn release(&self, lease: Lease, then: &GivenBack) -> Result<(), Fault>;

    /// Gives the event back and records that the relay received the whole mail and did not answer.
    async fn doubt(&self, sending: Sending, then: &GivenBack) -> Result<(), Fault>;

    /// An event will not be mailed: older ones of its user give way to it no longer.
    async fn withdraw(&self, subject: &Subject) -> Result<(), Fault>;

    /// `Err` with the reason while claims cannot be made.
    async fn ready(&self) -> Result<(), Cow<'static, str>>;
}

#[cfg(test)]
mod tests;
