//! The port to the sender's own list of events: what a webhook should have delivered and did not.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{event::QueuedEvent, fault::Fault};

/// A list of past events.
#[async_trait]
pub trait EventLog: Send + Sync {
    /// Lists the events since `from` that need a mail, oldest first.
    async fn since(&self, from: Timestamp, now: Timestamp) -> Result<Vec<QueuedEvent>, Fault>;
}
