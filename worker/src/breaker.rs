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

use crate::circuit::{Circuit, Pauses, Phase};

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

struct State {
    circuit: Circuit,
    /// Why our configuration was last refused, until it is accepted.
    refused: Option<Cow<'static, str>>,
}

/// There is one cause here: our configuration.
const PAUSES: Pauses = Pauses { down: Policy::REFUSED, misconfigured: Policy::REFUSED };

impl CircuitBreaker {
    /// A breaker that starts out closed.
    pub fn new(metrics: Arc<Metrics>, chance: Chance) -> Self {
        let state = Mutex::new(State { circuit: Circuit::new(PAUSES), refused: None });
        Self { state, metrics, chance, again: Notify::new() }
    }

    /// Waits until events may be taken.
    pub(crate) async fn admit(&self) -> Admission {
        loop {
            let again = self.again.notified();
            let (open_until, phase) = {
                let (state, now) = (self.state.lock(), Instant::now());
                (state.circuit.open_until(now), state.circuit.phase(now))
            };
            match open_until {
                Some(until) => tokio::select! {
                    () = sleep_until(until) => {}
                    () = again => {}
                },
                None if phase == Phase::Closed => return Admission::Closed,
                None => return Admission::HalfOpen,
            }
        }
    }

    /// Records that our configuration was refused.
    pub(crate) fn refused(&self, reason: Cow<'static, str>) {
        let mut state = self.state.lock();
        let Some(pause) = state.circuit.refused(Instant::now(), (self.chance)()) else { return };
        tracing::error!(
            %reason, pause_s = pause.as_secs_f64(),
            "leaving events in the queue: our configuration is refused"
        );
        state.refused = Some(reason);
        self.metrics.paused(true);
    }

    /// Ends the pause, because our configuration has changed: the next event tries it.
    pub fn try_again(&self) {
        self.state.lock().circuit.try_again(Instant::now());
        self.again.notify_waiters();
    }

    /// Records that an event succeeded.
    pub(crate) fn succeeded(&self) {
        let mut state = self.state.lock();
        if state.circuit.succeeded(Instant::now()) {
            state.refused = None;
            self.metrics.paused(false);
            tracing::info!("taking events again: our configuration is accepted");
        }
    }

    /// `Err` with the reason while our configuration is refused.
    pub fn ready(&self) -> Result<(), Cow<'static, str>> {
        self.state.lock().refused.clone().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests;
