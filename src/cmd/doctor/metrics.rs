//! What a service on this machine has counted, which tells the causes of missing mails apart.

use std::net::SocketAddr;

use http_body_util::Full;
use hyper::Request;
use runtime::tls::Trust;

use super::request;
use crate::finding::Finding;

pub(super) async fn examine(admin_listen: SocketAddr, trust: &Trust) -> Vec<Finding> {
    let scraped = async {
        let request =
            Request::get(format!("http://{admin_listen}/metrics")).body(Full::default())?;
        let (_, body) = request::send(trust, request).await?;
        anyhow::Ok(String::from_utf8(body.to_vec())?)
    };
    if let Ok(metrics) = scraped.await {
        [judge_webhooks(&metrics)].into_iter().chain(judge_proxies(&metrics)).collect()
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
