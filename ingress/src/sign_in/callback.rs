//! The callback: a browser is back from AuthKit. Decides who is signed in.
//!
//! [`sign_in`] is the whole story. Requests that bring the same state at the same time share it. A
//! state is consumed before its code is sent to WorkOS, and the
//! code is sent there one time: whatever fails after that, the person starts over.

use std::{sync::Arc, time::Duration};

use domain::{
    fault::{Fault, Reason},
    ids::UserId,
    language::LanguageTag,
    sessions::TokenClaims,
    sign_in::{
        person::may_enter,
        provider::{AuthorizationCode, Visitor},
        refusal::{Refusal, meaning},
        state::{Attempt, BadState, BrowserKey},
    },
};
use futures_util::FutureExt as _;
use hyper::{
    header::{ACCEPT_LANGUAGE, HeaderMap},
    http::request::Parts,
};
use jiff::SignedDuration;
use runtime::{
    http::{Answer, Received},
    metrics::labels::{SignInResult, StateRefusal, Success},
};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use tokio::time::{Instant, timeout};

use super::{
    ending::conclude,
    outcome::{NotSignedIn, SignInOutcome, SignedIn},
    rate_limit::too_many_requests,
    service::{OnHangUp, SignInConfig, SignInService},
    shared_calls::By,
};

/// How long an authorization code is good for
/// (<https://workos.com/docs/reference/authkit/authentication>).
const CODE_LIFE: SignedDuration = SignedDuration::from_mins(10);

/// Longest wait for all calls to WorkOS together: a person is waiting.
const LIMIT: Duration = Duration::from_secs(15);

/// Longest wait for the memory of languages: signing in does not depend on it.
const NOTE_LIMIT: Duration = Duration::from_millis(250);

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

pub(super) async fn answer_callback(service: &Arc<SignInService>, request: Received) -> Answer {
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
    let (outcome, by) = match open_state(service, &callback, &head.headers) {
        Ok(opened) => {
            let nonce = opened.0.nonce.clone();
            let begin = || sign_in(Arc::clone(service), callback, opened, head.clone()).boxed();
            // Not kept: whoever has logged out must not come back by it.
            service.sign_ins.join(&nonce, begin, |_| false).await
        }
        Err(refused) => (Err(refused), By::ItsOwnCall),
    };
    hung_up.disarm();
    conclude(service, outcome, by, &head.headers)
}

/// One sign-in, whose state is ours and this browser's: wait for a turn at WorkOS, consume the
/// state, redeem the code, check the token, check the memberships.
async fn sign_in(
    service: Arc<SignInService>,
    callback: Callback,
    (attempt, key): (Attempt, BrowserKey),
    head: Parts,
) -> SignInOutcome {
    let service = &*service;
    let visitor = service.visitor(&head);
    let _pass = service.gate.enter(CALLS).await.map_err(NotSignedIn::Fault)?;
    let attempt = consume_state(service, attempt, &head.headers).await?;
    if let Some(error) = callback.error {
        return Err(refused_by_authkit(&error));
    }
    let code = callback.code.and_then(AuthorizationCode::parse).ok_or(NotSignedIn::LinkInvalid)?;
    let verifier = service.config.state_key.verifier(&attempt, &key);
    let begun = Instant::now();
    let late = |_| {
        Err(NotSignedIn::Fault(Fault::transient(Reason::WorkosUnavailable, "no answer in time")))
    };
    let result = timeout(LIMIT, redeem(service, code, &verifier, (attempt, key), &visitor))
        .await
        .unwrap_or_else(late);
    let answered = !matches!(&result, Err(NotSignedIn::Fault(_)));
    service
        .deps
        .metrics
        .sign_in
        .exchange(if answered { Success::Ok } else { Success::Failed }, begun.elapsed());
    if let Ok(signed_in) = &result {
        note_language(service, signed_in, &head.headers).await;
    }
    result.map(Arc::new)
}

/// Remembers the language of the person's browser, for the next mail. An impersonator's is not the
/// person's.
async fn note_language(
    service: &SignInService,
    SignedIn { tokens, .. }: &SignedIn,
    headers: &HeaderMap,
) {
    let header = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    let language = header.and_then(LanguageTag::preferred);
    let user = UserId::parse(tokens.user.id.as_str()).ok();
    let Some((language, user)) = language.zip(user) else { return };
    if tokens.impersonator.is_some() {
        return;
    }
    let noted = timeout(NOTE_LIMIT, service.deps.languages.note(&user, &language)).await;
    if !matches!(noted, Ok(Ok(()))) {
        tracing::debug!(user_id = %user, "cannot remember the language of a browser");
    }
}

