//! Leaves events in the queue while WorkOS or the relay refuses our configuration.
//!
//! Every event would fail alike, so taking them would only use up their attempts. After a pause
//! (open) one event at a time is tried (half-open); the first success closes the breaker.

use std::{borrow::Cow, sync::Arc};

use domain::retry::{Chance, Policy};
use parking_lot::Mutex;
use runtime::metrics::Metrics;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// The state that lets an event be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// As many at once as configured.
    Closed,
    /// One event at a time is let through.
    HalfOpen,
}

/// Decides whether events are taken, and how many at once.
pub struct CircuitBreaker {
    state: Mutex<State>,
    metrics: Arc<Metrics>,
    chance: Chance,
    /// The pause is over before its time.
    again: Notify,
}

#[derive(Default)]
struct State {
    refusals: u32,
    open_until: Option<Instant>,
    reason: Cow<'static, str>,
}

impl State {
    fn open_until(&self) -> Option<Instant> {
        self.open_until.filter(|until| *until > Instant::now())
    }
}

impl CircuitBreaker {
    /// A breaker that starts out closed.
    pub fn new(metrics: Arc<Metrics>, chance: Chance) -> Self {
        Self { state: Mutex::default(), metrics, chance, again: Notify::new() }
    }

    /// Waits until events may be taken.
    pub(crate) async fn admit(&self) -> Admission {
        loop {
            let again = self.again.notified();
            let (open_until, refusals) = {
                let state = self.state.lock();
                (state.open_until(), state.refusals)
            };
            match open_until {
                Some(until) => tokio::select! {
                    () = sleep_until(until) => {}
                    () = again => {}
                },
                None if refusals > 0 => return Admission::HalfOpen,
                None => return Admission::Closed,
            }
        }
    }

    /// Records that our configuration was refused.
    pub(crate) fn refused(&self, reason: Cow<'static, str>) {
        let mut state = self.state.lock();
        // Events that were already in progress fail for the same reason; one pause is enough.
        if state.open_until().is_some() {
            return;
        }
        state.refusals = state.refusals.saturating_add(1);
        let pause = Policy::REFUSED.delay(state.refusals, (self.chance)());
        state.open_until = Some(Instant::now() + pause);
        tracing::error!(
            %reason, pause_s = pause.as_secs_f64(),
            "leaving events in the queue: our configuration is refused"
        );
        state.reason = reason;
        self.metrics.paused(true);
    }

    /// Ends the pause, because our configuration has changed: the next event tries it.
    pub fn try_again(&self) {
        self.state.lock().open_until = None;
        self.again.notify_waiters();
    }

    /// Records that an event succeeded.
    pub(crate) fn succeeded(&self) {
        let mut state = self.state.lock();
        if state.refusals > 0 {
            *state = State::default();
            self.metrics.paused(false);
            tracing::info!("taking events again: our configuration is accepted");
        }
    }

    /// `Err` with the reason while our configuration is refused.
    pub fn ready(&self) -> Result<(), Cow<'static, str>> {
        let state = self.state.lock();
        if state.refusals > 0 { Err(state.reason.clone()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
