//! The `state` of a sign-in: what goes to AuthKit with a browser and comes back with it, signed, so that a callback can be
//! told from one that somebody else has begun (RFC 6749, 10.12), and the PKCE verifier that belongs to it (RFC 7636).
//!
//! Nothing is stored for it. The browser keeps a key in a cookie; the state bears that key's digest, when it was made, and
//! where the browser is to come back to. That it is used one time only is the business of whoever spends its nonce.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// How long a person may take at AuthKit: as long as its authorization code lives
/// (<https://workos.com/docs/reference/authkit/authentication>).
pub const LIFE: SignedDuration = SignedDuration::from_mins(10);

/// How far ahead of ours the clock of the replica that made a state may be.
const SKEW: SignedDuration = SignedDuration::from_secs(60);

/// Longest state that is looked at. Ours are a few hundred bytes.
const MAX_STATE_BYTES: usize = 4096;

/// What a browser keeps in its cookie while it is at AuthKit. Prints as nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct BrowserKey(String);

impl BrowserKey {
    /// From 32 random bytes.
    pub fn new(random: [u8; 32]) -> Self {
        Self(BASE64.encode(random))
    }

    /// As the cookie brought it back; `None` for what was never one.
    pub fn parse(cookie: &str) -> Option<Self> {
        let whole = BASE64.decode(cookie).is_ok_and(|bytes| bytes.len() == 32);
        whole.then(|| Self(cookie.to_owned()))
    }

    /// For the cookie.
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

/// One person's way to AuthKit and back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Unlike every other attempt's; spent by the first callback.
    #[serde(rename = "n")]
    pub nonce: String,
    /// When the person left for AuthKit.
    #[serde(rename = "t")]
    pub begun_at: Timestamp,
    /// Where AuthKit sends the person back to.
    #[serde(rename = "r")]
    pub redirect_url: String,
    /// The organization that was asked for, if one was.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    pub organization_id: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    #[serde(flatten)]
    attempt: Attempt,
    /// The browser key's digest.
    #[serde(rename = "b")]
    browser: String,
}

/// Why a state is not believed. The variants are metric labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadState {
    /// Not of our form.
    #[error("not a state of ours")]
    Malformed,
    /// Of our form, with another signature.
    #[error("a state that we did not sign")]
    Forged,
    /// Signed by us for another browser, or for one that has lost its cookie.
    #[error("a state of another browser")]
    OtherBrowser,
    /// Older than ten minutes.
    #[error("a state that has expired")]
    Expired,
}

/// Signs and checks states. Replicas that share it understand each other's.
#[derive(Clone)]
pub struct StateKey(Hmac<Sha256>);

impl fmt::Debug for StateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StateKey(***)")
    }
}

impl StateKey {
    /// From a secret of the operator's, or from the API key: each purpose has a key of its own. `None` for an empty one.
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

    /// The attempt that a state is of, if this browser has begun it, less than ten minutes ago.
    pub fn open(&self, state: &str, browser: Option<&BrowserKey>, now: Timestamp) -> Result<Attempt, BadState> {
        if state.len() > MAX_STATE_BYTES {
            return Err(BadState::Malformed);
        }
        let (payload, signature) = state.split_once('.').ok_or(BadState::Malformed)?;
        let signature = BASE64.decode(signature).map_err(|_| BadState::Malformed)?;
        if !bool::from(self.sign(b"state:", payload).ct_eq(signature.as_slice())) {
            return Err(BadState::Forged);
        }
        let json = BASE64.decode(payload).map_err(|_| BadState::Malformed)?;
        let Sealed { attempt, browser: digest } = serde_json::from_slice(&json).map_err(|_| BadState::Malformed)?;
        if !browser.is_some_and(|browser| bool::from(browser.digest().as_bytes().ct_eq(digest.as_bytes()))) {
            return Err(BadState::OtherBrowser);
        }
        let age = now.duration_since(attempt.begun_at);
        if age > LIFE || age < -SKEW { Err(BadState::Expired) } else { Ok(attempt) }
    }

