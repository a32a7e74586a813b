//! Sessions: whose it is, and ending it.

use domain::sessions::{TokenClaims, UntrustedToken};
use hyper::{
    HeaderMap, StatusCode,
    header::{HeaderName, HeaderValue, WWW_AUTHENTICATE},
};
use runtime::http::{Answer, Received, json, problem};
use serde_json::{Map, Value, json};

use super::{
    authorize::not_known,
    cookies::bearer,
    ending::logout_url,
    service::{SignInService, bad_request},
};

/// For a reverse proxy's forward-auth (nginx `auth_request`, Traefik `forwardAuth`).
const AUTH_USER: HeaderName = HeaderName::from_static("x-auth-user");
const AUTH_ORG: HeaderName = HeaderName::from_static("x-auth-org");
const AUTH_ACTOR: HeaderName = HeaderName::from_static("x-auth-impersonator");

/// Tells whose session this is. Calls WorkOS only for its keys, which are cached.
pub(super) async fn show(service: &SignInService, headers: &HeaderMap) -> Answer {
    // A bearer may be the application's own: then the cookie counts.
    let tokens = [bearer(headers), service.config.cookies.access_cookie(headers)];
    for token in tokens.into_iter().flatten() {
        match service.verify(&token).await {
            Ok(claims) => return describe(&claims),
            Err(UntrustedToken::Unknown(fault)) => return service.fault_answer(&fault),
            Err(untrusted) => tracing::debug!(%untrusted, "rejected a session token"),
        }
    }
    not_signed_in()
}

fn describe(claims: &TokenClaims) -> Answer {
    let permissions =
        if claims.permissions.is_null() { json!([]) } else { claims.permissions.clone() };
    let mut answer = json(
        StatusCode::OK,
        &json!({
            "user_id": claims.sub, "session_id": claims.sid, "organization_id": claims.org_id,
            "impersonator": claims.act.as_ref().map(|email| json!({ "email": email })),
            "external_id": claims.external_id,
            "role": claims.role, "permissions": permissions, "expires_at": claims.expires_at(),
        }),
    );
    // All headers always, even if empty: a proxy that copies only those present would pass on a
    // client's own.
    let org = claims.org_id.as_deref().unwrap_or_default();
    let act = claims.act.as_deref().unwrap_or_default();
    for (name, text) in [(AUTH_USER, claims.sub.as_str()), (AUTH_ORG, org), (AUTH_ACTOR, act)] {
        let Ok(value) = HeaderValue::from_str(text) else { return not_signed_in() };
        answer.headers_mut().insert(name, value);
    }
    answer
}

pub(super) fn not_signed_in() -> Answer {
    let mut answer =
        problem(StatusCode::UNAUTHORIZED, "not_signed_in", "There is no session, or it has ended.");
    answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    answer
}

/// Where WorkOS sends the browser afterwards, which is all that a body may say.
fn return_to(members: Map<String, Value>) -> Result<Option<String>, String> {
    let mut return_to = None;
    for (name, value) in members {
        match (name.as_str(), value) {
            ("return_to", Value::String(url)) => return_to = Some(url),
            ("return_to", Value::Null) => {}
            ("return_to", _) => return Err("return_to is not text.".to_owned()),
            (name, _) => return Err(not_known(name)),
        }
    }
    Ok(return_to)
}

/// Clears the cookies, and returns the URL that ends the session at WorkOS. Works for an expired
/// session and while WorkOS does not answer: signing out must always work.
pub(super) async fn logout(service: &SignInService, request: Received) -> Answer {
    let (head, body) = request.into_parts();
    let return_to = match service.read_json_or(Map::new(), &head, body).await.map(return_to) {
        Ok(Ok(return_to)) => return_to,
        Ok(Err(detail)) => return bad_request(&detail),
        Err(refusal) => return refusal,
    };
    let return_to = match return_to.map(|text| service.config.origins.redirect(&text)) {
        Some(None) => return bad_request("return_to is not within the allowed origins."),
        Some(Some(url)) => Some(url),
        None => None,
    };
    let cookies = &service.config.cookies;
    let session = cookies
        .access(&head.headers)
        .and_then(|token| service.deps.sessions.stated_session_id(&token));
    let url = session
        .map(|session| logout_url(service, &session, return_to.as_ref().map(url::Url::as_str)));
    let mut answer = json(StatusCode::OK, &json!({ "logout_url": url }));
    cookies.clear_all(&mut answer, &head.headers);
    answer
}
