//! Claims, nonces and records in Redis, shared by every replica.
//!
//! The names of keys and fields are those of the first release, and stay: replicas of two releases
//! share them during an upgrade. `silences` counts unanswered sends, `died` marks a worker that
//! crashed while sending. The rest of a record has short names, as there are many: `o` object, `u`
//! user, `c` created (milliseconds since 1970), and as distances from then `e` expires, `a` accepted,
//! `x` next attempt, `s` sent; `n` attempt, `w` why the last one failed, `t` trace.

mod accepted;
mod call;
mod claims;
mod config;
mod connection;
mod index;
mod languages;
mod nonces;
mod open;
mod probe;
mod records;
mod refusal;

pub use self::{
    accepted::NotingPublisher,
    claims::RedisClaims,
    config::{InvalidRedisUrl, RedisConfig},
    connection::RedisConnection,
    languages::RedisLanguages,
    nonces::RedisNonces,
    probe::ServerInfo,
    records::RedisRecords,
};

use domain::ids::{EventId, UserId};

/// What ids begin with at WorkOS, which a record does not repeat.
const EVENT: &str = "event_";
const OBJECT: &str = "magic_auth_";
const USER: &str = "user_";

/// The key of an event's claim.
fn event_key<'a>(prefix: &'a str, event_id: &'a EventId) -> [&'a str; 3] {
    [prefix, ":event:", event_id.as_str()]
}

/// The key of what is known of a user's events.
fn user_key<'a>(prefix: &'a str, user: &'a UserId) -> [&'a str; 3] {
    [prefix, ":person:", user.as_str()]
}

/// The key of when the next mail is due, by the limit for all users.
fn mails_key(prefix: &str) -> [&str; 2] {
    [prefix, ":mails"]
}
