//! Signing in: from "Log in" to a session, by way of AuthKit.
//!
//! A page asks for the address to send its browser to ([`login_url`]), AuthKit sends the browser back with a code, and
//! the page hands that to [`callback`], whose story function says who is signed in and who is not. [`session`] looks
//! after what follows. What every request has in common is here: whose page asks, and how its JSON is read.

mod callback;
mod cookies;
mod login_url;
pub mod origins;
mod session;
pub mod visitors;

use std::{num::NonZeroU32, sync::Arc};

use hyper::{
    HeaderMap, Request, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue, ORIGIN, RETRY_AFTER},
    http::request::Parts,
};
use serde::de::DeserializeOwned;
use serde_json::json;
use shared::{
    clock::Clock,
    crypto::Entropy,
    dedupe::once::Once,
    fault::{Fault, Severity},
    http::{Answer, Bodies, BodyError, closing, json, problem},
    metrics::Metrics,
    sign_in::state::StateKey,
    telemetry::Seldom,
    workos::{session::Sessions, sign_in::SignIn},
};
use url::Url;

use self::{
    origins::Origins,
    visitors::{Limit, Proxies},
};
use crate::routes::{SignInEndpoint as Endpoint, is_preflight};

/// Largest body. A callback's holds a state and a code, each of some hundred bytes.
const MAX_BODY: usize = 16 * 1024;

/// What the operator has decided.
#[derive(Debug, Clone)]
pub struct Rules {
    /// `client_…`.
    pub client_id: String,
    /// Where browsers are sent: AuthKit's base URL.
    pub browser_base: Url,
    /// Pages that may ask.
    pub origins: Origins,
    /// Signs states.
    pub state_key: StateKey,
    /// Whether people sign in here, or by the application's own login for now.
    pub enabled: bool,
    /// Requests a minute and address, for each of the two endpoints that strangers reach.
    pub rate: NonZeroU32,
    /// Whose word about addresses is believed.
    pub proxies: Proxies,
}

/// What signing in uses.
pub struct Means {
    /// WorkOS.
    pub workos: Arc<dyn SignIn>,
    /// Checks session tokens.
    pub sessions: Sessions,
    /// Where states are spent.
    pub once: Arc<dyn Once>,
    /// Keys for browsers.
    pub entropy: Entropy,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where it is counted.
    pub metrics: Arc<Metrics>,
}

/// The sign-in half of the front.
pub struct SignInFront {
    rules: Rules,
    means: Means,
    bodies: Bodies,
    login_urls: Limit,
    callbacks: Limit,
    refusals: Seldom,
}

impl SignInFront {
    /// People sign in by these rules.
    pub fn new(rules: Rules, means: Means) -> Self {
        let (login_urls, callbacks) = (Limit::new(rules.rate), Limit::new(rules.rate));
        Self { rules, means, bodies: Bodies::new(MAX_BODY, 1), login_urls, callbacks, refusals: Seldom::default() }
    }

    /// Forgets what is not needed any more. To be called now and then.
    pub fn tidy(&self) {
        self.login_urls.tidy();
        self.callbacks.tidy();
    }
}

/// Answers one request; `front` is there if signing in is configured.
pub(crate) async fn answer(front: Option<Arc<SignInFront>>, endpoint: Endpoint, request: Request<Incoming>) -> Answer {
    let Some(front) = front else { return not_configured(endpoint) };
    let origin = request.headers().get(ORIGIN).cloned();
    if !front.rules.origins.admit(request.headers()) {
        let refusal = problem(StatusCode::FORBIDDEN, "origin_not_allowed", "Pages of this origin may not sign people in.");
        return closing(Origins::share(refusal, None));
    }
    let answer = if is_preflight(&request) {
        Origins::preflight(endpoint.method())
    } else {
        match endpoint {
            Endpoint::LoginConfig => login_config(&front),
            Endpoint::LoginUrl => login_url::answer(&front, request).await,
            Endpoint::Callback => callback::answer(front, request).await,
            Endpoint::Refresh => session::refresh(front, request).await,
            Endpoint::Logout => session::logout(&front, request).await,
            Endpoint::Session => session::show(&front, request.headers()).await,
        }
    };
    Origins::share(answer, origin.as_ref())
}

fn not_configured(endpoint: Endpoint) -> Answer {
    let (status, kind, detail) = (StatusCode::NOT_FOUND, "workos_not_configured", "Signing in by WorkOS is not configured here.");
    match endpoint {
        // A frontend that asks how to log people in gets its answer all the same.
        Endpoint::LoginConfig => shared::http::problem_with(status, kind, detail, &login_mode(false)),
        _ => problem(status, kind, detail),
    }
}

fn login_mode(workos: bool) -> serde_json::Value {
    json!({ "workos_enabled": workos, "login_mode": if workos { "workos" } else { "email_code" } })
}

fn login_config(front: &SignInFront) -> Answer {
    json(StatusCode::OK, &login_mode(front.rules.enabled))
}

/// A refusal that says what is wrong with a request.
fn bad_request(detail: &str) -> Answer {
    problem(StatusCode::BAD_REQUEST, "bad_request", detail)
}

/// Reads a JSON body. Only `application/json`: a page of another site cannot send that without asking first.
async fn read_json<T: DeserializeOwned>(front: &SignInFront, head: &Parts, body: Incoming) -> Result<T, Answer> {
    if !is_json(&head.headers) {
        let detail = "The body must be JSON, with Content-Type: application/json.";
        return Err(closing(problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", detail)));
    }
    let body = front.bodies.read(head, body).await.map_err(|error| match error {
        BodyError::TooLarge => closing(problem(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "The body is over 16 KiB.")),
        BodyError::TooSlow => closing(problem(StatusCode::REQUEST_TIMEOUT, "too_slow", "The body did not arrive in time.")),
        BodyError::BrokenOff => closing(problem(StatusCode::BAD_REQUEST, "broken_off", "The body broke off.")),
        BodyError::Crowded => closing(problem(StatusCode::SERVICE_UNAVAILABLE, "crowded", "Too many large bodies at once.")),
    })?;
    // serde_json's message could repeat a part of the body, and that may be a code.
    serde_json::from_slice(&body).map_err(|_| bad_request("The body is not the JSON object this address takes: see /openapi.json."))
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    kind.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("application/json")
}

/// What a person is told when the fault is not theirs: 502 if we are set up wrongly, 503 if it will pass.
fn at_fault(front: &SignInFront, fault: &Fault) -> Answer {
    let misconfigured = matches!(fault.severity, Severity::Misconfigured | Severity::Permanent);
    if let Some(unsaid) = front.refusals.speak() {
        if misconfigured {
            tracing::error!(%fault, unsaid, "nobody can sign in: check WORKOS_CLIENT_ID, WORKOS_API_KEY and the WorkOS dashboard");
        } else {
            tracing::warn!(%fault, unsaid, "somebody could not sign in");
        }
    }
    let (status, kind, seconds) = match fault.severity {
        Severity::Misconfigured | Severity::Permanent => (StatusCode::BAD_GATEWAY, "signin_misconfigured", 60),
        Severity::Doubtful => (StatusCode::BAD_GATEWAY, "workos_bad_answer", 10),
        Severity::Transient { retry_after } => {
            (StatusCode::SERVICE_UNAVAILABLE, "signin_unavailable", retry_after.map_or(5, |wait| wait.as_secs().max(1)))
        }
    };
    let mut answer = problem(status, kind, "Signing in does not work at the moment. Try again later.");
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    answer
}
