//! The machine's clock, and waiting for a moment.

use domain::clock::Clock;
use jiff::Timestamp;
use tokio::time::{Instant, sleep_until};

/// The clock of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// Waits until `moment`, and not at all when it has come: tokio's timers round up to milliseconds, and
/// one that is set to the present ends in the next.
pub async fn wait_until(moment: Instant) {
    if moment > Instant::now() {
        sleep_until(moment).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_moment_that_has_come_is_not_waited_for() {
        let now = Instant::now();
        assert_eq!(wait_until(now).now_or_never(), Some(()));
        wait_until(now + Duration::from_millis(3)).await;
        assert_eq!(now.elapsed(), Duration::from_millis(3));
    }
}
