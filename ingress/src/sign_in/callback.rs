//! A browser is back from AuthKit: who is signed in, and who is not.
//!
//! [`sign_in`] is the whole story. A state is spent before its code goes to WorkOS, and the code goes there one time:
//! whatever fails after that, the person begins anew.

use std::{sync::Arc, time::Duration};

use hyper::{Request, StatusCode, body::Incoming, header::HeaderMap};
use serde::Deserialize;
use serde_json::{Value, json};
use shared::{
    fault::{Fault, Reason},
    http::{Answer, json, problem},
    metrics::labels::{SignInResult, StateRefusal, Success},
    sign_in::{
        person::may_enter,
        refusal::{Refusal, Step, meaning},
        state::{Attempt, BadState, BrowserKey, LIFE},
    },
    workos::{
        session::{Claims, Untrusted},
        sign_in::{AuthorizationCode, Tokens, Visitor},
    },
};
use tokio::time::{Instant, timeout};

use super::{SignInFront, at_fault, cookies, login_url::browser_url, read_json, visitors::too_many};

/// How long a spent state is remembered: longer than any clock lets one live.
const SPENT_KEPT: Duration = Duration::from_secs(2 * LIFE.as_secs().unsigned_abs());

/// Longest wait for all that WorkOS is asked, whatever each call may take: somebody is looking at the page.
const LONGEST: Duration = Duration::from_secs(15);

/// What AuthKit put into the callback's query.
#[derive(Deserialize)]
struct Callback {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    state: Option<String>,
    /// AuthKit's own refusal. Its `error_description` is not even read.
    #[serde(default)]
    error: Option<String>,
}

/// Somebody who is in.
struct SignedIn {
    tokens: Tokens,
    claims: Claims,
}

/// Why somebody is not.
enum NotSignedIn {
    /// Known to WorkOS and no active member; with the session to end, so that another address can be tried.
    MembershipDeactivated(Option<String>),
    LinkExpired,
    LinkInvalid,
    ActionRequired(Step),
    /// Not their fault.
    Fault(Fault),
}

pub(super) async fn answer(front: Arc<SignInFront>, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let visitor = front.rules.proxies.visitor(&head);
    if let Err(wait) = front.callbacks.admit(&visitor) {
        front.means.metrics.sign_in.ended(SignInResult::Limited);
        return too_many(wait);
    }
    let callback: Callback = match read_json(&front, &head, body).await {
        Ok(callback) => callback,
        Err(refusal) => return refusal,
    };
    // A task of its own: a browser that leaves must not leave a code half redeemed and uncounted.
    let finished = tokio::spawn(async move {
        let ending = sign_in(&front, callback, &head.headers, &visitor).await;
        conclude(&front, ending)
    });
    let failed = |_| problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The sign-in could not be handled. Begin it again.");
    finished.await.unwrap_or_else(failed)
}

/// One callback: believe the state, spend it, redeem the code, see who it is and whether they may enter.
async fn sign_in(front: &SignInFront, callback: Callback, headers: &HeaderMap, visitor: &Visitor) -> Result<SignedIn, NotSignedIn> {
    let (attempt, key) = believe(front, callback.state.as_deref(), headers)?;
    spend(front, &attempt).await?;
    if let Some(error) = callback.error {
        return Err(refused_by_authkit(&error));
    }
    let code = callback.code.and_then(AuthorizationCode::parse).ok_or(NotSignedIn::LinkInvalid)?;
    let verifier = front.rules.state_key.verifier(&attempt, &key);
    let begun = Instant::now();
    let late = |_| Err(NotSignedIn::Fault(Fault::transient(Reason::WorkosUnavailable, "WorkOS took too long")));
    let result = timeout(LONGEST, redeem(front, code, &verifier, &attempt, visitor)).await.unwrap_or_else(late);
    let answered = !matches!(&result, Err(NotSignedIn::Fault(_)));
    front.means.metrics.sign_in.exchange(if answered { Success::Ok } else { Success::Failed }, begun.elapsed());
    result
}

/// The attempt this callback is the end of, and the browser's key.
fn believe(front: &SignInFront, state: Option<&str>, headers: &HeaderMap) -> Result<(Attempt, BrowserKey), NotSignedIn> {
    let key = cookies::browser(headers);
    let opened = front.rules.state_key.open(state.unwrap_or_default(), key.as_ref(), front.means.clock.now());
    match (opened, key) {
        (Ok(attempt), Some(key)) => Ok((attempt, key)),
        (Ok(_), None) => Err(NotSignedIn::LinkInvalid),
        (Err(bad), _) => {
            front.means.metrics.sign_in.state_refused(label(bad));
            // Signed by us, for this browser, and too old: the one thing that can be told apart from invalid. WorkOS
            // says the same of a code that has expired and of one it has never seen.
            Err(if bad == BadState::Expired { NotSignedIn::LinkExpired } else { NotSignedIn::LinkInvalid })
        }
    }
}

fn label(bad: BadState) -> StateRefusal {
    match bad {
        BadState::Malformed => StateRefusal::Malformed,
        BadState::Forged => StateRefusal::Forged,
        BadState::OtherBrowser => StateRefusal::OtherBrowser,
        BadState::Expired => StateRefusal::Expired,
    }
}

async fn spend(front: &SignInFront, attempt: &Attempt) -> Result<(), NotSignedIn> {
    if front.means.once.spend(&attempt.nonce, SPENT_KEPT).await.map_err(NotSignedIn::Fault)? {
        return Ok(());
    }
    front.means.metrics.sign_in.state_refused(StateRefusal::Replayed);
    Err(NotSignedIn::LinkInvalid)
}

