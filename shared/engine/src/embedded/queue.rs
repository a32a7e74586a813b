//! The queue in the embedded engine: rows in one SQLite file, each change fsynced before it is
//! answered.

use std::{
    borrow::Cow,
    collections::{HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use domain::{
    clock::{Clock, milliseconds_after, milliseconds_before},
    event::QueuedEvent,
    fault::{Fault, Reason},
    queue::{
        Capacity, Consume, Delivery, Depths, FRESH_FOR, Inspect, LATE_TURN, Publish, Receipt,
        Verdict,
    },
    records::{DEAD_KEPT, KEPT},
    retry::Stage,
};
use jiff::Timestamp;
use parking_lot::Mutex;
use runtime::metrics::Metrics;
use rusqlite::{Connection, params};
use tokio::sync::Notify;

use super::{dead_letters::make_room, records, room::Room, sweep::Sweeper, users};
use crate::sqlite::Store;

/// Longest wait between two polls of the queue when no row is known to fall due.
const LONGEST_POLL: Duration = Duration::from_secs(1);

/// The value of OpenTelemetry's attribute `messaging.system`.
const SYSTEM: &str = "sqlite";

/// One queue, shared by both roles of one process.
#[derive(Clone)]
pub struct EmbeddedQueue(Arc<Inner>);

struct Inner {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    /// Notified when a row may have become due: published now, or returned.
    row_due: Notify,
    /// The rows that this process has taken and not settled. One process uses the file, so nobody
    /// else needs to know.
    in_hand: Arc<Mutex<HashSet<i64>>>,
    capacity: Capacity,
    metrics: Arc<Metrics>,
    /// How many more events fit.
    room: Arc<Room>,
    /// How many more dead letters certainly fit.
    dead_room: Arc<AtomicU64>,
    healthy: AtomicBool,
    sweeper: Sweeper,
}

impl EmbeddedQueue {
    /// Keeps as much as `capacity` in `store`, and counts what it deletes in `metrics`.
    pub fn new(
        store: Arc<Store>,
        clock: Arc<dyn Clock>,
        capacity: Capacity,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self(Arc::new(Inner {
            store,
            clock,
            row_due: Notify::new(),
            in_hand: Arc::default(),
            capacity,
            metrics,
            room: Arc::default(),
            dead_room: Arc::default(),
            healthy: AtomicBool::new(true),
            sweeper: Sweeper::default(),
        }))
    }

    /// The consumer, which takes up to `batch` rows at a time.
    pub fn consumer(&self, batch: usize) -> EmbeddedConsumer {
        EmbeddedConsumer { queue: self.clone(), batch, taken: VecDeque::new() }
    }

    async fn run<T, F>(&self, job: F) -> Result<T, Fault>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let result = self.0.store.run(job).await;
        self.0.healthy.store(result.is_ok(), Ordering::Relaxed);
        result
    }

    fn state(&self) -> Result<(), Cow<'static, str>> {
        if self.0.store.is_damaged() {
            Err(Cow::Borrowed("the database is damaged"))
        } else if self.0.healthy.load(Ordering::Relaxed) {
            Ok(())
        } else {
            Err(Cow::Borrowed("the last change was not stored"))
        }
    }
}

#[async_trait]
impl Publish for EmbeddedQueue {
    async fn publish(&self, event: &QueuedEvent) -> Result<(), Fault> {
        let payload = event.encode();
        let event = event.clone();
        let (now, longest) = (self.0.clock.now().as_millisecond(), self.0.capacity.events);
        let room = Arc::clone(&self.0.room);
        let stored = self
            .run(move |connection| {
                if room.is_full(connection, longest, now)? {
                    return Ok(false);
                }
                let sql = "INSERT INTO queue (due_ms, attempt, queued_ms, payload) VALUES (?1, 1, ?1, ?2)";
                connection.prepare_cached(sql)?.execute(params![now, payload])?;
                records::create(connection, &event, now, milliseconds_after(now, KEPT))?;
                // Older events of the user give way to it from now on.
                if let Some(user) = &event.user_id {
                    users::note(connection, user, event.created_at.as_millisecond(), now)?;
                }
                Ok(true)
            })
            .await?;
        if !stored {
            return Err(Fault::transient(
                Reason::QueueFull,
                format!("{longest} events are waiting"),
            ));
        }
        self.0.row_due.notify_one();
        Ok(())
    }

