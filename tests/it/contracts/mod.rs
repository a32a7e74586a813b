//! One contract suite for each port with several adapters, which must all behave alike.

mod claims;
mod languages;
mod nonces;
mod queue;
mod records;
pub mod redis_rights;

use engine::redis::{RedisConfig, RedisConnection};
use runtime::tls::Trust;
use secrecy::SecretString;

use crate::harness::{app::fresh_prefix, services::Services};

/// A connection to the Redis that all tests share, for keys that no other has.
fn redis() -> RedisConnection {
    let url = SecretString::from(Services::shared().redis_url().to_owned());
    {
        let config = RedisConfig::parse(&url, &Trust::load(None).expect("usable"));
        RedisConnection::new(&config.expect("a URL"), &fresh_prefix())
    }
}
