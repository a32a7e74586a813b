//! The tables of the file.

use rusqlite::Connection;

use super::{OpenError, unusable};

/// The layout of the file. A file with a higher number was written by a later release, and is not
/// opened.
pub(super) const SCHEMA_VERSION: i64 = 1;

const SCHEMA: &str = "
CREATE TABLE queue (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    due_ms INTEGER NOT NULL,
    taken INTEGER NOT NULL DEFAULT 0,
    attempt INTEGER NOT NULL,
    queued_ms INTEGER NOT NULL,
    reason TEXT NOT NULL DEFAULT 'none',
    payload BLOB NOT NULL
);
CREATE INDEX queue_by_due ON queue (taken, due_ms);
CREATE TABLE dead (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    died_ms INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    payload BLOB NOT NULL
);
CREATE TABLE claims (
    event_id TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    owner TEXT NOT NULL,
    fence INTEGER NOT NULL,
    silences INTEGER NOT NULL,
    died_sending INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,
    gone_ms INTEGER NOT NULL,
    receipt TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX claims_by_end ON claims (gone_ms);
";

/// What later releases of the same layout have added: an earlier one does without it.
const ADDITIONS: &str = "
-- Counting and deleting letters by age must not read them.
CREATE INDEX IF NOT EXISTS dead_by_age ON dead (died_ms);
CREATE TABLE IF NOT EXISTS languages (
    user_id TEXT PRIMARY KEY,
    tag TEXT NOT NULL,
    gone_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS users (
    user_id TEXT PRIMARY KEY,
    newest_ms INTEGER NOT NULL,
    accepted_ms INTEGER NOT NULL,
    due_ms INTEGER NOT NULL,
    gone_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS users_by_end ON users (gone_ms);
CREATE INDEX IF NOT EXISTS languages_by_end ON languages (gone_ms);
CREATE INDEX IF NOT EXISTS claims_by_object ON claims (object_id) WHERE object_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS claims_by_user ON claims (user_id) WHERE user_id IS NOT NULL;
";

/// Columns that later releases have added to the claims, which are records, too.
const RECORD: [&str; 10] = [
    "object_id TEXT",
    "user_id TEXT",
    "created_ms INTEGER",
    "expires_ms INTEGER",
    "accepted_ms INTEGER",
    "trace_id TEXT",
    "attempt INTEGER",
    "failure TEXT",
    "next_ms INTEGER",
    "sent_ms INTEGER",
];

/// Makes the tables that are missing, and frees what an earlier process had taken from the queue.
pub(super) fn prepare(connection: &Connection, path: &str) -> Result<(), OpenError> {
    let broken = |source| unusable(path, source);
    let found: i64 =
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(broken)?;
    match found {
        0 => connection
            .execute_batch(&format!("BEGIN;{SCHEMA}PRAGMA user_version={SCHEMA_VERSION};COMMIT;"))
            .map_err(broken)?,
        SCHEMA_VERSION => {}
        found => return Err(OpenError::TooNew { path: path.to_owned(), found }),
    }
    extend(connection).map_err(broken)?;
    // One process at a time: nobody works on what an earlier process had taken.
    connection.execute_batch("UPDATE queue SET taken = 0 WHERE taken = 1").map_err(broken)
}

/// Adds what releases since the first have added.
pub(super) fn extend(connection: &Connection) -> rusqlite::Result<()> {
    let names = "SELECT name FROM pragma_table_info('claims')";
    let there: Vec<String> =
        connection.prepare(names)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for column in RECORD {
        let name = column.split(' ').next().unwrap_or_default();
        if !there.iter().any(|there| there == name) {
            connection.execute_batch(&format!("ALTER TABLE claims ADD COLUMN {column}"))?;
        }
    }
    connection.execute_batch(ADDITIONS)
}