    fn ready(&self) -> Result<(), Cow<'static, str>> {
        self.state()
    }

    fn system(&self) -> &'static str {
        SYSTEM
    }
}

#[async_trait]
impl Inspect for EmbeddedQueue {
    async fn depths(&self) -> Result<Depths, Fault> {
        let now = self.0.clock.now();
        let (now_ms, dead_before) =
            (now.as_millisecond(), milliseconds_before(now.as_millisecond(), DEAD_KEPT));
        self.0.sweeper.start(&self.0.store, now_ms, dead_before);
        let counted = self.0.store.read(move |connection| {
            let sql = "SELECT (SELECT count(*) FROM queue WHERE due_ms <= ?1), \
                       (SELECT count(*) FROM queue WHERE due_ms > ?1), \
                       (SELECT count(*) FROM dead)";
            connection.prepare_cached(sql)?.query_row([now_ms], |row| {
                let count =
                    |index| row.get::<_, i64>(index).map(|count| u64::try_from(count).unwrap_or(0));
                Ok(Depths { work: count(0)?, retry: count(1)?, dead: count(2)? })
            })
        });
        counted.await
    }

    fn ready(&self) -> Result<(), Cow<'static, str>> {
        self.state()
    }
}

/// Delivers rows. One per process.
pub struct EmbeddedConsumer {
    queue: EmbeddedQueue,
    batch: usize,
    taken: VecDeque<Row>,
}

struct Row {
    id: i64,
    attempt: u32,
    queued_ms: i64,
    payload: Vec<u8>,
}

#[async_trait]
impl Consume for EmbeddedConsumer {
    async fn next(&mut self) -> Delivery {
        loop {
            if let Some(row) = self.taken.pop_front() {
                return self.delivery(row);
            }
            let wait = match self.take().await {
                Ok(Some(wait)) => wait,
                Ok(None) => continue,
                Err(_) => LONGEST_POLL,
            };
            // A notification that came while the queue was read is kept for this wait.
            drop(tokio::time::timeout(wait, self.queue.0.row_due.notified()).await);
        }
    }

    async fn give_back(&mut self) {
        let mut in_hand = self.queue.0.in_hand.lock();
        for row in self.taken.drain(..) {
            in_hand.remove(&row.id);
        }
    }

    fn system(&self) -> &'static str {
        SYSTEM
    }
}

impl EmbeddedConsumer {
    /// Takes the rows that are due. `Some(wait)` when there were none, with the time until one may
    /// be. Changes nothing in the file: what was taken is free again at the next start.
    async fn take(&mut self) -> Result<Option<Duration>, Fault> {
        let now = self.queue.0.clock.now().as_millisecond();
        let (in_hand, batch) = (Arc::clone(&self.queue.0.in_hand), self.batch);
        let look = move |connection: &Connection| take_due(connection, now, batch, &in_hand.lock());
        let (rows, next_due) = self.queue.run(look).await?;
        if rows.is_empty() {
            let wait = next_due.map_or(LONGEST_POLL, |due| {
                Duration::from_millis(u64::try_from(due - now).unwrap_or(0))
            });
            return Ok(Some(wait.min(LONGEST_POLL)));
        }
        self.queue.0.in_hand.lock().extend(rows.iter().map(|row| row.id));
        self.taken.extend(rows);
        Ok(None)
    }

    fn delivery(&self, row: Row) -> Delivery {
        let Row { id, attempt, queued_ms, payload } = row;
        Delivery {
            event: QueuedEvent::decode(&payload),
            attempt,
            queued_at: Timestamp::from_millisecond(queued_ms).ok(),
            receipt: Box::new(EmbeddedReceipt { queue: self.queue.clone(), id }),
        }
    }
}

/// Reads up to `batch` rows that are due, and when the next one is. Fresh rows come first, oldest
/// first, then late ones, for which one place in [`LATE_TURN`] is reserved. A row that is due later
/// than the longest retry delay was queued by a clock that has been set back since, and is due now.
fn take_due(
    connection: &Connection,
    now: i64,
    batch: usize,
    in_hand: &HashSet<i64>,
) -> rusqlite::Result<(Vec<Row>, Option<i64>)> {
    let fresh_since = milliseconds_before(now, FRESH_FOR);
    let latest = milliseconds_after(now, Stage::S120.delay());
    let reserved = batch / LATE_TURN;
    let mut due = Due { connection, in_hand, ids: Vec::new() };
    let fresh = (fresh_since + 1, now);
    due.find(fresh, batch - reserved)?;
    let may_have_more = due.ids.len() == batch - reserved;
    due.find((i64::MIN, fresh_since), batch)?;
    due.find((latest + 1, i64::MAX), batch)?;
    if may_have_more {
        due.find(fresh, batch)?;
    }
    let rows = due.ids.iter().map(|id| read(connection, *id)).collect::<rusqlite::Result<_>>()?;
    let next = connection
        .prepare_cached("SELECT min(due_ms) FROM queue WHERE taken = 0 AND due_ms > ?1")?
        .query_row([now], |row| row.get(0))?;
    Ok((rows, next))
}

