//! The public surface, as one table.

use std::sync::Arc;

use hyper::{
    Method, StatusCode,
    header::{ALLOW, HeaderValue},
};
use runtime::http::{Answer, Received, answer, json, problem};
use serde_json::json;

use crate::{
    page::{self, Page},
    proxies::FORWARDED,
    sign_in::{self, is_preflight},
    state::Ingress,
    webhook,
};

/// The public surface as an OpenAPI document.
const OPENAPI: &str = include_str!("openapi.json");

/// What answers at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// The path that WorkOS posts webhooks to.
    Webhook,
    SignIn(sign_in::Endpoint),
    OpenApi,
    /// Whether webhooks are accepted, for hosts that probe the port they route to.
    Health,
    /// A file of the login page, if it is enabled.
    Page(Page),
}

impl Endpoint {
    /// The one method it accepts.
    pub const fn method(self) -> &'static str {
        match self {
            Self::Webhook => "POST",
            Self::SignIn(endpoint) => endpoint.method(),
            Self::OpenApi | Self::Health | Self::Page(_) => "GET",
        }
    }

    /// Whether a request with this method is answered.
    fn accepts(self, method: &Method) -> bool {
        let reads = matches!(self, Self::OpenApi | Self::Health | Self::Page(_));
        method.as_str() == self.method() || (reads && *method == Method::HEAD)
    }
}

/// Every path, without the trailing slash, which is optional.
pub const TABLE: &[(&str, Endpoint)] = &[
    ("/v1/workos_webhook", Endpoint::Webhook),
    ("/v2/user/login_config", Endpoint::SignIn(sign_in::Endpoint::LoginConfig)),
    ("/v2/user/workos_login", Endpoint::SignIn(sign_in::Endpoint::Login)),
    ("/v2/user/workos_login_url", Endpoint::SignIn(sign_in::Endpoint::LoginUrl)),
    ("/v2/user/workos_signin_callback", Endpoint::SignIn(sign_in::Endpoint::Callback)),
    ("/v2/user/refresh", Endpoint::SignIn(sign_in::Endpoint::Refresh)),
    ("/v2/user/logout", Endpoint::SignIn(sign_in::Endpoint::Logout)),
    ("/v2/user/session", Endpoint::SignIn(sign_in::Endpoint::Session)),
    ("/openapi.json", Endpoint::OpenApi),
    ("/healthz", Endpoint::Health),
    ("/login", Endpoint::Page(Page::Login)),
    ("/login/callback", Endpoint::Page(Page::Callback)),
    ("/login/page.css", Endpoint::Page(Page::Style)),
    ("/login/login.js", Endpoint::Page(Page::LoginScript)),
    ("/login/callback.js", Endpoint::Page(Page::CallbackScript)),
];

/// Routes a request. The trailing slash is optional: the documented webhook URL has one.
pub(crate) async fn route(ingress: Arc<Ingress>, request: Received) -> Answer {
    note_forwarded(&ingress, &request);
    let path = request.uri().path();
    let path = path.strip_suffix('/').unwrap_or(path);
    let Some((_, endpoint)) = TABLE.iter().find(|(known, _)| *known == path) else {
        return nothing_here();
    };
    let preflight = matches!(endpoint, Endpoint::SignIn(_)) && is_preflight(&request);
    if !endpoint.accepts(request.method()) && !preflight {
        return only(endpoint.method());
    }
    match endpoint {
        Endpoint::Webhook => webhook::accept(ingress, request).await,
        Endpoint::SignIn(endpoint) => {
            sign_in::answer_sign_in(ingress.sign_in.clone(), *endpoint, request).await
        }
        Endpoint::OpenApi => answer(StatusCode::OK, "application/json", OPENAPI),
        Endpoint::Health => health(&ingress),
        Endpoint::Page(page) if ingress.login_page => page::page_answer(*page),
        Endpoint::Page(_) => nothing_here(),
    }
}

/// Tells nothing more than the status: anybody can ask. Calls nothing.
fn health(ingress: &Ingress) -> Answer {
    let well =
        ingress.publish.ready().is_ok() && ingress.health.get().is_none_or(|it| it.is_well());
    if well {
        json(StatusCode::OK, &json!({ "status": "ok" }))
    } else {
        problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Webhooks are not accepted now.")
    }
}

/// A proxy that is not listed makes all people behind it one client: one of them can use up the
/// limits of all. Nothing else would say so.
fn note_forwarded(ingress: &Ingress, request: &Received) {
    if !request.headers().contains_key(FORWARDED) {
        return;
    }
    let connection = request.body().connection();
    if ingress.proxies.trust(connection.peer()) {
        return;
    }
    ingress.metrics.untrusted_forwarded();
    if let Some(suppressed) = ingress.forwarded_log.allow() {
        tracing::warn!(
            address = %connection.peer(), suppressed,
            "ignored X-Forwarded-For from an address outside AUTHPOST_TRUSTED_PROXIES: if that is \
             your proxy, list its network there, or all people behind it share one rate limit"
        );
    }
}

fn nothing_here() -> Answer {
    problem(StatusCode::NOT_FOUND, "not_found", "There is nothing at this path.")
}

fn only(method: &'static str) -> Answer {
    let mut answer = problem(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "This path takes another method.",
    );
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(method));
    answer
}
