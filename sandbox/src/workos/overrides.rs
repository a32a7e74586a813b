//! Answers that a test orders instead of the true ones.

use std::time::Duration;

use hyper::{
    StatusCode,
    header::{HeaderName, HeaderValue},
};
use runtime::http::{self, Answer};

/// An answer to the next read instead of the true one.
#[derive(Debug, Clone)]
pub enum Override {
    /// This status, these headers, this body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// Nothing, until the other side gives up.
    Stall,
    /// The true answer, this much later.
    Late(Duration),
}

/// The answer that was ordered instead of the true one, if any.
pub(super) async fn carry_out(instead: Option<Override>) -> Option<Answer> {
    match instead {
        None => None,
        Some(Override::Late(by)) => {
            tokio::time::sleep(by).await;
            None
        }
        Some(Override::Stall) => std::future::pending().await,
        Some(Override::Answer(status, headers, body)) => Some(scripted(status, headers, body)),
    }
}

fn scripted(status: u16, headers: Vec<(&'static str, String)>, body: String) -> Answer {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = http::answer(status, "application/json", body);
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}
