//! One claim on one event, within a transaction.

use std::{sync::Arc, time::Duration};

use domain::{
    claims::{Claim, History, Limit, Subject, Terms, UNFINISHED_KEPT, users::Admission},
    clock::milliseconds_after,
    fault::Reason,
    records::DEAD_KEPT,
};
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::embedded::{records, users, with_slack};

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
    /// When the record of an event that nobody finishes is forgotten.
    fn kept_until(&self) -> i64 {
        let Terms { lease, sending, done, .. } = self.terms;
        milliseconds_after(self.now, done.max(lease + sending + UNFINISHED_KEPT))
    }

    /// What stands in the way of an event that nobody holds.
    fn refusal(&self, connection: &Connection, is_new: bool) -> rusqlite::Result<Option<Claim>> {
        let Self { subject, now, terms, .. } = self;
        let Some(user) = subject.user() else { return Ok(None) };
        let known = users::find(connection, user, *now)?;
        let limit = |limit: Option<Limit>| limit.filter(|_| is_new);
        let admission = known.admit(
            subject.created(),
            subject.gives_way_at(*now),
            limit(terms.user_limit),
            *now,
        );
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
    let key = subject.event_id().as_str();
    let mut found = find(connection, key, *now)?;
    if found.is_none() {
        let accepted = subject.event.received_at.as_millisecond();
        // A record that has expired and is not swept yet would be in the way.
        connection.prepare_cached("DELETE FROM claims WHERE event_id = ?1")?.execute([key])?;
        records::create(connection, &subject.event, accepted, asked.kept_until())?;
        found = find(connection, key, *now)?;
    }
    let is_new = found.as_ref().is_none_or(|record| record.fence == 0);
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
    let Some(refusal) = refusal else {
        let until = milliseconds_after(*now, terms.lease);
        store(connection, asked, until, (fence, history))?;
        return Ok(Claimed::Fresh { fence, history });
    };
    note(connection, asked, &refusal)?;
    Ok(Claimed::Refused(refusal))
}

/// Records why an event was not claimed.
fn note(connection: &Connection, asked: &Asked, refusal: &Claim) -> rusqlite::Result<()> {
    let (state, failure, kept) = match refusal {
        Claim::Superseded => (Some("superseded"), None, None),
        Claim::OverLimit => (Some("dead"), Some(Reason::PersonLimit), Some(DEAD_KEPT)),
        Claim::GivesWay => (None, Some(Reason::GivesWay), None),
        Claim::Held(_) => (None, Some(Reason::MailLimit), None),
        Claim::Fresh(_) | Claim::Busy(_) | Claim::Done => return Ok(()),
    };
    let gone = kept.map(|kept| milliseconds_after(asked.now, kept));
    let sql = "UPDATE claims SET state = coalesce(?2, state), until_ms = 0, failure = coalesce(?3, failure), \
               gone_ms = coalesce(?4, gone_ms) WHERE event_id = ?1";
    let key = asked.subject.event_id().as_str();
    let values = params![key, state, failure.map(Reason::label), gone];
    connection.prepare_cached(sql)?.execute(values).map(drop)
}

/// The part of an owner's text that is the same for all owners of a process.
fn process_of(owner: &str) -> &str {
    owner.split('-').next().unwrap_or_default()
}

fn store(
    connection: &Connection,
    asked: &Asked,
    until: i64,
    (fence, history): (i64, History),
) -> rusqlite::Result<()> {
    let sql = "UPDATE claims SET state = 'lease', owner = ?2, fence = ?3, silences = ?4, died_sending = ?5, \
               until_ms = ?6, attempt = ?7 WHERE event_id = ?1";
    let (key, History { unanswered_sends, crashed_sending }) =
        (asked.subject.event_id().as_str(), history);
    let attempt = asked.subject.attempt;
    let values =
        params![key, asked.owner, fence, unanswered_sends, crashed_sending, until, attempt];
    connection.prepare_cached(sql)?.execute(values)?;
    keep(connection, key, asked.kept_until())
}

/// Keeps the record of an event for that long at least.
pub(super) fn keep(connection: &Connection, key: &str, until_ms: i64) -> rusqlite::Result<()> {
    let sql = "UPDATE claims SET gone_ms = ?3 WHERE event_id = ?1 AND gone_ms < ?2";
    let values = params![key, until_ms, with_slack(until_ms)];
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
