//! One contract suite for each port with several adapters, which must all behave alike.

mod claims;
mod languages;
mod nonces;
mod queue;
mod records;
mod redis_rights;

use engine::redis::{RedisConfig, RedisConnection};
use runtime::tls::Trust;
use secrecy::SecretString;

use crate::harness::services::Services;

/// A connection to the Redis that all tests share.
fn redis() -> RedisConnection {
    let url = SecretString::from(Services::shared().redis_url().to_owned());
    RedisConnection::new(
        &RedisConfig::parse(&url, &Trust::load(None).expect("usable")).expect("a URL"),
    )
}
