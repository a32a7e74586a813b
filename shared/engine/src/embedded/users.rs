//! What the embedded engine's file knows of each user's events.

use domain::{
    claims::{
        Limit, Subject,
        users::{USER_KEPT, UserEvents},
    },
    clock::milliseconds_after,
    ids::UserId,
};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::with_slack;

/// What is known of this user's events.
pub(super) fn find(
    connection: &Connection,
    user: &UserId,
    now: i64,
) -> rusqlite::Result<UserEvents> {
    let sql =
        "SELECT newest_ms, accepted_ms, due_ms FROM users WHERE user_id = ?1 AND gone_ms > ?2";
    let known = |row: &rusqlite::Row<'_>| {
        Ok(UserEvents { newest: row.get(0)?, accepted: row.get(1)?, due: row.get(2)? })
    };
    let found = connection.prepare_cached(sql)?.query_row(params![user.as_str(), now], known);
    found.optional().map(Option::unwrap_or_default)
}

/// Stores what is known of this user's events, for as long as `limit` needs it.
pub(super) fn store(
    connection: &Connection,
    user: &UserId,
    known: UserEvents,
    now: i64,
    limit: Option<Limit>,
) -> rusqlite::Result<()> {
    let UserEvents { newest, accepted, due } = known;
    let kept = limit.map(|limit| limit.period).unwrap_or_default().max(USER_KEPT);
    let until = milliseconds_after(now, kept);
    let sql = "UPDATE users SET newest_ms = ?2, accepted_ms = ?3, due_ms = ?4
               WHERE user_id = ?1 AND gone_ms >= ?5";
    let values = params![user.as_str(), newest, accepted, due, until];
    if connection.prepare_cached(sql)?.execute(values)? == 1 {
        return Ok(());
    }
    let sql = "INSERT INTO users (user_id, newest_ms, accepted_ms, due_ms, gone_ms)
               VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT (user_id) DO UPDATE SET newest_ms = ?2, accepted_ms = ?3, due_ms = ?4,
                   gone_ms = ?5";
    let values = params![user.as_str(), newest, accepted, due, with_slack(until)];
    connection.prepare_cached(sql)?.execute(values).map(drop)
}

/// Changes what is known of the user of an event, if it has one.
pub(super) fn change(
    connection: &Connection,
    subject: &Subject,
    now: i64,
    limit: Option<Limit>,
    change: impl FnOnce(UserEvents) -> UserEvents,
) -> rusqlite::Result<()> {
    let Some(user) = subject.user() else { return Ok(()) };
    let known = find(connection, user, now)?;
    let changed = change(known);
    if changed == known { Ok(()) } else { store(connection, user, changed, now, limit) }
}

/// Whether a relay accepted the mail for a newer event of the same user.
pub(super) fn is_superseded(connection: &Connection, subject: &Subject) -> rusqlite::Result<bool> {
    let Some(user) = subject.user() else { return Ok(false) };
    Ok(find(connection, user, i64::MIN)?.accepted > subject.created())
}

/// Notes an event that is waiting.
pub(super) fn note(
    connection: &Connection,
    user: &UserId,
    created: i64,
    now: i64,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO users (user_id, newest_ms, accepted_ms, due_ms, gone_ms)
               VALUES (?1, ?2, 0, 0, ?3)
               ON CONFLICT (user_id) DO UPDATE SET newest_ms = max(newest_ms, ?2),
                   gone_ms = max(gone_ms, ?3)";
    let gone = with_slack(milliseconds_after(now, USER_KEPT));
    connection.prepare_cached(sql)?.execute(params![user.as_str(), created, gone]).map(drop)
}
