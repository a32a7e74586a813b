//! The records of events in the embedded engine's file: the columns of their claims.

use std::sync::Arc;

use async_trait::async_trait;
use domain::{
    claims::{History, UNFINISHED_KEPT},
    clock::{Clock, milliseconds_after},
    event::{EventKind, QueuedEvent},
    fault::Fault,
    ids::{EventId, MagicAuthId, UserId},
    records::{Facts, Progress, Record, RecordKey, Records},
};
use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use super::with_slack;
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

/// Makes the record of an event, unless there is one, and keeps it until `until_ms` at least.
pub(super) fn create(
    connection: &Connection,
    event: &QueuedEvent,
    accepted_ms: i64,
    until_ms: i64,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO claims (event_id, state, owner, fence, silences, died_sending, until_ms, gone_ms, receipt,
                   object_id, user_id, created_ms, expires_ms, accepted_ms, trace_id)
               VALUES (?1, 'accepted', '', 0, 0, 0, 0, ?2, '', ?3, ?4, ?5, ?6, ?7, ?8)
               ON CONFLICT (event_id) DO NOTHING";
    let values = params![
        event.event_id.as_str(),
        with_slack(until_ms),
        event.object_id.as_str(),
        event.user_id.as_ref().map(UserId::as_str),
        event.created_at.as_millisecond(),
        event.expires_at.as_millisecond(),
        accepted_ms,
        event.trace_id(),
    ];
    connection.prepare_cached(sql)?.execute(values).map(drop)
}

/// A dead letter waits in the queue again.
pub(super) fn redriven(connection: &Connection, event: &EventId) -> rusqlite::Result<()> {
    let sql =
        "UPDATE claims SET state = 'free', next_ms = NULL WHERE event_id = ?1 AND state = 'dead'";
    connection.prepare_cached(sql)?.execute([event.as_str()]).map(drop)
}

/// The records that `condition` selects; its parameter ?2 is the current time.
const SELECT: &str =
    "SELECT event_id, state, receipt, silences, died_sending, object_id, user_id, created_ms,
        expires_ms, accepted_ms, trace_id, attempt, failure, next_ms, sent_ms
    FROM claims WHERE gone_ms > ?2 AND ";

fn record(row: &Row<'_>) -> rusqlite::Result<Option<Record>> {
    let text = |name: &str| row.get::<_, Option<String>>(name);
    let time = |name: &str| {
        row.get::<_, Option<i64>>(name)
            .map(|ms| ms.and_then(|ms| Timestamp::from_millisecond(ms).ok()))
    };
    let state: String = row.get("state")?;
    let progress = match state.as_str() {
        "accepted" => Progress::Accepted,
        "lease" => Progress::Leased,
        "sending" => Progress::Sending,
        "done" => Progress::Sent { receipt: row.get("receipt")?, at: time("sent_ms")? },
        "superseded" => Progress::Superseded,
        "expired" => Progress::Expired,
        "dead" => Progress::Dead,
        _ => Progress::Waiting { next_at: time("next_ms")? },
    };
    let (object, created, expires, accepted) =
        (text("object_id")?, time("created_ms")?, time("expires_ms")?, time("accepted_ms")?);
    let user_id = text("user_id")?.and_then(|user| UserId::parse(user).ok());
    let trace_id = text("trace_id")?;
    let facts = || {
        Some(Facts {
            kind: EventKind::MagicAuthCreated,
            object_id: MagicAuthId::parse(object?).ok()?,
            user_id,
            created_at: created?,
            expires_at: expires?,
            accepted_at: accepted?,
            trace_id,
        })
    };
    let Ok(event_id) = EventId::parse(row.get::<_, String>("event_id")?) else { return Ok(None) };
    Ok(Some(Record {
        event_id,
        facts: facts(),
        progress,
        attempt: row.get::<_, Option<u32>>("attempt")?.unwrap_or(0),
        failure: text("failure")?.filter(|failure| !failure.is_empty()),
        history: History {
            unanswered_sends: row.get("silences")?,
            crashed_sending: row.get("died_sending")?,
        },
    }))
}

#[async_trait]
impl Records for EmbeddedRecords {
    async fn find(&self, key: &RecordKey) -> Result<Vec<Record>, Fault> {
        let (condition, id) = match key {
            RecordKey::Event(event) => ("event_id = ?1", event.to_string()),
            RecordKey::Object(object) => ("object_id = ?1 ORDER BY created_ms", object.to_string()),
            RecordKey::User(user) => ("user_id = ?1 ORDER BY created_ms", user.to_string()),
        };
        let now = self.clock.now().as_millisecond();
        self.store
            .read(move |connection| {
                let mut select = connection.prepare_cached(&format!("{SELECT}{condition}"))?;
                let records = select.query_map(params![id, now], record)?;
                Ok(records.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
            })
            .await
    }

    async fn lift_limit(&self, event_id: &EventId) -> Result<(), Fault> {
        let key = event_id.to_string();
        let until = milliseconds_after(self.clock.now().as_millisecond(), UNFINISHED_KEPT);
        self.store
            .run(move |connection| {
                let sql = "INSERT INTO claims (event_id, state, owner, fence, silences, died_sending, until_ms, \
                           gone_ms, receipt) VALUES (?1, 'free', '', 1, 0, 0, 0, ?2, '') \
                           ON CONFLICT (event_id) DO UPDATE SET state = 'free', fence = 1 WHERE fence = 0";
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

    async fn redriven(&self, events: &[EventId]) -> Result<(), Fault> {
        let events = events.to_vec();
        self.store
            .run(move |connection| events.iter().try_for_each(|event| redriven(connection, event)))
            .await
    }
}
