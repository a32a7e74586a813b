//! Consumed nonces in Redis.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::{clock::milliseconds, fault::Fault, nonces::NonceStore};

use super::connection::RedisConnection;

/// A [`NonceStore`] in Redis: one key for each nonce.
pub struct RedisNonces {
    connection: Arc<RedisConnection>,
    prefix: String,
}

impl RedisNonces {
    /// Keeps nonces over `connection`, under keys that begin with `prefix`.
    pub fn new(connection: Arc<RedisConnection>, prefix: &str) -> Self {
        Self { connection, prefix: prefix.to_owned() }
    }

    fn key(&self, nonce: &str) -> String {
        format!("{}:spent:{nonce}", self.prefix)
    }
}

#[async_trait]
impl NonceStore for RedisNonces {
    async fn consume(&self, nonce: &str, keep: Duration) -> Result<bool, Fault> {
        let mut set = redis::cmd("SET");
        set.arg(self.key(nonce)).arg(1).arg("NX").arg("PX").arg(milliseconds(keep));
        // "OK", or nil where the key exists.
        let consumed: Option<String> = self.connection.command(&set).await?;
        Ok(consumed.is_some())
    }

    async fn release(&self, nonce: &str) -> Result<(), Fault> {
        let mut delete = redis::cmd("DEL");
        delete.arg(self.key(nonce));
        self.connection.command(&delete).await
    }

    async fn is_consumed(&self, nonce: &str) -> Result<bool, Fault> {
        let mut exists = redis::cmd("EXISTS");
        exists.arg(self.key(nonce));
        self.connection.command(&exists).await
    }
}