/// AuthKit's own word, as the browser brought it. One we do not know, or that only a person can mend, is a link to try
/// again.
fn refused_by_authkit(error: &str) -> NotSignedIn {
    match meaning(error, None) {
        Some(Refusal::Step(step)) => NotSignedIn::ActionRequired(step),
        Some(Refusal::NotAMember) => NotSignedIn::MembershipDeactivated(None),
        _ => NotSignedIn::LinkInvalid,
    }
}

async fn redeem(
    front: &SignInFront,
    code: AuthorizationCode,
    verifier: &str,
    attempt: &Attempt,
    visitor: &Visitor,
) -> Result<SignedIn, NotSignedIn> {
    let tokens = front.means.workos.exchange(code, verifier, visitor).await.map_err(|refusal| match refusal {
        // The state is younger than any code lives, so that this one is not too old but wrong.
        Refusal::Grant => NotSignedIn::LinkInvalid,
        Refusal::NotAMember => NotSignedIn::MembershipDeactivated(None),
        Refusal::Step(step) => NotSignedIn::ActionRequired(step),
        Refusal::Fault(fault) => NotSignedIn::Fault(fault),
    })?;
    let claims = trust(front, &tokens).await?;
    let memberships = front.means.workos.memberships(&tokens.user.id).await.map_err(NotSignedIn::Fault)?;
    if may_enter(&memberships, attempt.organization_id.as_deref()) {
        Ok(SignedIn { tokens, claims })
    } else {
        Err(NotSignedIn::MembershipDeactivated(Some(claims.sid)))
    }
}

/// A token that came from WorkOS itself and still does not hold would open nothing later: better said now.
async fn trust(front: &SignInFront, tokens: &Tokens) -> Result<Claims, NotSignedIn> {
    use secrecy::ExposeSecret as _;
    front.means.sessions.verify(tokens.access_token.expose_secret()).await.map_err(|untrusted| {
        NotSignedIn::Fault(match untrusted {
            Untrusted::Unknown(fault) => fault,
            other => Fault::misconfigured(Reason::WorkosUnauthorized, other.to_string()),
        })
    })
}

/// The one place where an ending is counted, logged and put into HTTP.
fn conclude(front: &SignInFront, ending: Result<SignedIn, NotSignedIn>) -> Answer {
    let (result, answer) = match ending {
        Ok(signed_in) => welcome(front, &signed_in),
        Err(NotSignedIn::MembershipDeactivated(session)) => {
            let logout_url = session.map(|session| logout_url(front, &session, None));
            let mut body = turned_away("MEMBERSHIP_DEACTIVATED", "This account is not active. Ask an administrator to activate it.");
            body["logout_url"] = json!(logout_url);
            (SignInResult::MembershipDeactivated, json(StatusCode::FORBIDDEN, &body))
        }
        Err(NotSignedIn::LinkExpired) => {
            let body = turned_away("LINK_EXPIRED", "This sign-in took too long. Begin it again.");
            (SignInResult::LinkExpired, json(StatusCode::BAD_REQUEST, &body))
        }
        Err(NotSignedIn::LinkInvalid) => {
            let body = turned_away("LINK_INVALID", "This sign-in cannot be completed, or was used already. Begin it again.");
            (SignInResult::LinkInvalid, json(StatusCode::BAD_REQUEST, &body))
        }
        Err(NotSignedIn::ActionRequired(step)) => (SignInResult::ActionRequired, one_more_step(step)),
        Err(NotSignedIn::Fault(fault)) => (outcome(&fault), at_fault(front, &fault)),
    };
    front.means.metrics.sign_in.ended(result);
    answer
}

fn outcome(fault: &Fault) -> SignInResult {
    use shared::fault::Severity;
    match fault.severity {
        Severity::Misconfigured | Severity::Permanent => SignInResult::Misconfigured,
        Severity::Transient { .. } | Severity::Doubtful => SignInResult::Unavailable,
    }
}

fn welcome(front: &SignInFront, signed_in: &SignedIn) -> (SignInResult, Answer) {
    let SignedIn { tokens, claims } = signed_in;
    let body = json!({
        "response_type": "LOGIN_SUCCESSFUL", "message": "Signed in.", "user": tokens.user,
        "organization_id": claims.org_id.as_ref().or(tokens.organization_id.as_ref()), "expires_at": claims.ends_at(),
    });
    let mut answer = json(StatusCode::OK, &body);
    match cookies::give_session(&mut answer, tokens) {
        Ok(()) => {
            tracing::info!(user_id = claims.sub, session_id = claims.sid, "signed in");
            (SignInResult::LoginSuccessful, answer)
        }
        Err(too_big) => {
            let fault = Fault::misconfigured(Reason::WorkosBadAnswer, too_big.to_string());
            (SignInResult::Misconfigured, at_fault(front, &fault))
        }
    }
}

fn turned_away(response_type: &str, message: &str) -> Value {
    json!({ "response_type": response_type, "message": message })
}

fn one_more_step(step: Step) -> Answer {
    let mut body = turned_away("ACTION_REQUIRED", "One more step is needed to sign in.");
    body["reason"] = json!(step.reason);
    step.details.into_iter().for_each(|(field, value)| body[field] = value);
    json(StatusCode::FORBIDDEN, &body)
}

/// Where a browser ends its session at WorkOS.
pub(super) fn logout_url(front: &SignInFront, session: &str, return_to: Option<&str>) -> String {
    let mut url = browser_url(&front.rules.browser_base, "/user_management/sessions/logout");
    url.query_pairs_mut().append_pair("session_id", session);
    if let Some(return_to) = return_to {
        url.query_pairs_mut().append_pair("return_to", return_to);
    }
    url.into()
}
