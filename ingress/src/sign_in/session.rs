//! Sessions: whose it is, refreshing it, ending it.

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
    cookies,
    ending::logout_url,
    rate_limit::too_many_requests,
    service::{OnHangUp, SignInService, UNKNOWN, bad_request},
};

/// For a reverse proxy's forward-auth (nginx `auth_request`, Traefik `forwardAuth`).
const AUTH_USER: HeaderName = HeaderName::from_static("x-auth-user");
const AUTH_ORG: HeaderName = HeaderName::from_static("x-auth-org");
const AUTH_ACTOR: HeaderName = HeaderName::from_static("x-auth-impersonator");

/// Tells whose session this is. Calls WorkOS only for its keys, which are cached.
pub(super) async fn show(service: &SignInService, headers: &HeaderMap) -> Answer {
    // A bearer may be the application's own: then the cookie counts.
    let tokens = [cookies::bearer(headers), cookies::access_cookie(headers)];
    for token in tokens.into_iter().flatten() {
        match service.deps.sessions.verify(&token).await {
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

fn not_signed_in() -> Answer {
    let mut answer =
        problem(StatusCode::UNAUTHORIZED, "not_signed_in", "There is no session, or it has ended.");
    answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    answer
}

/// Exchanges the refresh token for new tokens. Like a code it is good for one time, so WorkOS is
/// asked one time. Ends with its client: nobody else could be given the new tokens.
pub(super) async fn refresh(service: &SignInService, request: Request<Incoming>) -> Answer {
    let (head, _) = request.into_parts();
    let counts = &service.deps.metrics.sign_in;
    let (result, answer) = match cookies::refresh(&head.headers) {
        None => (Refresh::Refused, not_signed_in()),
        Some(token) => {
            let hung_up = OnHangUp::new(|| counts.refresh(Refresh::Abandoned));
            let refreshed = renew_within_limit(service, &token, &service.visitor(&head)).await;
            hung_up.disarm();
            refreshed
        }
    };
    counts.refresh(result);
    answer
}

/// Tokens that are refused count towards the limit of their address. Others do not: behind one
/// address there may be many people.
async fn renew_within_limit(
    service: &SignInService,
    token: &SecretString,
    visitor: &Visitor,
) -> (Refresh, Answer) {
    let address = visitor.address.unwrap_or(UNKNOWN);
    if let Err(wait) = service.refreshes.check(address) {
        return (Refresh::Limited, too_many_requests(wait));
    }
    if service.gate.was_refused(token) {
        return (Refresh::Refused, not_signed_in());
    }
    let (result, answer) = renew(service, token, visitor).await;
    match result {
        Refresh::Refused => service.gate.remember_refused(token),
        _ => service.refreshes.forgive(address),
    }
    (result, answer)
}

async fn renew(
    service: &SignInService,
    token: &SecretString,
    visitor: &Visitor,
) -> (Refresh, Answer) {
    let _pass = match service.gate.enter(1).await {
        Ok(pass) => pass,
        Err(fault) => return (Refresh::Failed, service.fault_answer(&fault)),
    };
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
    cookies::clear_all(&mut answer, &head.headers);
    answer
}
