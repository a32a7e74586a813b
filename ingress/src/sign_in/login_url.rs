//! Starting a sign-in: a page asks for the address to send its browser to, or a browser is sent on
//! at once.
//!
//! The second way is WorkOS's "sign-in endpoint": sign-ins that begin at WorkOS (an invitation, an
//! identity provider's own page, impersonation) reach the callback page without a state, and begin
//! anew here (<https://workos.com/docs/authkit/hosted-ui>).

use domain::sign_in::state::{Attempt, BrowserKey};
use hyper::{
    HeaderMap, StatusCode,
    header::{HOST, HeaderValue, LOCATION, REFERRER_POLICY},
    http::request::Parts,
};
use runtime::http::{self, Answer, Received, json, problem};
use serde_json::json;
use url::Url;

use super::{
    authorize::{Wish, address},
    rate_limit::too_many_requests,
    service::{SignInConfig, SignInService, bad_request},
};

/// Answers a page with the address.
pub(super) async fn answer_login_url(service: &SignInService, request: Received) -> Answer {
    let (head, body) = request.into_parts();
    if let Some(refusal) = refuse(service, &head) {
        return refusal;
    }
    let wish = match service.read_json(&head, body).await.map(Wish::from_json) {
        Ok(Ok(wish)) => wish,
        Ok(Err(detail)) => return bad_request(&detail),
        Err(refusal) => return refusal,
    };
    match start(service, &wish, &head.headers) {
        Ok(started) => {
            let answer = json(StatusCode::OK, &json!({ "url": started.url.as_str() }));
            started.answer(service, &head.headers, answer)
        }
        Err(refusal) => *refusal,
    }
}

/// Sends a browser on to AuthKit.
pub(super) fn answer_login(service: &SignInService, request: Received) -> Answer {
    let (head, _) = request.into_parts();
    if let Some(refusal) = refuse(service, &head) {
        return refusal;
    }
    let started = match Wish::from_query(head.uri.query().unwrap_or_default()) {
        Ok(wish) => start(service, &wish, &head.headers),
        Err(detail) => Err(bad_request(&detail).into()),
    };
    let started = match started {
        Ok(started) => started,
        Err(refusal) => return *refusal,
    };
    let Ok(location) = HeaderValue::from_str(started.url.as_str()) else {
        return bad_request("The address at AuthKit cannot be written.");
    };
    let mut answer = http::answer(StatusCode::FOUND, "text/plain; charset=utf-8", "");
    answer.headers_mut().insert(LOCATION, location);
    answer.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    started.answer(service, &head.headers, answer)
}

/// The refusal of anybody who may not start a sign-in here, or not so often.
fn refuse(service: &SignInService, head: &Parts) -> Option<Answer> {
    if !service.config.enabled {
        return Some(problem(
            StatusCode::NOT_FOUND,
            "workos_login_disabled",
            "Signing in by WorkOS is switched off. Use the other login.",
        ));
    }
    service.login_urls.check(service.client(head)).err().map(too_many_requests)
}

/// A sign-in that has been started.
struct Started {
    url: Url,
    flow: String,
    key: BrowserKey,
}

impl Started {
    /// The answer, with the key of this flow.
    fn answer(&self, service: &SignInService, headers: &HeaderMap, mut answer: Answer) -> Answer {
        let flow = (self.flow.as_str(), &self.key);
        let SignInConfig { cookies, state_life, .. } = &service.config;
        cookies.set_key(&mut answer, headers, flow, *state_life);
        answer
    }
}

fn start(
    service: &SignInService,
    wish: &Wish,
    headers: &HeaderMap,
) -> Result<Started, Box<Answer>> {
    let random = || (service.deps.entropy)().map(BrowserKey::new);
    let (Some(nonce), Some(key)) = (random(), random()) else {
        let detail = "The system has no random numbers.";
        return Err(problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail).into());
    };
    let redirect_url = redirect(service, wish, headers).map_err(bad_request)?;
    let attempt = Attempt {
        nonce: nonce.expose().to_owned(),
        started_at: service.deps.clock.now(),
        return_to: return_to(service, wish, &redirect_url).map_err(bad_request)?,
        redirect_url: redirect_url.into(),
        organization_id: wish.organization().map(str::to_owned),
    };
    let url = address(service, wish, &attempt, &key);
    Ok(Started { url, flow: attempt.flow().to_owned(), key })
}

fn redirect(
    service: &SignInService,
    wish: &Wish,
    headers: &HeaderMap,
) -> Result<Url, &'static str> {
    match &wish.redirect_url {
        Some(text) => service
            .config
            .origins
            .redirect(text)
            .ok_or("redirect_url is not within the allowed origins."),
        None => usual_redirect(service, headers)
            .ok_or("redirect_url is missing: give one, or set AUTHPOST_SIGNIN_REDIRECT_URL."),
    }
}

/// A path alone is one at the origin of the page that the browser comes back to.
fn return_to(
    service: &SignInService,
    wish: &Wish,
    redirect_url: &Url,
) -> Result<Option<String>, &'static str> {
    let Some(text) = &wish.return_to else { return Ok(None) };
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let absolute = match text.strip_prefix('/') {
        Some(_) if plain => redirect_url.join(text).ok().map(String::from),
        Some(_) => None,
        None => Some(text.clone()),
    };
    let url = absolute.and_then(|absolute| service.config.origins.redirect(&absolute));
    url.map(|url| Some(url.into())).ok_or("return_to is not within the allowed origins.")
}

/// Where AuthKit sends a browser back to if the request does not say: where the operator says, or to
/// the callback page of this listener, under the name that the browser knows it by.
fn usual_redirect(service: &SignInService, headers: &HeaderMap) -> Option<Url> {
    let SignInConfig { redirect_url, login_page, origins, .. } = &service.config;
    if redirect_url.is_some() {
        return redirect_url.clone();
    }
    let host = headers.get(HOST).filter(|_| *login_page)?.to_str().ok()?;
    ["https", "http"]
        .iter()
        .find_map(|scheme| origins.redirect(&format!("{scheme}://{host}/login/callback")))
}
