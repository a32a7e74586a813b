//! The HTTP under every call to WorkOS: one set of bounds, one way to fail.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Request, Response,
    body::Incoming,
    header::{ACCEPT, CONTENT_TYPE, HeaderValue, USER_AGENT},
    http::request::Builder,
};
use rustls::ClientConfig;

use super::answer;
use crate::{
    fault::{Fault, Reason},
    http::client::{self, Connections},
};

/// Largest answer read, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;

/// WorkOS, as a base URL and connections to it.
pub(super) struct Api {
    kept: Connections,
    single: Connections,
    base: String,
}

impl Api {
    /// Connects at first use.
    pub(super) fn new(base_url: &url::Url, tls: &ClientConfig) -> Self {
        let base = base_url.as_str().trim_end_matches('/').to_owned();
        Self { kept: client::kept(tls), single: client::single(tls), base }
    }

    /// A GET of this path, which begins with a slash.
    pub(super) async fn get(&self, path: &str, dress: impl FnOnce(Builder) -> Builder) -> Result<Response<Incoming>, Fault> {
        let request = dress(begin(Request::get(format!("{}{path}", self.base))));
        send(&self.kept, request, Bytes::new()).await
    }

    /// A POST of JSON that must not reach WorkOS twice. It has a connection of its own.
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