    /// The PKCE verifier of an attempt: 43 characters that follow from the browser's key and the nonce, so that they need
    /// not be kept anywhere (RFC 7636, 4.1).
    pub fn verifier(&self, attempt: &Attempt, browser: &BrowserKey) -> String {
        BASE64.encode(self.sign(b"pkce:", &format!("{}:{}", attempt.nonce, browser.expose())))
    }
}

/// The PKCE challenge of a verifier, by the method `S256` (RFC 7636, 4.2).
pub fn challenge(verifier: &str) -> String {
    BASE64.encode(Sha256::digest(verifier.as_bytes()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn now() -> Timestamp {
        "2026-01-15T12:00:00Z".parse().expect("valid")
    }

    fn key() -> StateKey {
        StateKey::new(&SecretString::from("secret".to_owned())).expect("not empty")
    }

    fn browser() -> BrowserKey {
        BrowserKey::new([7; 32])
    }

    fn attempt() -> Attempt {
        let redirect_url = "https://app.example.com/en/callback".to_owned();
        Attempt { nonce: "01J".to_owned(), begun_at: now(), redirect_url, organization_id: None }
    }

    #[test]
    fn comes_back_as_it_went() {
        let state = key().seal(&attempt(), &browser());
        assert_eq!(key().open(&state, Some(&browser()), now()), Ok(attempt()));
        let organization = Attempt { organization_id: Some("org_1".to_owned()), ..attempt() };
        assert_eq!(key().open(&key().seal(&organization, &browser()), Some(&browser()), now() + LIFE), Ok(organization));
        assert!(state.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)), "{state} needs no escaping");
    }

    #[test]
    fn is_of_one_browser_one_key_and_one_time() {
        let state = key().seal(&attempt(), &browser());
        let second = SignedDuration::from_secs(1);
        assert_eq!(key().open(&state, Some(&BrowserKey::new([8; 32])), now()), Err(BadState::OtherBrowser));
        assert_eq!(key().open(&state, None, now()), Err(BadState::OtherBrowser));
        assert_eq!(key().open(&state, Some(&browser()), now() + LIFE + second), Err(BadState::Expired));
        assert_eq!(key().open(&state, Some(&browser()), now() - SKEW - second), Err(BadState::Expired));
        let other = StateKey::new(&SecretString::from("other".to_owned())).expect("not empty");
        assert_eq!(other.open(&state, Some(&browser()), now()), Err(BadState::Forged));
        assert!(StateKey::new(&SecretString::from(String::new())).is_none());
    }

    #[test]
    fn the_verifier_follows_from_attempt_and_browser() {
        let verifier = key().verifier(&attempt(), &browser());
        assert_eq!(verifier.len(), 43);
        assert_eq!(verifier, key().verifier(&attempt(), &browser()));
        assert_ne!(verifier, key().verifier(&attempt(), &BrowserKey::new([8; 32])));
        assert_ne!(verifier, key().verifier(&Attempt { nonce: "01K".to_owned(), ..attempt() }, &browser()));
        // RFC 7636, appendix B.
        assert_eq!(challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn a_browser_key_is_32_bytes_or_none() {
        assert_eq!(BrowserKey::parse(browser().expose()), Some(browser()));
        for cookie in ["", "abc", "=", &"A".repeat(44), &"A".repeat(42)] {
            assert_eq!(BrowserKey::parse(cookie), None, "{cookie}");
        }
        assert_eq!(format!("{:?} {:?}", browser(), key()), "BrowserKey(***) StateKey(***)");
    }

    proptest! {
        #[test]
        fn no_changed_state_is_believed(at in 0usize..400, byte in 0u8..=127) {
            let state = key().seal(&attempt(), &browser());
            let mut changed = state.clone().into_bytes();
            let at = at % changed.len();
            changed[at] = byte;
            let changed = String::from_utf8(changed).expect("ASCII");
            prop_assume!(changed != state);
            prop_assert!(key().open(&changed, Some(&browser()), now()).is_err());
        }

        #[test]
        fn no_text_panics(state in "\\PC{0,300}") {
            prop_assert!(key().open(&state, Some(&browser()), now()).is_err());
        }
    }
}
