//! Whether a session token is WorkOS's, and whose it is: RS256 by the client's key set, from one of the issuers that
//! were named (<https://workos.com/docs/authkit/sessions>).
//!
//! `iss` is not one value: old environments, new ones and those with a domain of their own differ. `aud` is not
//! demanded, because WorkOS's tokens have none. Times are read by our own clock.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, dangerous, decode, decode_header, jwk::JwkSet};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::sign_in::SignIn;
use crate::{clock::Clock, crypto, fault::Fault};

/// Keys are looked at again after this long, even if nothing seems to be missing.
const KEYS_KEPT: SignedDuration = SignedDuration::from_mins(10);

/// A key nobody knows makes us ask WorkOS at most this often: who sends rubbish must not make us hammer it.
const COOL_DOWN: SignedDuration = SignedDuration::from_secs(10);

/// How far WorkOS's clock may be from ours.
const LEEWAY: SignedDuration = SignedDuration::from_secs(30);

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The user.
    pub sub: String,
    /// The session.
    pub sid: String,
    /// Who has signed.
    pub iss: String,
    /// When it ends, in seconds since 1970.
    pub exp: i64,
    /// When it begins to hold, if it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
    /// The organization, if the session has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org_id: Option<String>,
    /// The role there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// What the role allows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub permissions: Vec<String>,
}

impl Claims {
    /// When the token ends.
    pub fn ends_at(&self) -> Timestamp {
        Timestamp::from_second(self.exp).unwrap_or(Timestamp::MAX)
    }
}

/// Why a token opens nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// Not a token, or one without what ours have.
    #[error("not a session token")]
    Malformed,
    /// Signed by a key, or in a way, that is not among WorkOS's.
    #[error("a signature that is not WorkOS's")]
    Forged,
    /// Of another environment.
    #[error("an issuer that is not among AUTHPOST_SIGNIN_ISSUERS")]
    Issuer,
    /// Past its time, or before it.
    #[error("a token that has expired")]
    Expired,
    /// Nobody can know: WorkOS's keys could not be had.
    #[error("{0}")]
    Unknown(Fault),
}

#[derive(Default)]
struct Keys {
    by_id: HashMap<String, Arc<DecodingKey>>,
    fetched_at: Option<Timestamp>,
}

#[derive(Default)]
struct LastTry {
    at: Option<Timestamp>,
    failed: Option<Fault>,
}

/// Checks tokens. One a process: it keeps WorkOS's keys.
pub struct Sessions {
    workos: Arc<dyn SignIn>,
    issuers: Vec<String>,
    clock: Arc<dyn Clock>,
    keys: RwLock<Arc<Keys>>,
    /// Held by the one who asks WorkOS.
    fetching: Mutex<LastTry>,
}

impl Sessions {
    /// Tokens of `issuers`, by the keys `workos` has.
    pub fn new(workos: Arc<dyn SignIn>, issuers: Vec<String>, clock: Arc<dyn Clock>) -> Self {
        crypto::install_provider();
        Self { workos, issuers, clock, keys: RwLock::default(), fetching: Mutex::default() }
    }

    /// Whose token this is.
    pub async fn verify(&self, token: &str) -> Result<Claims, Untrusted> {
        let header = decode_header(token).map_err(|_| Untrusted::Malformed)?;
        let (Algorithm::RS256, Some(id)) = (header.alg, header.kid) else { return Err(Untrusted::Forged) };
        let key = self.key(&id).await.map_err(Untrusted::Unknown)?.ok_or(Untrusted::Forged)?;
        let mut rules = Validation::new(Algorithm::RS256);
        // Checked below: the library would ask the system for the time, and compare issuers before it has typed them.
        rules.required_spec_claims.clear();
        (rules.validate_exp, rules.validate_nbf, rules.validate_aud) = (false, false, false);
        let claims = decode::<Claims>(token, &key, &rules).map_err(|error| match error.kind() {
            jsonwebtoken::errors::ErrorKind::Json(_) => Untrusted::Malformed,
            _ => Untrusted::Forged,
        })?;
        self.believe(claims.claims)
    }

    fn believe(&self, claims: Claims) -> Result<Claims, Untrusted> {
        let now = self.clock.now().as_second();
        let leeway = LEEWAY.as_secs();
        if !self.issuers.contains(&claims.iss) {
            Err(Untrusted::Issuer)
        } else if claims.exp.saturating_add(leeway) < now || claims.nbf.is_some_and(|nbf| nbf.saturating_sub(leeway) > now) {
            Err(Untrusted::Expired)
        } else {
            Ok(claims)
        }
    }

    fn known(&self) -> Arc<Keys> {
        // The map is replaced whole: a panic elsewhere cannot have left it half done.
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_fresh(&self, keys: &Keys) -> bool {
        keys.fetched_at.is_some_and(|at| self.clock.now().duration_since(at) < KEYS_KEPT)
    }

    async fn key(&self, id: &str) -> Result<Option<Arc<DecodingKey>>, Fault> {
        let known = self.known();
        match known.by_id.get(id) {
            Some(key) if self.is_fresh(&known) => Ok(Some(Arc::clone(key))),
            // An old key is good while somebody looks for new ones, and while WorkOS cannot be asked.
            Some(key) => match self.fetching.try_lock() {
                Err(_) => Ok(Some(Arc::clone(key))),
                Ok(mut last) => match self.fetch(&mut last).await {
                    Ok(()) => Ok(self.known().by_id.get(id).cloned()),
                    Err(_) => Ok(Some(Arc::clone(key))),
                },
            },
            None => {
                let mut last = self.fetching.lock().await;
                // Who waited for the lock finds what its holder has found.
                if !self.known().by_id.contains_key(id) {
                    self.fetch(&mut last).await?;
                }
                Ok(self.known().by_id.get(id).cloned())
            }
        }
    }

    /// Asks WorkOS, unless that was done a moment ago: then the answer is the same.
    async fn fetch(&self, last: &mut LastTry) -> Result<(), Fault> {
        let now = self.clock.now();
        if last.at.is_some_and(|at| now.duration_since(at).abs() < COOL_DOWN) {
            return last.failed.clone().map_or(Ok(()), Err);
        }
        let result = self.workos.key_set().await;
        last.at = Some(now);
        last.failed = result.as_ref().err().cloned();
        let keys = Keys { by_id: usable(&result?), fetched_at: Some(now) };
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        Ok(())
    }
}

fn usable(set: &JwkSet) -> HashMap<String, Arc<DecodingKey>> {
    let by_id = |key: &jsonwebtoken::jwk::Jwk| {
        let rsa = matches!(key.algorithm, jsonwebtoken::jwk::AlgorithmParameters::RSA(_));
        let id = key.common.key_id.clone().filter(|_| rsa)?;
        Some((id, Arc::new(DecodingKey::from_jwk(key).ok()?)))
    };
    set.keys.iter().filter_map(by_id).collect()
}

/// The session a token says it is of, whoever has signed it: good for leaving, and for nothing else.
pub fn session_to_leave(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Session {
        sid: String,
    }
    dangerous::insecure_decode_claims::<Session>(token).ok().map(|session| session.sid)
}
