//! Dead letters in the embedded engine's file, for an operator.

use std::sync::Arc;

use async_trait::async_trait;
use domain::{
    clock::Clock,
    event::QueuedEvent,
    fault::Fault,
    queue::dead_letters::{Action, Choose, DeadLetter, DeadLetters, MAX_LETTERS},
};
use jiff::Timestamp;
use rusqlite::{Connection, params};

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

#[async_trait]
impl DeadLetters for EmbeddedOperator {
    async fn walk(&self, choose: Choose) -> Result<Vec<(DeadLetter, Action)>, Fault> {
        let now = self.clock.now().as_millisecond();
        self.store.run(move |connection| walk(connection, &choose, now)).await
    }
}

/// All in one transaction: every action is carried out, or none is.
fn walk(
    connection: &Connection,
    choose: &Choose,
    now: i64,
) -> rusqlite::Result<Vec<(DeadLetter, Action)>> {
    let sql = "SELECT id, died_ms, attempt, reason, detail, payload FROM dead ORDER BY id LIMIT ?1";
    let most = i64::try_from(MAX_LETTERS).unwrap_or(i64::MAX);
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
    let rows: Vec<(i64, DeadLetter)> =
        connection.prepare_cached(sql)?.query_map([most], letter)?.collect::<Result<_, _>>()?;
    let mut visited = Vec::with_capacity(rows.len());
    for (id, letter) in rows {
        let action = choose(&letter);
        if action == Action::Redrive {
            let sql = "INSERT INTO queue (due_ms, attempt, queued_ms, payload) \
                       SELECT ?2, 1, ?2, payload FROM dead WHERE id = ?1";
            connection.prepare_cached(sql)?.execute(params![id, now])?;
        }
        if action != Action::Keep {
            connection.prepare_cached("DELETE FROM dead WHERE id = ?1")?.execute([id])?;
        }
        visited.push((letter, action));
    }
    Ok(visited)
}
