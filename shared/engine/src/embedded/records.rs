//! The records of events in the embedded engine's file.

use std::sync::Arc;

use async_trait::async_trait;
use domain::{
    claims::{History, UNFINISHED_KEPT},
    clock::{Clock, milliseconds_after},
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

    async fn lift_limit(&self, event_id: &EventId) -> Result<(), Fault> {
        let key = event_id.to_string();
        let until = milliseconds_after(self.clock.now().as_millisecond(), UNFINISHED_KEPT);
        self.store
            .run(move |connection| {
                let sql = "INSERT INTO claims (event_id, state, owner, fence, silences, died_sending, until_ms, \
                           gone_ms, receipt) VALUES (?1, 'free', '', 0, 0, 0, 0, ?2, '') \
                           ON CONFLICT (event_id) DO NOTHING";
                connection.prepare_cached(sql)?.execute(params![key, until])
            })
            .await
            .map(drop)
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
