//! The URL that a browser is sent to: AuthKit's, with a state that only this browser can bring back
//! (<https://workos.com/docs/reference/authkit/authentication/get-authorization-url>).

use domain::sign_in::state::{Attempt, BrowserKey, challenge};
use hyper::{Request, StatusCode, body::Incoming};
use runtime::http::{Answer, json, problem};
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::{
    cookies,
    rate_limit::too_many_requests,
    service::{SignInService, bad_request},
};

/// Longest `login_hint` passed on, in bytes (RFC 5321, 4.5.3.1, and a little more).
const MAX_HINT: usize = 320;

#[derive(Deserialize)]
struct LoginUrlRequest {
    redirect_url: String,
    #[serde(default)]
    login_hint: Option<String>,
    #[serde(default)]
    screen_hint: Option<ScreenHint>,
    #[serde(default)]
    organization_id: Option<String>,
}

/// Which page AuthKit shows first.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ScreenHint {
    SignIn,
    SignUp,
}

impl ScreenHint {
    fn as_str(self) -> &'static str {
        match self {
            Self::SignIn => "sign-in",
            Self::SignUp => "sign-up",
        }
    }
}

pub(super) async fn answer_login_url(
    service: &SignInService,
    request: Request<Incoming>,
) -> Answer {
    let (head, body) = request.into_parts();
    if !service.config.enabled {
        return problem(
            StatusCode::NOT_FOUND,
            "workos_login_disabled",
            "Signing in by WorkOS is switched off. Use the other login.",
        );
    }
    if let Err(wait) = service.login_urls.check(service.client(&head)) {
        return too_many_requests(wait);
    }
    let ask: LoginUrlRequest = match service.read_json(&head, body).await {
        Ok(ask) => ask,
        Err(refusal) => return refusal,
    };
    // A browser with two tabs has one key, which both states are bound to.
    let key =
        cookies::browser(&head.headers).or_else(|| (service.deps.entropy)().map(BrowserKey::new));
    let Some(key) = key else {
        return problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "The system has no random numbers.",
        );
    };
    match authorize_url(service, &ask, &key) {
        Ok(url) => {
            let mut answer = json(StatusCode::OK, &json!({ "url": url }));
            cookies::set_key(&mut answer, &key);
            answer
        }
        Err(detail) => bad_request(detail),
    }
}

fn authorize_url(
    service: &SignInService,
    ask: &LoginUrlRequest,
    key: &BrowserKey,
) -> Result<String, &'static str> {
    let redirect_url = service
        .config
        .origins
        .redirect(&ask.redirect_url)
        .ok_or("redirect_url is not within the allowed origins.")?;
    let plain = |hint: &String| {
        !hint.is_empty() && hint.len() <= MAX_HINT && !hint.chars().any(char::is_control)
    };
    if !ask.login_hint.as_ref().is_none_or(plain) {
        return Err("login_hint is not an address.");
    }
    let id = |id: &String| {
        (1..=64).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if !ask.organization_id.as_ref().is_none_or(id) {
        return Err("organization_id is not an id.");
    }
    let nonce = (service.deps.entropy)().ok_or("The system has no random numbers.")?;
    let attempt = Attempt {
        nonce: BrowserKey::new(nonce).expose().to_owned(),
        started_at: service.deps.clock.now(),
        redirect_url: redirect_url.into(),
        organization_id: ask.organization_id.clone(),
    };
    Ok(build(service, ask, &attempt, key).into())
}

fn build(
    service: &SignInService,
    ask: &LoginUrlRequest,
    attempt: &Attempt,
    key: &BrowserKey,
) -> Url {
    let state_key = &service.config.state_key;
    let mut url = browser_url(&service.config.browser_base, "/user_management/authorize");
    let mut query = url.query_pairs_mut();
    query.append_pair("client_id", &service.config.client_id);
    query.append_pair("redirect_uri", &attempt.redirect_url);
    query.append_pair("response_type", "code");
    query.append_pair("provider", "authkit");
    query.append_pair("state", &state_key.seal(attempt, key));
    query.append_pair("code_challenge", &challenge(&state_key.verifier(attempt, key)));
    query.append_pair("code_challenge_method", "S256");
    let optional = [
        ("login_hint", ask.login_hint.as_deref()),
        ("screen_hint", ask.screen_hint.map(ScreenHint::as_str)),
        ("organization_id", ask.organization_id.as_deref()),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    drop(query);
    url
}

/// A URL at WorkOS for a browser.
pub(super) fn browser_url(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    url.set_query(None);
    url
}
