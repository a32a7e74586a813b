//! The port for values that may be used one time only, such as the state of a sign-in.

use std::time::Duration;

use async_trait::async_trait;

use crate::fault::Fault;

/// Remembers which nonces have been consumed.
#[async_trait]
pub trait NonceStore: Send + Sync {
    /// Consumes a nonce and remembers it for `keep`. `true` for the first caller, `false` for every
    /// later one. After a failure it is unknown whether the nonce was consumed.
    async fn consume(&self, nonce: &str, keep: Duration) -> Result<bool, Fault>;

    /// Forgets a nonce, so that it can be consumed again.
    async fn release(&self, nonce: &str) -> Result<(), Fault>;

    /// Whether this nonce was consumed and is still remembered. Does not change how long it is
    /// remembered.
    async fn is_consumed(&self, nonce: &str) -> Result<bool, Fault>;
}
