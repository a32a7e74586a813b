//! WorkOS, the relay, the public address, and a service that runs here.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, header::CONTENT_TYPE, http::response::Parts};
use jiff::SignedDuration;
use serde_json::json;
use shared::{
    address::EmailAddress,
    clock::{Clock as _, SystemClock},
    fault::{Fault, Reason},
    http::client,
    ids::{EventId, MagicAuthId},
    login_code::{Code, LoginCode},
    telemetry::export::Collector,
    tls,
    webhook::{SIGNATURE_HEADER, WebhookKeys},
    workos::{self, CodeSource as _, WorkosClock},
};
use url::Url;
use worker::mail::{Mail, Mailer as _, SendError, render::Templates, smtp::SmtpMailer};

use super::finding::Finding;
use crate::{
    config::settings::{Process, Worker},
    wiring::Surroundings,
};

/// Longest wait for an answer from our own address.
const PATIENCE: Duration = Duration::from_secs(10);

/// Largest answer read.
const MAX_ANSWER: usize = 1024 * 1024;

/// The key, by asking for a code that cannot be; and the clock, by the answer's date.
pub(super) async fn workos(worker: &Worker, process: &Process, around: &Surroundings) -> anyhow::Result<Vec<Finding>> {
    const SUBJECT: &str = "WorkOS";
    let tls = tls::client(process.extra_ca.as_deref())?;
    let clock = Arc::new(WorkosClock::new(Arc::new(SystemClock), Arc::clone(&around.metrics)));
    let api = workos::Settings {
        base_url: worker.workos.url.clone(),
        api_key: worker.workos.key.clone(),
        timeout: worker.workos.timeout,
        rate: 0,
    };
    let nobodys = MagicAuthId::parse("magic_auth_authpost_doctor")?;
    let asked = workos::Workos::new(api, &tls, Arc::clone(&clock), Arc::clone(&around.metrics))?.login_code(&nobodys).await;
    let key = match asked {
        Err(Fault { reason: Reason::NotFound, .. }) => Finding::good(SUBJECT, "the API key is accepted"),
        Err(Fault { reason: Reason::WorkosUnauthorized, .. }) => Finding::wrong(
            SUBJECT,
            "the API key is refused",
            "copy WORKOS_API_KEY from the dashboard's API Keys, for the right environment",
        ),
        Err(fault) => {
            Finding::wrong(SUBJECT, fault.to_string(), "check WORKOS_API_URL, the way out of this network, and status.workos.com")
        }
        Ok(_) => Finding::wrong(SUBJECT, "it knows a code that cannot be", "check WORKOS_API_URL: is that WorkOS?"),
    };
    let mut findings = vec![key];
    if clock.is_compared() {
        findings.push(judge_clock(clock.now().duration_since(SystemClock.now())));
    }
    Ok(findings)
}

fn judge_clock(off: SignedDuration) -> Finding {
    if off.abs() < SignedDuration::from_secs(10) {
        Finding::good("clock", "agrees with WorkOS's")
    } else {
        Finding::wrong("clock", format!("{} s off WorkOS's", off.as_secs()), "signatures are refused from 180 s on: check NTP")
    }
}

/// The clock alone, where there is no key to ask anything else with: whatever WorkOS answers bears a date.
pub(super) async fn clock(api: &str, process: &Process) -> Vec<Finding> {
    let asked = async {
        let request = Request::get(api).body(Full::default())?;
        let (head, _) = answer(process, request).await?;
        let date = workos::answer::date(&head.headers).ok_or_else(|| anyhow::anyhow!("no date"))?;
        anyhow::Ok(date.duration_since(SystemClock.now()))
    };
    vec![match asked.await {
        Ok(off) => judge_clock(off),
        Err(_) => Finding::note("clock", "could not be compared with WorkOS's", "check WORKOS_API_URL, and the way out of this network"),
    }]
}

