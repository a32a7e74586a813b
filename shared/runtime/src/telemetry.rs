//! Log lines: JSON for machines, plain for people, and nothing from libraries that print what
//! passes through them. And traces, if a collector is named.

pub mod export;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer as _, Registry,
    filter::{FilterExt as _, ParseError, Targets},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::{
    telemetry::export::{Collector, Exporting},
    terminal::{self, Lines},
    tls::Trust,
    trace,
};

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One line of text for each event.
    Text,
    /// One JSON object on each line.
    Json,
}

/// A boxed subscriber of log lines and spans.
type Layer = Box<dyn tracing_subscriber::Layer<Registry> + Send + Sync>;

/// Why logging cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// Log levels that cannot be parsed.
    #[error("RUST_LOG cannot be read: {0}")]
    Levels(#[from] ParseError),
    /// Filters by span or field, which would silently match no log line.
    #[error(
        "RUST_LOG cannot filter by span or field: give levels and targets, as in info,worker=debug"
    )]
    SpanFilter,
    /// The exporter cannot be set up.
    #[error("traces cannot be exported: {0}")]
    Traces(#[from] opentelemetry_otlp::ExporterBuildError),
    /// Logging was set up before in this process.
    #[error("logging was started before")]
    Twice,
}

/// Libraries whose finer levels print frames, headers or statements, and so codes and keys.
/// Whatever `RUST_LOG` says, of them or of a module inside them, they stay at these levels.
const CLAMPED: &[(&str, LevelFilter)] = &[
    // Its errors are also results, which are logged here where they matter.
    ("lapin", LevelFilter::OFF),
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
    // Spans are not log lines.
    (trace::TARGET, LevelFilter::OFF),
];

/// Starts logging to standard error. `levels` is in `RUST_LOG`'s form.
pub fn start(format: LogFormat, levels: &str) -> Result<(), TelemetryError> {
    install(vec![lines(format, levels)?])
}

/// The same, and exports spans to a collector. Must be called within a Tokio runtime; `version` is
/// that of Authpost.
pub fn start_with_traces(
    (format, levels): (LogFormat, &str),
    collector: Collector,
    version: &'static str,
    trust: &Trust,
) -> Result<Exporting, TelemetryError> {
    let lines = lines(format, levels)?;
    let (spans, exporting) = export::layer(collector, version, trust)?;
    install(vec![lines, spans])?;
    Ok(exporting)
}

fn install(layers: Vec<Layer>) -> Result<(), TelemetryError> {
    tracing_subscriber::registry().with(layers).try_init().map_err(|_| TelemetryError::Twice)
}

fn lines(format: LogFormat, levels: &str) -> Result<Layer, TelemetryError> {
    let wanted = wanted(levels)?.and(clamp());
    // No colours: nothing in a line may be a command to a terminal.
    let layer = tracing_subscriber::fmt::layer().with_ansi(false);
    Ok(match format {
        LogFormat::Text => layer
            .with_writer(|| Lines(terminal::escape))
            .with_target(false)
            .with_filter(wanted)
            .boxed(),
        LogFormat::Json => layer
            .with_writer(|| Lines(terminal::escape_json))
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .with_filter(wanted)
            .boxed(),
    })
}

/// The operator's filter: a level, and levels for targets, as in `info,worker=debug`. Errors only if
/// it is empty.
fn wanted(levels: &str) -> Result<Targets, TelemetryError> {
    if levels.trim().is_empty() {
        return Ok(Targets::new().with_default(LevelFilter::ERROR));
    }
    if levels.contains('[') {
        return Err(TelemetryError::SpanFilter);
    }
    Ok(levels.parse()?)
}

/// A second filter beside the operator's: an event must pass both, so no directive of `RUST_LOG`
/// can override it.
fn clamp() -> Targets {
    Targets::new().with_default(LevelFilter::TRACE).with_targets(CLAMPED.iter().copied())
}

#[cfg(test)]
mod tests;
