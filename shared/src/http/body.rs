//! Reading bodies from strangers with a bound on each, and on all of them together.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::{
    body::{Body as _, Incoming},
    http::request::Parts,
};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{Patience, USUAL};

/// A body up to this size is always read. WorkOS's `magic_auth.created` is under 1 KiB.
const SMALL: usize = 16 * 1024;

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// More than the limit, declared or sent.
    #[error("larger than the limit")]
    TooLarge,
    /// Not complete in time.
    #[error("not complete in time")]
    TooSlow,
    /// The sender hung up, or sent something that is no body.
    #[error("broken off")]
    BrokenOff,
    /// Larger than most, while many such are being read.
    #[error("too many large bodies at once")]
    Crowded,
}

/// Reads whole bodies.
///
/// Anybody can open a connection and send a body slowly. What all of them can make us keep is bounded: 16 KiB a
/// connection, and the whole limit for a few bodies at a time. Whoever fills those few places keeps only other large
/// bodies out.
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

    /// Reads the body of a request with this head, within the patience the head bears.
    pub async fn read(&self, head: &Parts, body: Incoming) -> Result<Bytes, BodyError> {
        let Patience(patience) = head.extensions.get().copied().unwrap_or(USUAL);
        let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        if declared > self.limit {
            return Err(BodyError::TooLarge);
        }
        tokio::time::timeout(patience, self.collect(body, declared)).await.unwrap_or(Err(BodyError::TooSlow))
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
            // The usual body comes in one piece, and is not copied.
            if whole.is_empty() && body.is_end_stream() {
                return Ok(data);
            }
            whole.extend_from_slice(&data);
        }
        Ok(whole.freeze())
    }

    fn place_for(&self, size: usize) -> Result<Option<SemaphorePermit<'_>>, BodyError> {
        if size <= SMALL { Ok(None) } else { self.large.try_acquire().map(Some).map_err(|_| BodyError::Crowded) }
    }
}
