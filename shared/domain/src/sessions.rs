//! The port that checks session tokens, and what such a token says
//! (<https://workos.com/docs/authkit/sessions>).

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;

use crate::fault::{Fault, Reason};

/// The claims of a person's session token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenClaims {
    /// The user's id, from the claim `sub`.
    pub sub: String,
    /// The session's id, from the claim `sid`.
    pub sid: String,
    /// Expiry, in seconds since the epoch.
    pub exp: i64,
    /// Organization id, if the session has one.
    pub org_id: Option<String>,
    /// Who acts as the user, if somebody does: the claim `act` (RFC 8693, 4.1).
    pub act: Option<String>,
    /// The application's own id of the user, if a template puts it into the token.
    pub external_id: Option<String>,
    /// The user's role in that organization: text, unless a template of the application says
    /// otherwise.
    pub role: Value,
    /// The permissions that the role grants: a list of text, with the same exception.
    pub permissions: Value,
}

impl TokenClaims {
    /// When the token expires, from the claim `exp`.
    pub fn expires_at(&self) -> Timestamp {
        Timestamp::from_second(self.exp).unwrap_or(Timestamp::MAX)
    }
}

/// Why a token is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UntrustedToken {
    /// Not a token, or one that lacks a required claim.
    #[error("not a session token")]
    Malformed,
    /// Signed by a key, or with an algorithm, that is not WorkOS's.
    #[error("the signature is not WorkOS's")]
    Forged,
    /// The token is WorkOS's, of an issuer that is not accepted here.
    #[error("the issuer {0} is not among AUTHPOST_SIGNIN_ISSUERS")]
    Issuer(String),
    /// The token was issued for another client.
    #[error("the token is for another client than WORKOS_CLIENT_ID")]
    Audience,
    /// The token of an agent or a widget.
    #[error("the token is not of a person's session")]
    Kind,
    /// Expired, or not valid yet.
    #[error("the token has expired")]
    Expired,
    /// Cannot be decided: WorkOS's keys could not be fetched.
    #[error("{0}")]
    Unknown(Fault),
}

impl UntrustedToken {
    /// The fault when WorkOS itself has just handed out this token: nobody can sign in until the
    /// configuration is fixed.
    pub fn into_fault(self) -> Fault {
        match self {
            Self::Unknown(fault) => fault,
            other => Fault::misconfigured(Reason::WorkosUnauthorized, other.to_string()),
        }
    }
}

/// A verifier of session tokens (JWT, RFC 7519).
#[async_trait]
pub trait SessionVerifier: Send + Sync {
    /// The claims of a token with a good signature, a known issuer and time left.
    async fn verify(&self, token: &str) -> Result<TokenClaims, UntrustedToken>;

    /// The session id that a token states, whoever signed it. Good for signing out, and for nothing
    /// else.
    fn stated_session_id(&self, token: &str) -> Option<String>;
}
