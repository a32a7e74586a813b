//! Signing in: from "Log in" to a session, through AuthKit.
//!
//! A page requests the URL to send its browser to, or sends it to an endpoint that redirects
//! ([`login_url`]); AuthKit sends the browser back
//! with a code, and the page posts that to [`callback`], whose story function decides who is signed
//! in. [`session`] and [`refresh`]
//! handle what follows.

mod authorize;
mod callback;
pub mod cookies;
mod ending;
mod endpoint;
mod gate;
mod login_url;
pub mod origins;
mod outcome;
mod rate_limit;
mod refresh;
mod service;
mod session;
mod shared_calls;

use std::sync::Arc;

use hyper::{Method, StatusCode, header::ORIGIN};
use runtime::http::{Answer, Received, closing, json, problem, problem_with};
use serde_json::json;

use self::origins::Origins;

pub use self::{
    endpoint::Endpoint,
    gate::MOST_CALLS,
    service::{Deps, SignInConfig, SignInService},
};

/// Answers one request; `service` is present if signing in is configured.
pub(crate) async fn answer_sign_in(
    service: Option<Arc<SignInService>>,
    endpoint: Endpoint,
    mut request: Received,
) -> Answer {
    let Some(service) = service else { return not_configured(endpoint) };
    let connection = Arc::clone(request.body().connection());
    // For handlers that have only the head when they ask for the client's address.
    request.extensions_mut().insert(connection);
    let origin = request.headers().get(ORIGIN).cloned();
    // A proxy's forward-auth passes on the origin of whatever page the request comes from.
    let asks_whose = endpoint == Endpoint::Session && !is_preflight(&request);
    let allowed = service.config.origins.allow(&request);
    if !allowed && !asks_whose {
        let refusal = problem(
            StatusCode::FORBIDDEN,
            "origin_not_allowed",
            "Pages of this origin may not sign people in.",
        );
        return closing(Origins::share(refusal, None));
    }
    let answer = if is_preflight(&request) {
        Origins::preflight(endpoint.method(), request.headers())
    } else {
        match endpoint {
            Endpoint::LoginConfig => json(StatusCode::OK, &login_mode(service.config.enabled)),
            Endpoint::Login => login_url::answer_login(&service, request),
            Endpoint::LoginUrl => login_url::answer_login_url(&service, request).await,
            Endpoint::Callback => callback::answer_callback(&service, request).await,
            Endpoint::Refresh => refresh::answer_refresh(&service, request).await,
            Endpoint::Logout => session::logout(&service, request).await,
            Endpoint::Session => session::show(&service, request.headers()).await,
        }
    };
    Origins::share(answer, origin.as_ref().filter(|_| allowed))
}

/// Whether a browser asks if a page of another origin may send a request; not just any OPTIONS.
pub(crate) fn is_preflight(request: &Received) -> bool {
    request.method() == Method::OPTIONS && request.headers().contains_key(ORIGIN)
}

fn not_configured(endpoint: Endpoint) -> Answer {
    let (status, kind, detail) = (
        StatusCode::NOT_FOUND,
        "workos_not_configured",
        "Signing in by WorkOS is not configured here.",
    );
    match endpoint {
        // A frontend that asks which login to show gets its answer all the same.
        Endpoint::LoginConfig => problem_with(status, kind, detail, &login_mode(false)),
        _ => problem(status, kind, detail),
    }
}

fn login_mode(workos: bool) -> serde_json::Value {
    json!({ "workos_enabled": workos, "login_mode": if workos { "workos" } else { "email_code" } })
}
