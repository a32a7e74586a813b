//! Consumed nonces in the embedded engine's file.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::{
    clock::{Clock, milliseconds_after},
    fault::Fault,
    nonces::NonceStore,
};
use rusqlite::params;

use crate::sqlite::Store;

/// A [`NonceStore`] in the SQLite file.
pub struct EmbeddedNonces {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
}

impl EmbeddedNonces {
    pub fn new(store: Arc<Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }
}

/// Nonces share the table of claims, whose rows expire: an event id has no colon in it.
fn key(nonce: &str) -> String {
    format!("spent:{nonce}")
}

#[async_trait]
impl NonceStore for EmbeddedNonces {
    async fn consume(&self, nonce: &str, keep: Duration) -> Result<bool, Fault> {
        let (key, now) = (key(nonce), self.clock.now().as_millisecond());
        let expires = milliseconds_after(now, keep);
        self.store
            .run(move |connection| {
                let sql =
                    "INSERT INTO claims (event_id, state, owner, fence, silences, died_sending,
                               until_ms, gone_ms, receipt)
                           VALUES (?1, 'done', '', 0, 0, 0, 0, ?2, '')
                           ON CONFLICT (event_id) DO UPDATE SET gone_ms = ?2 WHERE gone_ms <= ?3";
                connection.prepare_cached(sql)?.execute(params![key, expires, now])
            })
            .await
            .map(|changed| changed == 1)
    }

    async fn release(&self, nonce: &str) -> Result<(), Fault> {
        let key = key(nonce);
        let sql = "DELETE FROM claims WHERE event_id = ?1";
        self.store
            .run(move |connection| {
                connection.prepare_cached(sql)?.execute(params![key]).map(|_| ())
            })
            .await
    }

    async fn is_consumed(&self, nonce: &str) -> Result<bool, Fault> {
        let (key, now) = (key(nonce), self.clock.now().as_millisecond());
        let sql = "SELECT EXISTS (SELECT 1 FROM claims WHERE event_id = ?1 AND gone_ms > ?2)";
        self.store
            .run(move |connection| {
                connection.prepare_cached(sql)?.query_row(params![key, now], |row| row.get(0))
            })
            .await
    }
}
