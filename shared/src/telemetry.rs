//! Log lines: JSON for machines, plain for people, and nothing from libraries that print what passes through them.

use std::{
    io::IsTerminal as _,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{EnvFilter, filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One line of text an event.
    Text,
    /// One JSON object a line.
    Json,
}

/// Libraries whose finer levels print frames, headers or statements, and so codes and keys. Whatever `RUST_LOG` says,
/// of them or of a module inside them, they stay at these levels.
const CLAMPED: &[(&str, LevelFilter)] = &[
    ("lapin", LevelFilter::WARN),
    ("amq_protocol", LevelFilter::WARN),
    ("rustls", LevelFilter::WARN),
    ("hyper", LevelFilter::INFO),
    ("hyper_util", LevelFilter::INFO),
    ("hyper_rustls", LevelFilter::INFO),
    ("redis", LevelFilter::INFO),
    ("h2", LevelFilter::INFO),
];

/// Starts logging to standard error. `levels` is in `RUST_LOG`'s form. `Err` for levels that cannot be read.
pub fn start(format: LogFormat, levels: &str) -> Result<(), String> {
    let wanted = EnvFilter::try_new(levels).map_err(|error| error.to_string())?;
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let started = match format {
        LogFormat::Text => tracing_subscriber::registry().with(wanted).with(clamp()).with(layer.with_target(false)).try_init(),
        LogFormat::Json => tracing_subscriber::registry()
            .with(wanted)
            .with(clamp())
            .with(layer.json().flatten_event(true).with_current_span(false).with_span_list(false))
            .try_init(),
    };
    started.map_err(|error| error.to_string())
}

/// A filter of its own beside the operator's: an event must pass both, so none of its wishes can be more specific.
fn clamp() -> Targets {
    Targets::new().with_default(LevelFilter::TRACE).with_targets(CLAMPED.iter().copied())
}

/// How often a line is repeated that strangers, or an outage, can cause at any rate. The counting is the metrics' work.
const REPEATED: Duration = Duration::from_secs(10);

/// Keeps one kind of line from filling the log.
#[derive(Debug, Default)]
pub struct Seldom(Mutex<(Option<Instant>, u64)>);

impl Seldom {
    /// `Some` when it is time for the line, with how many were left out since the last one.
    pub fn speak(&self) -> Option<u64> {
        // Two plain values, written together: a panic elsewhere cannot have torn them.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if state.0.is_some_and(|last| now.duration_since(last) < REPEATED) {
            state.1 += 1;
            return None;
        }
        let unsaid = state.1;
        *state = (Some(now), 0);
        Some(unsaid)
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn libraries_that_print_payloads_cannot_be_turned_up() {
        for (target, _) in CLAMPED {
            for target in [(*target).to_owned(), format!("{target}::deep::inside")] {
                assert!(!clamp().would_enable(&target, &Level::TRACE) && !clamp().would_enable(&target, &Level::DEBUG), "{target}");
                assert!(clamp().would_enable(&target, &Level::WARN), "{target}");
            }
        }
        assert!(clamp().would_enable("authpost", &Level::TRACE) && clamp().would_enable("worker::consume", &Level::TRACE));
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_is_repeated_seldom_and_says_what_was_left_out() {
        let seldom = Seldom::default();
        assert_eq!(seldom.speak(), Some(0));
        assert_eq!((seldom.speak(), seldom.speak()), (None, None));
        tokio::time::advance(REPEATED).await;
        assert_eq!((seldom.speak(), seldom.speak()), (Some(2), None));
    }

    #[test]
    fn levels_that_cannot_be_read_are_said() {
        assert!(start(LogFormat::Text, "=====").is_err());
    }
}
