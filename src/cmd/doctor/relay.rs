//! The relay: connecting, TLS, authentication, and a test mail if one is asked for.

use domain::{
    address::EmailAddress,
    clock::Clock as _,
    fault::Reason,
    ids::EventId,
    login_code::{Code, LoginCode},
};
use jiff::SignedDuration;
use runtime::{clock::SystemClock, random::ulid};
use worker::mail::{
    Mail, Mailer as _, SendError,
    render::Asked,
    smtp::{RelayConfig, SmtpMailer},
};

use crate::{config::settings::WorkerSettings, deps::Deps, finding::Finding};

const SUBJECT: &str = "relay";

pub(super) async fn examine(
    worker: &WorkerSettings,
    deps: &Deps,
    mail_to: Option<EmailAddress>,
) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for relay in &worker.relays {
        findings.extend(examine_one(relay, worker, deps, mail_to.clone()).await?);
    }
    Ok(findings)
}

async fn examine_one(
    relay: &RelayConfig,
    worker: &WorkerSettings,
    deps: &Deps,
    mail_to: Option<EmailAddress>,
) -> anyhow::Result<Vec<Finding>> {
    let name = relay.name();
    let mailer = SmtpMailer::new(relay.clone(), 1, deps.metrics.relay(name))?;
    let mail = match &mail_to {
        Some(recipient) => test_mail(worker, recipient.clone())?,
        None => test_mail(worker, EmailAddress::parse("nobody@example.com")?)?,
    };
    let connection = match mailer.connect(&mail).await {
        Ok(connection) => connection,
        Err(fault) => {
            let advice = match fault.reason {
                Reason::RelayRefusedUs => {
                    "check the user, the password or token, and the TLS mode in its URL"
                }
                _ => {
                    "check the host and the port in its URL, and the outgoing connections of this network"
                }
            };
            return Ok(vec![Finding::wrong(SUBJECT, format!("{name}: {fault}"), advice)]);
        }
    };
    let connected = Finding::good(
        SUBJECT,
        format!(
            "connected to {name}, with the encryption and authentication that its URL asks for"
        ),
    );
    if mail_to.is_none() {
        return Ok(vec![connected]);
    }
    let sent = match connection.send(&mail).await {
        Ok(accepted) => {
            Finding::good(SUBJECT, format!("{name} accepted the test mail as {}", accepted.receipt))
        }
        Err(SendError::NotSent(fault) | SendError::NoSuchAddress(fault)) => {
            Finding::wrong(SUBJECT, fault.to_string(), "see the log of the relay")
        }
        Err(SendError::Ambiguous(detail)) => Finding::wrong(
            SUBJECT,
            detail,
            "it received the whole mail and did not answer: see its log",
        ),
    };
    Ok(vec![connected, sent])
}

/// Looks like a real mail, with a code that is not valid anywhere.
fn test_mail(worker: &WorkerSettings, recipient: EmailAddress) -> anyhow::Result<Mail> {
    let now = SystemClock.now();
    let expires_at = now.saturating_add(SignedDuration::from_mins(10))?;
    let code = LoginCode { code: Code::parse("000000".to_owned())?, recipient, expires_at };
    let id = EventId::parse(format!("event_doctor_{}", ulid(now)))?;
    worker
        .templates
        .get()
        .login_code(Asked::plain(&id, now), &code, now)
        .map_err(|_| anyhow::anyhow!("cannot render the test mail"))
}
