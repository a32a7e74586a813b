//! What the endpoints for signing in share: configuration, dependencies, reading JSON, answering
//! faults.

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use domain::{
    clock::Clock,
    fault::{Fault, Severity},
    language::SeenLanguages,
    nonces::NonceStore,
    sessions::{SessionVerifier, TokenClaims, UntrustedToken},
    sign_in::{
        provider::{SignInProvider, Visitor},
        state::StateKey,
    },
};
use hyper::{
    HeaderMap, StatusCode,
    header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT},
    http::request::Parts,
};
use runtime::{
    http::{Answer, Bodies, Connection, ReceivedBody, closing, problem},
    log_throttle::LogThrottle,
    metrics::Metrics,
    random::Entropy,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use url::Url;

use super::{
    cookies::Cookies,
    gate::Gate,
    origins::Origins,
    outcome::{RefreshOutcome, SignInOutcome},
    rate_limit::RateLimit,
    shared_calls::SharedCalls,
};
use crate::proxies::Proxies;

/// The address of a client whose connection is not known.
pub(super) const UNKNOWN: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// Longest `User-Agent` passed on, in bytes.
const MAX_USER_AGENT: usize = 512;

/// Largest body, in bytes. A callback's holds a state and a code, each of a few hundred bytes.
const MAX_BODY: usize = 16 * 1024;

/// The configuration of the sign-in endpoints.
#[derive(Debug, Clone)]
pub struct SignInConfig {
    /// Client ID of the WorkOS environment (`client_…`).
    pub client_id: String,
    /// Base URL that browsers are sent to.
    pub browser_base: Url,
    /// Origins of the pages that may sign people in.
    pub origins: Origins,
    /// The key that states are signed with.
    pub state_key: StateKey,
    /// How long a person may take, from the page to AuthKit and back: a mail takes its time.
    pub state_life: Duration,
    /// Where AuthKit sends browsers back to if the page does not say.
    pub redirect_url: Option<Url>,
    /// Whether this listener has a login page, and with it a callback page.
    pub login_page: bool,
    /// Whether everybody must be a member of an organization.
    pub organization_required: bool,
    /// Whether people sign in here; otherwise by the application's own login.
    pub enabled: bool,
    /// Most requests per minute and address, for each of the endpoints that anybody can reach.
    pub rate: NonZeroU32,
    /// Most calls to WorkOS per second that clients can cause.
    pub workos_rate: NonZeroU32,
    /// The names of the cookies.
    pub cookies: Cookies,
    /// Proxies whose `X-Forwarded-For` is trusted.
    pub proxies: Proxies,
}

/// The dependencies of signing in.
pub struct Deps {
    /// Exchanges codes and refresh tokens.
    pub provider: Arc<dyn SignInProvider>,
    pub sessions: Arc<dyn SessionVerifier>,
    /// Remembers which states were used.
    pub nonces: Arc<dyn NonceStore>,
    /// Remembers the languages of people's browsers, for their mails.
    pub languages: Arc<dyn SeenLanguages>,
    /// Makes browser keys and nonces.
    pub entropy: Entropy,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
}

/// Signing in, as the ingress serves it.
pub struct SignInService {
    pub(super) config: SignInConfig,
    pub(super) deps: Deps,
    pub(super) login_urls: RateLimit,
    pub(super) callbacks: RateLimit,
    /// Of refresh tokens that were refused.
    pub(super) refreshes: RateLimit,
    pub(super) gate: Gate,
    /// Callbacks under way, by the nonce of their state.
    pub(super) sign_ins: SharedCalls<SignInOutcome>,
    /// Refreshes under way, by the name of their token and the organization.
    pub(super) renewals: SharedCalls<RefreshOutcome>,
    bodies: Bodies,
    fault_log: LogThrottle,
    pub(super) too_large_log: LogThrottle,
    issuer_log: LogThrottle,
}

impl SignInService {
    /// Signs people in as `config` says.
    pub fn new(config: SignInConfig, deps: Deps) -> Self {
        Self {
            login_urls: RateLimit::new(config.rate),
            callbacks: RateLimit::new(config.rate),
            refreshes: RateLimit::new(config.rate),
            gate: Gate::new(config.workos_rate),
            sign_ins: SharedCalls::default(),
            renewals: SharedCalls::default(),
            config,
            deps,
            bodies: Bodies::new(MAX_BODY, 1),
            fault_log: LogThrottle::default(),
            too_large_log: LogThrottle::default(),
            issuer_log: LogThrottle::default(),
        }
    }

    /// The address of the client behind a request.
    pub(super) fn client(&self, head: &Parts) -> IpAddr {
        let connection = head.extensions.get::<Arc<Connection>>();
        let peer = connection.map_or(UNKNOWN, |connection| connection.peer());
        self.config.proxies.client(peer, &head.headers)
    }

    /// The visitor behind a request, as WorkOS is told of them.
    pub(super) fn visitor(&self, head: &Parts) -> Visitor {
        let user_agent = head.headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
        let user_agent = user_agent.filter(|text| text.len() <= MAX_USER_AGENT).map(str::to_owned);
        Visitor { address: Some(self.client(head)), user_agent }
    }

    /// Reads a JSON body. Accepts only `application/json`: a page of another site cannot send that
    /// without a preflight.
    pub(super) async fn read_json<T: DeserializeOwned>(
        &self,
        head: &Parts,
        body: ReceivedBody,
    ) -> Result<T, Answer> {
        if !is_json(&head.headers) {
            let detail = "The body must be JSON, with Content-Type: application/json.";
            return Err(closing(problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", detail)));
        }
        let body = self.bodies.read(body).await.map_err(|error| error.answer(MAX_BODY))?;
        // An object first: a list of values would pass for a struct. serde_json's message could
        // repeat a part of the body, which may be a code.
        serde_json::from_slice::<Map<String, Value>>(&body)
            .and_then(|members| serde_json::from_value(Value::Object(members)))
            .map_err(|_| {
                bad_request("The body is not the JSON object this path takes: see /openapi.json.")
            })
    }

    /// Reads a JSON body that may be absent; then it is `absent`.
    pub(super) async fn read_json_or<T: DeserializeOwned>(
        &self,
        absent: T,
        head: &Parts,
        body: ReceivedBody,
    ) -> Result<T, Answer> {
        if body.is_end_stream() {
            return Ok(absent);
        }
        self.read_json(head, body).await
    }

    /// The claims of a session token. An issuer that is not accepted is logged and counted: only
    /// WorkOS can have signed that token, so that the configuration is likely to be wrong.
    pub(super) async fn verify(&self, token: &str) -> Result<TokenClaims, UntrustedToken> {
        let verified = self.deps.sessions.verify(token).await;
        if let Err(UntrustedToken::Issuer(issuer)) = &verified {
            self.deps.metrics.sign_in.issuer_refused(issuer);
            if let Some(suppressed) = self.issuer_log.allow() {
                tracing::warn!(
                    issuer,
                    suppressed,
                    "refused a session token for its issuer: if it is yours, add it to AUTHPOST_SIGNIN_ISSUERS"
                );
            }
        }
        verified
    }

    /// The answer when a failure is not the person's fault: 502 if we are misconfigured, 503 if it
    /// will pass.
    pub(super) fn fault_answer(&self, fault: &Fault) -> Answer {
        let misconfigured = matches!(fault.severity, Severity::Misconfigured | Severity::Permanent);
        if let Some(suppressed) = self.fault_log.allow() {
            if misconfigured {
                tracing::error!(
                    %fault, suppressed,
                    "nobody can sign in: check WORKOS_CLIENT_ID, WORKOS_API_KEY and the WorkOS dashboard"
                );
            } else {
                tracing::warn!(%fault, suppressed, "a sign-in failed");
            }
        }
        let (status, kind, seconds) = match fault.severity {
            Severity::Misconfigured | Severity::Permanent => {
                (StatusCode::BAD_GATEWAY, "signin_misconfigured", 60)
            }
            Severity::Doubtful => (StatusCode::BAD_GATEWAY, "workos_bad_answer", 10),
            Severity::Transient { retry_after } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "signin_unavailable",
                retry_after.map_or(5, |wait| wait.as_secs().max(1)),
            ),
        };
        let mut answer =
            problem(status, kind, "Signing in does not work at the moment. Try again later.");
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        answer
    }
}

/// Does something if a request is dropped before its answer is ready, because its client hung up.
pub(super) struct OnHangUp<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> OnHangUp<F> {
    pub(super) fn new(what: F) -> Self {
        Self(Some(what))
    }

    /// The answer came while the client was there.
    pub(super) fn disarm(mut self) {
        self.0 = None;
    }
}

impl<F: FnOnce()> Drop for OnHangUp<F> {
    fn drop(&mut self) {
        if let Some(what) = self.0.take() {
            what();
        }
    }
}

/// A refusal that says what is wrong with a request.
pub(super) fn bad_request(detail: &str) -> Answer {
    problem(StatusCode::BAD_REQUEST, "bad_request", detail)
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    kind.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("application/json")
}
