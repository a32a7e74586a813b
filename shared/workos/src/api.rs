//! The HTTP under every call to WorkOS: one set of bounds, one classification of failures.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use domain::fault::{Fault, Reason};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Request, Response,
    body::Incoming,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT},
    http::request::Builder,
};
use runtime::{
    http::client::{self, Connections},
    live::Live,
    tls::Trust,
};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::timeout;
use url::Url;

use super::answer;

/// Largest answer read, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;

/// `WORKOS_API_KEY`, and the header it is sent in. Prints as nothing.
#[derive(Clone)]
pub struct ApiKey {
    secret: SecretString,
    bearer: HeaderValue,
}

/// The key has a character that no HTTP header can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("has a character that no HTTP header can carry")]
pub struct InvalidApiKey;

impl ApiKey {
    /// Accepts a key of visible ASCII characters.
    pub fn parse(secret: SecretString) -> Result<Self, InvalidApiKey> {
        let plain = secret.expose_secret().bytes().all(|byte| byte.is_ascii_graphic());
        let text = format!("Bearer {}", secret.expose_secret());
        let mut bearer = HeaderValue::try_from(text).ok().filter(|_| plain).ok_or(InvalidApiKey)?;
        bearer.set_sensitive(true);
        Ok(Self { secret, bearer })
    }

    /// The key itself: for a request body, and for deriving other keys from it.
    pub fn secret(&self) -> &SecretString {
        &self.secret
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(***)")
    }
}

/// Where the API is and how it is used.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// Base URL: `https://api.workos.com`, or a stand-in.
    pub url: Url,
    /// The key every request is made with.
    pub key: Live<ApiKey>,
    /// Longest wait for one call, from connecting to the last byte.
    pub timeout: Duration,
}

/// WorkOS, as a base URL and connections to it.
pub(super) struct Api {
    pooled: Connections,
    single: Connections,
    base: String,
    key: Live<ApiKey>,
    timeout: Duration,
}

impl Api {
    /// Makes a client that connects at first use.
    pub(super) fn new(config: &ApiConfig, trust: &Trust) -> Self {
        let base = config.url.as_str().trim_end_matches('/').to_owned();
        let (pooled, single) = (client::pooled(trust), client::single(trust));
        Self { pooled, single, base, key: config.key.clone(), timeout: config.timeout }
    }

    /// The key, for the calls that carry it in their body.
    pub(super) fn key(&self) -> Arc<ApiKey> {
        self.key.get()
    }

    /// Sends a GET for this path, which begins with a slash, with the API key.
    pub(super) async fn get(&self, path: &str) -> Result<Response<Incoming>, Fault> {
        let request = Request::get(format!("{}{path}", self.base))
            .header(AUTHORIZATION, self.key().bearer.clone());
        send(&self.pooled, request, Bytes::new()).await
    }

    /// Sends a GET for a public path, without the API key.
    pub(super) async fn get_public(&self, path: &str) -> Result<Response<Incoming>, Fault> {
        send(&self.pooled, Request::get(format!("{}{path}", self.base)), Bytes::new()).await
    }

    /// Sends a POST of JSON that must not reach WorkOS twice, on a new connection.
    pub(super) async fn post_once(
        &self,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Response<Incoming>, Fault> {
        let request = Request::post(format!("{}{path}", self.base)).header(CONTENT_TYPE, JSON);
        send(&self.single, request, Bytes::from(body)).await
    }

    /// Bounds a call by the configured timeout.
    pub(super) async fn in_time<T, E: From<Fault>>(
        &self,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        timeout(self.timeout, call)
            .await
            .unwrap_or_else(|_| Err(answer::unreachable("no answer in time").into()))
    }
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

async fn send(
    connections: &Connections,
    request: Builder,
    body: Bytes,
) -> Result<Response<Incoming>, Fault> {
    let request = request
        .header(ACCEPT, JSON)
        .header(USER_AGENT, concat!("authpost/", env!("CARGO_PKG_VERSION")));
    let unbuildable =
        |_| Fault::permanent(Reason::WorkosBadAnswer, "the request to WorkOS cannot be built");
    let request = request.body(Full::new(body)).map_err(unbuildable)?;
    connections.request(request).await.map_err(|_| answer::unreachable("the connection failed"))
}

/// Reads the whole body of an answer.
pub(super) async fn body(response: Response<Incoming>) -> Result<Bytes, Fault> {
    let whole =
        Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                Fault::doubtful(Reason::WorkosBadAnswer, "the answer is over 1 MiB")
            } else {
                answer::unreachable("the answer broke off")
            }
        })?;
    Ok(whole.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_visible_ascii_and_never_printed() {
        let parse = |text: &str| ApiKey::parse(SecretString::from(text.to_owned()));
        for text in ["sk test", "sk_test\n", "sk_é"] {
            assert_eq!(parse(text).err(), Some(InvalidApiKey), "{text:?}");
        }
        let key = parse("sk_secret").expect("valid");
        assert!(!format!("{key:?} {:?}", key.bearer).contains("sk_secret"));
    }
}
