//! The options of every process, from text to settings.

use std::time::Duration;

use runtime::{proxy::Proxy, telemetry::LogFormat, tls::Trust};
use secrecy::ExposeSecret as _;

use super::{args, parse::Reader, settings::ProcessSettings, traces};

/// The rule for the address of a listener.
pub(super) const ADDRESS: &str = "must be an address and a port such as 127.0.0.1:8080";

/// The items of a comma-separated list.
pub(super) fn listed(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

/// Loads the trusted authorities and the proxy; `None` when one of them cannot be used.
pub(super) fn trust(reader: &mut Reader, args: &args::OutgoingOptions) -> Option<Trust> {
    const VARIABLE: &str = "AUTHPOST_EXTRA_CA";
    let proxy = proxy(reader, args);
    let pem = match &args.extra_ca {
        Some(path) => Some(reader.file(VARIABLE, path)?),
        None => None,
    };
    let trust = Trust::load(pem.as_deref()).map_err(|why| format!("cannot be used: {why}"));
    Some(reader.note(VARIABLE, trust)?.through(proxy.ok()?))
}

/// `Err` when a problem was noted.
fn proxy(reader: &mut Reader, args: &args::OutgoingOptions) -> Result<Option<Proxy>, ()> {
    let url = args.https_proxy.as_ref().or(args.https_proxy_lowercase.as_ref());
    let except = args.no_proxy.as_ref().or(args.no_proxy_lowercase.as_ref());
    let Some(url) = url else { return Ok(None) };
    let except = except.map(String::as_str).unwrap_or_default();
    reader.note("HTTPS_PROXY", Proxy::parse(url.expose_secret(), except)).map(Some).ok_or(())
}

pub(super) fn read(
    reader: &mut Reader,
    args: args::ProcessOptions,
    traces: args::TraceOptions,
    trust: Option<Trust>,
) -> Option<ProcessSettings> {
    let args::ProcessOptions {
        admin_listen,
        admin_hosts,
        log,
        log_levels,
        grace,
        threads,
        outgoing: _,
    } = args;
    let admin_listen = reader.parsed("AUTHPOST_ADMIN_LISTEN", &admin_listen, ADDRESS);
    let log =
        reader.word("AUTHPOST_LOG", &log, &[("text", LogFormat::Text), ("json", LogFormat::Json)]);
    let grace =
        reader.duration("AUTHPOST_GRACE", &grace, Duration::from_secs(1), Duration::from_secs(600));
    let threads = reader.within("AUTHPOST_THREADS", &threads, 1, 256);
    let traces = traces::read(reader, traces);
    Some(ProcessSettings {
        admin_listen: admin_listen?,
        admin_hosts: admin_hosts.map(|text| listed(&text)).unwrap_or_default(),
        log: log?,
        log_levels,
        grace: grace?,
        threads: usize::try_from(threads?).ok()?,
        trust: trust?,
        traces: traces?,
    })
}
