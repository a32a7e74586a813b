//! The time of day as an argument.
//!
//! A code's life decides almost everything here, so no rule reads an ambient clock: it is handed one. clippy.toml bans
//! the ambient calls; the one legal use is below. Intervals (timeouts, latencies) use tokio's monotonic clock.

use jiff::Timestamp;

/// Where the time of day comes from.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
