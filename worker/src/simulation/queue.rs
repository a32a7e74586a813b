//! The queue between the histories and the workers: what is not settled is delivered again.

use std::sync::Arc;

use async_trait::async_trait;
use domain::{
    event::QueuedEvent,
    fault::{Fault, Reason},
    queue::{Consume, Delivery, Receipt, Verdict},
};
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::{
    world::{Settling, World, number_of},
    *,
};

/// How long it takes until there is a new session with the queue.
const RECONNECT: Duration = Duration::from_secs(1);

/// One copy of an event.
#[derive(Clone)]
struct Message {
    event: Arc<QueuedEvent>,
    attempt: u32,
    due: Instant,
}

/// The queue, and how many copies of events are in it or held by workers.
pub(super) struct Queue {
    world: Arc<World>,
    waiting: Mutex<Vec<Message>>,
    unfinished: Mutex<usize>,
    changed: Notify,
}

impl Queue {
    pub(super) fn new(world: &Arc<World>) -> Arc<Self> {
        let world = Arc::clone(world);
        let (waiting, unfinished) = (Mutex::default(), Mutex::default());
        Arc::new(Self { world, waiting, unfinished, changed: Notify::new() })
    }

    /// Adds a copy of an event.
    pub(super) fn publish(&self, event: &Arc<QueuedEvent>) {
        *self.unfinished.lock() += 1;
        self.put(Message { event: Arc::clone(event), attempt: 1, due: Instant::now() });
    }

    /// Copies that have not ended.
    pub(super) fn unfinished(&self) -> usize {
        *self.unfinished.lock()
    }

    fn put(&self, message: Message) {
        self.waiting.lock().push(message);
        self.changed.notify_one();
    }

    /// One of the messages that are due, or when the next one is.
    fn take(&self) -> Result<Message, Option<Instant>> {
        // Timers have milliseconds.
        let (mut waiting, now) = (self.waiting.lock(), Instant::now() + Duration::from_millis(1));
        let due: Vec<usize> =
            (0..waiting.len()).filter(|index| waiting[*index].due <= now).collect();
        if due.is_empty() {
            return Err(waiting.iter().map(|message| message.due).min());
        }
        let chosen = usize::try_from(self.world.below(due.len() as u64)).expect("small");
        Ok(waiting.swap_remove(due[chosen]))
    }
}

/// A worker's end of the queue.
pub(super) struct Consumer(pub(super) Arc<Queue>);

#[async_trait]
impl Consume for Consumer {
    async fn next(&mut self) -> Delivery {
        loop {
            let changed = self.0.changed.notified();
            match self.0.take() {
                Ok(message) => {
                    // Others may find more.
                    self.0.changed.notify_one();
                    return Delivery {
                        event: Ok(message.event.as_ref().clone()),
                        attempt: message.attempt,
                        queued_at: None,
                        receipt: Box::new(Held {
                            queue: Arc::clone(&self.0),
                            message: Some(message),
                        }),
                    };
                }
                Err(Some(due)) => tokio::select! {
                    biased;
                    () = changed => {}
                    () = sleep_until(due) => {}
                },
                Err(None) => changed.await,
            }
        }
    }

    async fn give_back(&mut self) {}

    fn system(&self) -> &'static str {
        "simulation"
    }
}

/// A message that a worker holds. Dropped, it is back in the queue.
struct Held {
    queue: Arc<Queue>,
    message: Option<Message>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(message) = self.message.take() {
            self.queue.put(message);
        }
    }
}

#[async_trait]
impl Receipt for Held {
    async fn settle(mut self: Box<Self>, verdict: Verdict) -> Result<(), Fault> {
        let (world, mood) = (&self.queue.world, *self.queue.world.settling.lock());
        tokio::time::sleep(Duration::from_millis(world.below(20))).await;
        let failed = || Fault::transient(Reason::QueueUnavailable, "lost");
        if mood == Settling::Fails {
            // It comes again once there is another session.
            if let Some(message) = &mut self.message {
                message.due = Instant::now() + RECONNECT;
            }
            return Err(failed());
        }
        let message = self.message.clone().expect("settled one time");
        let number = number_of(message.event.event_id.as_str());
        if !matches!(verdict, Verdict::Retry { reason: Reason::Claimed, .. }) {
            world.tell(|| format!("{number} is settled: {verdict:?} ({mood:?})"));
        }
        let ending = match verdict {
            Verdict::Done => Some("done"),
            Verdict::DeadLetter { reason, .. } => Some(reason.label()),
            Verdict::Retry { stage, attempt, .. } => {
                let due = Instant::now() + stage.delay();
                self.queue.put(Message { attempt, due, ..message });
                None
            }
        };
        if let Some(ending) = ending {
            world.change(number, |asked| asked.endings.push(ending));
        }
        if mood == Settling::Doubles {
            // One time: many would grow without end.
            *self.queue.world.settling.lock() = Settling::Works;
            // The copy that the worker held is delivered again, beside what became of it.
            *self.queue.unfinished.lock() += usize::from(ending.is_none());
            return Err(failed());
        }
        self.message = None;
        *self.queue.unfinished.lock() -= usize::from(ending.is_some());
        Ok(())
    }
}
