//! Access tokens instead of a password: OAuth 2.0 client credentials (RFC 6749, 4.4), with which
//! Microsoft 365 and Google let services send mail.

use std::{fmt, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use domain::fault::{Fault, Reason};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, StatusCode, header};
use parking_lot::Mutex;
use runtime::{
    http::client::{self, Connections},
    tls::Trust,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::time::{Instant, timeout};
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

/// Longest wait for the token endpoint.
const LONGEST: Duration = Duration::from_secs(10);
/// Largest answer of the token endpoint, in bytes.
const MAX_ANSWER: usize = 64 * 1024;
/// Life of a token whose answer does not say how long it lives.
const DEFAULT_LIFE: u64 = 300;

/// How to get access tokens.
#[derive(Clone)]
pub struct OauthConfig {
    /// The URL of the token endpoint.
    pub token_url: Url,
    pub client_id: String,
    pub client_secret: SecretString,
    /// What the token is for, such as `https://outlook.office365.com/.default`.
    pub scope: Option<String>,
    /// How the token endpoint is reached.
    pub trust: Trust,
}

impl fmt::Debug for OauthConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OauthConfig")
            .field("client_id", &self.client_id)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// The tokens of one relay, shared by its connections.
pub(super) struct AccessTokens {
    config: OauthConfig,
    client: Connections,
    current: Mutex<Option<Arc<Token>>>,
    /// Held by whoever fetches a token, so that one call serves all who wait.
    fetching: tokio::sync::Mutex<()>,
}

/// An access token and its life.
pub(super) struct Token {
    secret: SecretString,
    fetched: Instant,
    life: Duration,
}

impl Token {
    fn is_valid(&self) -> bool {
        self.fetched.elapsed() < self.life.mul_f64(0.95)
    }

    /// Whether a new one should be fetched while this one is still used.
    fn is_old(&self) -> bool {
        self.fetched.elapsed() >= self.life.mul_f64(0.75)
    }

    /// The initial response of `XOAUTH2`, as Google and Microsoft document it.
    pub(super) fn xoauth2(&self, user: &str) -> Zeroizing<String> {
        let token = self.secret.expose_secret();
        encoded(&Zeroizing::new(format!("user={user}\x01auth=Bearer {token}\x01\x01")))
    }

    /// The initial response of `OAUTHBEARER` (RFC 7628, 3.1).
    pub(super) fn oauthbearer(&self, user: &str, host: &str, port: u16) -> Zeroizing<String> {
        let token = self.secret.expose_secret();
        // Characters of the GS2 header that are not plain (RFC 5801, 4).
        let user = user.replace('=', "=3D").replace(',', "=2C");
        encoded(&Zeroizing::new(format!(
            "n,a={user},\x01host={host}\x01port={port}\x01auth=Bearer {token}\x01\x01"
        )))
    }
}

fn encoded(text: &str) -> Zeroizing<String> {
    Zeroizing::new(STANDARD.encode(text))
}

impl AccessTokens {
    pub(super) fn new(config: OauthConfig) -> Arc<Self> {
        let client = client::pooled(&config.trust);
        let (current, fetching) = (Mutex::default(), tokio::sync::Mutex::default());
        Arc::new(Self { config, client, current, fetching })
    }

    /// A token that is valid. One that grows old is renewed in the background.
    pub(super) async fn token(self: &Arc<Self>) -> Result<Arc<Token>, Fault> {
        if let Some(token) = self.valid() {
            if token.is_old() && self.fetching.try_lock().is_ok() {
                let (tokens, old) = (Arc::clone(self), Arc::clone(&token));
                tokio::spawn(async move { tokens.renew(&old).await });
            }
            return Ok(token);
        }
        let _fetching = self.fetching.lock().await;
        match self.valid() {
            Some(token) => Ok(token),
            None => self.fetch().await,
        }
    }

    /// The relay refused this token: it is not used again.
    pub(super) fn refused(&self, token: &Arc<Token>) {
        let mut current = self.current.lock();
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, token)) {
            *current = None;
        }
    }

    fn valid(&self) -> Option<Arc<Token>> {
        self.current.lock().clone().filter(|token| token.is_valid())
    }

    async fn renew(&self, old: &Arc<Token>) {
        let _fetching = self.fetching.lock().await;
        let still = self.current.lock().as_ref().is_some_and(|now| Arc::ptr_eq(now, old));
        if still && let Err(fault) = self.fetch().await {
            tracing::warn!(%fault, "cannot renew the relay's access token; the old one is still valid");
        }
    }

    async fn fetch(&self) -> Result<Arc<Token>, Fault> {
        let answer = timeout(LONGEST, self.ask()).await;
        let token = answer.unwrap_or_else(|_| Err(unavailable("did not answer in time")))?;
        let token = Arc::new(token);
        *self.current.lock() = Some(Arc::clone(&token));
        Ok(token)
    }

    async fn ask(&self) -> Result<Token, Fault> {
        let request = Request::post(self.config.token_url.as_str())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json")
            .body(Full::new(Bytes::from(form(&self.config))))
            .map_err(|_| misconfigured("is not a URL that can be called"))?;
        let fetched = Instant::now();
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|_| unavailable("cannot be reached"))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|_| unavailable("broke off its answer"))?.to_bytes();
        read(status, &body, fetched)
    }
}

/// The request of a client that acts for itself.
fn form(config: &OauthConfig) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials")
        .append_pair("client_id", &config.client_id)
        .append_pair("client_secret", config.client_secret.expose_secret());
    if let Some(scope) = &config.scope {
        form.append_pair("scope", scope);
    }
    form.finish()
}

/// An answer of the token endpoint (RFC 6749, 5).
#[derive(Deserialize)]
struct Answer {
    access_token: Option<SecretString>,
    expires_in: Option<serde_json::Value>,
    error: Option<String>,
}

fn read(status: StatusCode, body: &[u8], fetched: Instant) -> Result<Token, Fault> {
    let answer: Option<Answer> = serde_json::from_slice(body).ok();
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Err(unavailable(&format!("answered {}", status.as_u16())));
    }
    match answer {
        Some(Answer { access_token: Some(secret), expires_in, .. }) if status.is_success() => {
            // Some endpoints say the number as text.
            let seconds = expires_in.and_then(|life| match life {
                serde_json::Value::String(text) => text.parse().ok(),
                other => other.as_u64(),
            });
            let life = Duration::from_secs(seconds.unwrap_or(DEFAULT_LIFE).clamp(1, 86_400));
            Ok(Token { secret, fetched, life })
        }
        Some(Answer { error: Some(error), .. }) => {
            let plain = error.len() <= 40
                && error.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            let error = if plain { error.as_str() } else { "an unknown error" };
            Err(misconfigured(&format!("answered {}: {error}", status.as_u16())))
        }
        _ => Err(misconfigured(&format!("answered {} without a token", status.as_u16()))),
    }
}

fn unavailable(what: &str) -> Fault {
    Fault::transient(Reason::RelayUnavailable, format!("the relay's token endpoint {what}"))
}

fn misconfigured(what: &str) -> Fault {
    Fault::misconfigured(Reason::RelayRefusedUs, format!("the relay's token endpoint {what}"))
}

#[cfg(test)]
mod tests;
