//! One claim on one event, within a transaction.

use std::{sync::Arc, time::Duration};

use domain::{
    claims::{Claim, History, Limit, Subject, Terms, UNFINISHED_KEPT, users::Admission},
    clock::milliseconds_after,
};
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::embedded::users;

pub(super) struct Record {
    pub(super) state: String,
    pub(super) owner: String,
    pub(super) fence: i64,
    history: History,
    until_ms: i64,
}

pub(super) enum Claimed {
    Fresh { fence: i64, history: History },
    Busy(Duration),
    Done,
    Refused(Claim),
}

/// A claim that is asked for.
pub(super) struct Asked {
    pub(super) subject: Subject,
    pub(super) owner: String,
    pub(super) now: i64,
    pub(super) terms: Terms,
    pub(super) due: Arc<Mutex<i64>>,
}

impl Asked {
    /// What stands in the way of an event that nobody holds.
    fn refusal(&self, connection: &Connection, is_new: bool) -> rusqlite::Result<Option<Claim>> {
        let Self { subject, now, terms, .. } = self;
        let Some(user) = &subject.user else { return Ok(None) };
        let known = users::find(connection, user, *now)?;
        let limit = |limit: Option<Limit>| limit.filter(|_| is_new);
        let admission =
            known.admit(subject.created(), subject.gives_way, limit(terms.user_limit), *now);
        let admitted = match admission {
            Admission::Admitted(admitted) => admitted,
            Admission::Superseded => return Ok(Some(Claim::Superseded)),
            Admission::GivesWay => return Ok(Some(Claim::GivesWay)),
            Admission::OverLimit => return Ok(Some(Claim::OverLimit)),
        };
        if let Some(limit) = limit(terms.mail_limit) {
            let mut due = self.due.lock();
            match limit.take(*due, *now) {
                Ok(next) => *due = next,
                Err(wait) => return Ok(Some(Claim::Held(wait))),
            }
        }
        users::store(connection, user, admitted, *now, terms.user_limit)?;
        Ok(None)
    }
}

/// Claims an event, if nothing stands in the way.
pub(super) fn claim(connection: &Connection, asked: &Asked) -> rusqlite::Result<Claimed> {
    let Asked { subject, owner, now, terms, .. } = asked;
    let found = find(connection, subject.event_id.as_str(), *now)?;
    let is_new = found.is_none();
    let (mut fence, mut history, mut held) = (1, History::default(), false);
    if let Some(Record { state, owner: holder, fence: last, history: before, until_ms }) = found {
        // One process at a time uses the file: an earlier one works on nothing any more.
        let is_alive = process_of(&holder) == process_of(owner);
        held = matches!(state.as_str(), "lease" | "sending") && until_ms > *now && is_alive;
        match state.as_str() {
            "done" => return Ok(Claimed::Done),
            "superseded" => return Ok(Claimed::Refused(Claim::Superseded)),
            _ if held && holder != *owner => {
                let left = u64::try_from(until_ms - now).unwrap_or(0);
                return Ok(Claimed::Busy(Duration::from_millis(left)));
            }
            "sending" if held => return Ok(Claimed::Fresh { fence: last, history: before }),
            _ => {}
        }
        fence = last + 1;
        // Still "sending" after its term: that owner crashed.
        history =
            History { crashed_sending: before.crashed_sending || state == "sending", ..before };
    }
    let refusal = if held { None } else { asked.refusal(connection, is_new)? };
    let until = milliseconds_after(*now, terms.lease);
    match refusal {
        None => {
            let gone = milliseconds_after(until, UNFINISHED_KEPT);
            store(connection, asked, ("lease", until, gone), (fence, history))?;
            Ok(Claimed::Fresh { fence, history })
        }
        Some(Claim::Superseded) => {
            let gone = milliseconds_after(*now, terms.done);
            store(connection, asked, ("superseded", 0, gone), (fence, history))?;
            Ok(Claimed::Refused(Claim::Superseded))
        }
        Some(refusal) => Ok(Claimed::Refused(refusal)),
    }
}

/// The part of an owner's text that is the same for all owners of a process.
fn process_of(owner: &str) -> &str {
    owner.split('-').next().unwrap_or_default()
}

fn store(
    connection: &Connection,
    Asked { subject, owner, .. }: &Asked,
    (state, until, gone): (&str, i64, i64),
    (fence, history): (i64, History),
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO claims (event_id, state, owner, fence, silences, died_sending, until_ms, gone_ms, receipt)
               VALUES (?1, ?8, ?2, ?3, ?4, ?5, ?6, ?7, '')
               ON CONFLICT (event_id) DO UPDATE SET state = ?8, owner = ?2, fence = ?3,
                   silences = ?4, died_sending = ?5, until_ms = ?6, gone_ms = ?7";
    let (key, History { unanswered_sends, crashed_sending }) = (subject.event_id.as_str(), history);
    let values = params![key, owner, fence, unanswered_sends, crashed_sending, until, gone, state];
    connection.prepare_cached(sql)?.execute(values).map(drop)
}

/// The record, unless it has expired.
pub(super) fn find(
    connection: &Connection,
    key: &str,
    now: i64,
) -> rusqlite::Result<Option<Record>> {
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
