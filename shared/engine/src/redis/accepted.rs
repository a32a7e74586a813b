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
use parking_lot::Mutex;
use runtime::metrics::Metrics;
use tokio::{sync::mpsc, time::sleep};

use super::{
    OBJECT, USER,
    call::{Script, Words},
    connection::RedisConnection,
    event_key, index, user_key,
};

/// Most notes that wait or are on their way. What is over it is not noted.
const WAITING: usize = 4096;

/// Most notes in one call.
const BATCH: usize = 64;

/// How long a note waits for others: a call for many costs little more than one for one.
const GATHERED: Duration = Duration::from_millis(5);

/// A [`Publish`] that notes what was published.
pub struct NotingPublisher {
    publisher: Arc<dyn Publish>,
    prefix: String,
    waiting: Arc<Mutex<Waiting>>,
    /// Says that there is a new batch. Its end is the end of the task.
    begun: mpsc::Sender<()>,
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
        let (prefix, waiting) = (connection.prefix().to_owned(), Arc::default());
        let (begun, batches) = mpsc::channel(1);
        let noter = Noter {
            connection,
            waiting: Arc::clone(&waiting),
            script: with_create(include_str!("scripts/accepted.lua")),
            metrics: Arc::clone(&metrics),
        };
        tokio::spawn(noter.note_until_closed(batches));
        Self { publisher, prefix, waiting, begun, clock, metrics }
    }

    fn note(&self, event: &QueuedEvent) {
        let accepted_at = self.clock.now();
        let mut waiting = self.waiting.lock();
        if waiting.notes == WAITING {
            return self.metrics.records_dropped(1);
        }
        waiting.notes += 1;
        if waiting.batches.last().is_none_or(|batch| batch.notes == BATCH) {
            waiting.batches.push(Batch::new());
            // Full, it says that already.
            self.begun.try_send(()).unwrap_or_default();
        }
        if let Some(batch) = waiting.batches.last_mut() {
            batch.add(&self.prefix, event, accepted_at);
        }
    }
}

/// Notes that were not sent yet.
#[derive(Default)]
struct Waiting {
    batches: Vec<Batch>,
    /// In the batches, and in those on their way.
    notes: usize,
}

/// Notes for one call, in the form in which they are sent.
struct Batch {
    words: Words,
    notes: usize,
}

impl Batch {
    fn new() -> Self {
        let mut words = Words::with_room(32, 48);
        words.arg(milliseconds(records::KEPT)).arg(milliseconds(USER_KEPT));
        Self { words, notes: 0 }
    }

    fn add(&mut self, prefix: &str, event: &QueuedEvent, accepted_at: Timestamp) {
        let record = event_key(prefix, &event.event_id);
        let [by_object, by_user] = index::of(prefix, event);
        // Without a user, the script does not use the last key.
        let user = event.user_id.as_ref().map_or(record, |user| user_key(prefix, user));
        self.words.key(record).key(by_object).key(by_user).key(user);
        add_facts(&mut self.words, event, accepted_at);
        self.notes += 1;
    }
}

/// Sends notes in batches, in order.
struct Noter {
    connection: Arc<RedisConnection>,
    waiting: Arc<Mutex<Waiting>>,
    script: Script,
    metrics: Arc<Metrics>,
}

impl Noter {
    async fn note_until_closed(self, mut begun: mpsc::Receiver<()>) {
        while begun.recv().await.is_some() {
            sleep(GATHERED).await;
            let batches = std::mem::take(&mut self.waiting.lock().batches);
            for Batch { words, notes } in batches {
                if let Err(fault) = self.connection.call::<i64>(&self.script.with(words)).await {
                    tracing::debug!(%fault, events = notes, "cannot note accepted events");
                    self.metrics.records_dropped(notes);
                }
                self.waiting.lock().notes -= notes;
            }
        }
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
        self.note(event);
        Ok(())
    }

    fn ready(&self) -> Result<(), Cow<'static, str>> {
        self.publisher.ready()
    }

    fn system(&self) -> &'static str {
        self.publisher.system()
    }
}

#[cfg(test)]
mod tests;
