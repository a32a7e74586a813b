//! The time of day as an argument, and durations as the numbers that stores and brokers take.
//!
//! Almost every decision here depends on how long a code still works, so no rule reads an ambient
//! clock: it is passed one. clippy.toml bans the ambient calls. Intervals (timeouts, latencies) use
//! tokio's monotonic clock.

use std::time::Duration;

use jiff::Timestamp;

/// A source of the current time.
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
}

/// A clock that is corrected by the clock of whoever decides when a code expires.
pub trait SyncedClock: Clock {
    /// Whether the correction is known yet. Until it is, this machine's clock may be wrong by more
    /// than a code's lifetime, and an event that seems expired is looked up before it is given up.
    fn is_synced(&self) -> bool;
}

/// Whole milliseconds, capped at `u64::MAX`.
pub fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `start + duration` in milliseconds since the epoch, capped at `i64::MAX`.
pub fn milliseconds_after(start_ms: i64, duration: Duration) -> i64 {
    start_ms.saturating_add_unsigned(milliseconds(duration))
}

/// `end - duration` in milliseconds since the epoch, capped at `i64::MIN`.
pub fn milliseconds_before(end_ms: i64, duration: Duration) -> i64 {
    end_ms.saturating_sub_unsigned(milliseconds(duration))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_duration_overflows() {
        assert_eq!(milliseconds(Duration::from_micros(1999)), 1);
        assert_eq!(milliseconds(Duration::MAX), u64::MAX);
        assert_eq!(
            (milliseconds_after(5, Duration::MAX), milliseconds_before(5, Duration::MAX)),
            (i64::MAX, i64::MIN)
        );
        assert_eq!(
            (
                milliseconds_after(5, Duration::from_secs(1)),
                milliseconds_before(5, Duration::from_secs(1))
            ),
            (1005, -995)
        );
    }
}
