//! The rate limit for all reads of a process, closed while WorkOS asks for a pause (`Retry-After`).

use std::time::Duration;

use domain::fault::{Fault, Reason};
use parking_lot::Mutex;
use runtime::clock::wait_until;
use tokio::time::Instant;

/// Reads that may start at once after a quiet time.
const BURST: u32 = 20;

/// A generic cell rate algorithm: lets reads start `interval` apart, after a burst.
pub(super) struct Gate {
    interval: Duration,
    state: Mutex<State>,
}

#[derive(Clone, Copy)]
struct State {
    /// When the next read would be due if they were evenly spaced.
    due: Instant,
    closed_until: Instant,
}

impl Gate {
    /// `rate` is the most reads per second; 0 for no limit.
    pub(super) fn new(rate: u32) -> Self {
        let interval = if rate == 0 { Duration::ZERO } else { Duration::from_secs(1) / rate };
        let now = Instant::now();
        Self { interval, state: Mutex::new(State { due: now, closed_until: now }) }
    }

    /// Waits for a turn, or fails at once when that would take longer than `limit`.
    pub(super) async fn enter(&self, limit: Duration) -> Result<(), Fault> {
        let turn = {
            let mut state = self.state.lock();
            let now = Instant::now();
            let due = state.due.max(now);
            let turn = due
                .checked_sub(self.interval * BURST)
                .unwrap_or(now)
                .max(now)
                .max(state.closed_until);
            if turn.duration_since(now) > limit {
                let wait = turn.duration_since(now);
                return Err(Fault::transient_after(
                    Some(wait),
                    Reason::WorkosRateLimited,
                    "the rate limit for WorkOS leaves no turn in time",
                ));
            }
            state.due = due + self.interval;
            turn
        };
        wait_until(turn).await;
        Ok(())
    }

    /// Takes a turn if one is free at once and at least half of a burst is left for others.
    pub(super) fn enter_if_quiet(&self) -> bool {
        let mut state = self.state.lock();
        let now = Instant::now();
        let due = state.due.max(now);
        let quiet = state.closed_until <= now && due <= now + self.interval * (BURST / 2);
        if quiet {
            state.due = due + self.interval;
        }
        quiet
    }

    /// Lets no read start for this long.
    pub(super) fn close_for(&self, pause: Duration) {
        let mut state = self.state.lock();
        state.closed_until = state.closed_until.max(Instant::now() + pause);
    }
}

#[cfg(test)]
mod tests;
