//! What a service on this machine has counted, which tells the causes of missing mails apart.

use std::net::SocketAddr;

use http_body_util::Full;
use hyper::Request;
use runtime::tls::Trust;

use super::request;
use crate::finding::Finding;

/// `webhooks` is whether this role takes them.
pub(super) async fn examine(
    admin_listen: SocketAddr,
    webhooks: bool,
    trust: &Trust,
) -> Vec<Finding> {
    let scraped = async {
        let request =
            Request::get(format!("http://{admin_listen}/metrics")).body(Full::default())?;
        let (_, body) = request::send(trust, request).await?;
        anyhow::Ok(String::from_utf8(body.to_vec())?)
    };
    if let Ok(metrics) = scraped.await {
        let webhooks = webhooks.then(|| judge_webhooks(&metrics));
        let found =
            [webhooks, judge_proxies(&metrics), judge_unknown(&metrics), judge_issuers(&metrics)];
        found.into_iter().flatten().collect()
    } else {
        let advice = "its counts are served at its AUTHPOST_ADMIN_LISTEN";
        vec![Finding::note("service", "none answers here", advice)]
    }
}

/// The value of a series, by its name and labels; zero if there is none.
fn count(metrics: &str, series: &str) -> f64 {
    let value = |line: &str| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok();
    metrics.lines().find_map(value).unwrap_or(0.0)
}

/// A proxy that is not trusted makes one client of everybody behind it.
fn judge_proxies(metrics: &str) -> Option<Finding> {
    let requests = count(metrics, "authpost_http_untrusted_forwarded_total");
    let advice = "if there is a proxy in front, name its network in AUTHPOST_TRUSTED_PROXIES: all \
                  its clients share the limits of one address otherwise";
    let fact = format!("{requests} requests with X-Forwarded-For from an address not trusted");
    (requests > 0.0).then(|| Finding::wrong("proxy", fact, advice))
}

/// Codes that WorkOS itself has announced and does not know: more than an occasional one.
fn judge_unknown(metrics: &str) -> Option<Finding> {
    const ENDINGS: &str = "authpost_outcomes_total{";
    let unknown = count(metrics, &format!("{ENDINGS}outcome=\"dead\",reason=\"not_found\"}}"));
    let ended = metrics.lines().filter(|line| line.starts_with(ENDINGS));
    let ended = ended.filter(|line| !line.contains("outcome=\"retry\""));
    let all: f64 = ended.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
    let advice = "WORKOS_API_KEY may be of another environment than the webhook endpoint: compare \
                  both in the WorkOS dashboard";
    let fact = format!("WorkOS does not know the codes of {unknown} of {all} events (not_found)");
    (unknown > 0.0 && unknown * 2.0 >= all).then(|| Finding::wrong("deliveries", fact, advice))
}

/// Issuers of WorkOS's own tokens that are not accepted.
fn judge_issuers(metrics: &str) -> Option<Finding> {
    const REFUSED: &str = "authpost_signin_issuers_refused_total{issuer=\"";
    let issuer = |line: &str| {
        let (issuer, count) = line.strip_prefix(REFUSED)?.split_once("\"} ")?;
        (count != "0").then(|| issuer.to_owned())
    };
    let refused: Vec<String> = metrics.lines().filter_map(issuer).collect();
    let advice = "if they are yours, add them to AUTHPOST_SIGNIN_ISSUERS";
    let fact = || format!("session tokens were refused of the issuers {}", refused.join(", "));
    (!refused.is_empty()).then(|| Finding::wrong("sign-in", fact(), advice))
}

fn judge_webhooks(metrics: &str) -> Finding {
    const SUBJECT: &str = "webhooks";
    let count =
        |result: &str| count(metrics, &format!("authpost_webhooks_total{{result=\"{result}\"}}"));
    let (accepted, ignored, forged) = (count("accepted"), count("ignored"), count("forged"));
    if accepted > 0.0 {
        Finding::good(SUBJECT, format!("{accepted} accepted since the service started"))
    } else if forged > 0.0 {
        let advice =
            "WORKOS_WEBHOOK_SECRET is not the secret of the endpoint in the WorkOS dashboard";
        Finding::wrong(SUBJECT, format!("none accepted, {forged} with a wrong signature"), advice)
    } else if ignored > 0.0 {
        let advice = "enable magic_auth.created for the endpoint in the WorkOS dashboard";
        Finding::wrong(SUBJECT, format!("none accepted, {ignored} of other kinds"), advice)
    } else {
        let advice = "nobody has requested a code, or WorkOS cannot reach the endpoint: try \
                      --webhook-url with its public URL";
        Finding::note(SUBJECT, "none since the service started", advice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_key_of_another_environment_is_seen_by_its_codes() {
        let metrics = |unknown: u32, sent: u32| {
            format!(
                "authpost_outcomes_total{{outcome=\"dead\",reason=\"not_found\"}} {unknown}\n\
                 authpost_outcomes_total{{outcome=\"retry\",reason=\"not_found\"}} 900\n\
                 authpost_outcomes_total{{outcome=\"sent\",reason=\"none\"}} {sent}\n"
            )
        };
        assert_eq!(judge_unknown(&metrics(0, 0)), None);
        assert_eq!(judge_unknown(&metrics(1, 9)), None);
        let finding = judge_unknown(&metrics(5, 1)).expect("a finding");
        assert!(finding.is_wrong() && finding.line().contains("another environment"));
    }

    #[test]
    fn an_issuer_that_is_not_accepted_is_named() {
        assert_eq!(judge_issuers("# HELP authpost_signin_issuers_refused_total x\n"), None);
        let series = |issuer: &str, count: u32| {
            format!("authpost_signin_issuers_refused_total{{issuer=\"{issuer}\"}} {count}\n")
        };
        assert_eq!(judge_issuers(&series("other", 0)), None);
        let said = judge_issuers(&series("https://auth.example.com", 2)).expect("a finding").line();
        assert!(said.contains("WRONG") && said.contains("https://auth.example.com"), "{said}");
    }

    #[test]
    fn a_proxy_that_is_not_trusted_is_wrong() {
        let line = "authpost_http_untrusted_forwarded_total";
        assert_eq!(judge_proxies(&format!("{line} 0\n")), None);
        let finding = judge_proxies(&format!("{line} 12\n")).expect("a finding");
        assert!(finding.is_wrong() && finding.line().contains("AUTHPOST_TRUSTED_PROXIES"));
    }

    #[test]
    fn the_causes_of_missing_mails_are_told_apart_by_the_counts() {
        let metrics = |accepted: u32, ignored: u32, forged: u32| {
            let line = |result: &str, count: u32| {
                format!("authpost_webhooks_total{{result=\"{result}\"}} {count}\n")
            };
            [line("accepted", accepted), line("ignored", ignored), line("forged", forged)].concat()
        };
        for (counts, wrong, says) in [
            (metrics(3, 1, 1), false, "3 accepted"),
            (metrics(0, 0, 2), true, "WORKOS_WEBHOOK_SECRET"),
            (metrics(0, 2, 0), true, "enable magic_auth.created"),
            (metrics(0, 0, 0), false, "cannot reach the endpoint"),
        ] {
            let finding = judge_webhooks(&counts);
            assert_eq!(finding.is_wrong(), wrong, "{counts}");
            assert!(finding.line().contains(says), "{}", finding.line());
        }
    }
}
