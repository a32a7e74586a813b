//! Dead letters: looking at them, sending them back to work, throwing them away.
//!
//! One walk serves all three, because a broker hands a message out only to whoever may also settle it: the walk goes
//! from the oldest to the newest and asks for each what is to become of it. What is sent back is in the queue before it
//! is taken from the dead letters, so that an interruption leaves a letter twice and never not at all; the claim makes
//! the second one harmless.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{
    event::{QueuedEvent, Undecodable},
    fault::Fault,
};

/// Letters looked at in one walk. What is beyond it is looked at by the next, once these are gone.
pub const MOST_LETTERS: usize = 100_000;

/// One dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its event, or why it is none.
    pub event: Result<QueuedEvent, Undecodable>,
    /// Why it is dead: a [`crate::fault::Reason`]'s label, or `delivery_limit` if workers died on it.
    pub reason: String,
    /// One clause more.
    pub detail: String,
    /// The attempt that was the last.
    pub attempt: u32,
    /// Since when it is dead, if that is known.
    pub died_at: Option<Timestamp>,
}

/// What is to become of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It stays.
    Keep,
    /// It is tried again, as if it were new.
    Redrive,
    /// It is gone.
    Purge,
}

/// Decides on each letter.
pub type Judge = Arc<dyn Fn(&DeadLetter) -> Fate + Send + Sync>;

/// Where dead letters lie.
#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// Shows `judge` every letter, carries out what it says, and returns all of them with their fates. After a failure
    /// some fates may have been carried out; walking again is safe.
    async fn walk(&self, judge: Judge) -> Result<Vec<(DeadLetter, Fate)>, Fault>;
}
