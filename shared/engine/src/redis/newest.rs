//! Notes every event that an ingress has queued, so that older events of its user give way to it
//! before a worker has seen it. Best effort, after the broker's confirm and off the answer's path.

use std::{borrow::Cow, sync::Arc};

use async_trait::async_trait;
use domain::{
    claims::users::USER_KEPT, clock::milliseconds, event::QueuedEvent, fault::Fault, queue::Publish,
};
use redis::Script;
use tokio::sync::mpsc;

use super::{connection::RedisConnection, user_key};

/// Most notes that wait. What is over it is not noted.
const WAITING: usize = 4096;

/// Most notes in one call.
const BATCH: usize = 64;

/// A user's key, and when their event was created.
type Note = (String, i64);

/// A [`Publish`] that notes what was published.
pub struct NotingPublisher {
    publisher: Arc<dyn Publish>,
    prefix: String,
    notes: mpsc::Sender<Note>,
}

impl NotingPublisher {
    /// Starts a task that notes over `connection`, under keys that begin with `prefix`. It ends with
    /// this publisher.
    pub fn new(
        publisher: Arc<dyn Publish>,
        connection: Arc<RedisConnection>,
        prefix: &str,
    ) -> Self {
        let (notes, waiting) = mpsc::channel(WAITING);
        tokio::spawn(note_until_closed(connection, waiting));
        Self { publisher, prefix: prefix.to_owned(), notes }
    }
}

async fn note_until_closed(connection: Arc<RedisConnection>, mut waiting: mpsc::Receiver<Note>) {
    let script = Script::new(include_str!("scripts/newest.lua"));
    let mut batch = Vec::with_capacity(BATCH);
    while waiting.recv_many(&mut batch, BATCH).await > 0 {
        let mut call = script.prepare_invoke();
        call.arg(milliseconds(USER_KEPT));
        for (key, created) in batch.drain(..) {
            call.key(key).arg(created);
        }
        if let Err(fault) = connection.script::<i64>(&call).await {
            tracing::debug!(%fault, "cannot note queued events");
        }
    }
}

#[async_trait]
impl Publish for NotingPublisher {
    async fn publish(&self, event: &QueuedEvent) -> Result<(), Fault> {
        self.publisher.publish(event).await?;
        if let Some(user) = &event.user_id {
            let note = (user_key(&self.prefix, user), event.created_at.as_millisecond());
            // Without room it is not noted: the worker that claims it does so.
            drop(self.notes.try_send(note));
        }
        Ok(())
    }

    fn ready(&self) -> Result<(), Cow<'static, str>> {
        self.publisher.ready()
    }

    fn system(&self) -> &'static str {
        self.publisher.system()
    }
}
