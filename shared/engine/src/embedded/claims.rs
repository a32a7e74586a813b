//! Claims in the embedded engine's file.

use std::{borrow::Cow, sync::Arc};

use async_trait::async_trait;
use domain::{
    claims::{
        Announced, Claim, ClaimStore, Completion, GivenBack, Lease, Next, Owner, Sending, Subject,
        Terms, adapter,
    },
    clock::{Clock, milliseconds_after},
    fault::Fault,
    records::DEAD_KEPT,
};
use jiff::Timestamp;
use parking_lot::Mutex;
use rusqlite::{Connection, params};

use self::claim::{Asked, Claimed, claim, find, keep};
use super::{users, with_slack};
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

    async fn give_back(
        &self,
        lease: &Lease,
        unanswered: bool,
        then: &GivenBack,
    ) -> Result<(), Fault> {
        let (key, who, fence) =
            (lease.event_id().to_string(), lease.owner().to_string(), lease.fence());
        let GivenBack { next, failure } = then.clone();
        let next_at = next.retry_at().map(Timestamp::as_millisecond);
        let dead = (next == Next::DeadLetter).then(|| milliseconds_after(self.now(), DEAD_KEPT));
        self.store
            .run(move |connection| {
                let sql = "UPDATE claims SET state = ?4, until_ms = 0, silences = silences + ?5, failure = ?6,
                                next_ms = ?7, gone_ms = coalesce(?8, gone_ms)
                           WHERE event_id = ?1 AND owner = ?2 AND fence = ?3 AND state IN ('lease', 'sending')";
                let values = params![key, who, fence, next.state(), unanswered, failure, next_at, dead];
                connection.prepare_cached(sql)?.execute(values).map(drop)
            })
            .await
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
        let announced = self.store.run(move |connection| {
            let superseded = users::is_superseded(connection, &subject)?;
            let (state, until) = if superseded { ("superseded", 0) } else { ("sending", until) };
            let sql = "UPDATE claims SET state = ?6, until_ms = ?5
                       WHERE event_id = ?1 AND owner = ?2 AND fence = ?3
                            AND state IN ('lease', 'sending') AND until_ms > ?4";
            let key = subject.event_id().as_str();
            let changed = connection
                .prepare_cached(sql)?
                .execute(params![key, who, fence, now, until, state])?;
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
                let sent = Sent { key: &key, owner: &who, fence, now, expires, receipt: &receipt };
                complete(connection, &sent)
            })
            .await
    }

    async fn release(&self, lease: Lease, then: &GivenBack) -> Result<(), Fault> {
        self.give_back(&lease, false, then).await
    }

    async fn doubt(&self, sending: Sending, then: &GivenBack) -> Result<(), Fault> {
        self.give_back(sending.lease(), true, then).await
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

/// A mail that was sent.
struct Sent<'a> {
    key: &'a str,
    owner: &'a str,
    fence: i64,
    now: i64,
    expires: i64,
    receipt: &'a str,
}

fn complete(connection: &Connection, sent: &Sent<'_>) -> rusqlite::Result<Completion> {
    let Sent { key, owner, fence, now, expires, receipt } = *sent;
    let found = find(connection, key, i64::MIN)?;
    let ours = found.as_ref().is_some_and(|record| record.owner == owner && record.fence == fence);
    if found.is_some_and(|record| record.state == "done") {
        return Ok(if ours { Completion::Recorded } else { Completion::Already });
    }
    let sql = "INSERT INTO claims (event_id, state, owner, fence, silences, died_sending, until_ms, gone_ms, receipt,
                   sent_ms)
               VALUES (?1, 'done', ?2, ?3, 0, 0, 0, ?4, ?5, ?6)
               ON CONFLICT (event_id) DO UPDATE SET state = 'done', owner = ?2, fence = ?3,
                   until_ms = 0, receipt = ?5, sent_ms = ?6, next_ms = NULL";
    let values = params![key, owner, fence, with_slack(expires), receipt, now];
    connection.prepare_cached(sql)?.execute(values)?;
    keep(connection, key, expires)?;
    Ok(if ours { Completion::Recorded } else { Completion::Late })
}
