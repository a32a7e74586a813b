//! The embedded engine: queue, claims, nonces and records in one SQLite file, for one machine.
//!
//! The names of tables and columns are those of the first release, and stay: an older file is read
//! as it is. `silences` counts unanswered sends, `died_sending` marks a worker that crashed while
//! sending, `died_ms` is when a letter was dead-lettered, `gone_ms` is when a row expires.

use std::time::Duration;

use domain::clock::milliseconds_after;

mod claims;
mod dead_letters;
mod languages;
mod nonces;
mod queue;
mod records;
mod room;
mod sweep;
mod users;

pub use self::{
    claims::EmbeddedClaims,
    dead_letters::EmbeddedOperator,
    languages::EmbeddedLanguages,
    nonces::EmbeddedNonces,
    queue::{EmbeddedConsumer, EmbeddedQueue},
    records::EmbeddedRecords,
};

/// What a row is kept for beyond its time. An event changes its rows several times within the life
/// of a code: only the first change has to move the row's end, and with it an entry of an index.
const SLACK: Duration = Duration::from_secs(600);

/// The end of a row that must be kept until then.
fn with_slack(until_ms: i64) -> i64 {
    milliseconds_after(until_ms, SLACK)
}
