//! Claims in the embedded engine's file.

use std::{borrow::Cow, sync::Arc, time::Duration};

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Claim, Completion, DedupeStore, Lease, Owner, Past, Sending, Terms, UNFINISHED_KEPT};
use crate::{clock::Clock, fault::Fault, ids::EventId, sqlite::Store};

/// Claims kept in SQLite, for one process.
pub struct EmbeddedDedupe {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    terms: Terms,
}

struct Record {
    state: String,
    owner: String,
    fence: i64,
    past: Past,
    until_ms: i64,
}

enum Claimed {
    Fresh { fence: i64, past: Past },
    Busy(Duration),
    Done,
}

impl EmbeddedDedupe {
    /// Claims in `store`, lasting as `terms` says.
    pub fn new(store: Arc<Store>, clock: Arc<dyn Clock>, terms: Terms) -> Self {
        Self { store, clock, terms }
    }

    fn now(&self) -> i64 {
        self.clock.now().as_millisecond()
    }
}

#[async_trait]
impl DedupeStore for EmbeddedDedupe {
    async fn claim(&self, event_id: &EventId, owner: Owner) -> Result<Claim, Fault> {
        let (key, who, now, terms) = (event_id.to_string(), owner.to_string(), self.now(), self.terms);
        let claimed = self.store.run(move |connection| claim(connection, &key, &who, now, terms)).await?;
        Ok(match claimed {
            Claimed::Fresh { fence, past } => Claim::Fresh(Lease::new(event_id.clone(), owner, fence, past)),
            Claimed::Busy(left) => Claim::Busy(left),
            Claimed::Done => Claim::Done,
        })
    }

    async fn sending(&self, lease: Lease) -> Result<Option<Sending>, (Lease, Fault)> {
        let (key, who, fence, now) = (lease.event_id.to_string(), lease.owner.to_string(), lease.fence, self.now());
        let until = plus(now, self.terms.sending);
        let announced = self.store.run(move |connection| {
            let sql = "UPDATE claims SET state = 'sending', until_ms = ?5, gone_ms = ?6
                       WHERE event_id = ?1 AND owner = ?2 AND fence = ?3 AND state IN ('lease', 'sending') AND until_ms > ?4";
            connection.prepare_cached(sql)?.execute(params![key, who, fence, now, until, plus(until, UNFINISHED_KEPT)])
        });
        match announced.await {
            Ok(ours) => Ok((ours == 1).then_some(Sending(lease))),
            Err(fault) => Err((lease, fault)),
        }
    }

    async fn complete(&self, sending: &Sending, receipt: &str) -> Result<Completion, Fault> {
        let Lease { event_id, owner, fence, .. } = &sending.0;
        let (key, who, fence, receipt) = (event_id.to_string(), owner.to_string(), *fence, receipt.to_owned());
        let gone = plus(self.now(), self.terms.done);
        self.store.run(move |connection| complete(connection, &key, &who, fence, gone, &receipt)).await
    }

    async fn release(&self, lease: Lease) -> Result<(), Fault> {
        let (key, who) = (lease.event_id.to_string(), lease.owner.to_string());
        self.store
            .run(move |connection| {
                let sql =
                    "UPDATE claims SET state = 'free', until_ms = 0 WHERE event_id = ?1 AND owner = ?2 AND fence = ?3 AND state <> 'done'";
                connection.prepare_cached(sql)?.execute(params![key, who, lease.fence]).map(drop)
            })
            .await
    }

    async fn doubt(&self, sending: Sending) -> Result<(), Fault> {
        let (key, who) = (sending.0.event_id.to_string(), sending.0.owner.to_string());
        self.store
            .run(move |connection| {
                let sql = "UPDATE claims SET state = 'free', until_ms = 0, silences = silences + 1
                           WHERE event_id = ?1 AND owner = ?2 AND fence = ?3 AND state = 'sending'";
                connection.prepare_cached(sql)?.execute(params![key, who, sending.0.fence]).map(drop)
            })
            .await
    }

    async fn ready(&self) -> Result<(), Cow<'static, str>> {
        self.store.run(|_| Ok(())).await.map_err(|fault| fault.detail)
    }
}

fn claim(connection: &Connection, key: &str, owner: &str, now: i64, terms: Terms) -> rusqlite::Result<Claimed> {
    let found = find(connection, key, now)?;
    let mut fence = 1;
    let mut past = Past::default();
    if let Some(Record { state, owner: holder, fence: last, past: before, until_ms }) = found {
        if state == "done" {
            return Ok(Claimed::Done);
        }
        let held = state != "free" && until_ms > now;
        if held && holder != owner {
            return Ok(Claimed::Busy(Duration::from_millis(u64::try_from(until_ms - now).unwrap_or(0))));
        }
        if held && state == "sending" {
            return Ok(Claimed::Fresh { fence: last, past: before });
        }
        fence = last + 1;
        // Still "sending" after its term: whoever wrote that is gone.
        past = Past { died_sending: before.died_sending || state == "sending", ..before };
    }
    let until = plus(now, terms.lease);
    let sql = "INSERT INTO claims (event_id, state, owner, fence, silences, died_sending, until_ms, gone_ms, receipt)
               VALUES (?1, 'lease', ?2, ?3, ?4, ?5, ?6, ?7, '')
               ON CONFLICT (event_id) DO UPDATE SET state = 'lease', owner = ?2, fence = ?3, silences = ?4, died_sending = ?5, until_ms = ?6, gone_ms = ?7";
    let gone = plus(until, UNFINISHED_KEPT);
    connection.prepare_cached(sql)?.execute(params![key, owner, fence, past.silences, past.died_sending, until, gone])?;
    Ok(Claimed::Fresh { fence, past })
}

fn complete(connection: &Connection, key: &str, owner: &str, fence: i64, gone: i64, receipt: &str) -> rusqlite::Result<Completion> {
    let found = find(connection, key, i64::MIN)?;
    let ours = found.as_ref().is_some_and(|record| record.owner == owner && record.fence == fence);
    if found.is_some_and(|record| record.state == "done") {
        return Ok(if ours { Completion::Recorded } else { Completion::Already });
    }
    let sql = "INSERT INTO claims (event_id, state, owner, fence, silences, died_sending, until_ms, gone_ms, receipt)
               VALUES (?1, 'done', ?2, ?3, 0, 0, 0, ?4, ?5)
               ON CONFLICT (event_id) DO UPDATE SET state = 'done', owner = ?2, fence = ?3, until_ms = 0, gone_ms = ?4, receipt = ?5";
    connection.prepare_cached(sql)?.execute(params![key, owner, fence, gone, receipt])?;
    Ok(if ours { Completion::Recorded } else { Completion::Late })
}

/// The record, unless its time to be forgotten has come.
fn find(connection: &Connection, key: &str, now: i64) -> rusqlite::Result<Option<Record>> {
    let sql = "SELECT state, owner, fence, silences, died_sending, until_ms FROM claims WHERE event_id = ?1 AND gone_ms > ?2";
    let read = |row: &rusqlite::Row<'_>| {
        let past = Past { silences: row.get(3)?, died_sending: row.get(4)? };
        Ok(Record { state: row.get(0)?, owner: row.get(1)?, fence: row.get(2)?, past, until_ms: row.get(5)? })
    };
    connection.prepare_cached(sql)?.query_row(params![key, now], read).optional()
}

fn plus(now: i64, duration: Duration) -> i64 {
    now.saturating_add_unsigned(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
