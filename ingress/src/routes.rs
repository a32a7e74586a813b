//! The public surface, as one table.

use std::sync::Arc;

use hyper::{
    Method, Request, StatusCode,
    body::Incoming,
    header::{ALLOW, HeaderValue, ORIGIN},
};
use shared::http::{Answer, answer, problem};

use crate::{
    Front,
    page::{self, Page},
    sign_in, webhook,
};

/// The public surface as an OpenAPI document.
const OPENAPI: &str = include_str!("openapi.json");

/// What is at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// WorkOS's deliveries.
    Webhook,
    /// The sign-in half.
    SignIn(SignInEndpoint),
    /// This surface, described.
    OpenApi,
    /// A file of the login page, where it is switched on.
    Page(Page),
}

/// The addresses of the sign-in half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignInEndpoint {
    /// Which login a frontend shows.
    LoginConfig,
    /// Where a browser goes to sign in.
    LoginUrl,
    /// What it brings back.
    Callback,
    /// The next tokens.
    Refresh,
    /// The end of a session.
    Logout,
    /// Whose session it is.
    Session,
}

impl SignInEndpoint {
    /// Its one method.
    pub const fn method(self) -> &'static str {
        match self {
            Self::LoginConfig | Self::Session => "GET",
            Self::LoginUrl | Self::Callback | Self::Refresh | Self::Logout => "POST",
        }
    }
}

impl Endpoint {
    /// Its one method.
    pub const fn method(self) -> &'static str {
        match self {
            Self::Webhook => "POST",
            Self::SignIn(endpoint) => endpoint.method(),
            Self::OpenApi | Self::Page(_) => "GET",
        }
    }
}

/// Every address there is, without the trailing slash that makes no difference.
pub const TABLE: &[(&str, Endpoint)] = &[
    ("/v1/workos_webhook", Endpoint::Webhook),
    ("/v2/user/login_config", Endpoint::SignIn(SignInEndpoint::LoginConfig)),
    ("/v2/user/workos_login_url", Endpoint::SignIn(SignInEndpoint::LoginUrl)),
    ("/v2/user/workos_signin_callback", Endpoint::SignIn(SignInEndpoint::Callback)),
    ("/v2/user/refresh", Endpoint::SignIn(SignInEndpoint::Refresh)),
    ("/v2/user/logout", Endpoint::SignIn(SignInEndpoint::Logout)),
    ("/v2/user/session", Endpoint::SignIn(SignInEndpoint::Session)),
    ("/openapi.json", Endpoint::OpenApi),
    ("/login", Endpoint::Page(Page::Login)),
    ("/login/callback", Endpoint::Page(Page::Callback)),
    ("/login/page.css", Endpoint::Page(Page::Style)),
    ("/login/login.js", Endpoint::Page(Page::LoginScript)),
    ("/login/callback.js", Endpoint::Page(Page::CallbackScript)),
];

/// Finds who answers. A trailing slash makes no difference: WorkOS is told an address with one.
pub(crate) async fn route(front: Arc<Front>, request: Request<Incoming>) -> Answer {
    let path = request.uri().path();
    let path = path.strip_suffix('/').unwrap_or(path);
    let Some((_, endpoint)) = TABLE.iter().find(|(known, _)| *known == path) else { return nothing_here() };
    let asks_first = matches!(endpoint, Endpoint::SignIn(_)) && is_preflight(&request);
    if request.method().as_str() != endpoint.method() && !asks_first {
        return only(endpoint.method());
    }
    match endpoint {
        Endpoint::Webhook => webhook::accept(front, request).await,
        Endpoint::SignIn(endpoint) => sign_in::answer(front.sign_in.clone(), *endpoint, request).await,
        Endpoint::OpenApi => answer(StatusCode::OK, "application/json", OPENAPI),
        Endpoint::Page(page) if front.login_page => page::answer(*page),
        Endpoint::Page(_) => nothing_here(),
    }
}

/// A browser's question whether a page of another origin may ask, and not just somebody's OPTIONS.
pub(crate) fn is_preflight(request: &Request<Incoming>) -> bool {
    request.method() == Method::OPTIONS && request.headers().contains_key(ORIGIN)
}

fn nothing_here() -> Answer {
    problem(StatusCode::NOT_FOUND, "not_found", "There is nothing at this address.")
}

fn only(method: &'static str) -> Answer {
    let mut answer = problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "This address takes another method.");
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(method));
    answer
}
