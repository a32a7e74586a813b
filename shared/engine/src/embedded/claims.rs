//! Claims in the embedded engine's file.

use std::{borrow::Cow, sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::{
    claims::{
        Claim, ClaimStore, Completion, History, Lease, Owner, Sending, Terms, UNFINISHED_KEPT,
        adapter,
    },
    clock::{Clock, milliseconds_after},
    fault::Fault,
    ids::{EventId, UserId},
};
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::recent_users::RecentUsers;
use crate::sqlite::Store;

/// Claims kept in SQLite, for one process.
pub struct EmbeddedClaims {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    terms: Terms,
    users: Option<Arc<Mutex<RecentUsers>>>,
}

struct Record {
    state: String,
    owner: String,
    fence: i64,
    history: History,
    until_ms: i64,
}

enum Claimed {
    Fresh { fence: i64, history: History },
    Busy(Duration),
    Done,
    OverLimit,
}

impl EmbeddedClaims {
    /// Keeps claims in `store` for as long as `terms` says.
    pub fn new(store: Arc<Store>, clock: Arc<dyn Clock>, terms: Terms) -> Self {
        let users = terms.user_limit.map(|limit| Arc::new(Mutex::new(RecentUsers::new(limit))));
        Self { store, clock, terms, users }
    }

    fn now(&self) -> i64 {
        self.clock.now().as_millisecond()
    }
}

#[async_trait]
impl ClaimStore for EmbeddedClaims {
    async fn claim(
        &self,
        event_id: &EventId,
        user: Option<&UserId>,
        owner: Owner,
    ) -> Result<Claim, Fault> {
        let (key, who, now, lease) =
            (event_id.to_string(), owner.to_string(), self.now(), self.terms.lease);
        let (users, user) = (self.users.clone(), user.cloned());
        let claimed = self.store.run(move |connection| {
            let found = find(connection, &key, now)?;
            let limited = users.zip(user).filter(|_| found.is_none());
            if limited.is_some_and(|(users, user)| !users.lock().admit(user, now)) {
                return Ok(Claimed::OverLimit);
            }
            claim(connection, &key, found, &who, now, lease)
        });
        Ok(match claimed.await? {
            Claimed::OverLimit => Claim::OverLimit,
            Claimed::Fresh { fence, history } => {
                Claim::Fresh(adapter::lease(event_id.clone(), owner, fence, history))
            }
            Claimed::Busy(left) => Claim::Busy(left),
            Claimed::Done => Claim::Done,
        })
    }

    async fn sending(&self, lease: Lease) -> Result<Option<Sending>, (Lease, Fault)> {
        let (key, who, fence, now) =
            (lease.event_id().to_string(), lease.owner().to_string(), lease.fence(), self.now());
        let until = milliseconds_after(now, self.terms.sending);
        let announced = self.store.run(move |connection| {
            let sql = "UPDATE claims SET state = 'sending', until_ms = ?5, gone_ms = ?6
                       WHERE event_id = ?1 AND owner = ?2 AND fence = ?3
                            AND state IN ('lease', 'sending') AND until_ms > ?4";
            let kept = milliseconds_after(until, UNFINISHED_KEPT);
            connection.prepare_cached(sql)?.execute(params![key, who, fence, now, until, kept])
        });
        match announced.await {
            Ok(ours) => Ok((ours == 1).then(|| adapter::sending(lease))),
            Err(fault) => Err((lease, fault)),
        }
    }

    async fn complete(&self, sending: &Sending, receipt: &str) -> Result<Completion, Fault> {
        let lease = sending.lease();
        let (key, who, fence) =
            (lease.event_id().to_string(), lease.owner().to_string(), lease.fence());
        let receipt = receipt.to_owned();
        let expires = milliseconds_after(self.now(), self.terms.done);
        self.store
            .run(move |connection| complete(connection, &key, &who, fence, expires, &receipt))
            .await
    }

    async fn release(&self, lease: Lease) -> Result<(), Fault> {
        let (key, who, fence) =
            (lease.event_id().to_string(), lease.owner().to_string(), lease.fence());
        self.store
            .run(move |connection| {
                let sql = "UPDATE claims SET state = 'free', until_ms = 0 \
                     WHERE event_id = ?1 AND owner = ?2 AND fence = ?3 AND state <> 'done'";
                connection.prepare_cached(sql)?.execute(params![key, who, fence]).map(drop)
            })
            .await
    }

    async fn doubt(&self, sending: Sending) -> Result<(), Fault> {
        let lease = sending.lease();
        let (key, who, fence) =
            (lease.event_id().to_string(), lease.owner().to_string(), lease.fence());
        self.store
            .run(move |connection| {
                let sql = "UPDATE claims SET state = 'free', until_ms = 0, silences = silences + 1
                           WHERE event_id = ?1 AND owner = ?2 AND fence = ?3 AND state = 'sending'";
                connection.prepare_cached(sql)?.execute(params![key, who, fence]).map(drop)
            })
            .await
    }

    async fn ready(&self) -> Result<(), Cow<'static, str>> {
        self.store.run(|_| Ok(())).await.map_err(|fault| fault.detail)
    }
}

