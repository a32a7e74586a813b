//! Log lines: JSON for machines, plain for people, and nothing from libraries that print what passes through them.

use std::io::IsTerminal as _;

use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One line of text an event.
    Text,
    /// One JSON object a line.
    Json,
}

/// Libraries whose finer levels print frames, headers or statements, and so codes and keys. Whatever `RUST_LOG` says,
/// they stay at these levels.
const CLAMPED: &[&str] = &["lapin=warn", "hyper=info", "hyper_util=info", "redis=info", "rustls=warn", "h2=info", "amq_protocol=warn"];

/// Starts logging to standard error. `levels` is in `RUST_LOG`'s form. `Err` for levels that cannot be read.
pub fn start(format: LogFormat, levels: &str) -> Result<(), String> {
    let filter = filter(levels)?;
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let started = match format {
        LogFormat::Text => tracing_subscriber::registry().with(filter).with(layer.with_target(false)).try_init(),
        LogFormat::Json => tracing_subscriber::registry()
            .with(filter)
            .with(layer.json().flatten_event(true).with_current_span(false).with_span_list(false))
            .try_init(),
    };
    started.map_err(|error| error.to_string())
}

fn filter(levels: &str) -> Result<EnvFilter, String> {
    let mut filter = EnvFilter::try_new(levels).map_err(|error| error.to_string())?;
    for clamp in CLAMPED {
        filter = filter.add_directive(clamp.parse().map_err(|_| format!("{clamp} is no log level"))?);
    }
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_that_print_payloads_cannot_be_turned_up() {
        let shown = filter("trace,lapin=trace").expect("readable").to_string();
        for clamp in CLAMPED {
            assert!(shown.contains(clamp), "{shown}");
        }
        assert!(!shown.contains("lapin=trace"), "{shown}");
    }

    #[test]
    fn levels_that_cannot_be_read_are_said() {
        assert!(filter("=====").is_err());
    }
}
