//! The relays, from `SMTP_URL` or `AUTHPOST_RELAYS_FILE` to their settings.

use std::{collections::BTreeMap, path::Path, time::Duration};

use domain::address::EmailAddress;
use runtime::tls::Trust;
use secrecy::{ExposeSecret as _, SecretString};
use worker::mail::{
    message::Sender,
    smtp::{Limits, RelayConfig, Timeouts},
};

use super::{
    args,
    parse::Reader,
    relay_login::{identity, oauth, oauth_entry},
    relays_file::{FILE, RelayEntry, RelaysFile, header_lines},
};

/// Most relays of one worker.
const MOST_RELAYS: usize = 8;

/// The relays in order of preference.
pub(super) fn read(
    reader: &mut Reader,
    args: &args::WorkerOptions,
    sender: Option<&Sender>,
    trust: Option<&Trust>,
) -> Option<Vec<RelayConfig>> {
    let timeouts = timeouts(reader, args);
    let hello = args.smtp_hello.clone().or_else(|| Some(sender?.address.domain().to_owned()));
    let hello = hello.and_then(|name| self::hello(reader, name));
    let url = reader.secret("SMTP_URL", args.smtp_url.clone(), args.smtp_url_file.clone());
    let connections = args.smtp_connections.as_deref().map_or(Some(None), |text| {
        let most = reader.within("AUTHPOST_SMTP_CONNECTIONS", text, 1, 1000)?;
        usize::try_from(most).ok().map(Some)
    });
    let relays = match (&args.relays_file, url) {
        (Some(_), Some(_)) => {
            reader.problem(FILE, "and SMTP_URL are both set: set one of them");
            None
        }
        (Some(path), None) => from_file(reader, path, connections?, trust?),
        (None, url) => {
            let url = reader.required_secret("SMTP_URL", url)?;
            from_urls(reader, &url, args, connections?, trust?)
        }
    };
    let relays = relays?;
    if relays.len() > MOST_RELAYS {
        let variable = if args.relays_file.is_some() { FILE } else { "SMTP_URL" };
        reader.problem(variable, format!("names more than {MOST_RELAYS} relays"));
    }
    let (hello, timeouts) = (hello?, timeouts?);
    Some(relays.into_iter().map(|relay| relay.with(hello.clone(), timeouts)).collect())
}

/// How long a relay may take to be ready before the next one is made ready beside it.
pub(super) fn hedge(reader: &mut Reader, args: &args::WorkerOptions) -> Option<Duration> {
    let (least, most) = (Duration::from_millis(100), Duration::from_secs(30));
    reader.duration("AUTHPOST_RELAY_HEDGE", &args.relay_hedge, least, most)
}

/// Several URLs with white space between them.
fn from_urls(
    reader: &mut Reader,
    urls: &SecretString,
    args: &args::WorkerOptions,
    connections: Option<usize>,
    trust: &Trust,
) -> Option<Vec<RelayConfig>> {
    let oauth = oauth(reader, args, trust);
    let files = (args.smtp_client_cert.as_ref(), args.smtp_client_key.as_ref());
    let identity = identity(reader, "AUTHPOST_SMTP_CLIENT_CERT", files)?;
    let identity = identity.as_ref().map(|(cert, key)| (cert.as_slice(), key.as_slice()));
    let tls = reader.note("AUTHPOST_SMTP_CLIENT_CERT", trust.client_for(None, identity))?;
    let oauth = oauth?;
    let texts = urls.expose_secret().split_ascii_whitespace().map(SecretString::from);
    let parsed: Result<Vec<_>, _> =
        texts.map(|url| RelayConfig::parse(&url, &tls, oauth.as_ref())).collect();
    let limits = Limits { connections, ..Limits::default() };
    let relays = reader.note("SMTP_URL", parsed)?.into_iter().map(|relay| relay.limited(limits));
    Some(with_names_of_their_own(relays.collect()))
}

/// Two relays with one host and port, for two accounts, are two relays.
fn with_names_of_their_own(relays: Vec<RelayConfig>) -> Vec<RelayConfig> {
    let mut seen = BTreeMap::<String, u32>::new();
    let mut named = Vec::with_capacity(relays.len());
    for relay in relays {
        let times = seen.entry(relay.name().to_owned()).or_default();
        *times += 1;
        let name = format!("{}#{times}", relay.name());
        named.push(if *times > 1 { relay.named(name) } else { relay });
    }
    named
}

