//! The collector of traces, by an empty batch.

use http_body_util::Full;
use hyper::{Request, header::CONTENT_TYPE};
use runtime::{telemetry::export::Collector, tls::Trust};

use super::request;
use crate::finding::Finding;

const SUBJECT: &str = "traces";

pub(super) async fn examine(collector: &Collector, trust: &Trust) -> anyhow::Result<Finding> {
    let request =
        Request::post(collector.endpoint.as_str()).header(CONTENT_TYPE, "application/x-protobuf");
    let mut request = request.body(Full::default())?;
    request.headers_mut().extend(collector.headers.iter().cloned());
    Ok(match request::send(trust, request).await.map(|(head, _)| head.status.as_u16()) {
        Ok(200..=299) => Finding::good(SUBJECT, "the collector accepts them"),
        Ok(401 | 403) => {
            Finding::wrong(SUBJECT, "the collector refuses us", "check OTEL_EXPORTER_OTLP_HEADERS")
        }
        Ok(status) => {
            let advice = "check OTEL_EXPORTER_OTLP_ENDPOINT: it is the base URL of the collector's OTLP over HTTP";
            Finding::wrong(SUBJECT, format!("the collector answered {status}"), advice)
        }
        Err(_) => {
            let advice = "check OTEL_EXPORTER_OTLP_ENDPOINT: OTLP over HTTP, often port 4318; mails are sent meanwhile";
            Finding::wrong(SUBJECT, "the collector does not answer", advice)
        }
    })
}
