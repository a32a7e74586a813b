//! An OpenTelemetry collector that keeps what it is sent.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use hyper::{StatusCode, header::AUTHORIZATION};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::{Span as Sent, status::StatusCode as Ended},
};
use prost::Message as _;
use runtime::http::{self, Bodies, Limits, Received};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{app::free_port, eventually};

/// The header that it requires.
pub const TOKEN: &str = "Bearer c0llector-token";

/// Most bytes of one batch.
const MOST: usize = 16 * 1024 * 1024;

/// A running collector. Stops when dropped.
pub struct Collector {
    address: SocketAddr,
    batches: Arc<Mutex<Vec<Bytes>>>,
    stop: CancellationToken,
    _server: JoinHandle<()>,
}

/// A span as a test looks at it.
#[derive(Debug, Clone)]
pub struct Span {
    pub name: String,
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub kind: &'static str,
    pub failed: bool,
    /// When it began and ended, in nanoseconds of Unix time.
    pub time: (u64, u64),
    pub attributes: BTreeMap<String, serde_json::Value>,
    pub resource: BTreeMap<String, serde_json::Value>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Collector {
    pub async fn start() -> Self {
        let listener = free_port().await;
        let (address, batches, stop) =
            (listener.local_addr().expect("an address"), Arc::default(), CancellationToken::new());
        let limits = Limits::new(64, Duration::from_secs(1));
        let kept: Arc<Mutex<Vec<Bytes>>> = Arc::clone(&batches);
        let take = move |request| take(request, Arc::clone(&kept));
        let server =
            tokio::spawn(http::serve(listener, limits, stop.clone(), Arc::new(|_| {}), take));
        Self { address, batches, stop, _server: server }
    }

    /// What a program needs to send its spans here, and soon.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", self.address)),
            ("OTEL_EXPORTER_OTLP_HEADERS", format!("authorization={}", TOKEN.replace(' ', "%20"))),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=the%20test".to_owned()),
            ("OTEL_BSP_SCHEDULE_DELAY", "50".to_owned()),
        ]
    }

    /// Everything that was sent, as bytes.
    pub fn everything(&self) -> String {
        self.batches
            .lock()
            .expect("not poisoned")
            .iter()
            .map(|batch| String::from_utf8_lossy(batch).into_owned())
            .collect()
    }

    pub fn spans(&self) -> Vec<Span> {
        let batches = self.batches.lock().expect("not poisoned").clone();
        let requests = batches
            .into_iter()
            .map(|batch| ExportTraceServiceRequest::decode(batch).expect("OTLP"));
        let of_a_resource = requests.flat_map(|request| request.resource_spans).flat_map(|spans| {
            let resource = attributes(spans.resource.expect("a resource").attributes);
            spans
                .scope_spans
                .into_iter()
                .flat_map(|scope| scope.spans)
                .map(move |sent| span(sent, resource.clone()))
        });
        of_a_resource.collect()
    }

    /// Waits until there are this many of a name.
    pub async fn named(&self, name: &str, count: usize) -> Vec<Span> {
        eventually(&format!("{count} spans {name}"), async || {
            let found: Vec<_> = self.spans().into_iter().filter(|span| span.name == name).collect();
            (found.len() >= count).then_some(found)
        })
        .await
    }
}

async fn take(request: Received, batches: Arc<Mutex<Vec<Bytes>>>) -> http::Answer {
    let (head, body) = request.into_parts();
    let rightly =
        head.uri.path() == "/v1/traces" && head.headers["content-type"] == "application/x-protobuf";
    if !rightly || head.headers.get(AUTHORIZATION).is_none_or(|token| token != TOKEN) {
        return http::problem(StatusCode::FORBIDDEN, "forbidden", "not like this");
    }
    let batch = Bodies::new(MOST, 64).read(body).await.expect("a body");
    batches.lock().expect("not poisoned").push(batch);
    http::answer(StatusCode::OK, "application/x-protobuf", Bytes::new())
}

fn span(sent: Sent, resource: BTreeMap<String, serde_json::Value>) -> Span {
    assert!(
        sent.events.is_empty() && sent.links.is_empty(),
        "log lines have no place in spans: {:?}",
        sent.events
    );
    let digit = |half: u8| char::from_digit(half.into(), 16).expect("half a byte");
    let hex = |bytes: &[u8]| {
        bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect::<String>()
    };
    Span {
        name: sent.name,
        trace: hex(&sent.trace_id),
        id: hex(&sent.span_id),
        parent: hex(&sent.parent_span_id),
        kind: ["", "internal", "server", "client", "producer", "consumer"]
            [usize::try_from(sent.kind).expect("a kind")],
        time: (sent.start_time_unix_nano, sent.end_time_unix_nano),
        failed: sent.status.is_some_and(|status| status.code() == Ended::Error),
        attributes: attributes(sent.attributes),
        resource,
    }
}

fn attributes(list: Vec<KeyValue>) -> BTreeMap<String, serde_json::Value> {
    let text = |value: Option<AnyValue>| match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text.into(),
        Some(Value::IntValue(number)) => number.into(),
        other => panic!("{other:?}"),
    };
    list.into_iter().map(|attribute| (attribute.key, text(attribute.value))).collect()
}
