//! Notes every event that an ingress has queued: makes its record, and has older events of its user
//! give way to it before a worker has seen it. Best effort, after the broker's confirm and off the
//! answer's path; the worker that claims an event makes up for a note that is missing.

use std::{borrow::Cow, sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::{
    claims::users::USER_KEPT,
    clock::{Clock, milliseconds},
    event::QueuedEvent,
    fault::Fault,
    queue::Publish,
    records,
};
use jiff::Timestamp;
use runtime::metrics::Metrics;
use tokio::{sync::mpsc, time::sleep};

use super::{
    OBJECT, USER,
    call::{Script, Words},
    connection::RedisConnection,
    event_key, index, user_key,
};

/// Most notes that wait. What is over it is not noted.
const WAITING: usize = 4096;

/// Most notes in one call.
const BATCH: usize = 64;

/// How long a note waits for others: a call for many costs little more than one for one.
const GATHERED: Duration = Duration::from_millis(5);

/// An event, and when it was accepted.
type Note = (QueuedEvent, Timestamp);

/// A [`Publish`] that notes what was published.
pub struct NotingPublisher {
    publisher: Arc<dyn Publish>,
    notes: mpsc::Sender<Note>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

impl NotingPublisher {
    /// Starts a task that notes over `connection`. It ends with this publisher.
    pub fn new(
        publisher: Arc<dyn Publish>,
        connection: Arc<RedisConnection>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (notes, waiting) = mpsc::channel(WAITING);
        let writer = Noter {
            prefix: connection.prefix().to_owned(),
            connection,
            script: with_create(include_str!("scripts/accepted.lua")),
            metrics: Arc::clone(&metrics),
        };
        tokio::spawn(writer.note_until_closed(waiting));
        Self { publisher, notes, clock, metrics }
    }
}

/// Writes notes in batches, in order.
struct Noter {
    connection: Arc<RedisConnection>,
    prefix: String,
    script: Script,
    metrics: Arc<Metrics>,
}

impl Noter {
    async fn note_until_closed(self, mut waiting: mpsc::Receiver<Note>) {
        let mut batch = Vec::with_capacity(BATCH);
        while waiting.recv_many(&mut batch, BATCH).await > 0 {
            sleep(GATHERED).await;
            while batch.len() < BATCH
                && let Ok(more) = waiting.try_recv()
            {
                batch.push(more);
            }
            let mut words = Words::with_room(4 * batch.len(), 2 + 6 * batch.len());
            words.arg(milliseconds(records::KEPT)).arg(milliseconds(USER_KEPT));
            for (event, accepted_at) in &batch {
                self.add(&mut words, event, *accepted_at);
            }
            if let Err(fault) = self.connection.call::<i64>(&self.script.with(words)).await {
                tracing::debug!(%fault, events = batch.len(), "cannot note accepted events");
                self.metrics.records_dropped(batch.len());
            }
            batch.clear();
        }
    }

    fn add(&self, words: &mut Words, event: &QueuedEvent, accepted_at: Timestamp) {
        let record = event_key(&self.prefix, &event.event_id);
        let [by_object, by_user] = index::of(&self.prefix, event);
        // Without a user, the script does not use the last key.
        let user = event.user_id.as_ref().map_or(record, |user| user_key(&self.prefix, user));
        words.key(record).key(by_object).key(by_user).key(user);
        add_facts(words, event, accepted_at);
    }
}

/// A script that may call the functions of `create.lua`.
pub(super) fn with_create(script: &str) -> Script {
    Script::new(&format!("{}{script}", include_str!("scripts/create.lua")))
}

/// Adds the arguments of `create`. Times are distances from the event's creation, which take less
/// memory.
pub(super) fn add_facts(words: &mut Words, event: &QueuedEvent, accepted_at: Timestamp) {
    let created = event.created_at.as_millisecond();
    let user = event.user_id.as_ref().map(|user| index::short(user.as_str(), USER));
    words
        .arg(&*index::short(event.object_id.as_str(), OBJECT))
        .arg(user.as_deref().unwrap_or_default())
        .arg(created)
        .arg(event.expires_at.as_millisecond() - created)
        .arg(accepted_at.as_millisecond() - created)
        .arg(event.trace_id().unwrap_or_default());
}

#[async_trait]
impl Publish for NotingPublisher {
    async fn publish(&self, event: &QueuedEvent) -> Result<(), Fault> {
        self.publisher.publish(event).await?;
        if self.notes.try_send((event.clone(), self.clock.now())).is_err() {
            self.metrics.records_dropped(1);
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
