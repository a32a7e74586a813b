//! The port to what the claim store has on record of an event, for operators who ask what became of
//! it.

use async_trait::async_trait;

use crate::{claims::History, fault::Fault, ids::EventId};

/// The record of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// How far it has come.
    pub progress: Progress,
    /// What happened to it under earlier owners.
    pub history: History,
}

/// How far an event has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// No worker has a claim on it.
    Free,
    /// A worker has claimed it and has not contacted the relay yet.
    Leased,
    /// A worker is sending the mail, or crashed while it did.
    Sending,
    /// A relay accepted the mail for a newer event of the user.
    Superseded,
    /// The relay accepted the mail and gave it this queue id.
    Sent(String),
}

impl Progress {
    /// Reads the state of a claim as the stores write it.
    pub fn from_state(state: &str, receipt: String) -> Self {
        match state {
            "done" => Self::Sent(receipt),
            "sending" => Self::Sending,
            "superseded" => Self::Superseded,
            "lease" => Self::Leased,
            _ => Self::Free,
        }
    }
}

/// Read access to what the claim store knows of events.
#[async_trait]
pub trait Records: Send + Sync {
    /// The record of this event; `None` if there is none, or none any more.
    async fn find(&self, event_id: &EventId) -> Result<Option<Record>, Fault>;

    /// Exempts an event that was never claimed from the limit on its user, for as long as a code may
    /// live.
    async fn lift_limit(&self, event_id: &EventId) -> Result<(), Fault>;

    /// Clears the doubt whether a mail was sent, so that the event is mailed when it is next
    /// delivered. A mail that was certainly sent stays on record.
    async fn clear_doubt(&self, event_id: &EventId) -> Result<(), Fault>;
}
