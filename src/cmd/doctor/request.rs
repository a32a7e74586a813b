//! One HTTP request with its limits.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, http::response::Parts};
use runtime::{http::client, tls::Trust};

/// Longest wait for an answer.
const LIMIT: Duration = Duration::from_secs(10);

/// Largest answer read, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;

/// Sends a request and reads the whole answer.
pub(super) async fn send(
    trust: &Trust,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<(Parts, Bytes)> {
    let answered = async {
        let response = client::single(trust).request(request).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER)
            .collect()
            .await
            .map_err(|_| anyhow::anyhow!("the answer broke off"))?;
        anyhow::Ok((head, body.to_bytes()))
    };
    tokio::time::timeout(LIMIT, answered).await?
}
