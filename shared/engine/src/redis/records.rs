//! The records of events in Redis.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use domain::{
    claims::{History, UNFINISHED_KEPT},
    clock::milliseconds,
    fault::Fault,
    ids::EventId,
    records::{Progress, Record, Records},
};
use redis::Script;

use super::{connection::RedisConnection, event_key};

/// The [`Records`] that are kept in Redis.
pub struct RedisRecords {
    connection: Arc<RedisConnection>,
    prefix: String,
    clear_doubt: Script,
    lift_limit: Script,
}

impl RedisRecords {
    /// Reads records over `connection`, under keys that begin with `prefix`.
    pub fn new(connection: Arc<RedisConnection>, prefix: &str) -> Self {
        let clear_doubt = Script::new(include_str!("scripts/clear_doubt.lua"));
        let lift_limit = Script::new(include_str!("scripts/lift_limit.lua"));
        Self { connection, prefix: prefix.to_owned(), clear_doubt, lift_limit }
    }
}

#[async_trait]
impl Records for RedisRecords {
    async fn find(&self, event_id: &EventId) -> Result<Option<Record>, Fault> {
        let mut get = redis::cmd("HGETALL");
        get.arg(event_key(&self.prefix, event_id));
        let mut fields: HashMap<String, String> = self.connection.command(&get).await?;
        let Some(state) = fields.remove("state") else { return Ok(None) };
        let number =
            |name: &str| fields.get(name).and_then(|text| text.parse::<u32>().ok()).unwrap_or(0);
        let history =
            History { unanswered_sends: number("silences"), crashed_sending: number("died") == 1 };
        let receipt = fields.remove("receipt").unwrap_or_default();
        Ok(Some(Record { progress: Progress::from_state(&state, receipt), history }))
    }

    async fn lift_limit(&self, event_id: &EventId) -> Result<(), Fault> {
        let mut call = self.lift_limit.key(event_key(&self.prefix, event_id));
        call.arg(milliseconds(UNFINISHED_KEPT));
        self.connection.script::<i64>(&call).await.map(drop)
    }

    async fn clear_doubt(&self, event_id: &EventId) -> Result<(), Fault> {
        self.connection
            .script::<i64>(&self.clear_doubt.key(event_key(&self.prefix, event_id)))
            .await
            .map(drop)
    }
}
