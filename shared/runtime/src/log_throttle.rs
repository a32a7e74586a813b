//! Limits log lines that clients or outages can cause at any rate. Metrics count every case.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Shortest time between two lines of one kind.
const INTERVAL: Duration = Duration::from_secs(10);

/// Throttles one kind of log line.
#[derive(Debug, Default)]
pub struct LogThrottle(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    suppressed: u64,
}

impl LogThrottle {
    /// `Some` when the line may be logged now, with the number of lines suppressed since the last
    /// one.
    pub fn allow(&self) -> Option<u64> {
        let mut state = self.0.lock();
        let now = Instant::now();
        if state.last.is_some_and(|last| now.duration_since(last) < INTERVAL) {
            state.suppressed += 1;
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_line_is_repeated_rarely_and_says_how_many_were_suppressed() {
        let throttle = LogThrottle::default();
        assert_eq!(throttle.allow(), Some(0));
        assert_eq!((throttle.allow(), throttle.allow()), (None, None));
        tokio::time::advance(INTERVAL).await;
        assert_eq!((throttle.allow(), throttle.allow()), (Some(2), None));
    }
}
