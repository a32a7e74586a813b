//! Sessions: whose it is, refreshing it, ending it.

use std::sync::Arc;

use domain::{
    fault::{Fault, Reason},
    sessions::{TokenClaims, UntrustedToken},
    sign_in::{
        provider::{Tokens, Visitor},
        refusal::Refusal,
    },
};
use hyper::{
    HeaderMap, Request, StatusCode,
    body::Incoming,
    header::{HeaderName, HeaderValue, WWW_AUTHENTICATE},
};
use runtime::{
    http::{Answer, json, problem},
    metrics::labels::Refresh,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;

use super::{
    callback::logout_url,
    cookies,
    service::{SignInService, bad_request},
};

/// For a reverse proxy's forward-auth (nginx `auth_request`, Traefik `forwardAuth`).
const AUTH_USER: HeaderName = HeaderName::from_static("x-auth-user");
const AUTH_ORG: HeaderName = HeaderName::from_static("x-auth-org");

/// Tells whose session this is. Calls WorkOS only for its keys, which are cached.
pub(super) async fn show(service: &SignInService, headers: &HeaderMap) -> Answer {
    let Some(token) = cookies::access(headers) else { return not_signed_in() };
    match service.deps.sessions.verify(&token).await {
        Ok(claims) => describe(&claims),
        Err(UntrustedToken::Unknown(fault)) => service.fault_answer(&fault),
        Err(untrusted) => {
            tracing::debug!(%untrusted, "rejected a session token");
            not_signed_in()
        }
    }
}

fn describe(claims: &TokenClaims) -> Answer {
    let mut answer = json(
        StatusCode::OK,
        &json!({
            "user_id": claims.sub, "session_id": claims.sid, "organization_id": claims.org_id,
            "role": claims.role, "permissions": claims.permissions, "expires_at": claims.expires_at(),
        }),
    );
    // Both headers always, even if empty: a proxy that copies only those present would pass on a
    // client's own.
    let (user, org) = (
        HeaderValue::from_str(&claims.sub),
        HeaderValue::from_str(claims.org_id.as_deref().unwrap_or_default()),
    );
    let (Ok(user), Ok(org)) = (user, org) else { return not_signed_in() };
    answer.headers_mut().insert(AUTH_USER, user);
    answer.headers_mut().insert(AUTH_ORG, org);
    answer
}

fn not_signed_in() -> Answer {
    let mut answer =
        problem(StatusCode::UNAUTHORIZED, "not_signed_in", "There is no session, or it has ended.");
    answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    answer
}

/// Exchanges the refresh token for new tokens. Like a code it is good for one time, so WorkOS is
/// asked one time.
pub(super) async fn refresh(service: Arc<SignInService>, request: Request<Incoming>) -> Answer {
    let (head, _) = request.into_parts();
    let Some(token) = cookies::refresh(&head.headers) else {
        service.deps.metrics.sign_in.refresh(Refresh::Refused);
        return not_signed_in();
    };
    let visitor = service.config.proxies.visitor(&head);
    // In a task of its own: a browser that hangs up must not lose the session, whose old token may
    // be used up by now.
    let finished = tokio::spawn(async move {
        let (result, answer) = renew(&service, &token, &visitor).await;
        service.deps.metrics.sign_in.refresh(result);
        answer
    });
    finished.await.unwrap_or_else(|_| {
        problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The session could not be renewed.")
    })
}

async fn renew(
    service: &SignInService,
    token: &SecretString,
    visitor: &Visitor,
) -> (Refresh, Answer) {
    match service.deps.provider.refresh(token, visitor).await {
        Ok(tokens) => match refreshed(service, &tokens).await {
            Ok(answer) => (Refresh::Ok, answer),
            Err(fault) => (Refresh::Failed, service.fault_answer(&fault)),
        },
        Err(Refusal::Fault(fault)) => (Refresh::Failed, service.fault_answer(&fault)),
        // The cookies stay: another tab may have refreshed the session a moment ago, and its
        // cookies are newer.
        Err(_) => (Refresh::Refused, not_signed_in()),
    }
}

async fn refreshed(service: &SignInService, tokens: &Tokens) -> Result<Answer, Fault> {
    let verified = service.deps.sessions.verify(tokens.access_token.expose_secret()).await;
    let claims = verified.map_err(UntrustedToken::into_fault)?;
    let body = json!({ "user": tokens.user, "organization_id": claims.org_id, "expires_at": claims.expires_at() });
    let mut answer = json(StatusCode::OK, &body);
    let too_large = |error: cookies::TokenTooLarge| {
        Fault::misconfigured(Reason::WorkosUnauthorized, error.to_string())
    };
    cookies::set_session(&mut answer, tokens).map_err(too_large)?;
    Ok(answer)
}

#[derive(Default, Deserialize)]
struct LogoutRequest {
    /// Where WorkOS sends the browser afterwards.
    #[serde(default)]
    return_to: Option<String>,
}

/// Clears the cookies, and returns the URL that ends the session at WorkOS. Works for an expired
/// session and while WorkOS does not answer: signing out must always work.
pub(super) async fn logout(service: &SignInService, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let read = if hyper::body::Body::is_end_stream(&body) {
        Ok(LogoutRequest::default())
    } else {
        service.read_json(&head, body).await
    };
    let LogoutRequest { return_to } = match read {
        Ok(leave) => leave,
        Err(refusal) => return refusal,
    };
    let return_to = match return_to.map(|text| service.config.origins.redirect(&text)) {
        Some(None) => return bad_request("return_to is not within the allowed origins."),
        Some(Some(url)) => Some(url),
        None => None,
    };
    let session = cookies::access(&head.headers)
        .and_then(|token| service.deps.sessions.stated_session_id(&token));
    let url = session
        .map(|session| logout_url(service, &session, return_to.as_ref().map(url::Url::as_str)));
    let mut answer = json(StatusCode::OK, &json!({ "logout_url": url }));
    cookies::clear_all(&mut answer);
    answer
}