/// Opens the state: the attempt that this callback ends, and the key of this browser.
fn open_state(
    service: &SignInService,
    callback: &Callback,
    headers: &HeaderMap,
) -> Result<(Attempt, BrowserKey), NotSignedIn> {
    let counts = &service.deps.metrics.sign_in;
    let Some(state) = callback.state.as_deref().filter(|state| !state.is_empty()) else {
        counts.state_refused(StateRefusal::Missing);
        return Err(match callback.code {
            Some(_) => NotSignedIn::NoState,
            None => NotSignedIn::LinkInvalid,
        });
    };
    let SignInConfig { state_key, state_life, .. } = &service.config;
    let opened = state_key.open(state, *state_life, service.deps.clock.now());
    let opened = opened.and_then(|opened| {
        let key = service.config.cookies.browser(headers, opened.flow());
        opened.by(key)
    });
    opened.map_err(|bad| {
        counts.state_refused(label(bad));
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

/// A state is good for one time. A browser that posts it again, and is signed in by it, is told so.
async fn consume_state(
    service: &SignInService,
    attempt: Attempt,
    headers: &HeaderMap,
) -> Result<Attempt, NotSignedIn> {
    // Longer than any clock accepts it.
    let kept = 2 * service.config.state_life;
    if service.deps.nonces.consume(&attempt.nonce, kept).await.map_err(NotSignedIn::Fault)? {
        return Ok(attempt);
    }
    service.deps.metrics.sign_in.state_refused(StateRefusal::Replayed);
    Err(match session_of(service, &attempt, headers).await {
        Some(claims) => NotSignedIn::Already(Box::new((claims, attempt))),
        None => NotSignedIn::LinkInvalid,
    })
}

/// The session that this attempt has made, if the browser still has it.
async fn session_of(
    service: &SignInService,
    attempt: &Attempt,
    headers: &HeaderMap,
) -> Option<TokenClaims> {
    let SignInConfig { cookies, state_key, .. } = &service.config;
    let mark = cookies.done(headers, attempt.flow())?;
    let token = cookies.access_cookie(headers)?;
    let claims = service.verify(&token).await.ok()?;
    state_key.is_mark(&mark, attempt, &claims.sid).then_some(claims)
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
    (attempt, key): (Attempt, BrowserKey),
    visitor: &Visitor,
) -> Result<SignedIn, NotSignedIn> {
    let late = service.deps.clock.now().duration_since(attempt.started_at) > CODE_LIFE;
    let tokens =
        service.deps.provider.exchange(code, verifier, visitor).await.map_err(|refusal| {
            match refusal {
                // WorkOS says the same of a code that has expired and of one that never existed.
                Refusal::Grant if late => NotSignedIn::LinkExpired,
                Refusal::Grant => NotSignedIn::LinkInvalid,
                Refusal::NotAMember => NotSignedIn::MembershipDeactivated(None),
                Refusal::Step(step) => NotSignedIn::ActionRequired(step),
                Refusal::TokenTooLarge => NotSignedIn::TokenTooLarge,
                Refusal::Fault(fault) => NotSignedIn::Fault(fault),
            }
        })?;
    let token = tokens.access_token.expose_secret();
    let claims = service
        .verify(token)
        .await
        .map_err(|untrusted| NotSignedIn::Fault(untrusted.into_fault()))?;
    if claims.sub != tokens.user.id {
        let detail = "the session token is of another user than the answer";
        return Err(NotSignedIn::Fault(Fault::doubtful(Reason::WorkosBadAnswer, detail)));
    }
    let memberships =
        service.deps.provider.memberships(&tokens.user.id).await.map_err(NotSignedIn::Fault)?;
    let (asked_for, granted) = (attempt.organization_id.as_deref(), claims.org_id.as_deref());
    if may_enter(&memberships, asked_for, granted, service.config.organization_required) {
        Ok(SignedIn { tokens, claims, attempt, key })
    } else {
        Err(NotSignedIn::MembershipDeactivated(Some(claims.sid)))
    }
}
