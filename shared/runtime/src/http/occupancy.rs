//! How full a listener is, and how patient it is therefore.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// A head must be complete this long after the connection, or after its first byte; a body this
/// long after the head; and a part of an answer must be taken within it. Each connection gets up to
/// three seconds more: senders that are cut off together would come back together.
pub(super) const USUAL: Duration = Duration::from_secs(7);

/// The unit of the addition: a sixteenth of the three seconds.
const SPREAD: Duration = Duration::from_millis(200);

/// The same when the listener is crowded, and the longest keep-alive then: senders need
/// milliseconds, and must not wait behind slow ones.
pub(super) const CROWDED: Duration = Duration::from_secs(1);

/// How full a listener is. Shared by its connections.
#[derive(Debug)]
pub(super) struct Occupancy {
    pub(super) all: usize,
    keep_alive: Duration,
    began: Instant,
    /// Connections that are open and not asked to close.
    pub(super) taken: AtomicUsize,
}

impl Occupancy {
    pub(super) fn new(all: usize, keep_alive: Duration) -> Self {
        Self { all, keep_alive, began: Instant::now(), taken: AtomicUsize::new(0) }
    }

    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX >> 2)
    }

    pub(super) fn is_crowded(&self) -> bool {
        self.taken.load(Ordering::Relaxed) > self.all - self.all / 4
    }

    pub(super) fn patience(&self, turn: u8) -> Duration {
        if self.is_crowded() { CROWDED } else { USUAL + SPREAD * u32::from(turn % 16) }
    }

    pub(super) fn keep_alive(&self) -> Duration {
        if self.is_crowded() { CROWDED.min(self.keep_alive) } else { self.keep_alive }
    }
}
