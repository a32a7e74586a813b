//! WorkOS's User Management API, as far as mails need it: a code for an id.
//!
//! Adapter of [`CodeSource`]. The recipient and the code come from WorkOS's answer, never from the event
//! (<https://workos.com/docs/authkit/custom-emails>).

pub mod answer;
mod clock;
mod gate;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{
    Request, Uri,
    header::{ACCEPT, AUTHORIZATION, HeaderValue, RETRY_AFTER, USER_AGENT},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::ClientConfig;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::{Instant, timeout};

pub use self::clock::WorkosClock;
use self::gate::Gate;
use crate::{
    clock::Clock as _,
    fault::{Fault, Reason},
    ids::MagicAuthId,
    login_code::LoginCode,
    metrics::{Metrics, labels::WorkosResult},
};

/// Where a login code comes from.
#[async_trait]
pub trait CodeSource: Send + Sync {
    /// The code under this id. A code that does not exist (any more) is [`Reason::NotFound`], for good.
    async fn login_code(&self, id: &MagicAuthId) -> Result<LoginCode, Fault>;
}

/// Largest answer read, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(3);

/// Idle connections are kept this long: shorter than what load balancers in between usually grant.
const IDLE: Duration = Duration::from_secs(30);

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

/// The client. One a process: its gate keeps all tasks within one limit.
pub struct Workos {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    base: String,
    authorization: HeaderValue,
    timeout: Duration,
    gate: Gate,
    clock: Arc<WorkosClock>,
    metrics: Arc<Metrics>,
}

impl Workos {
    /// Connects at first use.
    pub fn new(settings: Settings, tls: &ClientConfig, clock: Arc<WorkosClock>, metrics: Arc<Metrics>) -> Result<Self, SettingsError> {
        let Settings { base_url, api_key, timeout, rate } = settings;
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", api_key.expose_secret())).map_err(|_| SettingsError::ApiKey)?;
        authorization.set_sensitive(true);
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_keepalive(Some(IDLE));
        connector.enforce_http(false);
        // Whether plain HTTP is allowed was decided when the configuration was read.
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls.clone()).https_or_http().enable_http1().wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new()).pool_idle_timeout(IDLE).pool_timer(TokioTimer::new()).build(connector);
        let base = base_url.as_str().trim_end_matches('/').to_owned();
        Ok(Self { client, base, authorization, timeout, gate: Gate::new(rate), clock, metrics })
    }

    async fn read(&self, id: &MagicAuthId) -> Result<LoginCode, Fault> {
        // The id's alphabet needs no escaping, and the base was parsed as a URL.
        let uri: Uri = format!("{}/user_management/magic_auth/{id}", self.base)
            .parse()
            .map_err(|_| Fault::permanent(Reason::WorkosBadAnswer, "the address of the code is not a URL"))?;
        let request = Request::get(uri)
            .header(AUTHORIZATION, self.authorization.clone())
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("authpost/", env!("CARGO_PKG_VERSION")))
            .body(Empty::new())
            .map_err(|_| Fault::permanent(Reason::WorkosBadAnswer, "the request could not be built"))?;
        let response = self.client.request(request).await.map_err(|_| answer::unreachable("the connection failed"))?;
        if let Some(date) = answer::date(response.headers()) {
            self.clock.compare(date);
        }
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| answer::retry_after(value, self.clock.now()));
        if let Some(fault) = answer::refusal(status, retry_after) {
            if fault.reason == Reason::WorkosRateLimited {
                self.gate.hold(retry_after.unwrap_or(answer::USUAL_HOLD));
            }
            return Err(fault);
        }
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                Fault::doubtful(Reason::WorkosBadAnswer, "an answer of over 1 MiB")
            } else {
                answer::unreachable("the answer broke off")
            }
        })?;
        answer::read(&body.to_bytes(), id)
    }
}

#[async_trait]
impl CodeSource for Workos {
    async fn login_code(&self, id: &MagicAuthId) -> Result<LoginCode, Fault> {
        self.gate.enter(LONGEST_WAIT_AT_GATE).await?;
        let begun = Instant::now();
        let result = timeout(self.timeout, self.read(id)).await.unwrap_or_else(|_| Err(answer::unreachable("no answer in time")));
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
