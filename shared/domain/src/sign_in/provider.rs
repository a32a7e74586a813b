//! The port to the sign-in provider, and the values that cross it.

use std::net::IpAddr;

use async_trait::async_trait;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::{
    person::{Membership, User},
    refusal::Refusal,
};
use crate::fault::Fault;

/// Longest authorization code accepted, in bytes.
const MAX_CODE_BYTES: usize = 1024;

/// An authorization code from a callback. Cannot be copied: the exchange consumes it.
pub struct AuthorizationCode(SecretString);

impl AuthorizationCode {
    /// Accepts 1 to 1024 bytes of visible ASCII; `None` for anything else.
    pub fn parse(text: String) -> Option<Self> {
        let plain = (1..=MAX_CODE_BYTES).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        plain.then(|| Self(SecretString::from(text)))
    }

    /// The code, for the request that redeems it; never for a log line.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// The client behind a request, as reported to the provider: the person's address and browser, not
/// ours.
#[derive(Debug, Clone, Default)]
pub struct Visitor {
    /// IP address of the client.
    pub address: Option<IpAddr>,
    /// The browser's `User-Agent`, passed on to WorkOS.
    pub user_agent: Option<String>,
}

/// A member of the operator's team who acts as a user
/// (<https://workos.com/docs/authkit/impersonation>).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Impersonator {
    /// The address of that member.
    pub email: String,
    #[serde(default)]
    pub reason: Option<String>,
}

/// What a code or a refresh token is exchanged for. `{:?}` does not print the tokens.
#[derive(Debug, Clone, Deserialize)]
pub struct Tokens {
    /// The user they belong to.
    pub user: User,
    /// Organization of the session, if it has one.
    #[serde(default)]
    pub organization_id: Option<String>,
    /// Who acts as the user, if somebody does.
    #[serde(default)]
    pub impersonator: Option<Impersonator>,
    /// Signed token (JWT) that is valid for minutes.
    pub access_token: SecretString,
    /// Exchanged for the next tokens, one time.
    pub refresh_token: SecretString,
}

/// A provider that signs people in.
#[async_trait]
pub trait SignInProvider: Send + Sync {
    /// Redeems a code. Never retried: a second attempt could only find it used.
    async fn exchange(
        &self,
        code: AuthorizationCode,
        verifier: &str,
        visitor: &Visitor,
    ) -> Result<Tokens, Refusal>;

    /// Exchanges a refresh token for the next tokens, of `organization` if that is given; else of
    /// the same one. Never retried either.
    async fn refresh(
        &self,
        token: &SecretString,
        organization: Option<&str>,
        visitor: &Visitor,
    ) -> Result<Tokens, Refusal>;

    /// Lists all memberships of a user, whatever their status.
    async fn memberships(&self, user_id: &str) -> Result<Vec<Membership>, Fault>;
}
