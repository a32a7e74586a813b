//! Claims in the embedded engine's file.

use std::{borrow::Cow, sync::Arc};

use async_trait::async_trait;
use domain::{
    claims::{
        Announced, Claim, ClaimStore, Completion, Lease, Owner, Sending, Subject, Terms,
        UNFINISHED_KEPT, adapter,
    },
    clock::{Clock, milliseconds_after},
    fault::Fault,
};
use parking_lot::Mutex;
use rusqlite::{Connection, params};

use self::claim::{Asked, Claimed, claim, find};
use super::users;
use crate::sqlite::Store;

mod claim;

/// Claims kept in SQLite, for one process.
pub struct EmbeddedClaims {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    terms: Terms,
    /// When the next mail is due, by the limit for all users. A restart may count anew.
    due: Arc<Mutex<i64>>,
}

impl EmbeddedClaims {
    /// Keeps claims in `store` for as long as `terms` says.
    pub fn new(store: Arc<Store>, clock: Arc<dyn Clock>, terms: Terms) -> Self {
        Self { store, clock, terms, due: Arc::default() }
    }

    fn now(&self) -> i64 {
        self.clock.now().as_millisecond()
    }
}

#[async_trait]
impl ClaimStore for EmbeddedClaims {
    async fn claim(&self, subject: &Subject, owner: Owner) -> Result<Claim, Fault> {
        let asked = Asked {
            subject: subject.clone(),
            owner: owner.to_string(),
            now: self.now(),
            terms: self.terms,
            due: Arc::clone(&self.due),
        };
        let claimed = self.store.run(move |connection| claim(connection, &asked));
        Ok(match claimed.await? {
            Claimed::Fresh { fence, history } => {
                Claim::Fresh(adapter::lease(subject.clone(), owner, fence, history))
            }
            Claimed::Busy(left) => Claim::Busy(left),
            Claimed::Done => Claim::Done,
            Claimed::Refused(refusal) => refusal,
        })
    }

    async fn sending(&self, lease: Lease) -> Result<Announced, (Lease, Fault)> {
        let (subject, who, fence, now) =
            (lease.subject().clone(), lease.owner().to_string(), lease.fence(), self.now());
        let until = milliseconds_after(now, self.terms.sending);
        let finished = milliseconds_after(now, self.terms.done);
        let announced = self.store.run(move |connection| {
            let superseded = users::is_superseded(connection, &subject)?;
            let (state, until, gone) = if superseded {
                ("superseded", 0, finished)
            } else {
                ("sending", until, milliseconds_after(until, UNFINISHED_KEPT))
            };
            let sql = "UPDATE claims SET state = ?7, until_ms = ?5, gone_ms = ?6
                       WHERE event_id = ?1 AND owner = ?2 AND fence = ?3
                            AND state IN ('lease', 'sending') AND until_ms > ?4";
            let key = subject.event_id.as_str();
            let changed = connection
                .prepare_cached(sql)?
                .execute(params![key, who, fence, now, until, gone, state])?;
            Ok((changed == 1, superseded))
        });
        match announced.await {
            Ok((true, true)) => Ok(Announced::Superseded),
            Ok((true, false)) => Ok(Announced::Sending(adapter::sending(lease))),
            Ok((false, _)) => Ok(Announced::Lost),
            Err(fault) => Err((lease, fault)),
        }
    }

    async fn complete(&self, sending: &Sending, receipt: &str) -> Result<Completion, Fault> {
        let lease = sending.lease();
        let (key, who, fence) =
            (lease.event_id().to_string(), lease.owner().to_string(), lease.fence());
        let receipt = receipt.to_owned();
        let (subject, now, kept) = (lease.subject().clone(), self.now(), self.terms.user_limit);
        let expires = milliseconds_after(now, self.terms.done);
        self.store
            .run(move |connection| {
                users::change(connection, &subject, now, kept, |user| {
                    user.with_mail(subject.created())
                })?;
                complete(connection, &key, &who, fence, expires, &receipt)
            })
            .await
    }

    async fn release(&self, lease: Lease) -> Result<(), Fault> {
        let (key, who, fence) =
            (lease.event_id().to_string(), lease.owner().to_string(), lease.fence());
        self.store
            .run(move |connection| {
                let sql = "UPDATE claims SET state = 'free', until_ms = 0 \
                     WHERE event_id = ?1 AND owner = ?2 AND fence = ?3 AND state IN ('lease', 'sending')";
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

    async fn withdraw(&self, subject: &Subject) -> Result<(), Fault> {
        let (subject, now, kept) = (subject.clone(), self.now(), self.terms.user_limit);
        let without = move |connection: &Connection| {
            users::change(connection, &subject, now, kept, |user| {
                user.without_event(subject.created())
            })
        };
        self.store.run(without).await
    }

    async fn ready(&self) -> Result<(), Cow<'static, str>> {
        self.store.run(|_| Ok(())).await.map_err(|fault| fault.detail)
    }
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
