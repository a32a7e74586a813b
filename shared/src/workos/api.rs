//! The HTTP under every call to WorkOS: one set of bounds, one way to fail.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Request, Response,
    body::Incoming,
    header::{ACCEPT, CONTENT_TYPE, HeaderValue, USER_AGENT},
    http::request::Builder,
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::ClientConfig;

use super::answer;
use crate::fault::{Fault, Reason};

/// Largest answer read, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(3);

/// Idle connections are kept this long: shorter than what load balancers in between usually grant.
const IDLE: Duration = Duration::from_secs(30);

type Connections = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// WorkOS, as a base URL and connections to it.
pub(super) struct Api {
    kept: Connections,
    single: Connections,
    base: String,
}

impl Api {
    /// Connects at first use.
    pub(super) fn new(base_url: &url::Url, tls: &ClientConfig) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_keepalive(Some(IDLE));
        connector.enforce_http(false);
        // Whether plain HTTP is allowed was decided when the configuration was read.
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls.clone()).https_or_http().enable_http1().wrap_connector(connector);
        let mut builder = Client::builder(TokioExecutor::new());
        let kept = builder.pool_idle_timeout(IDLE).pool_timer(TokioTimer::new()).build(connector.clone());
        let single = builder.pool_max_idle_per_host(0).retry_canceled_requests(false).build(connector);
        Self { kept, single, base: base_url.as_str().trim_end_matches('/').to_owned() }
    }

    /// A GET of this path, which begins with a slash.
    pub(super) async fn get(&self, path: &str, dress: impl FnOnce(Builder) -> Builder) -> Result<Response<Incoming>, Fault> {
        let request = dress(begin(Request::get(format!("{}{path}", self.base))));
        send(&self.kept, request, Bytes::new()).await
    }

    /// A POST of JSON that must not reach WorkOS twice. It has a connection of its own: one from the pool may have been
    /// closed by the other side, and then nobody knows whether the request went through.
    pub(super) async fn post_once(&self, path: &str, body: Vec<u8>) -> Result<Response<Incoming>, Fault> {
        let request = begin(Request::post(format!("{}{path}", self.base))).header(CONTENT_TYPE, JSON);
        send(&self.single, request, Bytes::from(body)).await
    }
}

/// What every request to WorkOS has.
fn begin(request: Builder) -> Builder {
    request.header(ACCEPT, JSON).header(USER_AGENT, concat!("authpost/", env!("CARGO_PKG_VERSION")))
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

async fn send(connections: &Connections, request: Builder, body: Bytes) -> Result<Response<Incoming>, Fault> {
    let request =
        request.body(Full::new(body)).map_err(|_| Fault::permanent(Reason::WorkosBadAnswer, "the request to WorkOS could not be built"))?;
    connections.request(request).await.map_err(|_| answer::unreachable("the connection failed"))
}

/// The whole body of an answer.
pub(super) async fn body(response: Response<Incoming>) -> Result<Bytes, Fault> {
    let whole = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() {
            Fault::doubtful(Reason::WorkosBadAnswer, "an answer of over 1 MiB")
        } else {
            answer::unreachable("the answer broke off")
        }
    })?;
    Ok(whole.to_bytes())
}
