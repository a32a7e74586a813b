//! The two engines behind the ports: [`embedded`] is one SQLite file on one machine; [`rabbitmq`]
//! and [`redis`] together serve any number of replicas. [`local_sent_cache`] stands in front of
//! either claim store.

pub mod embedded;
pub mod local_sent_cache;
pub mod memory;
pub mod rabbitmq;
pub mod redis;
pub mod sqlite;

use std::time::Duration;

/// How long the language of a browser is remembered after a sign-in.
const LANGUAGES_KEPT: Duration = Duration::from_secs(90 * 24 * 3600);
