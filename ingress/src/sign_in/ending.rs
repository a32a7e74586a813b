//! How a callback ends: the one place that counts and answers it.

use domain::{
    fault::{Fault, Reason},
    sessions::TokenClaims,
    sign_in::{
        provider::Tokens,
        refusal::Step,
        state::{Attempt, BrowserKey},
    },
};
use hyper::StatusCode;
use runtime::{
    http::{Answer, json},
    metrics::labels::SignInResult,
};
use serde_json::{Value, json};

use super::{authorize::browser_url, cookies, service::SignInService};

/// A person who is signed in.
pub(super) struct SignedIn {
    pub(super) tokens: Tokens,
    pub(super) claims: TokenClaims,
    pub(super) attempt: Attempt,
    pub(super) key: BrowserKey,
}

/// Why a person is not signed in.
pub(super) enum NotSignedIn {
    /// Known to WorkOS without an active membership; with the session to end, so that another
    /// address can be tried.
    MembershipDeactivated(Option<String>),
    LinkExpired,
    LinkInvalid,
    /// A code came without a state: the sign-in was begun at WorkOS.
    NoState,
    /// This browser is signed in by this very state: its callback came before.
    Already(Box<(TokenClaims, Attempt)>),
    ActionRequired(Step),
    /// A failure of ours or of WorkOS.
    Fault(Fault),
}

const LINK_EXPIRED: &str = "This sign-in took too long. Start again.";
const LINK_INVALID: &str = "This sign-in cannot be completed, or was used already. Start again.";
const NO_STATE: &str = "This sign-in did not begin here. Start again.";
const DEACTIVATED: &str = "This account is not active. Ask an administrator to activate it.";

/// The one place that counts and answers the result of a callback.
pub(super) fn conclude(service: &SignInService, ending: Result<SignedIn, NotSignedIn>) -> Answer {
    let (result, answer) = match ending {
        Ok(signed_in) => signed_in_answer(service, &signed_in),
        Err(NotSignedIn::MembershipDeactivated(session)) => {
            let logout_url = session.map(|session| logout_url(service, &session, None));
            let mut body = refused("MEMBERSHIP_DEACTIVATED", DEACTIVATED);
            body["logout_url"] = json!(logout_url);
            (SignInResult::MembershipDeactivated, json(StatusCode::FORBIDDEN, &body))
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
        Err(NotSignedIn::Fault(fault)) => (outcome(&fault), service.fault_answer(&fault)),
    };
    service.deps.metrics.sign_in.ended(result);
    answer
}

fn outcome(fault: &Fault) -> SignInResult {
    use domain::fault::Severity;
    match fault.severity {
        Severity::Misconfigured | Severity::Permanent => SignInResult::Misconfigured,
        Severity::Transient { .. } | Severity::Doubtful => SignInResult::Unavailable,
    }
}

fn signed_in_answer(service: &SignInService, signed_in: &SignedIn) -> (SignInResult, Answer) {
    let SignedIn { tokens, claims, attempt, key } = signed_in;
    let mut body = success(claims, &json!(tokens.user), attempt);
    body["impersonator"] = json!(tokens.impersonator);
    let mut answer = json(StatusCode::OK, &body);
    match cookies::set_session(&mut answer, tokens) {
        Ok(()) => {
            let mark = service.config.state_key.mark(attempt, &claims.sid);
            cookies::set_done(&mut answer, attempt.flow(), key, &mark, service.config.state_life);
            let impersonator = tokens.impersonator.as_ref().map(|by| by.email.as_str());
            tracing::info!(
                user_id = claims.sub,
                session_id = claims.sid,
                impersonator,
                "a person signed in"
            );
            (SignInResult::LoginSuccessful, answer)
        }
        Err(too_large) => {
            let fault = Fault::misconfigured(Reason::WorkosBadAnswer, too_large.to_string());
            (SignInResult::Misconfigured, service.fault_answer(&fault))
        }
    }
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

fn step_required(step: Step) -> Answer {
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
