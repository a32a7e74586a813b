//! Reading request bodies with a bound on each, and on all of them together.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::{
    Request, StatusCode,
    body::{Body as _, Incoming},
    header::RETRY_AFTER,
};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{Answer, RETRY_SOON, closing, connection::Connection, problem};

/// Bodies up to this size are always read. WorkOS's `magic_auth.created` is under 1 KiB.
const SMALL: usize = 16 * 1024;

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Over the limit, declared or sent.
    #[error("larger than the limit")]
    TooLarge,
    /// Not complete within the time limit.
    #[error("not complete in time")]
    TooSlow,
    /// The sender hung up, or its framing is invalid.
    #[error("broken off")]
    BrokenOff,
    /// Large, while as many large ones as allowed are being read.
    #[error("too many large bodies at once")]
    Crowded,
}

impl BodyError {
    /// The answer for a body that could not be read; `limit` is the largest allowed, in bytes.
    /// Closes the connection: the rest of the body is not wanted.
    pub fn answer(self, limit: usize) -> Answer {
        let (status, kind, detail) = match self {
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                format!("The body is over {} KiB.", limit / 1024),
            ),
            Self::TooSlow => (
                StatusCode::REQUEST_TIMEOUT,
                "too_slow",
                "The body did not arrive in time.".to_owned(),
            ),
            Self::BrokenOff => {
                (StatusCode::BAD_REQUEST, "broken_off", "The body broke off.".to_owned())
            }
            Self::Crowded => (
                StatusCode::SERVICE_UNAVAILABLE,
                "crowded",
                "Too many large bodies at once. Send it again.".to_owned(),
            ),
        };
        let mut answer = closing(problem(status, kind, &detail));
        if self == Self::Crowded {
            answer.headers_mut().insert(RETRY_AFTER, RETRY_SOON);
        }
        answer
    }
}

/// A request as it is received.
pub type Received = Request<ReceivedBody>;

/// The body of a request, and the connection that it comes on.
#[derive(Debug)]
pub struct ReceivedBody {
    body: Incoming,
    connection: Arc<Connection>,
}

impl ReceivedBody {
    pub(super) fn new(body: Incoming, connection: Arc<Connection>) -> Self {
        Self { body, connection }
    }

    /// The connection that the request comes on.
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Whether there is no body, or nothing left of it.
    pub fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

/// Reads whole bodies.
///
/// Anybody can open a connection and send a body slowly. The memory that this can hold is bounded:
/// 16 KiB for each connection, and the whole limit for a few bodies at a time. Filling those few
/// places keeps out only other large bodies.
#[derive(Debug)]
pub struct Bodies {
    limit: usize,
    large: Semaphore,
}

impl Bodies {
    /// At most `limit` bytes each, and `large` of more than 16 KiB at once.
    pub fn new(limit: usize, large: usize) -> Self {
        Self { limit, large: Semaphore::new(large) }
    }

    /// Reads a body, within the time that its connection allows it.
    pub async fn read(&self, body: ReceivedBody) -> Result<Bytes, BodyError> {
        let ReceivedBody { body, connection } = body;
        let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        if declared > self.limit {
            return Err(BodyError::TooLarge);
        }
        if body.is_end_stream() {
            return Ok(Bytes::new());
        }
        let _reading = connection.reading_body();
        let read = tokio::time::timeout(connection.patience(), self.collect(body, declared))
            .await
            .unwrap_or(Err(BodyError::TooSlow));
        // Whoever sends too much is told so; whoever is too slow has had their time.
        if matches!(read, Ok(_) | Err(BodyError::TooSlow | BodyError::BrokenOff)) {
            connection.set_unread_body(false);
        }
        read
    }

    async fn collect(&self, mut body: Incoming, declared: usize) -> Result<Bytes, BodyError> {
        let mut place = self.place_for(declared)?;
        let mut whole = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| BodyError::BrokenOff)?.into_data() else { continue };
            let so_far = whole.len() + data.len();
            if so_far > self.limit {
                return Err(BodyError::TooLarge);
            }
            if place.is_none() {
                place = self.place_for(so_far)?;
            }
            // Most bodies come in one piece, which is not copied.
            if whole.is_empty() && body.is_end_stream() {
                return Ok(data);
            }
            whole.extend_from_slice(&data);
        }
        Ok(whole.freeze())
    }

    fn place_for(&self, size: usize) -> Result<Option<SemaphorePermit<'_>>, BodyError> {
        if size <= SMALL {
            Ok(None)
        } else {
            self.large.try_acquire().map(Some).map_err(|_| BodyError::Crowded)
        }
    }
}
