//! HTTP clients, with TLS for `https://` URLs.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Builder, Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use url::{Host, Url};

use crate::{proxy::Route, tls::Trust};

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(3);

/// Idle connections are kept this long: shorter than what load balancers in between usually grant.
const IDLE: Duration = Duration::from_secs(30);

/// Sends requests whose bodies are in one piece.
pub type Connections = Client<HttpsConnector<Route>, Full<Bytes>>;

/// Connections that are reused for later requests.
pub fn pooled(trust: &Trust) -> Connections {
    builder().pool_idle_timeout(IDLE).pool_timer(TokioTimer::new()).build(connector(trust))
}

/// A connection for each request: one from a pool may have been closed by the other side, and then
/// nobody knows whether the request went through.
pub fn single(trust: &Trust) -> Connections {
    builder().pool_max_idle_per_host(0).retry_canceled_requests(false).build(connector(trust))
}

/// Whether a URL can only lead to this machine: by a loopback address, or by the name `localhost`.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Bytes of an answer that are read at once.
const READ_BUFFER: usize = 4096;

fn builder() -> Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    // The answers that are read by the thousand fit: half of the usual buffer, which is freed and
    // wiped with every answer.
    builder.http1_read_buf_exact_size(READ_BUFFER);
    builder
}

/// Accepts plain HTTP: whether that is allowed is decided while reading the configuration.
fn connector(trust: &Trust) -> HttpsConnector<Route> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT));
    connector.set_keepalive(Some(IDLE));
    connector.enforce_http(false);
    HttpsConnectorBuilder::new()
        .with_tls_config(trust.client().as_ref().clone())
        .https_or_http()
        .enable_http1()
        .wrap_connector(Route { direct: connector, proxy: trust.proxy().cloned() })
}
