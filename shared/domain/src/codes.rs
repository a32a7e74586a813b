//! The port that login codes come from.

use async_trait::async_trait;

use crate::{fault::Fault, ids::MagicAuthId, login_code::LoginCode};

/// A source of login codes.
#[async_trait]
pub trait CodeSource: Send + Sync {
    /// Fetches the code with this id. A code that does not exist, or no longer exists, is a
    /// permanent [`Reason::NotFound`](crate::fault::Reason::NotFound).
    async fn login_code(&self, id: &MagicAuthId) -> Result<LoginCode, Fault>;
}
