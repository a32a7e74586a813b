//! Log lines: JSON for machines, plain for people, and nothing from libraries that print what passes through them. And
//! traces, if a collector is named.

pub mod export;

use std::{
    io::IsTerminal as _,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rustls::ClientConfig;
use tokio::time::Instant;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    EnvFilter, Layer as _, Registry,
    filter::{FilterExt as _, Targets},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use self::export::{Collector, Exporting};
use crate::trace;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One line of text an event.
    Text,
    /// One JSON object a line.
    Json,
}

/// What listens to lines and spans, whatever it is made of.
type Layer = Box<dyn tracing_subscriber::Layer<Registry> + Send + Sync>;

/// Why nothing can be written down.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// Levels that cannot be read.
    #[error("RUST_LOG cannot be read: {0}")]
    Levels(#[from] tracing_subscriber::filter::ParseError),
    /// The exporter cannot be set up.
    #[error("traces cannot be exported: {0}")]
    Traces(#[from] opentelemetry_otlp::ExporterBuildError),
    /// It was started before.
    #[error("logging was started before")]
    Twice,
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
    ("opentelemetry", LevelFilter::WARN),
    ("opentelemetry_sdk", LevelFilter::WARN),
    ("opentelemetry_otlp", LevelFilter::WARN),
    // Spans, which are no lines.
    (trace::TARGET, LevelFilter::OFF),
];

/// Starts logging to standard error. `levels` is in `RUST_LOG`'s form.
pub fn start(format: LogFormat, levels: &str) -> Result<(), TelemetryError> {
    install(vec![lines(format, levels)?])
}

/// The same, and hands spans to a collector. Needs a runtime around it; `version` is ours.
pub fn start_with_traces(
    (format, levels): (LogFormat, &str),
    collector: Collector,
    version: &'static str,
    tls: &ClientConfig,
) -> Result<Exporting, TelemetryError> {
    let lines = lines(format, levels)?;
    let (spans, exporting) = export::layer(collector, version, tls)?;
    install(vec![lines, spans])?;
    Ok(exporting)
}

fn install(layers: Vec<Layer>) -> Result<(), TelemetryError> {
    tracing_subscriber::registry().with(layers).try_init().map_err(|_| TelemetryError::Twice)
}

fn lines(format: LogFormat, levels: &str) -> Result<Layer, TelemetryError> {
    let wanted = EnvFilter::try_new(levels)?.and(clamp());
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    Ok(match format {
        LogFormat::Text => layer.with_target(false).with_filter(wanted).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_current_span(false).with_span_list(false).with_filter(wanted).boxed(),
    })
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
        for (target, _) in CLAMPED.iter().filter(|(target, _)| *target != trace::TARGET) {
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
    fn a_span_is_no_line_and_costs_a_look_at_a_flag_when_nobody_exports_it() {
        assert!(!clamp().would_enable(trace::TARGET, &Level::ERROR));
        let subscriber = tracing_subscriber::registry().with(vec![lines(LogFormat::Json, "trace").expect("levels")]);
        tracing::subscriber::with_default(subscriber, || {
            let span = trace::webhook(Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
            assert!(span.is_disabled());
            assert_eq!((trace::traceparent(&span), span.in_scope(trace::id)), (None, None));
        });
    }

    #[test]
    fn levels_that_cannot_be_read_are_said() {
        assert!(start(LogFormat::Text, "=====").is_err());
    }
}
