//! Claims: which worker may send the mail for an event, and whether one was sent already.
//!
//! A claim goes `lease -> sending -> done`. `sending` is written right before the relay is
//! contacted, so a claim found in that state means that a mail may have been sent. Each step is
//! fenced by owner and counter, so a worker that lost its lease cannot overwrite its successor.

use std::{
    borrow::Cow,
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use async_trait::async_trait;

use crate::{
    fault::Fault,
    ids::{EventId, UserId},
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
    /// How many events of one user may be claimed; `None` for any number.
    pub user_limit: Option<UserLimit>,
}

/// Most events of one user that are claimed within a period. The retries of an event do not count
/// again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserLimit {
    pub most: u32,
    pub period: Duration,
}

/// The right to work on one event until its term ends. Made only by a [`ClaimStore`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a lease is completed or released"]
pub struct Lease {
    event_id: EventId,
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
    pub fn event_id(&self) -> &EventId {
        &self.event_id
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
    use super::{EventId, History, Lease, Owner, Sending};

    /// The store has given this event to `owner`.
    pub fn lease(event_id: EventId, owner: Owner, fence: i64, history: History) -> Lease {
        Lease { event_id, owner, fence, history }
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
    /// It is new, and its user is at the limit. No claim was made, and nothing was counted.
    OverLimit,
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
    /// Claims an event of this user. Repeating the call with the same owner repeats the answer.
    /// Without a user there is no limit.
    async fn claim(
        &self,
        event_id: &EventId,
        user: Option<&UserId>,
        owner: Owner,
    ) -> Result<Claim, Fault>;

    /// Announces that the relay is about to be contacted. `None`: the lease is lost, send nothing.
    /// A failure gives the lease back; repeating the call is harmless, even if only the reply was
    /// lost.
    async fn sending(&self, lease: Lease) -> Result<Option<Sending>, (Lease, Fault)>;

    /// Records that the mail was sent. Never refused, whatever happened to the lease. `receipt` is
    /// the relay's queue id.
    async fn complete(&self, sending: &Sending, receipt: &str) -> Result<Completion, Fault>;

    /// Gives the event back: no mail was sent.
    async fn release(&self, lease: Lease) -> Result<(), Fault>;

    /// Gives the event back and records that the relay received the whole mail and did not answer.
    async fn doubt(&self, sending: Sending) -> Result<(), Fault>;

    /// `Err` with the reason while claims cannot be made.
    async fn ready(&self) -> Result<(), Cow<'static, str>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_differ_within_a_process_and_between_processes() {
        let (one, other) = (Owners::new(7), Owners::new(8));
        let owners =
            [one.next(), one.next(), other.next(), other.next()].map(|owner| owner.to_string());
        assert_eq!(
            owners,
            [
                "0000000000000007-1",
                "0000000000000007-2",
                "0000000000000008-1",
                "0000000000000008-2"
            ]
        );
    }
}
