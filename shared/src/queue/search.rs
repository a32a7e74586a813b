//! Looking for events that wait: fresh, late, or resting before a retry.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{event::QueuedEvent, fault::Fault};

/// Messages looked at in each queue.
pub const MOST_MESSAGES: usize = 10_000;

/// Whether an event is meant.
pub type Wanted = Arc<dyn Fn(&QueuedEvent) -> bool + Send + Sync>;

/// One event that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Where: "work", "late", "retry", …
    pub place: String,
    /// The event.
    pub event: QueuedEvent,
    /// Which attempt comes next.
    pub attempt: u32,
    /// Why the last one failed, if there was one.
    pub reason: Option<String>,
    /// Since when it stands there, if that is known.
    pub since: Option<Timestamp>,
}

/// Where events can be looked for.
#[async_trait]
pub trait Search: Send + Sync {
    /// All that wait and are wanted. What a worker has in hand is in no queue. A broker hands messages out to look at them:
    /// workers find them a moment later.
    async fn search(&self, wanted: Wanted) -> Result<Vec<Waiting>, Fault>;
}
