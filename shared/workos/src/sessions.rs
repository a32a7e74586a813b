//! Checks session tokens: RS256 by the keys of the client's key set, from one of the configured
//! issuers (<https://workos.com/docs/authkit/sessions>).
//!
//! What the claims must say is in [`claims`](super::claims).

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use domain::{
    clock::Clock,
    fault::{Fault, Reason},
    sessions::{SessionVerifier, TokenClaims, UntrustedToken},
};
use hyper::header::RETRY_AFTER;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, dangerous, decode, decode_header,
    errors::ErrorKind,
    jwk::{AlgorithmParameters, Jwk, JwkSet},
};
use parking_lot::RwLock;
use runtime::{crypto, tls::Trust};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::Mutex;

use super::{
    answer,
    api::{self, Api, ApiConfig},
    claims::Rules,
};

/// Keys are fetched again after this long, even if none seems to be missing.
const KEYS_KEPT: SignedDuration = SignedDuration::from_mins(10);

/// An unknown key id causes a fetch at most this often: made-up tokens must not cause a flood of
/// requests.
const COOL_DOWN: SignedDuration = SignedDuration::from_secs(10);

#[derive(Default)]
struct Keys {
    by_id: HashMap<String, Arc<DecodingKey>>,
    fetched_at: Option<Timestamp>,
}

#[derive(Default)]
struct LastFetch {
    at: Option<Timestamp>,
    failed: Option<Fault>,
}

/// Adapter of [`SessionVerifier`]. One per process: it caches WorkOS's keys.
pub struct WorkosSessions {
    api: Api,
    rules: Rules,
    clock: Arc<dyn Clock>,
    keys: RwLock<Arc<Keys>>,
    /// Held by the task that fetches keys.
    fetching: Mutex<LastFetch>,
}

impl WorkosSessions {
    /// Accepts tokens of `issuers`, signed by the keys of this client. Fetches them at first use.
    pub fn new(
        config: &ApiConfig,
        client_id: &str,
        issuers: Vec<String>,
        trust: &Trust,
        clock: Arc<dyn Clock>,
    ) -> Self {
        crypto::install_provider();
        let (keys, fetching) = (RwLock::default(), Mutex::default());
        Self {
            api: Api::new(config, trust),
            rules: Rules { client_id: client_id.to_owned(), issuers },
            clock,
            keys,
            fetching,
        }
    }

    fn known(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read())
    }

    fn is_fresh(&self, keys: &Keys) -> bool {
        keys.fetched_at.is_some_and(|at| self.clock.now().duration_since(at) < KEYS_KEPT)
    }

    async fn key(&self, id: &str) -> Result<Option<Arc<DecodingKey>>, Fault> {
        let known = self.known();
        match known.by_id.get(id) {
            Some(key) if self.is_fresh(&known) => Ok(Some(Arc::clone(key))),
            // An old key is good while another task fetches new ones, and while WorkOS does not
            // answer.
            Some(key) => match self.fetching.try_lock() {
                Err(_) => Ok(Some(Arc::clone(key))),
                Ok(mut last) => match self.fetch(&mut last).await {
                    Ok(()) => Ok(self.known().by_id.get(id).cloned()),
                    Err(_) => Ok(Some(Arc::clone(key))),
                },
            },
            None => {
                let mut last = self.fetching.lock().await;
                // Another task may have fetched the key while this one waited for the lock.
                if !self.known().by_id.contains_key(id) {
                    self.fetch(&mut last).await?;
                }
                Ok(self.known().by_id.get(id).cloned())
            }
        }
    }

    /// Fetches the keys, unless that was done a moment ago: then repeats the result.
    async fn fetch(&self, last: &mut LastFetch) -> Result<(), Fault> {
        let now = self.clock.now();
        if last.at.is_some_and(|at| now.duration_since(at).abs() < COOL_DOWN) {
            return last.failed.clone().map_or(Ok(()), Err);
        }
        let result = self.api.in_time(self.key_set()).await;
        last.at = Some(now);
        last.failed = result.as_ref().err().cloned();
        *self.keys.write() = Arc::new(Keys { by_id: usable(&result?), fetched_at: Some(now) });
        Ok(())
    }

    async fn key_set(&self) -> Result<JwkSet, Fault> {
        let response = self.api.get_public(&format!("/sso/jwks/{}", self.rules.client_id)).await?;
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| answer::retry_after(value, self.clock.now()));
        match answer::refusal(response.status(), retry_after) {
            // An unknown client ID, or another API: no later attempt with this configuration can
            // succeed.
            Some(Fault { reason: Reason::NotFound, .. }) => Err(Fault::misconfigured(
                Reason::WorkosUnauthorized,
                "WorkOS has no keys for this client ID",
            )),
            Some(fault) => Err(fault),
            None => {
                let bad_answer =
                    |_| Fault::doubtful(Reason::WorkosBadAnswer, "the answer is not a set of keys");
                serde_json::from_slice(&api::body(response).await?).map_err(bad_answer)
            }
        }
    }
}

#[async_trait]
impl SessionVerifier for WorkosSessions {
    async fn verify(&self, token: &str) -> Result<TokenClaims, UntrustedToken> {
        let header = decode_header(token).map_err(|_| UntrustedToken::Malformed)?;
        // No extension is known here, so none that must be understood is (RFC 7515, 4.1.11).
        let (Algorithm::RS256, Some(id), None) = (header.alg, header.kid, header.crit) else {
            return Err(UntrustedToken::Forged);
        };
        let key =
            self.key(&id).await.map_err(UntrustedToken::Unknown)?.ok_or(UntrustedToken::Forged)?;
        let mut rules = Validation::new(Algorithm::RS256);
        // Checked below: the library would ask the system for the time, and compare issuers before
        // it has typed them.
        rules.required_spec_claims.clear();
        (rules.validate_exp, rules.validate_nbf, rules.validate_aud) = (false, false, false);
        let token =
            decode::<Map<String, Value>>(token, &key, &rules).map_err(|error| {
                match error.kind() {
                    ErrorKind::Json(_) => UntrustedToken::Malformed,
                    _ => UntrustedToken::Forged,
                }
            })?;
        self.rules.check(&token.claims, self.clock.now())
    }

    fn stated_session_id(&self, token: &str) -> Option<String> {
        #[derive(Deserialize)]
        struct Session {
            sid: String,
        }
        dangerous::insecure_decode_claims::<Session>(token).ok().map(|session| session.sid)
    }
}

fn usable(set: &JwkSet) -> HashMap<String, Arc<DecodingKey>> {
    let by_id = |key: &Jwk| {
        let rsa = matches!(key.algorithm, AlgorithmParameters::RSA(_));
        let id = key.common.key_id.clone().filter(|_| rsa)?;
        Some((id, Arc::new(DecodingKey::from_jwk(key).ok()?)))
    };
    set.keys.iter().filter_map(by_id).collect()
}
