//! Posting webhooks the way WorkOS does.

use std::time::Duration;

use bytes::Bytes;
use domain::webhook::{SIGNATURE_HEADER, sign};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, header::CONTENT_TYPE};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use jiff::Timestamp;
use secrecy::SecretString;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// The receiver's answer to a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    pub status: u16,
    pub body: String,
    /// `Retry-After`, if there was one.
    pub retry_after: Option<String>,
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// The request cannot be made of these parts.
    #[error("the webhook request cannot be made")]
    Request,
    /// No connection, or no answer on it.
    #[error("the webhook was not answered")]
    NoAnswer,
}

/// Signs `body` at `now` and posts it to `url` over plain HTTP.
pub async fn post(
    url: &str,
    secret: &SecretString,
    body: &str,
    now: Timestamp,
) -> Result<Posted, PostError> {
    let signature = sign(secret, now, body.as_bytes()).ok_or(PostError::Request)?;
    let request = Request::post(url)
        .header(CONTENT_TYPE, "application/json")
        .header(SIGNATURE_HEADER, signature)
        .body(Full::new(Bytes::from(body.to_owned())))
        .map_err(|_| PostError::Request)?;
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let answered = async {
        let response = client.request(request).await.map_err(|_| PostError::NoAnswer)?;
        let status = response.status().as_u16();
        let retry_after = response
            .headers()
            .get("retry-after")
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let body =
            response.into_body().collect().await.map_err(|_| PostError::NoAnswer)?.to_bytes();
        Ok(Posted { status, body: String::from_utf8_lossy(&body).into_owned(), retry_after })
    };
    tokio::time::timeout(PATIENCE, answered).await.unwrap_or(Err(PostError::NoAnswer))
}