fn claim(
    connection: &Connection,
    key: &str,
    found: Option<Record>,
    owner: &str,
    now: i64,
    lease: Duration,
) -> rusqlite::Result<Claimed> {
    let mut fence = 1;
    let mut history = History::default();
    if let Some(Record { state, owner: holder, fence: last, history: before, until_ms }) = found {
        if state == "done" {
            return Ok(Claimed::Done);
        }
        let held = state != "free" && until_ms > now;
        if held && holder != owner {
            return Ok(Claimed::Busy(Duration::from_millis(
                u64::try_from(until_ms - now).unwrap_or(0),
            )));
        }
        if held && state == "sending" {
            return Ok(Claimed::Fresh { fence: last, history: before });
        }
        fence = last + 1;
        // Still "sending" after its term: that owner crashed.
        history =
            History { crashed_sending: before.crashed_sending || state == "sending", ..before };
    }
    let until = milliseconds_after(now, lease);
    let sql = "INSERT INTO claims (event_id, state, owner, fence, silences, died_sending, until_ms, gone_ms, receipt)
               VALUES (?1, 'lease', ?2, ?3, ?4, ?5, ?6, ?7, '')
               ON CONFLICT (event_id) DO UPDATE SET state = 'lease', owner = ?2, fence = ?3,
                   silences = ?4, died_sending = ?5, until_ms = ?6, gone_ms = ?7";
    let expires = milliseconds_after(until, UNFINISHED_KEPT);
    connection.prepare_cached(sql)?.execute(params![
        key,
        owner,
        fence,
        history.unanswered_sends,
        history.crashed_sending,
        until,
        expires
    ])?;
    Ok(Claimed::Fresh { fence, history })
}

fn complete(
    connection: &Connection,
    key: &str,
    owner: &str,
    fence: i64,
    expires: i64,
    receipt: &str,
) -> rusqlite::Result<Completion> {
    let found = find(connection, key, i64::MIN)?;
    let ours = found.as_ref().is_some_and(|record| record.owner == owner && record.fence == fence);
    if found.is_some_and(|record| record.state == "done") {
        return Ok(if ours { Completion::Recorded } else { Completion::Already });
    }
    let sql = "INSERT INTO claims (event_id, state, owner, fence, silences, died_sending, until_ms, gone_ms, receipt)
               VALUES (?1, 'done', ?2, ?3, 0, 0, 0, ?4, ?5)
               ON CONFLICT (event_id) DO UPDATE SET state = 'done', owner = ?2, fence = ?3,
                   until_ms = 0, gone_ms = ?4, receipt = ?5";
    connection.prepare_cached(sql)?.execute(params![key, owner, fence, expires, receipt])?;
    Ok(if ours { Completion::Recorded } else { Completion::Late })
}

/// The record, unless it has expired.
fn find(connection: &Connection, key: &str, now: i64) -> rusqlite::Result<Option<Record>> {
    let sql = "SELECT state, owner, fence, silences, died_sending, until_ms FROM claims \
               WHERE event_id = ?1 AND gone_ms > ?2";
    let record = |row: &rusqlite::Row<'_>| {
        let history = History { unanswered_sends: row.get(3)?, crashed_sending: row.get(4)? };
        Ok(Record {
            state: row.get(0)?,
            owner: row.get(1)?,
            fence: row.get(2)?,
            history,
            until_ms: row.get(5)?,
        })
    };
    connection.prepare_cached(sql)?.query_row(params![key, now], record).optional()
}