/// Rows that are due and that nobody has in hand.
struct Due<'a> {
    connection: &'a Connection,
    in_hand: &'a HashSet<i64>,
    ids: Vec<i64>,
}

impl Due<'_> {
    /// Finds rows that are due between two times, until there are so many in all.
    fn find(&mut self, (from, to): (i64, i64), most: usize) -> rusqlite::Result<()> {
        if self.ids.len() >= most {
            return Ok(());
        }
        // The index has all that is read here.
        let sql = "SELECT id FROM queue WHERE taken = 0 AND due_ms BETWEEN ?1 AND ?2 \
                   ORDER BY due_ms, id";
        let mut select = self.connection.prepare_cached(sql)?;
        let mut rows = select.query([from, to])?;
        while self.ids.len() < most
            && let Some(row) = rows.next()?
        {
            let id = row.get(0)?;
            if !self.in_hand.contains(&id) && !self.ids.contains(&id) {
                self.ids.push(id);
            }
        }
        Ok(())
    }
}

fn read(connection: &Connection, id: i64) -> rusqlite::Result<Row> {
    let sql = "SELECT attempt, queued_ms, payload FROM queue WHERE id = ?1";
    connection.prepare_cached(sql)?.query_row([id], |row| {
        Ok(Row { id, attempt: row.get(0)?, queued_ms: row.get(1)?, payload: row.get(2)? })
    })
}

struct EmbeddedReceipt {
    queue: EmbeddedQueue,
    id: i64,
}

#[async_trait]
impl Receipt for EmbeddedReceipt {
    async fn settle(self: Box<Self>, verdict: Verdict) -> Result<(), Fault> {
        let Self { queue, id } = *self;
        let now = queue.0.clock.now().as_millisecond();
        let (room, dead_room) = (Arc::clone(&queue.0.room), Arc::clone(&queue.0.dead_room));
        let most_dead = queue.0.capacity.dead_letters;
        let dropped = queue
            .run(move |connection| {
                let dead = matches!(verdict, Verdict::DeadLetter { .. });
                let dropped = if dead { make_room(connection, most_dead, &dead_room)? } else { 0 };
                carry_out(connection, id, now, &verdict)?;
                if !matches!(verdict, Verdict::Retry { .. }) {
                    room.free();
                }
                Ok(dropped)
            })
            .await?;
        queue.0.in_hand.lock().remove(&id);
        queue.0.metrics.dead_letters_dropped(dropped);
        // The consumer may be waiting for longer than the delay of this retry: let it look again.
        queue.0.row_due.notify_one();
        Ok(())
    }
}

fn carry_out(
    connection: &Connection,
    id: i64,
    now: i64,
    verdict: &Verdict,
) -> rusqlite::Result<()> {
    match verdict {
        Verdict::Done => {
            connection.prepare_cached("DELETE FROM queue WHERE id = ?1")?.execute([id])?;
        }
        Verdict::Retry { stage, attempt, reason } => {
            let due = milliseconds_after(now, stage.delay());
            let sql = "UPDATE queue SET due_ms = ?2, attempt = ?3, reason = ?4, \
                       queued_ms = ?5 WHERE id = ?1";
            connection.prepare_cached(sql)?.execute(params![
                id,
                due,
                attempt,
                reason.label(),
                now
            ])?;
        }
        Verdict::DeadLetter { reason, detail } => {
            let sql = "INSERT INTO dead (died_ms, attempt, reason, detail, payload)
                       SELECT ?2, attempt, ?3, ?4, payload FROM queue WHERE id = ?1";
            connection.prepare_cached(sql)?.execute(params![
                id,
                now,
                reason.label(),
                detail.as_ref()
            ])?;
            connection.prepare_cached("DELETE FROM queue WHERE id = ?1")?.execute([id])?;
        }
    }
    Ok(())
}
