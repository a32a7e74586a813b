//! The callback: a browser is back from AuthKit. Decides who is signed in.
//!
//! [`sign_in`] is the whole story. A state is consumed before its code is sent to WorkOS, and the
//! code is sent there one time: whatever fails after that, the person starts over.

use std::time::Duration;

use domain::{
    fault::{Fault, Reason},
    sessions::TokenClaims,
    sign_in::{
        person::may_enter,
        provider::{AuthorizationCode, Tokens, Visitor},
        refusal::{Refusal, Step, meaning},
        state::{Attempt, BadState, BrowserKey, LIFE},
    },
};
use hyper::{Request, StatusCode, body::Incoming, header::HeaderMap};
use runtime::{
    http::{Answer, json},
    metrics::labels::{SignInResult, StateRefusal, Success},
};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::{
    cookies,
    login_url::browser_url,
    rate_limit::too_many_requests,
    service::{OnHangUp, SignInService},
};

/// How long a used state is remembered: longer than any clock accepts it.
const USED_KEPT: Duration = Duration::from_secs(2 * LIFE.as_secs().unsigned_abs());

/// Longest wait for all calls to WorkOS together: a person is waiting.
const LIMIT: Duration = Duration::from_secs(15);

/// Calls to WorkOS that one callback makes: the exchange, and a page of memberships.
const CALLS: u32 = 2;

/// What AuthKit put into the query of the callback.
#[derive(Deserialize)]
struct Callback {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    state: Option<String>,
    /// AuthKit's own refusal. `error_description` is ignored.
    #[serde(default)]
    error: Option<String>,
}

/// A person who is signed in.
struct SignedIn {
    tokens: Tokens,
    claims: TokenClaims,
}

/// Why a person is not signed in.
enum NotSignedIn {
    /// Known to WorkOS without an active membership; with the session to end, so that another
    /// address can be tried.
    MembershipDeactivated(Option<String>),
    LinkExpired,
    LinkInvalid,
    ActionRequired(Step),
    /// A failure of ours or of WorkOS.
    Fault(Fault),
}

pub(super) async fn answer_callback(service: &SignInService, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    if let Err(wait) = service.callbacks.check(service.client(&head)) {
        service.deps.metrics.sign_in.ended(SignInResult::Limited);
        return too_many_requests(wait);
    }
    let callback: Callback = match service.read_json(&head, body).await {
        Ok(callback) => callback,
        Err(refusal) => return refusal,
    };
    // Ends with its client: nobody else could be given the session.
    let counts = &service.deps.metrics.sign_in;
    let hung_up = OnHangUp::new(|| counts.ended(SignInResult::Abandoned));
    let ending = sign_in(service, callback, &head.headers, &service.visitor(&head)).await;
    hung_up.disarm();
    conclude(service, ending)
}

/// One callback: check the state, wait for a turn at WorkOS, consume the state, redeem the code,
/// check the token, check the memberships.
async fn sign_in(
    service: &SignInService,
    callback: Callback,
    headers: &HeaderMap,
    visitor: &Visitor,
) -> Result<SignedIn, NotSignedIn> {
    let (attempt, key) = open_state(service, callback.state.as_deref(), headers)?;
    let _pass = service.gate.enter(CALLS).await.map_err(NotSignedIn::Fault)?;
    consume_state(service, &attempt).await?;
    if let Some(error) = callback.error {
        return Err(refused_by_authkit(&error));
    }
    let code = callback.code.and_then(AuthorizationCode::parse).ok_or(NotSignedIn::LinkInvalid)?;
    let verifier = service.config.state_key.verifier(&attempt, &key);
    let begun = Instant::now();
    let late = |_| {
        Err(NotSignedIn::Fault(Fault::transient(Reason::WorkosUnavailable, "no answer in time")))
    };
    let result = timeout(LIMIT, redeem(service, code, &verifier, &attempt, visitor))
        .await
        .unwrap_or_else(late);
    let answered = !matches!(&result, Err(NotSignedIn::Fault(_)));
    service
        .deps
        .metrics
        .sign_in
        .exchange(if answered { Success::Ok } else { Success::Failed }, begun.elapsed());
    result
}

