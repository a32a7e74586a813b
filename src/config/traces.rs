//! The options for traces, from text to settings. Names and formats are OpenTelemetry's
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>); without
//! an endpoint they are ignored, because they are often set for everything on a machine.

use std::path::PathBuf;

use hyper::header::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use runtime::telemetry::export::{Collector, Sampler};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::{args, parse::Reader};

const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";

/// The rule for headers and attributes.
const LIST: &str = "must be comma-separated name=value pairs, percent-encoded";

/// `Some(None)` without an endpoint; `None` when a problem was noted.
#[expect(
    clippy::option_option,
    reason = "`None` means that a problem was noted, here as in every reading"
)]
pub(super) fn read(reader: &mut Reader, args: args::TraceOptions) -> Option<Option<Collector>> {
    let args::TraceOptions {
        otlp_endpoint, otlp_headers, otlp_headers_file, otlp_protocol, ..
    } = args;
    // By OpenTelemetry's rules an empty variable is unset.
    let Some(endpoint) = set(otlp_endpoint) else { return Some(None) };
    let endpoint = self::endpoint(reader, &endpoint);
    let headers = headers(reader, otlp_headers, otlp_headers_file);
    let rule = "must be http/protobuf: for a collector that takes gRPC only, name its HTTP port (often 4318)";
    let protocol = reader.note(
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        matches!(otlp_protocol.trim(), "" | "http/protobuf").then_some(()).ok_or(rule),
    );
    let resource =
        resource(reader, set(args.otel_service_name), args.otel_resource_attributes.as_deref());
    let sampler = sampler(reader, &args.otel_traces_sampler, &args.otel_traces_sampler_arg);
    protocol?;
    Some(Some(Collector {
        endpoint: endpoint?,
        headers: headers?,
        resource: resource?,
        sampler: sampler?,
    }))
}

fn set(variable: Option<String>) -> Option<String> {
    variable.filter(|text| !text.trim().is_empty())
}

fn endpoint(reader: &mut Reader, text: &str) -> Option<Url> {
    const VARIABLE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let rule = "must be a URL such as http://collector:4318";
    let mut url: Url = reader.parsed(VARIABLE, text, rule)?;
    let usable = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.query().is_none()
        && url.username().is_empty();
    reader.note(VARIABLE, usable.then_some(()).ok_or(rule))?;
    url.path_segments_mut().ok()?.pop_if_empty().extend(["v1", "traces"]);
    Some(url)
}

fn headers(
    reader: &mut Reader,
    value: Option<SecretString>,
    file: Option<PathBuf>,
) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let value = value.filter(|text| !text.expose_secret().trim().is_empty());
    if value.is_none() && file.is_none() {
        return Some(Vec::new());
    }
    let list = reader.secret(HEADERS, value, file)?;
    let headers =
        pairs(list.expose_secret()).and_then(|pairs| pairs.into_iter().map(header).collect());
    reader.note(HEADERS, headers.ok_or(LIST))
}

fn header((name, value): (String, String)) -> Option<(HeaderName, HeaderValue)> {
    let mut value = HeaderValue::try_from(value).ok()?;
    value.set_sensitive(true);
    Some((HeaderName::try_from(name).ok()?, value))
}

/// The resource attributes, with `service.name` last.
fn resource(
    reader: &mut Reader,
    name: Option<String>,
    attributes: Option<&str>,
) -> Option<Vec<(String, String)>> {
    let mut resource = reader
        .note("OTEL_RESOURCE_ATTRIBUTES", pairs(attributes.unwrap_or_default()).ok_or(LIST))?;
    let listed = resource
        .iter()
        .rposition(|(attribute, _)| attribute == "service.name")
        .map(|at| resource.remove(at).1);
    resource.push((
        "service.name".to_owned(),
        name.or(listed).unwrap_or_else(|| "authpost".to_owned()),
    ));
    Some(resource)
}

/// Parses a list in the format of W3C Baggage, without properties.
fn pairs(list: &str) -> Option<Vec<(String, String)>> {
    let pair = |text: &str| {
        let (name, value) = text.split_once('=')?;
        let name = Some(name.trim().to_owned()).filter(|name| !name.is_empty())?;
        Some((name, percent_decode_str(value.trim()).decode_utf8().ok()?.into_owned()))
    };
    list.split(',').filter(|text| !text.trim().is_empty()).map(pair).collect()
}

fn sampler(reader: &mut Reader, text: &str, ratio: &str) -> Option<Sampler> {
    let text = if text.trim().is_empty() { "parentbased_always_on" } else { text.trim() };
    let (parent_based, own) =
        text.strip_prefix("parentbased_").map_or((false, text), |own| (true, own));
    let own = match own {
        "always_on" => Some(Sampler::AlwaysOn),
        "always_off" => Some(Sampler::AlwaysOff),
        "traceidratio" => Some(Sampler::TraceIdRatioBased(self::ratio(reader, ratio)?)),
        _ => None,
    };
    let sampler =
        own.map(|own| if parent_based { Sampler::ParentBased(Box::new(own)) } else { own });
    let rule = "must be always_on, always_off, traceidratio, parentbased_always_on, \
                parentbased_always_off or parentbased_traceidratio";
    reader.note("OTEL_TRACES_SAMPLER", sampler.ok_or(rule))
}

fn ratio(reader: &mut Reader, text: &str) -> Option<f64> {
    let text = if text.trim().is_empty() { "1" } else { text.trim() };
    let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    reader.note("OTEL_TRACES_SAMPLER_ARG", ratio.ok_or("must be a number from 0 to 1"))
}
