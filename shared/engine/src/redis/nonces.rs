//! Consumed nonces in Redis.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::{clock::milliseconds, fault::Fault, nonces::NonceStore};

use super::{call::Call, connection::RedisConnection};

/// A [`NonceStore`] in Redis: one key for each nonce.
pub struct RedisNonces {
    connection: Arc<RedisConnection>,
}

impl RedisNonces {
    /// Keeps the nonces that were consumed, over `connection`.
    pub fn new(connection: Arc<RedisConnection>) -> Self {
        Self { connection }
    }

    fn key<'a>(&'a self, nonce: &'a str) -> [&'a str; 3] {
        [self.connection.prefix(), ":spent:", nonce]
    }
}

#[async_trait]
impl NonceStore for RedisNonces {
    async fn consume(&self, nonce: &str, keep: Duration) -> Result<bool, Fault> {
        let mut set = Call::command("SET", self.key(nonce));
        set.arg(1).arg("NX").arg("PX").arg(milliseconds(keep));
        // "OK", or nil where the key exists.
        let consumed: Option<String> = self.connection.call(&set).await?;
        Ok(consumed.is_some())
    }

    async fn release(&self, nonce: &str) -> Result<(), Fault> {
        self.connection.call(&Call::command("DEL", self.key(nonce))).await
    }

    async fn is_consumed(&self, nonce: &str) -> Result<bool, Fault> {
        self.connection.call(&Call::command("EXISTS", self.key(nonce))).await
    }
}