/// Connect, TLS, authentication; and a mail only if one is asked for.
pub(super) async fn relay(
    worker: &Worker,
    process: &Process,
    around: &Surroundings,
    mail_to: Option<EmailAddress>,
) -> anyhow::Result<Vec<Finding>> {
    const SUBJECT: &str = "relay";
    let tls = tls::client(process.extra_ca.as_deref())?;
    let smtp = worker.relay.clone().with(worker.hello.clone(), tls, worker.smtp_timeouts);
    let mailer = SmtpMailer::new(smtp, 1, Arc::clone(&around.metrics))?;
    let line = match mailer.connect().await {
        Ok(line) => line,
        Err(fault) => {
            let advice = match fault.reason {
                Reason::RelayRefusedUs => "check the user, the password and the TLS mode in SMTP_URL",
                _ => "check the host and the port in SMTP_URL, and the way out of this network",
            };
            return Ok(vec![Finding::wrong(SUBJECT, fault.to_string(), advice)]);
        }
    };
    let connected = Finding::good(SUBJECT, "connected, and where SMTP_URL says so encrypted and authenticated");
    let Some(recipient) = mail_to else { return Ok(vec![connected]) };
    let sent = match line.send(&test_mail(worker, recipient)?).await {
        Ok(accepted) => Finding::good(SUBJECT, format!("took the test mail as {}", accepted.receipt)),
        Err(SendError::NotSent(fault)) => Finding::wrong(SUBJECT, fault.to_string(), "the relay's own log says more"),
        Err(SendError::Ambiguous(detail)) => Finding::wrong(SUBJECT, detail, "it had the whole mail and did not answer: see its log"),
    };
    Ok(vec![connected, sent])
}

/// As real ones look, with a code that opens nothing.
fn test_mail(worker: &Worker, recipient: EmailAddress) -> anyhow::Result<Mail> {
    let now = SystemClock.now();
    let templates = Templates::load(worker.template_dir.as_deref(), &worker.app_name, worker.sender.clone())?;
    let code =
        LoginCode { code: Code::parse("000000".to_owned())?, recipient, expires_at: now.saturating_add(SignedDuration::from_mins(10))? };
    let id = EventId::parse(format!("event_doctor_{}", ulid::Ulid::generate()))?;
    templates.login_code(&id, &code, now).map_err(|_| anyhow::anyhow!("the test mail could not be made"))
}

/// A signed event of a kind that no mail follows from.
pub(super) async fn webhook(keys: &WebhookKeys, process: &Process, url: &Url) -> anyhow::Result<Vec<Finding>> {
    const SUBJECT: &str = "webhook";
    let now = SystemClock.now();
    let body = json!({ "object": "event", "id": format!("event_{}", ulid::Ulid::generate()), "event": ingress::PROBE, "data": {}, "created_at": now }).to_string();
    let signature = keys.sign(now, body.as_bytes()).unwrap_or_default();
    let request = Request::post(url.as_str())
        .header(CONTENT_TYPE, "application/json")
        .header(SIGNATURE_HEADER, signature)
        .body(Full::new(Bytes::from(body)))?;
    Ok(vec![match answer(process, request).await.map(|(head, body)| (head.status.as_u16(), body)) {
        Ok((200, body)) if body.windows(7).any(|part| part == b"ignored") => {
            Finding::good(SUBJECT, "a signed probe arrived and was recognised")
        }
        Ok((401, _)) => Finding::wrong(
            SUBJECT,
            "the probe's signature was refused there",
            "WORKOS_WEBHOOK_SECRET differs between here and there, or a clock is wrong",
        ),
        Ok((404 | 405, _)) => {
            Finding::wrong(SUBJECT, "there is no webhook at that address", "it ends in /v1/workos_webhook/; check the proxy's paths")
        }
        Ok((status, _)) => Finding::wrong(
            SUBJECT,
            format!("the probe was answered {status}"),
            "check the proxy in front, and whether the service is ready",
        ),
        Err(_) => Finding::wrong(
            SUBJECT,
            "nothing answers at that address",
            "check DNS, the certificate, the firewall and the proxy: WorkOS cannot reach it either",
        ),
    }])
}

/// The answer to a request, in time.
async fn answer(process: &Process, request: Request<Full<Bytes>>) -> anyhow::Result<(Parts, Bytes)> {
    let answered = async {
        let response = client::single(&*tls::client(process.extra_ca.as_deref())?).request(request).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|_| anyhow::anyhow!("the answer broke off"))?;
        anyhow::Ok((head, body.to_bytes()))
    };
    tokio::time::timeout(PATIENCE, answered).await?
}

