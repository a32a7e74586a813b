//! What the dedupe store has on record of an event, for whoever wants to know what became of it; and how an operator
//! takes the responsibility for a doubt.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use redis::Script;
use rusqlite::{OptionalExtension as _, params};

use super::redis_link::RedisLink;
use crate::{clock::Clock, fault::Fault, ids::EventId, sqlite::Store};

/// What is known of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// How far it has come.
    pub progress: Progress,
    /// How often the relay had the whole mail and did not answer.
    pub silences: u32,
    /// Whether a worker died after it had announced that it sends.
    pub died_sending: bool,
}

/// How far an event has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Nobody works on it.
    Free,
    /// A worker has it, and has not spoken to the relay.
    Leased,
    /// A worker speaks to the relay, or died doing so.
    Sending,
    /// The relay has the mail; this is its queue id.
    Sent(String),
}

/// Where the records are.
#[async_trait]
pub trait Records: Send + Sync {
    /// What is known of this event; `None` if nothing is, or no more.
    async fn find(&self, event_id: &EventId) -> Result<Option<Record>, Fault>;

    /// Forgets that a mail may be out, so that the event is mailed when it comes next. What has been sent stays sent.
    async fn forget_doubt(&self, event_id: &EventId) -> Result<(), Fault>;
}

fn progress(state: &str, receipt: String) -> Progress {
    match state {
        "done" => Progress::Sent(receipt),
        "sending" => Progress::Sending,
        "lease" => Progress::Leased,
        _ => Progress::Free,
    }
}

/// The records in Redis.
pub struct RedisRecords {
    link: Arc<RedisLink>,
    prefix: String,
    forget: Script,
}

impl RedisRecords {
    /// Over `link`. Keys begin with `prefix`.
    pub fn new(link: Arc<RedisLink>, prefix: &str) -> Self {
        Self { link, prefix: prefix.to_owned(), forget: Script::new(include_str!("scripts/forget_doubt.lua")) }
    }

    fn key(&self, event_id: &EventId) -> String {
        format!("{}:event:{event_id}", self.prefix)
    }
}

#[async_trait]
impl Records for RedisRecords {
    async fn find(&self, event_id: &EventId) -> Result<Option<Record>, Fault> {
        let mut get = redis::cmd("HGETALL");
        get.arg(self.key(event_id));
        let mut fields: HashMap<String, String> = self.link.tell(&get).await?;
        let Some(state) = fields.remove("state") else { return Ok(None) };
        let number = |name: &str| fields.get(name).and_then(|text| text.parse::<u32>().ok()).unwrap_or(0);
        let (silences, died_sending) = (number("silences"), number("died") == 1);
        let receipt = fields.remove("receipt").unwrap_or_default();
        Ok(Some(Record { progress: progress(&state, receipt), silences, died_sending }))
    }

    async fn forget_doubt(&self, event_id: &EventId) -> Result<(), Fault> {
        self.link.run::<i64>(&self.forget.key(self.key(event_id))).await.map(drop)
    }
}

/// The records in the embedded engine's file.
pub struct EmbeddedRecords {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
}

impl EmbeddedRecords {
    /// In `store`.
    pub fn new(store: Arc<Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }
}

#[async_trait]
impl Records for EmbeddedRecords {
    async fn find(&self, event_id: &EventId) -> Result<Option<Record>, Fault> {
        let (key, now) = (event_id.to_string(), self.clock.now().as_millisecond());
        self.store
            .run(move |connection| {
                let sql = "SELECT state, receipt, silences, died_sending FROM claims WHERE event_id = ?1 AND gone_ms > ?2";
                let read = |row: &rusqlite::Row<'_>| {
                    let state: String = row.get(0)?;
                    Ok(Record { progress: progress(&state, row.get(1)?), silences: row.get(2)?, died_sending: row.get(3)? })
                };
                connection.prepare_cached(sql)?.query_row(params![key, now], read).optional()
            })
            .await
    }

    async fn forget_doubt(&self, event_id: &EventId) -> Result<(), Fault> {
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
