//! Sending spans to a collector, over OTLP in its form of protobuf over HTTP
//! (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>).
//!
//! The SDK keeps finished spans in a bounded queue and drops what does not fit; a thread of its own
//! sends them in batches. A slow or unavailable collector loses spans, never mails. The requests go
//! through our own client, so that there is one TLS and one set of authorities to trust
//! (docs/adr/0005).

use std::{fmt, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use domain::clock::Clock as _;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{HeaderName, HeaderValue};
use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};

use tokio::{runtime::Handle, task::spawn_blocking, time::timeout};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{Layer as _, Registry, filter::Targets};
use url::Url;

use crate::{
    clock::SystemClock,
    http::client::{self, Connections},
    random::ulid,
    telemetry::Layer,
    tls::Trust,
    trace::TARGET,
};

pub use opentelemetry_sdk::trace::Sampler;

/// Longest wait for the collector's answer to one batch.
const ANSWER: Duration = Duration::from_secs(5);

/// Longest wait for the last batch when the process ends.
const LAST: Duration = Duration::from_secs(2);

/// Most of an answer that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// The collector, and the identity that spans are sent under.
#[derive(Clone)]
pub struct Collector {
    /// Where batches are posted to.
    pub endpoint: Url,
    /// Headers of each request; they may hold a secret, and are marked as sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The resource attributes: `service.name` and those that the operator set.
    pub resource: Vec<(String, String)>,
    /// The sampler that decides which traces are kept.
    pub sampler: Sampler,
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("Collector")
            .field("headers", &names)
            .field("resource", &self.resource)
            .finish_non_exhaustive()
    }
}

/// A running exporter. Call [`Exporting::finish`], or the last spans are lost.
pub struct Exporting(SdkTracerProvider);

impl Exporting {
    /// Sends the remaining spans, and waits at most two seconds for that.
    pub async fn finish(self) {
        let Self(provider) = self;
        // The wait blocks its thread; what it waits for needs the runtime.
        let sent = spawn_blocking(move || provider.shutdown_with_timeout(LAST)).await;
        if !matches!(sent, Ok(Ok(()))) {
            tracing::warn!("the last spans may not have reached the collector");
        }
    }
}

/// Makes the layer that exports spans. Must be called within a Tokio runtime.
pub(super) fn layer(
    collector: Collector,
    version: &'static str,
    trust: &Trust,
) -> Result<(Layer, Exporting), ExporterBuildError> {
    let Collector { endpoint, headers, resource, sampler } = collector;
    let client = Client { connections: client::pooled(trust), headers, runtime: Handle::current() };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(ANSWER)
        .with_endpoint(endpoint)
        .build()?;
    let known = [
        ("service.version", version.to_owned()),
        ("service.instance.id", ulid(SystemClock.now()).to_string()),
    ];
    let known = known.map(|(name, value)| KeyValue::new(name, value));
    let said = resource.into_iter().map(|(name, value)| KeyValue::new(name, value));
    let resource = Resource::builder_empty().with_attributes(known).with_attributes(said).build();
    let provider = SdkTracerProvider::builder()
        .with_resource(resource)
        .with_sampler(sampler)
        .with_batch_exporter(exporter)
        .build();
    let layer = tracing_opentelemetry::layer::<Registry>()
        .with_tracer(provider.tracer("authpost"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_context_activation(false)
        .with_filter(Targets::new().with_target(TARGET, LevelFilter::INFO));
    Ok((Box::new(layer), Exporting(provider)))
}

/// Our own client behind the exporter's interface. The exporter calls it from a thread without a
/// runtime, so each request is a task of ours.
struct Client {
    connections: Connections,
    headers: Vec<(HeaderName, HeaderValue)>,
    runtime: Handle,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        request.headers_mut().extend(self.headers.iter().cloned());
        let connections = self.connections.clone();
        self.runtime
            .spawn(async move { timeout(ANSWER, send(connections, request)).await? })
            .await?
    }
}

async fn send(
    connections: Connections,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, HttpError> {
    let (head, body) = connections.request(request.map(Full::new)).await?.into_parts();
    let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
    Ok(Response::from_parts(head, body))
}
