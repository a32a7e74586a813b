//! Refreshing a session: a refresh token becomes the next tokens, of another organization if the
//! page asks for one.
//!
//! Like a code, a refresh token is good for one call. Requests that bring the same one share that
//! call where one process sees them; of several replicas one makes it. Once WorkOS has answered,
//! the browser gets the new refresh token whatever else fails, because the old one is void.

use std::sync::Arc;

use domain::{
    fault::{Fault, Reason},
    sessions::{TokenClaims, UntrustedToken},
    sign_in::{
        provider::{Tokens, Visitor},
        refusal::Refusal,
    },
};
use futures_util::FutureExt as _;
use hyper::{
    HeaderMap, StatusCode,
    header::{HeaderValue, RETRY_AFTER},
};
use runtime::{
    http::{Answer, Received, json, problem},
    metrics::labels::Refresh,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};

use super::{
    authorize::is_word,
    ending::{member_deactivated, step_required, token_too_large},
    outcome::{NotRenewed, RefreshOutcome, Renewed},
    rate_limit::too_many_requests,
    service::{OnHangUp, SignInService, UNKNOWN, bad_request},
    session::not_signed_in,
};

/// How long replicas remember that a token was sent to WorkOS.
const REMEMBERED: std::time::Duration = std::time::Duration::from_mins(1);

/// Exchanges the refresh token for new tokens. Ends with its clients: nobody else could be given
/// them.
pub(super) async fn answer_refresh(service: &Arc<SignInService>, request: Received) -> Answer {
    let (head, body) = request.into_parts();
    let members = match service.read_json_or(Map::new(), &head, body).await {
        Ok(members) => members,
        Err(refusal) => return refusal,
    };
    let organization = match organization(members) {
        Ok(organization) => organization,
        Err(detail) => return bad_request(&detail),
    };
    let counts = &service.deps.metrics.sign_in;
    let (result, answer) = match service.config.cookies.refresh(&head.headers) {
        None => (Refresh::Refused, not_signed_in()),
        Some(token) => {
            let hung_up = OnHangUp::new(|| counts.refresh(Refresh::Abandoned));
            let wanted = Wanted { token, organization, visitor: service.visitor(&head) };
            let refreshed = renew_within_limit(service, wanted, &head.headers).await;
            hung_up.disarm();
            refreshed
        }
    };
    counts.refresh(result);
    answer
}

/// The organization to switch to, which is all that a body may ask for.
fn organization(members: Map<String, Value>) -> Result<Option<String>, String> {
    let mut organization = None;
    for (name, value) in members {
        match (name.as_str(), value) {
            ("organization_id", Value::String(id)) if !id.is_empty() && is_word(&id) => {
                organization = Some(id);
            }
            ("organization_id", Value::Null) => {}
            ("organization_id", _) => {
                return Err("organization_id has an invalid value.".to_owned());
            }
            (name, _) => return Err(super::authorize::not_known(name)),
        }
    }
    Ok(organization)
}

/// One exchange that a request needs.
struct Wanted {
    token: SecretString,
    organization: Option<String>,
    visitor: Visitor,
}

/// Tokens that are refused count towards the limit of their address. Others do not: behind one
/// address there may be many people.
async fn renew_within_limit(
    service: &Arc<SignInService>,
    wanted: Wanted,
    headers: &HeaderMap,
) -> (Refresh, Answer) {
    let address = wanted.visitor.address.unwrap_or(UNKNOWN);
    if let Err(wait) = service.refreshes.check(address) {
        return (Refresh::Limited, too_many_requests(wait));
    }
    if service.gate.was_refused(&wanted.token) {
        return (Refresh::Refused, not_signed_in());
    }
    let name = service.config.state_key.name(&wanted.token);
    let key = format!("{name} {}", wanted.organization.as_deref().unwrap_or_default());
    let begin = || renew(Arc::clone(service), wanted, name).boxed();
    let (outcome, _) = service.renewals.join(&key, begin, Result::is_ok).await;
    let (result, answer) = conclude(service, &outcome, headers);
    if result != Refresh::Refused {
        service.refreshes.forgive(address);
    }
    (result, answer)
}

