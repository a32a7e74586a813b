//! Dead letters in the embedded engine's file.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, params};

use crate::{
    clock::Clock,
    event::QueuedEvent,
    fault::Fault,
    queue::dead::{DeadLetter, DeadLetters, Fate, Judge, MOST_LETTERS},
    sqlite::Store,
};

/// What one file holds, looked at from outside, whether or not a service has it open.
pub struct EmbeddedLook {
    pub(super) store: Arc<Store>,
    pub(super) clock: Arc<dyn Clock>,
}

impl EmbeddedLook {
    /// In `store`.
    pub fn new(store: Arc<Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }
}

#[async_trait]
impl DeadLetters for EmbeddedLook {
    async fn walk(&self, judge: Judge) -> Result<Vec<(DeadLetter, Fate)>, Fault> {
        let now = self.clock.now().as_millisecond();
        self.store.run(move |connection| walk(connection, &judge, now)).await
    }
}

/// All in one transaction: each fate is carried out, or none is.
fn walk(connection: &Connection, judge: &Judge, now: i64) -> rusqlite::Result<Vec<(DeadLetter, Fate)>> {
    let sql = "SELECT id, died_ms, attempt, reason, detail, payload FROM dead ORDER BY id LIMIT ?1";
    let most = i64::try_from(MOST_LETTERS).unwrap_or(i64::MAX);
    let read = |row: &rusqlite::Row<'_>| {
        let payload: Vec<u8> = row.get(5)?;
        let letter = DeadLetter {
            event: QueuedEvent::decode(&payload),
            reason: row.get(3)?,
            detail: row.get(4)?,
            attempt: row.get(2)?,
            died_at: Timestamp::from_millisecond(row.get(1)?).ok(),
        };
        Ok((row.get::<_, i64>(0)?, letter))
    };
    let rows: Vec<(i64, DeadLetter)> = connection.prepare_cached(sql)?.query_map([most], read)?.collect::<Result<_, _>>()?;
    let mut judged = Vec::with_capacity(rows.len());
    for (id, letter) in rows {
        let fate = judge(&letter);
        if fate == Fate::Redrive {
            let sql = "INSERT INTO queue (due_ms, attempt, queued_ms, payload) SELECT ?2, 1, ?2, payload FROM dead WHERE id = ?1";
            connection.prepare_cached(sql)?.execute(params![id, now])?;
        }
        if fate != Fate::Keep {
            connection.prepare_cached("DELETE FROM dead WHERE id = ?1")?.execute([id])?;
        }
        judged.push((letter, fate));
    }
    Ok(judged)
}
