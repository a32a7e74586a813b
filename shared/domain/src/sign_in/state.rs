//! The `state` of a sign-in: what goes to AuthKit with a browser and comes back with it, signed, so
//! that a callback can be told from one that somebody else has begun (RFC 6749, 10.12), and the
//! PKCE verifier that belongs to it (RFC 7636).
//!
//! Nothing is stored for it. The browser keeps a key for each attempt in a cookie; the state bears
//! that key's digest, when it was made, and where the browser returns to. Whoever consumes its nonce makes
//! sure that it is used one time only.

use std::{fmt, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// How far ahead of ours the clock of the replica that made a state may be.
const SKEW: SignedDuration = SignedDuration::from_secs(60);

/// Longest state that is looked at. Ours are a few hundred bytes.
const MAX_STATE_BYTES: usize = 4096;

/// What a browser keeps in its cookie while it is at AuthKit. Prints as nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct BrowserKey(String);

impl BrowserKey {
    /// Makes a key from 32 random bytes.
    pub fn new(random: [u8; 32]) -> Self {
        Self(BASE64.encode(random))
    }

    /// Reads the key from a cookie; `None` if it does not have the form of one.
    pub fn parse(cookie: &str) -> Option<Self> {
        let whole = BASE64.decode(cookie).is_ok_and(|bytes| bytes.len() == 32);
        whole.then(|| Self(cookie.to_owned()))
    }

    /// The key as text, for the cookie only.
    pub fn expose(&self) -> &str {
        &self.0
    }

    fn digest(&self) -> String {
        BASE64.encode(Sha256::digest(self.0.as_bytes()))
    }
}

impl fmt::Debug for BrowserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BrowserKey(***)")
    }
}

/// One sign-in attempt: a person's visit to AuthKit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Unique to this attempt; consumed by the first callback.
    #[serde(rename = "n")]
    pub nonce: String,
    /// When the person left for AuthKit.
    #[serde(rename = "t")]
    pub started_at: Timestamp,
    /// Where AuthKit sends the person back to.
    #[serde(rename = "r")]
    pub redirect_url: String,
    /// Where the person goes once signed in, if anywhere but back to the page.
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    pub return_to: Option<String>,
    /// The organization that was asked for, if one was.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    pub organization_id: Option<String>,
}

/// Length of a flow's name, in characters.
const FLOW: usize = 12;

impl Attempt {
    /// Names this attempt among those of one browser.
    pub fn flow(&self) -> &str {
        self.nonce.get(..FLOW).unwrap_or(&self.nonce)
    }
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    #[serde(flatten)]
    attempt: Attempt,
    /// SHA-256 of the browser's key.
    #[serde(rename = "b")]
    browser: String,
}

/// Why a state is rejected. The variants are metric labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadState {
    /// Not in the form of a state.
    #[error("not a state of ours")]
    Malformed,
    /// In the form of a state, with a signature that is not ours.
    #[error("a state that we did not sign")]
    Forged,
    /// Signed for another browser, or for one that lost its cookie.
    #[error("a state of another browser")]
    OtherBrowser,
    /// Signed longer ago than a state lives.
    #[error("a state that has expired")]
    Expired,
}

/// Signs and checks states. Replicas that share it accept each other's states.
#[derive(Clone)]
pub struct StateKey(Hmac<Sha256>);

impl fmt::Debug for StateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StateKey(***)")
    }
}

impl StateKey {
    /// Derived from a secret of the operator's, or from the API key: each purpose has a key of its
    /// own. `None` for an empty one.
    pub fn new(secret: &SecretString) -> Option<Self> {
        let secret = secret.expose_secret();
        if secret.is_empty() {
            return None;
        }
        // HMAC takes keys of any length (RFC 2104); the Result is the trait's, not the algorithm's.
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
        mac.update(b"authpost sign-in state v1");
        Hmac::new_from_slice(&mac.finalize().into_bytes()).ok().map(Self)
    }

