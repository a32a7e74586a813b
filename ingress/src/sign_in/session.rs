//! What follows a sign-in: asking whose session it is, getting the next tokens, leaving.

use std::sync::Arc;

use hyper::{
    HeaderMap, Request, StatusCode,
    body::Incoming,
    header::{HeaderName, HeaderValue, WWW_AUTHENTICATE},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;
use shared::{
    fault::{Fault, Reason},
    http::{Answer, json, problem},
    metrics::labels::Refresh,
    sign_in::refusal::Refusal,
    workos::{
        session::{Claims, Untrusted, session_to_leave},
        sign_in::{Tokens, Visitor},
    },
};

use super::{SignInFront, at_fault, bad_request, callback::logout_url, cookies, read_json};

/// For a reverse proxy's forward-auth (nginx `auth_request`, Traefik `forwardAuth`).
const AUTH_USER: HeaderName = HeaderName::from_static("x-auth-user");
const AUTH_ORG: HeaderName = HeaderName::from_static("x-auth-org");

/// Whose session this is. Only the key set may cost a call to WorkOS, and that is kept.
pub(super) async fn show(front: &SignInFront, headers: &HeaderMap) -> Answer {
    let Some(token) = cookies::access(headers) else { return not_signed_in() };
    match front.means.sessions.verify(&token).await {
        Ok(claims) => describe(&claims),
        Err(Untrusted::Unknown(fault)) => at_fault(front, &fault),
        Err(untrusted) => {
            tracing::debug!(%untrusted, "a session was not believed");
            not_signed_in()
        }
    }
}

fn describe(claims: &Claims) -> Answer {
    let mut answer = json(
        StatusCode::OK,
        &json!({
            "user_id": claims.sub, "session_id": claims.sid, "organization_id": claims.org_id,
            "role": claims.role, "permissions": claims.permissions, "expires_at": claims.ends_at(),
        }),
    );
    // Both always, if empty: a proxy that copies only what is there would let a client's own header through.
    let (user, org) = (HeaderValue::from_str(&claims.sub), HeaderValue::from_str(claims.org_id.as_deref().unwrap_or_default()));
    let (Ok(user), Ok(org)) = (user, org) else { return not_signed_in() };
    answer.headers_mut().insert(AUTH_USER, user);
    answer.headers_mut().insert(AUTH_ORG, org);
    answer
}

fn not_signed_in() -> Answer {
    let mut answer = problem(StatusCode::UNAUTHORIZED, "not_signed_in", "There is no session, or it has ended.");
    answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    answer
}

/// New tokens for the refresh token, which is good for one time: as with a code, WorkOS is asked one time.
pub(super) async fn refresh(front: Arc<SignInFront>, request: Request<Incoming>) -> Answer {
    let (head, _) = request.into_parts();
    let Some(token) = cookies::refresh(&head.headers) else {
        front.means.metrics.sign_in.refresh(Refresh::Refused);
        return not_signed_in();
    };
    let visitor = front.rules.proxies.visitor(&head);
    // A browser that leaves must not cost the session: the old token may be used up by now.
    let finished = tokio::spawn(async move {
        let (result, answer) = renew(&front, &token, &visitor).await;
        front.means.metrics.sign_in.refresh(result);
        answer
    });
    finished.await.unwrap_or_else(|_| problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The session could not be renewed."))
}

async fn renew(front: &SignInFront, token: &SecretString, visitor: &Visitor) -> (Refresh, Answer) {
    match front.means.workos.refresh(token, visitor).await {
        Ok(tokens) => match give(front, &tokens).await {
            Ok(answer) => (Refresh::Ok, answer),
            Err(fault) => (Refresh::Failed, at_fault(front, &fault)),
        },
        Err(Refusal::Fault(fault)) => (Refresh::Failed, at_fault(front, &fault)),
        // The cookies stay: another tab may have renewed the session a moment ago, and its cookies are newer.
        Err(_) => (Refresh::Refused, not_signed_in()),
    }
}

async fn give(front: &SignInFront, tokens: &Tokens) -> Result<Answer, Fault> {
    let misconfigured = |why: String| Fault::misconfigured(Reason::WorkosUnauthorized, why);
    let claims = front.means.sessions.verify(tokens.access_token.expose_secret()).await.map_err(|untrusted| match untrusted {
        Untrusted::Unknown(fault) => fault,
        other => misconfigured(other.to_string()),
    })?;
    let body = json!({ "user": tokens.user, "organization_id": claims.org_id, "expires_at": claims.ends_at() });
    let mut answer = json(StatusCode::OK, &body);
    cookies::give_session(&mut answer, tokens).map_err(|big| misconfigured(big.to_string()))?;
    Ok(answer)
}

#[derive(Default, Deserialize)]
struct Leave {
    /// Where WorkOS sends the browser then.
    #[serde(default)]
    return_to: Option<String>,
}

/// Takes the cookies, and says where the session at WorkOS is ended. Works for a session that has expired, and while
/// WorkOS is away: leaving must always work.
pub(super) async fn logout(front: &SignInFront, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let leave = if hyper::body::Body::is_end_stream(&body) { Ok(Leave::default()) } else { read_json(front, &head, body).await };
    let Leave { return_to } = match leave {
        Ok(leave) => leave,
        Err(refusal) => return refusal,
    };
    let return_to = match return_to.map(|text| front.rules.origins.redirect(&text)) {
        Some(None) => return bad_request("return_to is not within the allowed origins."),
        Some(Some(url)) => Some(url),
        None => None,
    };
    let session = cookies::access(&head.headers).and_then(|token| session_to_leave(&token));
    let url = session.map(|session| logout_url(front, &session, return_to.as_ref().map(url::Url::as_str)));
    let mut answer = json(StatusCode::OK, &json!({ "logout_url": url }));
    cookies::take_all(&mut answer);
    answer
}
