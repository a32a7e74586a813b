//! One gate for all reads of a process: our own rate, and silence while WorkOS has asked for it.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use crate::fault::{Fault, Reason};

/// Reads that may go at once after a quiet time.
const BURST: u32 = 20;

/// Hands out instants, `interval` apart (a generic cell rate algorithm with one number of state).
pub(super) struct Gate {
    interval: Duration,
    /// When the next read would be due if they were evenly spaced.
    due: Mutex<State>,
}

#[derive(Clone, Copy)]
struct State {
    due: Instant,
    closed_until: Instant,
}

impl Gate {
    /// `rate` reads a second; 0 for no limit of our own.
    pub(super) fn new(rate: u32) -> Self {
        let interval = if rate == 0 { Duration::ZERO } else { Duration::from_secs(1) / rate };
        let now = Instant::now();
        Self { interval, due: Mutex::new(State { due: now, closed_until: now }) }
    }

    /// Waits for a turn, or says at once when it would take longer than `patience`.
    pub(super) async fn enter(&self, patience: Duration) -> Result<(), Fault> {
        let turn = {
            // The state is two instants, written together: a panic elsewhere cannot have torn it.
            let mut state = self.due.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let due = state.due.max(now);
            let turn = due.checked_sub(self.interval * BURST).unwrap_or(now).max(now).max(state.closed_until);
            if turn.duration_since(now) > patience {
                let wait = turn.duration_since(now);
                return Err(Fault::transient_after(Some(wait), Reason::WorkosRateLimited, "the gate to WorkOS is closed for longer"));
            }
            state.due = due + self.interval;
            turn
        };
        sleep_until(turn).await;
        Ok(())
    }

    /// Nobody enters for this long.
    pub(super) fn hold(&self, pause: Duration) {
        let mut state = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        state.closed_until = state.closed_until.max(Instant::now() + pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn keeps_to_its_rate_after_a_burst() {
        let gate = Gate::new(10);
        let begun = Instant::now();
        for _ in 0..BURST + 21 {
            gate.enter(PATIENCE).await.expect("within patience");
        }
        let took = begun.elapsed();
        assert!((Duration::from_millis(1990)..Duration::from_millis(2110)).contains(&took), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn is_closed_to_all_while_held() {
        let gate = Gate::new(0);
        gate.hold(Duration::from_secs(3));
        let begun = Instant::now();
        gate.enter(PATIENCE).await.expect("within patience");
        assert_eq!(begun.elapsed().as_secs(), 3);
        gate.hold(Duration::from_secs(60));
        let fault = gate.enter(PATIENCE).await.expect_err("too long");
        assert_eq!(fault.reason, Reason::WorkosRateLimited);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_nobody_waits() {
        let gate = Gate::new(0);
        let begun = Instant::now();
        for _ in 0..10_000 {
            gate.enter(PATIENCE).await.expect("at once");
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