/// The collector, by a batch without a span.
pub(super) async fn collector(collector: &Collector, process: &Process) -> anyhow::Result<Vec<Finding>> {
    const SUBJECT: &str = "traces";
    let mut request = Request::post(collector.endpoint.as_str()).header(CONTENT_TYPE, "application/x-protobuf").body(Full::default())?;
    request.headers_mut().extend(collector.headers.iter().cloned());
    Ok(vec![match answer(process, request).await.map(|(head, _)| head.status.as_u16()) {
        Ok(200..=299) => Finding::good(SUBJECT, "the collector takes them"),
        Ok(401 | 403) => Finding::wrong(SUBJECT, "the collector refuses us", "check OTEL_EXPORTER_OTLP_HEADERS"),
        Ok(status) => Finding::wrong(
            SUBJECT,
            format!("the collector answered {status}"),
            "check OTEL_EXPORTER_OTLP_ENDPOINT: it is the base of the collector's OTLP over HTTP",
        ),
        Err(_) => Finding::wrong(
            SUBJECT,
            "the collector does not answer",
            "check OTEL_EXPORTER_OTLP_ENDPOINT: OTLP over HTTP, often port 4318; mails go out meanwhile",
        ),
    }])
}

/// What a service on this machine has counted: tells the causes of missing mails apart.
pub(super) async fn service(process: &Process) -> Vec<Finding> {
    let Some(metrics) = scrape(process).await else {
        let advice = "these figures are at its AUTHPOST_ADMIN_LISTEN";
        return vec![Finding::note("service", "none answers here", advice)];
    };
    vec![judge_arrivals(&metrics)]
}

async fn scrape(process: &Process) -> Option<String> {
    let tls = tls::client(None).ok()?;
    let url = format!("http://{}/metrics", process.admin_listen);
    let asked = async {
        let response = client::single(&tls).get(url.parse().ok()?).await.ok()?;
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.ok()?.to_bytes();
        String::from_utf8(body.to_vec()).ok()
    };
    tokio::time::timeout(PATIENCE, asked).await.ok().flatten()
}

fn judge_arrivals(metrics: &str) -> Finding {
    const SUBJECT: &str = "deliveries";
    let count = |result: &str| {
        let series = format!("authpost_webhooks_total{{result=\"{result}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&series)?.parse::<f64>().ok()).unwrap_or(0.0)
    };
    let (accepted, ignored, forged) = (count("accepted"), count("ignored"), count("forged"));
    if accepted > 0.0 {
        Finding::good(SUBJECT, format!("{accepted} accepted since the service started"))
    } else if forged > 0.0 {
        let advice = "WORKOS_WEBHOOK_SECRET is not the secret of the endpoint in the WorkOS dashboard";
        Finding::wrong(SUBJECT, format!("none accepted, {forged} with a foreign signature"), advice)
    } else if ignored > 0.0 {
        let advice = "enable magic_auth.created for the endpoint in the WorkOS dashboard";
        Finding::wrong(SUBJECT, format!("none accepted, {ignored} of other kinds"), advice)
    } else {
        let advice = "nobody has asked for a code, or WorkOS cannot reach the endpoint: try --webhook-url with its public address";
        Finding::note(SUBJECT, "none since the service started", advice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_causes_of_missing_mails_are_told_apart_by_what_was_counted() {
        let metrics = |accepted: u32, ignored: u32, forged: u32| {
            let line = |result: &str, count: u32| format!("authpost_webhooks_total{{result=\"{result}\"}} {count}\n");
            [line("accepted", accepted), line("ignored", ignored), line("forged", forged)].concat()
        };
        for (counts, wrong, says) in [
            (metrics(3, 1, 1), false, "3 accepted"),
            (metrics(0, 0, 2), true, "WORKOS_WEBHOOK_SECRET"),
            (metrics(0, 2, 0), true, "enable magic_auth.created"),
            (metrics(0, 0, 0), false, "cannot reach the endpoint"),
        ] {
            let finding = judge_arrivals(&counts);
            assert_eq!(finding.is_wrong(), wrong, "{counts}");
            assert!(finding.line().contains(says), "{}", finding.line());
        }
    }
}