/// One exchange: wait for a turn, see that no other replica makes it, make it, check the token.
async fn renew(service: Arc<SignInService>, wanted: Wanted, name: String) -> RefreshOutcome {
    let Wanted { token, organization, visitor } = wanted;
    let _pass = service.gate.enter(1).await.map_err(NotRenewed::Fault)?;
    // If the store does not answer, WorkOS decides: it accepts a token one time.
    if service.deps.nonces.consume(&name, REMEMBERED).await == Ok(false) {
        return Err(NotRenewed::Elsewhere);
    }
    let release = || {
        let (service, name) = (Arc::clone(&service), name.clone());
        async move { service.deps.nonces.release(&name).await }
    };
    let hung_up = OnHangUp::new(|| drop(tokio::spawn(release())));
    let exchanged = service.deps.provider.refresh(&token, organization.as_deref(), &visitor).await;
    hung_up.disarm();
    let tokens = match exchanged {
        Ok(tokens) => tokens,
        Err(refusal) => {
            // The token may still be good: somebody may try again at once, here or elsewhere.
            release().await.unwrap_or_default();
            return Err(not_renewed(&service, &token, refusal));
        }
    };
    let claims = check(&service, &tokens, organization.as_deref()).await;
    Ok(Arc::new(Renewed { tokens, claims }))
}

fn not_renewed(service: &SignInService, token: &SecretString, refusal: Refusal) -> NotRenewed {
    match refusal {
        Refusal::Grant => {
            service.gate.remember_refused(token);
            NotRenewed::Refused
        }
        Refusal::NotAMember => NotRenewed::NotAMember,
        Refusal::Step(step) => NotRenewed::Step(step),
        Refusal::TokenTooLarge => NotRenewed::TokenTooLarge,
        Refusal::Fault(fault) => NotRenewed::Fault(fault),
    }
}

/// What belongs together must fit together: the user, and the organization that was asked for.
async fn check(
    service: &SignInService,
    tokens: &Tokens,
    organization: Option<&str>,
) -> Result<TokenClaims, Fault> {
    let token = tokens.access_token.expose_secret();
    let claims = service.verify(token).await.map_err(UntrustedToken::into_fault)?;
    let bad_answer = |detail| Err(Fault::doubtful(Reason::WorkosBadAnswer, detail));
    if claims.sub != tokens.user.id {
        return bad_answer("the session token is of another user than the answer");
    }
    if organization.is_some() && organization != claims.org_id.as_deref() {
        return bad_answer("the session token is of another organization than the one asked for");
    }
    Ok(claims)
}

fn conclude(
    service: &SignInService,
    outcome: &RefreshOutcome,
    headers: &HeaderMap,
) -> (Refresh, Answer) {
    match outcome {
        Ok(renewed) => renewed_answer(service, renewed, headers),
        // Another tab may have refreshed the session a moment ago, and its cookies are newer.
        Err(NotRenewed::Refused) => (Refresh::Refused, not_signed_in()),
        Err(NotRenewed::Elsewhere) => (Refresh::Elsewhere, refreshed_elsewhere()),
        Err(NotRenewed::NotAMember) => (Refresh::ActionRequired, member_deactivated(None)),
        Err(NotRenewed::Step(step)) => (Refresh::ActionRequired, step_required(step.clone())),
        Err(NotRenewed::TokenTooLarge) => (Refresh::TokenTooLarge, token_too_large(service)),
        Err(NotRenewed::Fault(fault)) => (Refresh::Failed, service.fault_answer(fault)),
    }
}

fn renewed_answer(
    service: &SignInService,
    Renewed { tokens, claims }: &Renewed,
    headers: &HeaderMap,
) -> (Refresh, Answer) {
    let cookies = &service.config.cookies;
    let (result, mut answer) = match claims {
        Ok(claims) => {
            let body = json!({
                "user": tokens.user, "organization_id": claims.org_id,
                "impersonator": tokens.impersonator, "expires_at": claims.expires_at(),
            });
            let mut answer = json(StatusCode::OK, &body);
            match cookies.set_session(&mut answer, headers, tokens) {
                Ok(()) => return (Refresh::Ok, answer),
                Err(_) => (Refresh::TokenTooLarge, token_too_large(service)),
            }
        }
        Err(fault) => (Refresh::Failed, service.fault_answer(fault)),
    };
    // The old one is void.
    match cookies.set_refresh(&mut answer, &tokens.refresh_token) {
        Ok(()) => (result, answer),
        Err(_) => (Refresh::TokenTooLarge, token_too_large(service)),
    }
}

fn refreshed_elsewhere() -> Answer {
    let detail =
        "Another request refreshes this session, or has done so a moment ago. Use its cookies.";
    let mut answer = problem(StatusCode::CONFLICT, "refreshed_elsewhere", detail);
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}