/// Opens the state: the attempt that this callback ends, and the key of this browser.
fn open_state(
    service: &SignInService,
    state: Option<&str>,
    headers: &HeaderMap,
) -> Result<(Attempt, BrowserKey), NotSignedIn> {
    let (key, now) = (cookies::browser(headers), service.deps.clock.now());
    service.config.state_key.open(state.unwrap_or_default(), key, now).map_err(|bad| {
        service.deps.metrics.sign_in.state_refused(label(bad));
        // An expired state of this browser is the one case that is certainly expired and not
        // invalid: WorkOS answers the same for a code that has expired and for one that never
        // existed.
        if bad == BadState::Expired { NotSignedIn::LinkExpired } else { NotSignedIn::LinkInvalid }
    })
}

fn label(bad: BadState) -> StateRefusal {
    match bad {
        BadState::Malformed => StateRefusal::Malformed,
        BadState::Forged => StateRefusal::Forged,
        BadState::OtherBrowser => StateRefusal::OtherBrowser,
        BadState::Expired => StateRefusal::Expired,
    }
}

async fn consume_state(service: &SignInService, attempt: &Attempt) -> Result<(), NotSignedIn> {
    if service.deps.nonces.consume(&attempt.nonce, USED_KEPT).await.map_err(NotSignedIn::Fault)? {
        return Ok(());
    }
    service.deps.metrics.sign_in.state_refused(StateRefusal::Replayed);
    Err(NotSignedIn::LinkInvalid)
}

/// Classifies the error code that AuthKit sent with the browser. An unknown one is an invalid link.
fn refused_by_authkit(error: &str) -> NotSignedIn {
    match meaning(error, None) {
        Some(Refusal::Step(step)) => NotSignedIn::ActionRequired(step),
        Some(Refusal::NotAMember) => NotSignedIn::MembershipDeactivated(None),
        _ => NotSignedIn::LinkInvalid,
    }
}

async fn redeem(
    service: &SignInService,
    code: AuthorizationCode,
    verifier: &str,
    attempt: &Attempt,
    visitor: &Visitor,
) -> Result<SignedIn, NotSignedIn> {
    let tokens =
        service.deps.provider.exchange(code, verifier, visitor).await.map_err(|refusal| {
            match refusal {
                // The state is younger than any code lives, so the code is wrong and not too old.
                Refusal::Grant => NotSignedIn::LinkInvalid,
                Refusal::NotAMember => NotSignedIn::MembershipDeactivated(None),
                Refusal::Step(step) => NotSignedIn::ActionRequired(step),
                Refusal::Fault(fault) => NotSignedIn::Fault(fault),
            }
        })?;
    let token = tokens.access_token.expose_secret();
    let claims = service
        .deps
        .sessions
        .verify(token)
        .await
        .map_err(|untrusted| NotSignedIn::Fault(untrusted.into_fault()))?;
    if claims.sub != tokens.user.id {
        let detail = "the session token is of another user than the answer";
        return Err(NotSignedIn::Fault(Fault::doubtful(Reason::WorkosBadAnswer, detail)));
    }
    let memberships =
        service.deps.provider.memberships(&tokens.user.id).await.map_err(NotSignedIn::Fault)?;
    if may_enter(&memberships, attempt.organization_id.as_deref(), claims.org_id.as_deref()) {
        Ok(SignedIn { tokens, claims })
    } else {
        Err(NotSignedIn::MembershipDeactivated(Some(claims.sid)))
    }
}

const LINK_EXPIRED: &str = "This sign-in took too long. Start again.";
const LINK_INVALID: &str = "This sign-in cannot be completed, or was used already. Start again.";
const DEACTIVATED: &str = "This account is not active. Ask an administrator to activate it.";

/// The one place that counts and answers the result of a callback.
fn conclude(service: &SignInService, ending: Result<SignedIn, NotSignedIn>) -> Answer {
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
    let SignedIn { tokens, claims } = signed_in;
    let body = json!({
        "response_type": "LOGIN_SUCCESSFUL", "message": "Signed in.", "user": tokens.user,
        "organization_id": claims.org_id,
        "expires_at": claims.expires_at(),
    });
    let mut answer = json(StatusCode::OK, &body);
    match cookies::set_session(&mut answer, tokens) {
        Ok(()) => {
            tracing::info!(user_id = claims.sub, session_id = claims.sid, "a person signed in");
            (SignInResult::LoginSuccessful, answer)
        }
        Err(too_large) => {
            let fault = Fault::misconfigured(Reason::WorkosBadAnswer, too_large.to_string());
            (SignInResult::Misconfigured, service.fault_answer(&fault))
        }
    }
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
