//! The record of an event: what became of it, kept beside its claim for operators who ask. It holds
//! identifiers, times and reasons; no address and no code.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{
    claims::History,
    event::{EventKind, QueuedEvent},
    fault::Fault,
    ids::{EventId, MagicAuthId, UserId},
};

/// How long the record of an event is kept that no worker has finished.
pub const KEPT: Duration = Duration::from_secs(3 * 24 * 3600);

/// How long the record of a dead letter is kept: as long as the letter.
pub const DEAD_KEPT: Duration = Duration::from_secs(14 * 24 * 3600);

/// The record of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub event_id: EventId,
    /// What the event says about itself; `None` in a record of an earlier release.
    pub facts: Option<Facts>,
    /// How far it has come.
    pub progress: Progress,
    /// Number of the attempt that was begun last; 0 if there was none.
    pub attempt: u32,
    /// Why the last attempt that failed did so: the label of a [`crate::fault::Reason`], and perhaps more.
    pub failure: Option<String>,
    /// What happened to it under earlier owners.
    pub history: History,
}

/// What an event says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub kind: EventKind,
    pub object_id: MagicAuthId,
    pub user_id: Option<UserId>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    /// When it was stored here, or, if only a worker knows of it, when its webhook arrived.
    pub accepted_at: Timestamp,
    /// Id of its trace (W3C trace context), if it has one.
    pub trace_id: Option<String>,
}

impl Facts {
    /// What `event` says, which was accepted at that time.
    pub fn of(event: &QueuedEvent, accepted_at: Timestamp) -> Self {
        Self {
            kind: event.kind,
            object_id: event.object_id.clone(),
            user_id: event.user_id.clone(),
            created_at: event.created_at,
            expires_at: event.expires_at,
            accepted_at,
            trace_id: event.trace_id().map(str::to_owned),
        }
    }
}

/// How far an event has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It is stored, and no worker has tried it.
    Accepted,
    /// A worker has claimed it and has not contacted the relay yet.
    Leased,
    /// A worker is sending the mail, or crashed while it did.
    Sending,
    /// It waits for another attempt.
    Waiting {
        /// When that is due, if it is known.
        next_at: Option<Timestamp>,
    },
    /// The relay accepted the mail.
    Sent {
        /// The relay's queue id, and the name of the relay.
        receipt: String,
        /// When it did, by the clock of the store.
        at: Option<Timestamp>,
    },
    /// A relay accepted the mail for a newer event of the user.
    Superseded,
    /// Its code expired before the mail could be sent.
    Expired,
    /// It is a dead letter.
    Dead,
}

impl Progress {
    /// The word for it in output that programs read.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Leased | Self::Sending => "working",
            Self::Waiting { .. } => "waiting",
            Self::Sent { .. } => "sent",
            Self::Superseded => "superseded",
            Self::Expired => "expired",
            Self::Dead => "dead",
        }
    }
}

/// What records are looked for by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordKey {
    Event(EventId),
    Object(MagicAuthId),
    User(UserId),
}

/// The records of events. Reading one changes nothing.
#[async_trait]
pub trait Records: Send + Sync {
    /// The records with this key, the event that was created first at the front.
    async fn find(&self, key: &RecordKey) -> Result<Vec<Record>, Fault>;

    /// Exempts an event that was never claimed from the limit on its user, for as long as a code may
    /// live.
    async fn lift_limit(&self, event_id: &EventId) -> Result<(), Fault>;

    /// Clears the doubt whether a mail was sent, so that the event is mailed when it is next
    /// delivered. A mail that was certainly sent stays on record.
    async fn clear_doubt(&self, event_id: &EventId) -> Result<(), Fault>;

    /// These events are dead letters no longer: they wait in the queue again.
    async fn redriven(&self, events: &[EventId]) -> Result<(), Fault>;
}

/// Orders records by when their events were created.
pub fn sort(records: &mut [Record]) {
    records.sort_by_key(|record| record.facts.as_ref().map(|facts| facts.created_at));
}
