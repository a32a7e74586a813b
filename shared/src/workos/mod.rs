//! WorkOS's User Management API: a code for an id, which is all that mails need; [`sign_in`] and [`session`] for people.
//!
//! Adapter of [`CodeSource`]. The recipient and the code come from WorkOS's answer, never from the event
//! (<https://workos.com/docs/authkit/custom-emails>).

pub mod answer;
mod api;
mod clock;
pub mod events;
mod gate;
pub mod session;
pub mod sign_in;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use hyper::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER};
use rustls::ClientConfig;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::{Instant, timeout};
use tracing::Span;

pub use self::clock::WorkosClock;
use self::{api::Api, gate::Gate};
use crate::{
    clock::Clock as _,
    fault::{Fault, Reason},
    ids::MagicAuthId,
    login_code::LoginCode,
    metrics::{Metrics, labels::WorkosResult},
    trace::{self, Server},
};

/// Where a login code comes from.
#[async_trait]
pub trait CodeSource: Send + Sync {
    /// The code under this id. A code that does not exist (any more) is [`Reason::NotFound`], for good.
    async fn login_code(&self, id: &MagicAuthId) -> Result<LoginCode, Fault>;
}

/// Longest wait for our own rate limit or for the end of a 429, before the event goes back to the queue.
pub const LONGEST_WAIT_AT_GATE: Duration = Duration::from_secs(5);

/// How the API is used.
pub struct Settings {
    /// `https://api.workos.com`, or a stand-in.
    pub base_url: url::Url,
    /// `sk_…`.
    pub api_key: SecretString,
    /// For one read, from connecting to the last byte.
    pub timeout: Duration,
    /// Reads a second; 0 for no limit.
    pub rate: u32,
}

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The key has a character that no HTTP header can carry.
    #[error("the WorkOS API key has a character that no HTTP header can carry")]
    ApiKey,
}

fn bearer(api_key: &SecretString) -> Result<HeaderValue, SettingsError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", api_key.expose_secret())).map_err(|_| SettingsError::ApiKey)?;
    value.set_sensitive(true);
    Ok(value)
}

/// The client. One a process: its gate keeps all tasks within one limit.
pub struct Workos {
    api: Api,
    authorization: HeaderValue,
    timeout: Duration,
    gate: Gate,
    server: Server,
    clock: Arc<WorkosClock>,
    metrics: Arc<Metrics>,
}

impl Workos {
    /// Connects at first use.
    pub fn new(settings: Settings, tls: &ClientConfig, clock: Arc<WorkosClock>, metrics: Arc<Metrics>) -> Result<Self, SettingsError> {
        let Settings { base_url, api_key, timeout, rate } = settings;
        let authorization = bearer(&api_key)?;
        let (api, server) = (Api::new(&base_url, tls), Server::of(&base_url));
        Ok(Self { api, authorization, timeout, gate: Gate::new(rate), server, clock, metrics })
    }

    async fn read(&self, id: &MagicAuthId, span: &Span) -> Result<LoginCode, Fault> {
        // The id's alphabet needs no escaping.
        let path = format!("/user_management/magic_auth/{id}");
        let response = self.api.get(&path, |request| request.header(AUTHORIZATION, self.authorization.clone())).await?;
        if let Some(date) = answer::date(response.headers()) {
            self.clock.compare(date);
        }
        let status = response.status();
        trace::http_status(span, status.as_u16());
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| answer::retry_after(value, self.clock.now()));
        if let Some(fault) = answer::refusal(status, retry_after) {
            if fault.reason == Reason::WorkosRateLimited {
                self.gate.hold(retry_after.unwrap_or(answer::USUAL_HOLD));
            }
            return Err(fault);
        }
        answer::read(&api::body(response).await?, id)
    }
}

#[async_trait]
impl CodeSource for Workos {
    async fn login_code(&self, id: &MagicAuthId) -> Result<LoginCode, Fault> {
        self.gate.enter(LONGEST_WAIT_AT_GATE).await?;
        let (begun, span) = (Instant::now(), trace::read_code(&self.server, id));
        let answered =
            async { timeout(self.timeout, self.read(id, &span)).await.unwrap_or_else(|_| Err(answer::unreachable("no answer in time"))) };
        let result = trace::within(&span, answered).await;
        self.metrics.workos(outcome(&result), begun.elapsed());
        result
    }
}

fn outcome(result: &Result<LoginCode, Fault>) -> WorkosResult {
    match result {
        Ok(_) => WorkosResult::Ok,
        Err(fault) => match fault.reason {
            Reason::NotFound => WorkosResult::NotFound,
            Reason::WorkosRateLimited => WorkosResult::RateLimited,
            Reason::WorkosUnauthorized => WorkosResult::Unauthorized,
            Reason::WorkosUnavailable => WorkosResult::Unavailable,
            _ => WorkosResult::BadAnswer,
        },
    }
}
