//! The port to dead letters: list, redrive, purge.
//!
//! One walk serves all three, because a broker shows a message only to a client that may also
//! settle it. The walk goes from the oldest letter to the newest and asks what to do with each. A
//! redriven letter is back in the queue before it is deleted here, so an interruption can leave two
//! copies but never none; the claim makes the second one harmless.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{
    event::{QueuedEvent, Undecodable},
    fault::Fault,
};

/// Most letters visited in one walk. The rest is visited by the next walk, once these are gone.
pub const MAX_LETTERS: usize = 100_000;

/// One dead letter, as listed by `authpost dead`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its event, or why the message cannot be read as one.
    pub event: Result<QueuedEvent, Undecodable>,
    /// Why it was dead-lettered: the label of a [`crate::fault::Reason`], or `delivery_limit` if
    /// workers crashed on it.
    pub reason: String,
    /// Why it is one, in one clause without private data.
    pub detail: String,
    /// Number of the last attempt.
    pub attempt: u32,
    /// When it became a dead letter, if that is known.
    pub dead_lettered_at: Option<Timestamp>,
}

/// What to do with a letter that a walk visits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Leave it where it is.
    Keep,
    /// Put it back into the queue as a new event.
    Redrive,
    Purge,
    /// Leave this letter and all after it where they are, and visit no more.
    Stop,
}

/// Chooses the action for each letter.
pub type Choose = Arc<dyn Fn(&DeadLetter) -> Action + Send + Sync>;

/// A list of dead letters that can be acted on.
#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// Shows every letter to `choose`, carries out the actions, and returns all letters with
    /// theirs. After a failure some actions may have been carried out; walking again is safe.
    async fn walk(&self, choose: Choose) -> Result<Vec<(DeadLetter, Action)>, Fault>;
}
