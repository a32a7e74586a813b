//! The records of events in Redis.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use async_trait::async_trait;
use domain::{
    claims::{History, UNFINISHED_KEPT},
    clock::{Clock, milliseconds},
    event::EventKind,
    fault::Fault,
    ids::{EventId, MagicAuthId, UserId},
    records::{Facts, Progress, Record, RecordKey, Records, sort},
};
use jiff::{SignedDuration, Timestamp};

use super::{
    EVENT, OBJECT, USER,
    call::{Call, Script},
    connection::RedisConnection,
    event_key, index,
};

/// Events that are asked for in one call.
const BATCH: usize = 256;

/// The [`Records`] that are kept in Redis.
pub struct RedisRecords {
    connection: Arc<RedisConnection>,
    prefix: String,
    clock: Arc<dyn Clock>,
    clear_doubt: Script,
    lift_limit: Script,
    redriven: Script,
}

impl RedisRecords {
    /// Reads records over `connection`. `clock` says which days they may be of.
    pub fn new(connection: Arc<RedisConnection>, clock: Arc<dyn Clock>) -> Self {
        Self {
            prefix: connection.prefix().to_owned(),
            connection,
            clock,
            clear_doubt: Script::new(include_str!("scripts/clear_doubt.lua")),
            lift_limit: Script::new(include_str!("scripts/lift_limit.lua")),
            redriven: Script::new(include_str!("scripts/redriven.lua")),
        }
    }

    async fn read(&self, events: &[EventId]) -> Result<Vec<Record>, Fault> {
        let mut records = Vec::new();
        for batch in events.chunks(BATCH) {
            let read = |event| Call::command("HGETALL", event_key(&self.prefix, event));
            let reads: Vec<Call<'_>> = batch.iter().map(read).collect();
            let found: Vec<Fields> = self.connection.calls(&reads).await?;
            records.extend(batch.iter().zip(found).filter_map(|(id, fields)| record(id, &fields)));
        }
        Ok(records)
    }

    /// Events that may be of this object or user.
    async fn candidates(&self, id: &str) -> Result<Vec<EventId>, Fault> {
        let read = |list| {
            let mut read = Call::command("LRANGE", list);
            read.arg(0).arg(-1);
            read
        };
        let lists = index::all(&self.prefix, id, self.clock.now()).into_iter();
        let reads: Vec<Call<'_>> = lists.map(read).collect();
        let lists: Vec<Vec<String>> = self.connection.calls(&reads).await?;
        let ids: BTreeSet<String> = lists.into_iter().flatten().collect();
        Ok(ids.iter().filter_map(|id| EventId::parse(index::long(id, EVENT)).ok()).collect())
    }
}

type Fields = HashMap<String, String>;

fn record(event_id: &EventId, fields: &Fields) -> Option<Record> {
    let state = fields.get("state")?;
    let text = |name: &str| fields.get(name).filter(|text| !text.is_empty()).cloned();
    let number = |name: &str| fields.get(name)?.parse::<i64>().ok();
    let small = |name: &str| number(name).and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    let created = number("c");
    let after = |name: &str| {
        let distance = SignedDuration::from_millis(number(name)?);
        Timestamp::from_millisecond(created?).ok()?.checked_add(distance).ok()
    };
    let history =
        History { unanswered_sends: small("silences"), crashed_sending: small("died") == 1 };
    let progress = match state.as_str() {
        "accepted" => Progress::Accepted,
        "lease" => Progress::Leased,
        "sending" => Progress::Sending,
        "done" => Progress::Sent { receipt: text("receipt").unwrap_or_default(), at: after("s") },
        "superseded" => Progress::Superseded,
        "expired" => Progress::Expired,
        "dead" => Progress::Dead,
        _ => Progress::Waiting { next_at: after("x") },
    };
    let facts = || {
        Some(Facts {
            kind: EventKind::MagicAuthCreated,
            object_id: MagicAuthId::parse(index::long(&text("o")?, OBJECT)).ok()?,
            user_id: text("u").and_then(|user| UserId::parse(index::long(&user, USER)).ok()),
            created_at: Timestamp::from_millisecond(created?).ok()?,
            expires_at: after("e")?,
            accepted_at: after("a")?,
            trace_id: text("t"),
        })
    };
    Some(Record {
        event_id: event_id.clone(),
        facts: facts(),
        progress,
        attempt: small("n"),
        failure: text("w"),
        history,
    })
}

#[async_trait]
impl Records for RedisRecords {
    async fn find(&self, key: &RecordKey) -> Result<Vec<Record>, Fault> {
        let mut found = match key {
            RecordKey::Event(event) => return self.read(std::slice::from_ref(event)).await,
            RecordKey::Object(object) => {
                let records = self.read(&self.candidates(object.as_str()).await?).await?;
                records
                    .into_iter()
                    .filter(|record| of(record, |facts| facts.object_id == *object))
                    .collect()
            }
            RecordKey::User(user) => {
                let records = self.read(&self.candidates(user.as_str()).await?).await?;
                let theirs =
                    |record: &Record| of(record, |facts| facts.user_id.as_ref() == Some(user));
                records.into_iter().filter(theirs).collect::<Vec<_>>()
            }
        };
        sort(&mut found);
        Ok(found)
    }

    async fn lift_limit(&self, event_id: &EventId) -> Result<(), Fault> {
        let mut call = self.lift_limit.key(event_key(&self.prefix, event_id));
        call.arg(milliseconds(UNFINISHED_KEPT));
        self.connection.call::<i64>(&call).await.map(drop)
    }

    async fn clear_doubt(&self, event_id: &EventId) -> Result<(), Fault> {
        self.connection
            .call::<i64>(&self.clear_doubt.key(event_key(&self.prefix, event_id)))
            .await
            .map(drop)
    }

    async fn redriven(&self, events: &[EventId]) -> Result<(), Fault> {
        for event in events {
            let call = self.redriven.key(event_key(&self.prefix, event));
            self.connection.call::<i64>(&call).await?;
        }
        Ok(())
    }
}

fn of(record: &Record, is_wanted: impl Fn(&Facts) -> bool) -> bool {
    record.facts.as_ref().is_some_and(is_wanted)
}
