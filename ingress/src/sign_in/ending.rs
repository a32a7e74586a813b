//! How a callback ends: the one place that counts and answers it.

use domain::{
    fault::Fault,
    sessions::TokenClaims,
    sign_in::{refusal::Step, state::Attempt},
};
use hyper::{HeaderMap, StatusCode};
use runtime::{
    http::{Answer, json, problem},
    metrics::labels::SignInResult,
};
use serde_json::{Value, json};

use super::{
    authorize::browser_url,
    outcome::{NotSignedIn, SignInOutcome, SignedIn},
    service::{SignInConfig, SignInService},
    shared_calls::By,
};

const LINK_EXPIRED: &str = "This sign-in took too long. Start again.";
const LINK_INVALID: &str = "This sign-in cannot be completed, or was used already. Start again.";
const NO_STATE: &str = "This sign-in did not begin here. Start again.";
const DEACTIVATED: &str = "This account is not active. Ask an administrator to activate it.";

/// The one place that counts and answers the result of a callback.
pub(super) fn conclude(
    service: &SignInService,
    outcome: SignInOutcome,
    by: By,
    headers: &HeaderMap,
) -> Answer {
    let (result, answer) = match outcome {
        Ok(signed_in) => signed_in_answer(service, &signed_in, by, headers),
        Err(NotSignedIn::MembershipDeactivated(session)) => {
            let logout_url = session.map(|session| logout_url(service, &session, None));
            (SignInResult::MembershipDeactivated, member_deactivated(logout_url.as_deref()))
        }
        Err(NotSignedIn::LinkExpired) => {
            let body = refused("LINK_EXPIRED", LINK_EXPIRED);
            (SignInResult::LinkExpired, json(StatusCode::BAD_REQUEST, &body))
        }
        Err(NotSignedIn::LinkInvalid) => {
            let body = refused("LINK_INVALID", LINK_INVALID);
            (SignInResult::LinkInvalid, json(StatusCode::BAD_REQUEST, &body))
        }
        Err(NotSignedIn::NoState) => {
            let mut body = refused("LINK_INVALID", NO_STATE);
            body["reason"] = json!("no_state");
            (SignInResult::LinkInvalid, json(StatusCode::BAD_REQUEST, &body))
        }
        Err(NotSignedIn::Already(already)) => {
            let (claims, attempt) = *already;
            let mut body = success(&claims, &json!({ "id": claims.sub }), &attempt);
            body["already"] = json!(true);
            (SignInResult::LoginSuccessful, json(StatusCode::OK, &body))
        }
        Err(NotSignedIn::ActionRequired(step)) => {
            (SignInResult::ActionRequired, step_required(step))
        }
        Err(NotSignedIn::TokenTooLarge) => (SignInResult::TokenTooLarge, token_too_large(service)),
        Err(NotSignedIn::Fault(fault)) => (label(&fault), service.fault_answer(&fault)),
    };
    service.deps.metrics.sign_in.ended(result);
    answer
}

fn label(fault: &Fault) -> SignInResult {
    use domain::fault::Severity;
    match fault.severity {
        Severity::Misconfigured | Severity::Permanent => SignInResult::Misconfigured,
        Severity::Transient { .. } | Severity::Doubtful => SignInResult::Unavailable,
    }
}

fn signed_in_answer(
    service: &SignInService,
    SignedIn { tokens, claims, attempt, key }: &SignedIn,
    by: By,
    headers: &HeaderMap,
) -> (SignInResult, Answer) {
    let mut body = success(claims, &json!(tokens.user), attempt);
    body["impersonator"] = json!(tokens.impersonator);
    if by == By::AnotherRequest {
        body["already"] = json!(true);
    }
    let mut answer = json(StatusCode::OK, &body);
    let SignInConfig { cookies, state_key, state_life, .. } = &service.config;
    if cookies.set_session(&mut answer, headers, tokens).is_err() {
        return (SignInResult::TokenTooLarge, token_too_large(service));
    }
    let mark = state_key.mark(attempt, &claims.sid);
    cookies.set_done(&mut answer, (attempt.flow(), key), &mark, *state_life);
    let impersonator = tokens.impersonator.as_ref().map(|by| by.email.as_str());
    tracing::info!(
        user_id = claims.sub,
        session_id = claims.sid,
        impersonator,
        "a person signed in"
    );
    (SignInResult::LoginSuccessful, answer)
}

/// Nobody else is affected, and whatever session the browser had stays.
pub(super) fn token_too_large(service: &SignInService) -> Answer {
    if let Some(suppressed) = service.too_large_log.allow() {
        tracing::warn!(
            suppressed,
            "a session token is larger than 16 KB and was refused: remove permissions, or claims of \
             the JWT template in the WorkOS dashboard"
        );
    }
    let detail =
        "The session token is larger than 16 KB. Permissions or claims have to be removed.";
    problem(StatusCode::BAD_GATEWAY, "token_too_large", detail)
}

/// The answer to a person who is known and no active member.
pub(super) fn member_deactivated(logout_url: Option<&str>) -> Answer {
    let mut body = refused("MEMBERSHIP_DEACTIVATED", DEACTIVATED);
    body["logout_url"] = json!(logout_url);
    json(StatusCode::FORBIDDEN, &body)
}

fn success(claims: &TokenClaims, user: &Value, attempt: &Attempt) -> Value {
    json!({
        "response_type": "LOGIN_SUCCESSFUL", "message": "Signed in.", "user": user,
        "organization_id": claims.org_id, "expires_at": claims.expires_at(),
        "return_to": attempt.return_to,
    })
}

fn refused(response_type: &str, message: &str) -> Value {
    json!({ "response_type": response_type, "message": message })
}

pub(super) fn step_required(step: Step) -> Answer {
    let mut body = refused("ACTION_REQUIRED", "One more step is needed to sign in.");
    body["reason"] = json!(step.reason);
    step.details.into_iter().for_each(|(field, value)| body[field] = value);
    json(StatusCode::FORBIDDEN, &body)
}

/// The URL where a browser ends its session at WorkOS.
pub(super) fn logout_url(
    service: &SignInService,
    session: &str,
    return_to: Option<&str>,
) -> String {
    let mut url = browser_url(&service.config.browser_base, "/user_management/sessions/logout");
    url.query_pairs_mut().append_pair("session_id", session);
    if let Some(return_to) = return_to {
        url.query_pairs_mut().append_pair("return_to", return_to);
    }
    url.into()
}