fn from_file(
    reader: &mut Reader,
    path: &Path,
    connections: Option<usize>,
    trust: &Trust,
) -> Option<Vec<RelayConfig>> {
    let text = String::from_utf8(reader.file(FILE, path)?);
    let text = reader.note(FILE, text.map_err(|_| "names a file that is not text"))?;
    let file = reader.note(FILE, RelaysFile::parse(path, &text))?;
    let everywhere = reader.note(FILE, common_headers(&file).map_err(|why| within(None, &why)))?;
    let relay = |entry| entry_to_relay(reader, entry, (&everywhere, connections), trust);
    let relays: Option<Vec<_>> = file.relays.into_iter().map(relay).collect();
    let relays = relays?;
    for (index, relay) in relays.iter().enumerate() {
        if relays[..index].iter().any(|other| other.name() == relay.name()) {
            reader.problem(FILE, format!("has two relays with the name {:?}", relay.name()));
        }
    }
    Some(relays)
}

/// A sentence about an entry of the file.
fn within(name: Option<&str>, why: &str) -> String {
    name.map_or_else(
        || format!("has a mistake: {why}"),
        |name| format!("has a mistake in the relay {name:?}: {why}"),
    )
}

/// The header fields of every mail.
fn common_headers(file: &RelaysFile) -> Result<String, String> {
    let mut lines = header_lines(&file.headers)?;
    if let Some(address) = &file.reply_to {
        let address = EmailAddress::parse(address).map_err(|why| format!("`reply_to` is {why}"))?;
        lines.extend(["Reply-To: ", &address.expose(), "\r\n"]);
    }
    Ok(lines)
}

fn entry_to_relay(
    reader: &mut Reader,
    entry: RelayEntry,
    (everywhere, connections): (&str, Option<usize>),
    trust: &Trust,
) -> Option<RelayConfig> {
    let label = entry.name.clone();
    let mistake = |why: String| within(label.as_deref(), &why);
    let url = reader.secret(FILE, entry.url.clone(), entry.url_file.clone());
    let url =
        reader.note(FILE, url.ok_or_else(|| mistake("it needs `url` or `url_file`".into())))?;
    let files = (entry.tls.cert.as_ref(), entry.tls.key.as_ref());
    let identity = identity(reader, FILE, files)?;
    let authority = match &entry.tls.ca {
        Some(path) => Some(reader.file(FILE, path)?),
        None => None,
    };
    let identity = identity.as_ref().map(|(cert, key)| (cert.as_slice(), key.as_slice()));
    let tls = trust.client_for(authority.as_deref(), identity);
    let tls = reader.note(FILE, tls.map_err(|why| mistake(format!("`tls`: {why}"))))?;
    let oauth = match &entry.oauth {
        Some(entry) => Some(oauth_entry(reader, entry, trust)?),
        None => None,
    };
    let relay = RelayConfig::parse(&url, &tls, oauth.as_ref());
    let relay = reader.note(FILE, relay.map_err(|why| mistake(format!("`url` {why}"))))?;
    let settings = (|| {
        let headers = everywhere.to_owned() + &header_lines(&entry.headers)?;
        let limits = entry.limits()?;
        let limits = Limits { connections: limits.connections.or(connections), ..limits };
        let relay = relay.limited(limits).taking(entry.takes()?);
        let relay = relay.marking(headers, entry.envelope_from()?);
        match entry.name {
            Some(name) if is_name(&name) => Ok(relay.named(name)),
            Some(_) => Err("`name` must be 1 to 64 letters, digits, `.`, `_`, `:` or `-`".into()),
            None => Ok(relay),
        }
    })();
    reader.note(FILE, settings.map_err(mistake))
}

fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}

fn timeouts(reader: &mut Reader, args: &args::WorkerOptions) -> Option<Timeouts> {
    let mut step = |variable, text: &str, most| {
        reader.duration(variable, text, Duration::from_millis(100), most)
    };
    let connect =
        step("AUTHPOST_SMTP_CONNECT_TIMEOUT", &args.smtp_connect_timeout, Duration::from_secs(30));
    let command =
        step("AUTHPOST_SMTP_COMMAND_TIMEOUT", &args.smtp_command_timeout, Duration::from_secs(60));
    let last = step("AUTHPOST_SMTP_TIMEOUT", &args.smtp_timeout, Duration::from_secs(120));
    Some(Timeouts { connect: connect?, command: command?, last: last? })
}

fn hello(reader: &mut Reader, name: String) -> Option<String> {
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'[' | b']' | b':');
    let valid = !name.is_empty() && name.bytes().all(allowed);
    reader.note("AUTHPOST_SMTP_HELLO", valid.then_some(name).ok_or("must be a host name"))
}
