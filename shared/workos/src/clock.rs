//! WorkOS's time. A code expires by WorkOS's clock: a worker whose own clock is ten minutes fast
//! would discard every working code, and one that is ten minutes slow would mail expired ones.
//!
//! Every answer states the time at WorkOS (the `Date` header, RFC 9110, 6.6.1). A difference that
//! the resolution of a second and the network can explain is ignored; a larger one is added to our
//! own clock until the next answer.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use domain::clock::{Clock, SyncedClock};
use jiff::{SignedDuration, Timestamp};
use runtime::metrics::Metrics;

/// Differences below this are not corrected.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(10);

/// Our clock, corrected by WorkOS's.
pub struct WorkosClock {
    local: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    correction_ms: AtomicI64,
    compared: AtomicBool,
}

impl WorkosClock {
    /// Follows `local` until WorkOS has answered.
    pub fn new(local: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Self {
        Self { local, metrics, correction_ms: AtomicI64::new(0), compared: AtomicBool::new(false) }
    }

    /// Corrects the clock: WorkOS has just stated that it is `date`.
    pub fn compare(&self, date: Timestamp) {
        let ahead = date.duration_since(self.local.now());
        self.metrics.clock_offset(ahead);
        let correction = if ahead.abs() < TOLERANCE { SignedDuration::ZERO } else { ahead };
        let correction = i64::try_from(correction.as_millis()).unwrap_or(0);
        let before = self.correction_ms.swap(correction, Ordering::Relaxed);
        self.compared.store(true, Ordering::Relaxed);
        if correction != 0 && before == 0 {
            tracing::error!(
                ahead_s = ahead.as_secs(),
                "the clock of this machine is wrong; using the time of WorkOS instead. Check NTP"
            );
        } else if correction == 0 && before != 0 {
            tracing::info!("the clock of this machine agrees with WorkOS again");
        }
    }
}

impl Clock for WorkosClock {
    fn now(&self) -> Timestamp {
        let (now, correction) = (self.local.now(), self.correction_ms.load(Ordering::Relaxed));
        now.saturating_add(SignedDuration::from_millis(correction)).unwrap_or(now)
    }
}

impl SyncedClock for WorkosClock {
    fn is_synced(&self) -> bool {
        self.compared.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
