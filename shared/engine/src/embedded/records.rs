//! The records of events in the embedded engine's file.

use std::sync::Arc;

use async_trait::async_trait;
use domain::{
    claims::History,
    clock::Clock,
    fault::Fault,
    ids::EventId,
    records::{Progress, Record, Records},
};
use rusqlite::{OptionalExtension as _, Row, params};

use crate::sqlite::Store;

/// The [`Records`] of the SQLite file.
pub struct EmbeddedRecords {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
}

impl EmbeddedRecords {
    /// Reads the records in `store`.
    pub fn new(store: Arc<Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }
}

fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    let state: String = row.get(0)?;
    let history = History { unanswered_sends: row.get(2)?, crashed_sending: row.get(3)? };
    Ok(Record { progress: Progress::from_state(&state, row.get(1)?), history })
}

#[async_trait]
impl Records for EmbeddedRecords {
    async fn find(&self, event_id: &EventId) -> Result<Option<Record>, Fault> {
        let (key, now) = (event_id.to_string(), self.clock.now().as_millisecond());
        self.store
            .run(move |connection| {
                let sql = "SELECT state, receipt, silences, died_sending FROM claims \
                           WHERE event_id = ?1 AND gone_ms > ?2";
                connection.prepare_cached(sql)?.query_row(params![key, now], record).optional()
            })
            .await
    }

    async fn clear_doubt(&self, event_id: &EventId) -> Result<(), Fault> {
        let (key, now) = (event_id.to_string(), self.clock.now().as_millisecond());
        self.store
            .run(move |connection| {
                let sql = "UPDATE claims SET silences = 0, died_sending = 0, state = 'free'
                           WHERE event_id = ?1 AND state <> 'done' AND until_ms <= ?2";
                connection.prepare_cached(sql)?.execute(params![key, now])
            })
            .await
            .map(drop)
    }
}
