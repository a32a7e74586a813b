//! The options of every process, from text to settings.

use std::{path::Path, time::Duration};

use runtime::{telemetry::LogFormat, tls::Trust};

use super::{args, parse::Reader, settings::ProcessSettings, traces};

/// The rule for the address of a listener.
pub(super) const ADDRESS: &str = "must be an address and a port such as 127.0.0.1:8080";

/// The items of a comma-separated list.
pub(super) fn listed(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

/// Loads the trusted authorities; `None` when the extra file cannot be used.
pub(super) fn trust(reader: &mut Reader, extra_ca: Option<&Path>) -> Option<Trust> {
    const VARIABLE: &str = "AUTHPOST_EXTRA_CA";
    let pem = match extra_ca {
        Some(path) => Some(reader.file(VARIABLE, path)?),
        None => None,
    };
    let trust = Trust::load(pem.as_deref()).map_err(|why| format!("cannot be used: {why}"));
    reader.note(VARIABLE, trust)
}

pub(super) fn read(
    reader: &mut Reader,
    args: args::ProcessOptions,
    traces: args::TraceOptions,
    trust: Option<Trust>,
) -> Option<ProcessSettings> {
    let args::ProcessOptions { admin_listen, admin_hosts, log, log_levels, grace, extra_ca: _ } =
        args;
    let admin_listen = reader.parsed("AUTHPOST_ADMIN_LISTEN", &admin_listen, ADDRESS);
    let log =
        reader.word("AUTHPOST_LOG", &log, &[("text", LogFormat::Text), ("json", LogFormat::Json)]);
    let grace =
        reader.duration("AUTHPOST_GRACE", &grace, Duration::from_secs(1), Duration::from_secs(600));
    let traces = traces::read(reader, traces);
    Some(ProcessSettings {
        admin_listen: admin_listen?,
        admin_hosts: admin_hosts.map(|text| listed(&text)).unwrap_or_default(),
        log: log?,
        log_levels,
        grace: grace?,
        trust: trust?,
        traces: traces?,
    })
}
