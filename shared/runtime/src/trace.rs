//! Traces: one for each event, from the verified webhook to the relay's answer, through queue and
//! retries.
//!
//! Spans are `tracing`'s, under a target that no log line has. Unless [`crate::telemetry`] exports
//! them, that target is disabled, and a span costs one check of a flag. Names and attributes are
//! OpenTelemetry's (<https://opentelemetry.io/docs/specs/semconv/>), our own begin with
//! `authpost.`. They hold ids, numbers, our own labels and the relay's queue id: no code, no
//! address, no other text of third parties.

use domain::{
    event::QueuedEvent,
    fault::{Fault, Reason},
    ids::{EventId, MagicAuthId},
    queue::Publish,
};
use opentelemetry::{
    Context,
    propagation::{Extractor, TextMapPropagator as _},
    trace::{SpanContext, TraceContextExt as _},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::{Instrument as _, Span, field::Empty, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The target of every span, and of nothing else.
pub const TARGET: &str = "authpost::trace";

/// Where a request goes: OpenTelemetry's `server.address` and `server.port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    pub host: String,
    /// Port; 0 when it is not known.
    pub port: u16,
}

impl Server {
    /// The host and port of a URL.
    pub fn of(url: &url::Url) -> Self {
        Self {
            host: url.host_str().unwrap_or_default().to_owned(),
            port: url.port_or_known_default().unwrap_or_default(),
        }
    }
}

/// A span for a webhook with a good signature, until it is answered. Continues the sender's trace
/// if it sent one.
pub fn webhook(traceparent: Option<&str>) -> Span {
    let span = info_span!(
        target: TARGET,
        parent: None,
        "POST /v1/workos_webhook/",
        otel.kind = "server",
        otel.status_code = Empty,
        url.scheme = "http",
        url.path = "/v1/workos_webhook/",
        http.route = "/v1/workos_webhook/",
        http.request.method = "POST",
        http.response.status_code = Empty,
    );
    continue_from(&span, traceparent);
    span
}

/// Records how a webhook was answered.
pub fn answered(webhook: &Span, status: u16) {
    http_status(webhook, status);
    // A 4xx is not a failure of the server (semantic conventions, HTTP server).
    if status >= 500 {
        webhook.record("otel.status_code", "ERROR");
    }
}

/// An event that is being published to a queue of this kind (`messaging.system`).
fn publish(system: &'static str, id: &EventId) -> Span {
    info_span!(
        target: TARGET,
        "publish",
        otel.kind = "producer",
        otel.status_code = Empty,
        "error.type" = Empty,
        messaging.system = system,
        "messaging.operation.type" = "send",
        messaging.operation.name = "publish",
        messaging.message.id = %id,
    )
}

/// Publishes an event as a step of the current trace, which continues with whoever takes the event
/// from the queue.
pub async fn publish_traced(queue: &dyn Publish, event: &mut QueuedEvent) -> Result<(), Fault> {
    let span = publish(queue.system(), &event.event_id);
    // Without our own trace, the sender's is passed on.
    if let Some(ours) = traceparent(&span) {
        event.traceparent = Some(ours);
    }
    within(&span, queue.publish(event)).await
}

/// One attempt at an event, from its delivery until it is settled. Part of the trace in the event,
/// or a new one if it has none.
pub fn attempt(system: &'static str, event: Option<&QueuedEvent>, attempt: u32) -> Span {
    let span = info_span!(
        target: TARGET,
        parent: None,
        "process",
        otel.kind = "consumer",
        otel.status_code = Empty,
        "error.type" = Empty,
        messaging.system = system,
        "messaging.operation.type" = "process",
        messaging.operation.name = "process",
        messaging.message.id = event.map(|event| event.event_id.as_str()),
        authpost.attempt = number(attempt),
        authpost.outcome = Empty,
    );
    continue_from(&span, event.and_then(|event| event.traceparent.as_deref()));
    span
}

/// A call to the claim store or the queue, by the name of its step.
pub fn step(name: &'static str) -> Span {
    info_span!(
        target: TARGET, "step", otel.name = name, otel.kind = "internal",
        otel.status_code = Empty, "error.type" = Empty
    )
}

/// A read of WorkOS's API.
pub fn read_code(server: &Server, id: &MagicAuthId) -> Span {
    info_span!(
        target: TARGET,
        "GET /user_management/magic_auth/{id}",
        otel.kind = "client",
        otel.status_code = Empty,
        "error.type" = Empty,
        http.request.method = "GET",
        http.response.status_code = Empty,
        url.template = "/user_management/magic_auth/{id}",
        server.address = server.host,
        server.port = number(server.port),
        authpost.magic_auth.id = %id,
    )
}

/// A call to the relay: connecting, or sending a mail.
pub fn relay(name: &'static str, server: &Server) -> Span {
    info_span!(
        target: TARGET,
        "relay",
        otel.name = name,
        otel.kind = "client",
        otel.status_code = Empty,
        "error.type" = Empty,
        network.protocol.name = "smtp",
        server.address = server.host,
        server.port = number(server.port),
        authpost.relay.receipt = Empty,
    )
}

/// A failure that has a reason.
pub trait Failure {
    /// The reason; its label becomes the span's `error.type`.
    fn reason(&self) -> Reason;
}

impl Failure for Fault {
    fn reason(&self) -> Reason {
        self.reason
    }
}

/// For results: the reason of the error.
impl<T> Failure for (T, Fault) {
    fn reason(&self) -> Reason {
        self.1.reason
    }
}

/// OpenTelemetry has signed integers only; unsigned ones would become text.
fn number(value: impl Into<i64>) -> i64 {
    value.into()
}

/// Records the status of a response that we received.
pub fn http_status(span: &Span, status: u16) {
    span.record("http.response.status_code", number(status));
}

/// Runs the work inside the span, and marks the span if it failed.
pub async fn within<T, E: Failure>(
    span: &Span,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let result = work.instrument(span.clone()).await;
    if let Err(failure) = &result {
        failed(span, failure.reason().label());
    }
    result
}

/// Marks the span as failed, with `error.type`.
pub fn failed(span: &Span, kind: &str) {
    span.record("error.type", kind);
    span.record("otel.status_code", "ERROR");
}

/// The span as the next one's parent, in the form of a `traceparent` header
/// (<https://www.w3.org/TR/trace-context/>); `None` when nothing is exported.
pub fn traceparent(span: &Span) -> Option<String> {
    let exported = exported(span)?;
    Some(format!(
        "00-{}-{}-{:02x}",
        exported.trace_id(),
        exported.span_id(),
        exported.trace_flags().to_u8()
    ))
}

/// The trace id of the current span, for a log line; `None` when nothing is exported.
pub fn id() -> Option<String> {
    exported(&Span::current()).map(|exported| exported.trace_id().to_string())
}

/// The OpenTelemetry context of a span; `None` when nothing is exported.
fn exported(span: &Span) -> Option<SpanContext> {
    if span.is_disabled() {
        return None;
    }
    Some(span.context().span().span_context().clone()).filter(SpanContext::is_valid)
}

/// Only `traceparent` is used: `tracestate` is free text, and would be kept in the queue.
struct Header<'a>(&'a str);

impl Extractor for Header<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == "traceparent").then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent"]
    }
}

fn continue_from(span: &Span, traceparent: Option<&str>) {
    if let Some(header) = traceparent.filter(|_| !span.is_disabled()) {
        let parent =
            TraceContextPropagator::new().extract_with_context(&Context::new(), &Header(header));
        // This fails only on a span that has started, which this one has not, or that is not
        // exported.
        drop(span.set_parent(parent));
    }
}