    fn sign(&self, purpose: &[u8], text: &str) -> [u8; 32] {
        let mut mac = self.0.clone();
        mac.update(purpose);
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// The state of an attempt, for this browser.
    pub fn seal(&self, attempt: &Attempt, browser: &BrowserKey) -> String {
        let sealed = Sealed { attempt: attempt.clone(), browser: browser.digest() };
        // Text and numbers: nothing here can fail to become JSON.
        let payload = BASE64.encode(serde_json::to_vec(&sealed).unwrap_or_default());
        let signature = BASE64.encode(self.sign(b"state:", &payload));
        format!("{payload}.{signature}")
    }

    /// The attempt that a state was sealed for. Its age is judged before its browser: a cookie may
    /// be gone by then, and a person who was late should be told so.
    pub fn open(&self, state: &str, life: Duration, now: Timestamp) -> Result<Opened, BadState> {
        if state.len() > MAX_STATE_BYTES {
            return Err(BadState::Malformed);
        }
        let (payload, signature) = state.split_once('.').ok_or(BadState::Malformed)?;
        let signature = BASE64.decode(signature).map_err(|_| BadState::Malformed)?;
        if !bool::from(self.sign(b"state:", payload).ct_eq(signature.as_slice())) {
            return Err(BadState::Forged);
        }
        let json = BASE64.decode(payload).map_err(|_| BadState::Malformed)?;
        let Sealed { attempt, browser: digest } =
            serde_json::from_slice(&json).map_err(|_| BadState::Malformed)?;
        let age = now.duration_since(attempt.started_at);
        let life = SignedDuration::try_from(life).unwrap_or(SignedDuration::MAX);
        if age > life || age < -SKEW {
            return Err(BadState::Expired);
        }
        Ok(Opened { attempt, browser: digest })
    }

    /// A name for a token, which tells nothing about it; the same at every replica.
    pub fn name(&self, token: &SecretString) -> String {
        BASE64.encode(self.sign(b"token:", token.expose_secret()))
    }

    /// Marks an attempt as the one that has made this session.
    pub fn mark(&self, attempt: &Attempt, session_id: &str) -> String {
        BASE64.encode(self.sign(b"done:", &format!("{}:{session_id}", attempt.nonce)))
    }

    /// Whether this is the mark of an attempt that has made this session.
    pub fn is_mark(&self, mark: &str, attempt: &Attempt, session_id: &str) -> bool {
        self.mark(attempt, session_id).as_bytes().ct_eq(mark.as_bytes()).into()
    }

    /// The PKCE verifier of an attempt: 43 characters that follow from the browser's key and the
    /// nonce, so that they need not be kept anywhere (RFC 7636, 4.1).
    pub fn verifier(&self, attempt: &Attempt, browser: &BrowserKey) -> String {
        BASE64.encode(self.sign(b"pkce:", &format!("{}:{}", attempt.nonce, browser.expose())))
    }
}

/// A state that is ours and in time. Whose browser it is of is yet to be shown.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the browser is to be compared"]
pub struct Opened {
    attempt: Attempt,
    browser: String,
}

impl Opened {
    /// The name of the flow, by which the browser keeps its key.
    pub fn flow(&self) -> &str {
        self.attempt.flow()
    }

    /// The attempt, if the browser with this key started it.
    pub fn by(self, browser: Option<BrowserKey>) -> Result<(Attempt, BrowserKey), BadState> {
        let digest = self.browser.as_bytes();
        let is_same = |browser: &BrowserKey| bool::from(browser.digest().as_bytes().ct_eq(digest));
        let browser = browser.filter(is_same).ok_or(BadState::OtherBrowser)?;
        Ok((self.attempt, browser))
    }
}

/// The PKCE challenge of a verifier, by the method `S256` (RFC 7636, 4.2).
pub fn challenge(verifier: &str) -> String {
    BASE64.encode(Sha256::digest(verifier.as_bytes()))
}

#[cfg(test)]
mod tests;
