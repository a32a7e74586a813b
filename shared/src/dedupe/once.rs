//! What may happen one time only: a sign-in's state is spent by its first callback.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use rusqlite::params;

use super::redis_link::RedisLink;
use crate::{clock::Clock, fault::Fault, sqlite::Store};

/// Where spent words are kept.
#[async_trait]
pub trait Once: Send + Sync {
    /// `true` for the first who spends this word; it is remembered for `keep`. After a failure nobody knows whether the
    /// word is spent.
    async fn spend(&self, word: &str, keep: Duration) -> Result<bool, Fault>;

    /// Whether this word has been spent, and is remembered.
    async fn is_spent(&self, word: &str) -> Result<bool, Fault>;
}

/// Words kept in Redis, shared by every replica.
pub struct RedisOnce {
    link: Arc<RedisLink>,
    prefix: String,
}

impl RedisOnce {
    /// Over `link`. Keys begin with `prefix`.
    pub fn new(link: Arc<RedisLink>, prefix: &str) -> Self {
        Self { link, prefix: prefix.to_owned() }
    }

    fn key(&self, word: &str) -> String {
        format!("{}:spent:{word}", self.prefix)
    }
}

#[async_trait]
impl Once for RedisOnce {
    async fn spend(&self, word: &str, keep: Duration) -> Result<bool, Fault> {
        let mut set = redis::cmd("SET");
        set.arg(self.key(word)).arg(1).arg("NX").arg("PX");
        set.arg(u64::try_from(keep.as_millis()).unwrap_or(u64::MAX));
        // "OK", or nil where the key is there already.
        let spent: Option<String> = self.link.tell(&set).await?;
        Ok(spent.is_some())
    }

    async fn is_spent(&self, word: &str) -> Result<bool, Fault> {
        let mut exists = redis::cmd("EXISTS");
        exists.arg(self.key(word));
        self.link.tell(&exists).await
    }
}

/// Words kept in the embedded engine's file.
pub struct EmbeddedOnce {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
}

impl EmbeddedOnce {
    /// In `store`.
    pub fn new(store: Arc<Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }
}

#[async_trait]
impl Once for EmbeddedOnce {
    async fn spend(&self, word: &str, keep: Duration) -> Result<bool, Fault> {
        // Beside the claims, which are cleaned by their end: a colon is in no event's id.
        let key = format!("spent:{word}");
        let now = self.clock.now().as_millisecond();
        let gone = now.saturating_add_unsigned(u64::try_from(keep.as_millis()).unwrap_or(u64::MAX));
        self.store
            .run(move |connection| {
                let sql = "INSERT INTO claims (event_id, state, owner, fence, silences, died_sending, until_ms, gone_ms, receipt)
                           VALUES (?1, 'done', '', 0, 0, 0, 0, ?2, '')
                           ON CONFLICT (event_id) DO UPDATE SET gone_ms = ?2 WHERE gone_ms <= ?3";
                connection.prepare_cached(sql)?.execute(params![key, gone, now])
            })
            .await
            .map(|changed| changed == 1)
    }

    async fn is_spent(&self, word: &str) -> Result<bool, Fault> {
        let (key, now) = (format!("spent:{word}"), self.clock.now().as_millisecond());
        let sql = "SELECT EXISTS (SELECT 1 FROM claims WHERE event_id = ?1 AND gone_ms > ?2)";
        self.store.run(move |connection| connection.prepare_cached(sql)?.query_row(params![key, now], |row| row.get(0))).await
    }
}
