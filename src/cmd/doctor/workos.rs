//! The API key and the clock.

use domain::{
    clock::{Clock as _, SyncedClock as _},
    codes::CodeSource as _,
    fault::{Fault, Reason},
    ids::MagicAuthId,
};
use http_body_util::Full;
use hyper::Request;
use jiff::SignedDuration;
use runtime::{clock::SystemClock, tls::Trust};
use workos::{ApiConfig, Workos, date};

use super::request;
use crate::{deps::Deps, finding::Finding, wiring};

/// From this difference on, the clock of this machine is called wrong.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(10);

/// Checks the key by fetching a code that does not exist, and the clock by the date of the answer.
pub(super) async fn examine(api: &ApiConfig, deps: &Deps) -> anyhow::Result<Vec<Finding>> {
    const SUBJECT: &str = "WorkOS";
    let clock = wiring::workos_clock(deps);
    let nobodys = MagicAuthId::parse("magic_auth_authpost_doctor")?;
    let workos = Workos::new(api, 0, &deps.trust, clock.clone(), deps.metrics.clone());
    let key = match workos.login_code(&nobodys).await {
        Err(Fault { reason: Reason::NotFound, .. }) => {
            Finding::good(SUBJECT, "the API key is accepted")
        }
        Err(Fault { reason: Reason::WorkosUnauthorized, .. }) => {
            let advice = "copy WORKOS_API_KEY from API Keys in the WorkOS dashboard, for the right environment";
            Finding::wrong(SUBJECT, "the API key is refused", advice)
        }
        Err(fault) => {
            let advice = "check WORKOS_API_URL, the outgoing connections of this network, and status.workos.com";
            Finding::wrong(SUBJECT, fault.to_string(), advice)
        }
        Ok(_) => Finding::wrong(
            SUBJECT,
            "it returns a code that does not exist",
            "check WORKOS_API_URL: is that WorkOS?",
        ),
    };
    let mut findings = vec![key];
    if clock.is_synced() {
        findings.push(judge_clock(clock.now().duration_since(SystemClock.now())));
    }
    Ok(findings)
}

/// Checks the clock alone, where there is no key for anything else: every answer of WorkOS has a
/// date.
pub(super) async fn examine_clock(api_url: &str, trust: &Trust) -> Vec<Finding> {
    let difference = async {
        let (head, _) = request::send(trust, Request::get(api_url).body(Full::default())?).await?;
        let date = date(&head.headers).ok_or_else(|| anyhow::anyhow!("no date"))?;
        anyhow::Ok(date.duration_since(SystemClock.now()))
    };
    vec![if let Ok(off) = difference.await {
        judge_clock(off)
    } else {
        let advice = "check WORKOS_API_URL, and the outgoing connections of this network";
        Finding::note("clock", "cannot be compared with WorkOS's", advice)
    }]
}

fn judge_clock(off: SignedDuration) -> Finding {
    if off.abs() < CLOCK_TOLERANCE {
        Finding::good("clock", "agrees with WorkOS's")
    } else {
        let advice = "signatures are rejected from 180 s on: check NTP";
        Finding::wrong("clock", format!("{} s off WorkOS's", off.as_secs()), advice)
    }
}
