//! The port that finds queued events: fresh, late, or waiting for a retry.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{event::QueuedEvent, fault::Fault};

/// Most messages examined in each queue.
pub const MAX_MESSAGES: usize = 10_000;

/// Whether a search should return this event.
pub type Wanted = Arc<dyn Fn(&QueuedEvent) -> bool + Send + Sync>;

/// One queued event and where it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Which queue: "work", "late", "retry", …
    pub place: String,
    pub event: QueuedEvent,
    /// Number of the next attempt.
    pub attempt: u32,
    /// Why the last attempt failed, if there was one.
    pub reason: Option<String>,
    /// When it was queued there, if that is known.
    pub since: Option<Timestamp>,
}

/// A search through the queues that leaves every message in place.
#[async_trait]
pub trait Search: Send + Sync {
    /// All queued events that are wanted. An event that a worker holds is in no queue. A broker
    /// delivers messages to show them, so workers find those a moment later.
    async fn search(&self, wanted: Wanted) -> Result<Vec<Waiting>, Fault>;
}
