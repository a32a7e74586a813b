//! Dead letters in the embedded engine's file, for an operator.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use domain::{
    clock::Clock,
    event::QueuedEvent,
    fault::Fault,
    queue::dead_letters::{Action, Choose, DeadLetter, DeadLetters, MAX_LETTERS},
};
use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::records;
use crate::sqlite::Store;

/// Access for an operator to one file, whether or not a service has it open.
pub struct EmbeddedOperator {
    pub(super) store: Arc<Store>,
    pub(super) clock: Arc<dyn Clock>,
}

impl EmbeddedOperator {
    /// Opens the dead letters of `store`.
    pub fn new(store: Arc<Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }
}

/// Letters that are read at once. Whoever chooses may take its time, so that is done outside of the
/// transactions.
const PIECE: i64 = 500;

#[async_trait]
impl DeadLetters for EmbeddedOperator {
    async fn walk(&self, choose: Choose) -> Result<Vec<(DeadLetter, Action)>, Fault> {
        let now = self.clock.now().as_millisecond();
        // Letters that come meanwhile are not visited: a redriven one may be among them.
        let newest = "SELECT coalesce(max(id), 0) FROM dead";
        let last: i64 =
            self.store.read(move |file| file.query_row(newest, [], |row| row.get(0))).await?;
        let (mut visited, mut after) = (Vec::new(), 0);
        while visited.len() < MAX_LETTERS {
            let read = self.store.read(move |connection| letters(connection, after, last)).await?;
            let Some((newest, _)) = read.last() else { break };
            after = *newest;
            let mut piece = Vec::with_capacity(read.len());
            for (id, letter) in read {
                let action = choose(&letter);
                if action == Action::Stop {
                    after = last;
                    break;
                }
                piece.push((id, letter, action));
            }
            let act = move |connection: &Connection| {
                piece.iter().try_for_each(|(id, letter, action)| {
                    carry_out(connection, (*id, letter), *action, now)
                })?;
                Ok(piece)
            };
            let changed = self.store.run(act).await?;
            visited.extend(changed.into_iter().map(|(_, letter, action)| (letter, action)));
        }
        Ok(visited)
    }
}

/// The letters between two ids, the first excluded, as many as are read at once.
fn letters(
    connection: &Connection,
    after: i64,
    last: i64,
) -> rusqlite::Result<Vec<(i64, DeadLetter)>> {
    let sql = "SELECT id, died_ms, attempt, reason, detail, payload FROM dead \
               WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3";
    let letter = |row: &rusqlite::Row<'_>| {
        let payload: Vec<u8> = row.get(5)?;
        let letter = DeadLetter {
            event: QueuedEvent::decode(&payload),
            reason: row.get(3)?,
            detail: row.get(4)?,
            attempt: row.get(2)?,
            dead_lettered_at: Timestamp::from_millisecond(row.get(1)?).ok(),
        };
        Ok((row.get::<_, i64>(0)?, letter))
    };
    connection.prepare_cached(sql)?.query_map([after, last, PIECE], letter)?.collect()
}

fn carry_out(
    connection: &Connection,
    (id, letter): (i64, &DeadLetter),
    action: Action,
    now: i64,
) -> rusqlite::Result<()> {
    if action == Action::Redrive {
        let sql = "INSERT INTO queue (due_ms, attempt, queued_ms, payload) \
                   SELECT ?2, 1, ?2, payload FROM dead WHERE id = ?1";
        connection.prepare_cached(sql)?.execute(params![id, now])?;
        if let Ok(event) = &letter.event {
            records::redriven(connection, &event.event_id)?;
        }
    }
    if matches!(action, Action::Redrive | Action::Purge) {
        connection.prepare_cached("DELETE FROM dead WHERE id = ?1")?.execute([id])?;
    }
    Ok(())
}

/// Deletes the oldest dead letters if there are too many for another one, a hundredth of them at
/// once, so that they need not be counted each time: `room` is how many certainly fit. Returns how many
/// were deleted.
pub(super) fn make_room(
    connection: &Connection,
    most: u64,
    room: &AtomicU64,
) -> rusqlite::Result<u64> {
    if room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| room.checked_sub(1)).is_ok() {
        return Ok(0);
    }
    let count = "SELECT count(*) FROM dead";
    let count: i64 = connection.prepare_cached(count)?.query_row([], |row| row.get(0))?;
    let count = u64::try_from(count).unwrap_or(0);
    let excess = if count < most { 0 } else { count - most + 1 + most / 100 };
    if excess > 0 {
        let sql = "DELETE FROM dead WHERE id IN (SELECT id FROM dead ORDER BY id LIMIT ?1)";
        connection.prepare_cached(sql)?.execute([i64::try_from(excess).unwrap_or(i64::MAX)])?;
    }
    let left = count.saturating_sub(excess);
    room.store(most.saturating_sub(left + 1), Ordering::Relaxed);
    Ok(excess.min(count))
}
