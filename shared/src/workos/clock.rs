//! The time as WorkOS has it. A code lives and dies by WorkOS's clock: a worker whose own clock is ten minutes fast would
//! throw every live code away, and one that is ten minutes slow would mail dead ones.
//!
//! Every answer says what time it is over there (the `Date` header, RFC 9110, 6.6.1). A difference that the second's
//! granularity and the way here can explain is none; a larger one is added to our own clock until the next answer.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use jiff::{SignedDuration, Timestamp};

use crate::{clock::Clock, metrics::Metrics};

/// Differences below this are not corrected.
const EXPLICABLE: SignedDuration = SignedDuration::from_secs(10);

/// Our clock, set by WorkOS's.
pub struct WorkosClock {
    local: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    correction_ms: AtomicI64,
    compared: AtomicBool,
}

impl WorkosClock {
    /// As `local` says, until WorkOS has answered.
    pub fn new(local: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Self {
        Self { local, metrics, correction_ms: AtomicI64::new(0), compared: AtomicBool::new(false) }
    }

    /// Whether WorkOS has said what time it is. Until then our own clock may be any time off, and an event that seems to
    /// have died is asked about before it is given up.
    pub fn is_compared(&self) -> bool {
        self.compared.load(Ordering::Relaxed)
    }

    /// WorkOS said just now that it is `date`.
    pub fn compare(&self, date: Timestamp) {
        let ahead = date.duration_since(self.local.now());
        self.metrics.clock_offset(ahead);
        let correction = if ahead.abs() < EXPLICABLE { SignedDuration::ZERO } else { ahead };
        let correction = i64::try_from(correction.as_millis()).unwrap_or(0);
        let before = self.correction_ms.swap(correction, Ordering::Relaxed);
        self.compared.store(true, Ordering::Relaxed);
        if correction != 0 && before == 0 {
            tracing::error!(ahead_s = ahead.as_secs(), "this machine's clock is wrong; codes are judged by WorkOS's. Check NTP");
        } else if correction == 0 && before != 0 {
            tracing::info!("this machine's clock agrees with WorkOS's again");
        }
    }
}

impl Clock for WorkosClock {
    fn now(&self) -> Timestamp {
        let (now, correction) = (self.local.now(), self.correction_ms.load(Ordering::Relaxed));
        now.saturating_add(SignedDuration::from_millis(correction)).unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Stopped(Timestamp);

    impl Clock for Stopped {
        fn now(&self) -> Timestamp {
            self.0
        }
    }

    #[test]
    fn a_clock_that_is_off_is_corrected_and_one_that_is_not_is_left_alone() {
        let local = Timestamp::from_second(1_700_000_000).expect("in range");
        let metrics = Arc::new(Metrics::new("0").expect("declared rightly"));
        let clock = WorkosClock::new(Arc::new(Stopped(local)), metrics);
        assert!(!clock.is_compared() && clock.now() == local);
        for (ahead, corrected) in [(0, 0), (9, 0), (-9, 0), (600, 600), (-600, -600), (2, 0)] {
            clock.compare(local + SignedDuration::from_secs(ahead));
            assert_eq!(clock.now(), local + SignedDuration::from_secs(corrected), "{ahead} s ahead");
            assert!(clock.is_compared());
        }
    }
}
