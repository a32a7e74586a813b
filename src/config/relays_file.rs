//! `AUTHPOST_RELAYS_FILE`: relays with more than a URL each, as TOML.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use domain::address::EmailAddress;
use secrecy::SecretString;
use serde::Deserialize;
use worker::mail::{relays::Takes, smtp::Limits};

/// The variable that names the file.
pub(super) const FILE: &str = "AUTHPOST_RELAYS_FILE";

/// All that a file of relays says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RelaysFile {
    /// Where answers to the mails go.
    pub(super) reply_to: Option<String>,
    /// Further header fields of every mail.
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    /// In order of preference; at least one.
    #[serde(rename = "relay", default)]
    pub(super) relays: Vec<RelayEntry>,
}

/// One `[[relay]]` of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RelayEntry {
    pub(super) name: Option<String>,
    pub(super) url: Option<SecretString>,
    pub(super) url_file: Option<PathBuf>,
    connections: Option<usize>,
    mails_per_connection: Option<usize>,
    rate: Option<String>,
    #[serde(default)]
    domains: Vec<String>,
    share: Option<String>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    envelope_from: Option<String>,
    pub(super) oauth: Option<OauthEntry>,
    #[serde(default)]
    pub(super) tls: TlsEntry,
}

/// The `oauth` table of a relay.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OauthEntry {
    pub(super) token_url: String,
    pub(super) client_id: String,
    pub(super) client_secret: Option<SecretString>,
    pub(super) client_secret_file: Option<PathBuf>,
    pub(super) scope: Option<String>,
}

/// The `tls` table of a relay.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsEntry {
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) ca: Option<PathBuf>,
}

impl RelaysFile {
    /// Parses the file. The error names the line and never repeats it: it may hold a password.
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, String> {
        let file: Self = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            format!("names {}, line {line}: {}", path.display(), error.message())
        })?;
        if file.relays.is_empty() {
            return Err(format!("names {}, which has no [[relay]]", path.display()));
        }
        if file.relays.iter().all(|relay| !relay.domains.is_empty()) {
            return Err(format!(
                "names {}, in which every relay has `domains`: mails to others would go nowhere",
                path.display()
            ));
        }
        Ok(file)
    }
}

impl RelayEntry {
    pub(super) fn limits(&self) -> Result<Limits, String> {
        let within = |name: &str, value: Option<usize>| match value {
            Some(value) if !(1..=1000).contains(&value) => {
                Err(format!("`{name}` must be from 1 to 1000"))
            }
            value => Ok(value),
        };
        let connections = within("connections", self.connections)?;
        let mails = within("mails_per_connection", self.mails_per_connection)?;
        Ok(Limits {
            connections,
            mails_per_connection: mails.unwrap_or(Limits::default().mails_per_connection),
            rate: self.rate.as_deref().map(rate).transpose()?,
        })
    }

    pub(super) fn takes(&self) -> Result<Takes, String> {
        let share = self.share.as_deref().map(share).transpose()?;
        let domain = |domain: &String| {
            let address = EmailAddress::parse(&format!("a@{domain}"));
            let parsed = address.map(|address| address.domain().to_owned());
            parsed.map_err(|_| format!("`domains`: {domain:?} is not a domain"))
        };
        Ok(Takes { domains: self.domains.iter().map(domain).collect::<Result<_, _>>()?, share })
    }

    pub(super) fn envelope_from(&self) -> Result<Option<EmailAddress>, String> {
        let parsed = self.envelope_from.as_deref().map(EmailAddress::parse).transpose();
        parsed.map_err(|why| format!("`envelope_from` is {why}"))
    }
}

/// Parses a number of mails and a unit, as in `14/s`, into mails per second.
fn rate(text: &str) -> Result<f64, String> {
    let rule = || "`rate` must be a number per second, minute or hour, as in \"14/s\"".to_owned();
    let (number, unit) = text.split_once('/').ok_or_else(rule)?;
    let seconds = match unit.trim() {
        "s" => 1.0,
        "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(rule()),
    };
    let number: f64 = number.trim().parse().map_err(|_| rule())?;
    let rate = number / seconds;
    if (0.01..=10_000.0).contains(&rate) { Ok(rate) } else { Err(rule()) }
}

/// Parses a percentage, as in `5%`, into a part of 1.
fn share(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    let number = number.filter(|number| (0.0..=100.0).contains(number));
    number
        .map(|number| number / 100.0)
        .ok_or_else(|| "`share` must be a percentage from 0 to 100, as in \"5%\"".to_owned())
}

/// Names that our own header fields have, or that only a relay may add.
const RESERVED: &[&str] = &[
    "from",
    "sender",
    "to",
    "cc",
    "bcc",
    "subject",
    "date",
    "message-id",
    "mime-version",
    "reply-to",
    "return-path",
    "received",
    "auto-submitted",
    "x-auto-response-suppress",
    "x-authpost-event",
    "x-entity-ref-id",
    "references",
    "expires",
    "feedback-id",
    "dkim-signature",
];

/// Header fields as lines. Printable ASCII only.
pub(super) fn header_lines(fields: &BTreeMap<String, String>) -> Result<String, String> {
    let mut lines = String::new();
    for (name, value) in fields {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if name.is_empty() || !name.bytes().all(plain) {
            return Err(format!("`headers`: {name:?} is not the name of a header field"));
        }
        let lower = name.to_ascii_lowercase();
        if RESERVED.contains(&lower.as_str()) || lower.starts_with("content-") {
            return Err(format!("`headers`: {name} cannot be set"));
        }
        let visible = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
        if value.trim().is_empty() || !value.bytes().all(visible) || value.len() > 900 {
            return Err(format!("`headers`: {name} must be one line of printable ASCII"));
        }
        lines.push_str(name);
        lines.push_str(": ");
        lines.push_str(value.trim());
        lines.push_str("\r\n");
    }
    Ok(lines)
}
