//! The embedded engine: queue, claims, nonces and records in one SQLite file, for one machine.
//!
//! The names of tables and columns are those of the first release, and stay: an older file is read
//! as it is. `silences` counts unanswered sends, `died_sending` marks a worker that crashed while
//! sending, `died_ms` is when a letter was dead-lettered, `gone_ms` is when a row expires.

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
