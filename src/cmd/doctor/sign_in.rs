//! Signing in: the client, its keys, the issuers, the pages and what is in front of them.

use std::sync::Arc;

use domain::{
    fault::{Fault, Reason},
    sign_in::{
        provider::{AuthorizationCode, SignInProvider as _, Visitor},
        refusal::Refusal,
    },
};
use http_body_util::Full;
use hyper::{Request, StatusCode};
use runtime::{clock::SystemClock, tls::Trust};
use serde_json::Value;
use workos::WorkosSignIn;

use super::request;
use crate::{config::settings::SignInSettings, finding::Finding};

const SUBJECT: &str = "sign-in";

const CLIENT: &str = "copy WORKOS_CLIENT_ID from API Keys in the WorkOS dashboard, of the same \
                      environment as WORKOS_API_KEY";

/// Checks what signing in depends on. Exchanges a code that does not exist, which changes nothing.
pub(super) async fn examine(settings: &SignInSettings, trust: &Trust) -> Vec<Finding> {
    let mut findings = vec![keys(settings, trust).await];
    findings.extend(client(settings, trust).await);
    findings.push(Finding::good(
        SUBJECT,
        format!("accepts tokens of the issuers {}", settings.issuers.join(", ")),
    ));
    let origins: Vec<_> = settings.config.origins.listed().collect();
    findings.push(if origins.is_empty() {
        Finding::note(SUBJECT, "no origin is listed", "the login page works on this machine only")
    } else {
        Finding::good(SUBJECT, format!("pages of {}", origins.join(", ")))
    });
    findings.extend(redirect(settings, trust).await);
    let proxies: Vec<_> =
        settings.config.proxies.networks().iter().map(ToString::to_string).collect();
    findings.push(if proxies.is_empty() {
        let advice = "if there is one in front, name its network in AUTHPOST_TRUSTED_PROXIES";
        Finding::note(SUBJECT, "no proxy is trusted", advice)
    } else {
        Finding::good(SUBJECT, format!("trusts the proxies of {}", proxies.join(", ")))
    });
    findings
}

/// The key set is public, so it tells about the client ID alone.
async fn keys(settings: &SignInSettings, trust: &Trust) -> Finding {
    let base = settings.api.url.as_str().trim_end_matches('/');
    let url = format!("{base}/sso/jwks/{}", settings.config.client_id);
    let asked = async {
        let (head, body) = request::send(trust, Request::get(url).body(Full::default())?).await?;
        anyhow::Ok((head.status, serde_json::from_slice::<Value>(&body).unwrap_or_default()))
    };
    match asked.await {
        Ok((StatusCode::OK, set)) => match set["keys"].as_array().map(Vec::len) {
            Some(count) if count > 0 => {
                Finding::good(SUBJECT, format!("WorkOS has keys for the client ID: {count}"))
            }
            _ => Finding::wrong(SUBJECT, "WorkOS has no keys for the client ID", CLIENT),
        },
        Ok((StatusCode::NOT_FOUND, _)) => {
            Finding::wrong(SUBJECT, "WorkOS does not know the client ID", CLIENT)
        }
        Ok((status, _)) => {
            let fact = format!("WorkOS answered {} for the keys of sessions", status.as_u16());
            Finding::wrong(SUBJECT, fact, "check WORKOS_API_URL")
        }
        Err(_) => {
            let advice = "check WORKOS_API_URL, and the outgoing connections of this network";
            Finding::wrong(SUBJECT, "the keys of sessions cannot be fetched", advice)
        }
    }
}

/// Whether the client ID and the API key are of one environment.
async fn client(settings: &SignInSettings, trust: &Trust) -> Option<Finding> {
    let (api, id) = (&settings.api, &settings.config.client_id);
    let workos = WorkosSignIn::new(api, id, trust, Arc::new(SystemClock));
    let nobodys = AuthorizationCode::parse("authpost-doctor".to_owned())?;
    let verifier = "authpost-doctor-authpost-doctor-authpost-doctor";
    Some(match workos.exchange(nobodys, verifier, &Visitor::default()).await {
        Err(Refusal::Grant) => Finding::good(SUBJECT, "the client ID and the API key fit"),
        Err(Refusal::Fault(Fault { reason: Reason::WorkosUnauthorized, detail, .. })) => {
            let fact = format!("the client ID and the API key do not fit ({detail})");
            Finding::wrong(SUBJECT, fact, CLIENT)
        }
        Err(Refusal::Fault(fault)) => {
            let advice = "check WORKOS_API_URL, and status.workos.com";
            Finding::wrong(SUBJECT, fault.to_string(), advice)
        }
        _ => {
            let fact = "a code that does not exist was not refused as one";
            Finding::wrong(SUBJECT, fact, "check WORKOS_API_URL: is that WorkOS?")
        }
    })
}

/// Whether the page answers that AuthKit sends browsers back to. Browsers must reach it, this
/// machine need not.
async fn redirect(settings: &SignInSettings, trust: &Trust) -> Option<Finding> {
    let url = settings.config.redirect_url.as_ref()?;
    let asked =
        async { request::send(trust, Request::get(url.as_str()).body(Full::default())?).await };
    let advice = "browsers must reach it: check AUTHPOST_SIGNIN_REDIRECT_URL";
    Some(match asked.await.map(|(head, _)| head.status) {
        Ok(status) if status.is_success() || status.is_redirection() => {
            Finding::good(SUBJECT, format!("{url} answers"))
        }
        Ok(status) => Finding::wrong(SUBJECT, format!("{url} answers {}", status.as_u16()), advice),
        Err(_) => Finding::note(SUBJECT, format!("{url} does not answer this machine"), advice),
    })
}
