//! Leaving events in the queue while WorkOS or the relay refuses our configuration.
//!
//! Every event would fail alike, so taking them would only wear them out. After a pause one event at a time is tried;
//! the first that gets through ends the suspicion.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
};

use shared::{
    metrics::Metrics,
    retry::{Chance, Policy},
};
use tokio::time::{Instant, sleep_until};

/// Whether deliveries are taken, and how many at once.
pub struct Pause {
    state: Mutex<State>,
    metrics: Arc<Metrics>,
    chance: Chance,
}

#[derive(Default)]
struct State {
    refusals: u32,
    until: Option<Instant>,
    why: Cow<'static, str>,
}

impl Pause {
    /// Not paused.
    pub fn new(metrics: Arc<Metrics>, chance: Chance) -> Self {
        Self { state: Mutex::default(), metrics, chance }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Plain values, written together: a panic elsewhere cannot have torn them.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until deliveries may be taken. `true`: one at a time, we are still suspicious.
    pub(crate) async fn admit(&self) -> bool {
        loop {
            let (until, suspicious) = {
                let state = self.state();
                (state.until.filter(|until| *until > Instant::now()), state.refusals > 0)
            };
            match until {
                Some(until) => sleep_until(until).await,
                None => return suspicious,
            }
        }
    }

    /// Our configuration was refused.
    pub(crate) fn refused(&self, why: Cow<'static, str>) {
        let mut state = self.state();
        // Deliveries that were already under way tell the same story; one pause is enough.
        if state.until.is_some_and(|until| until > Instant::now()) {
            return;
        }
        state.refusals = state.refusals.saturating_add(1);
        let pause = Policy::REFUSED.delay(state.refusals, (self.chance)());
        state.until = Some(Instant::now() + pause);
        tracing::error!(why = %why, pause_s = pause.as_secs_f64(), "our configuration is refused; events stay in the queue");
        state.why = why;
        self.metrics.paused(true);
    }

    /// Something got through.
    pub(crate) fn accepted(&self) {
        let mut state = self.state();
        if state.refusals > 0 {
            *state = State::default();
            self.metrics.paused(false);
            tracing::info!("our configuration is accepted again");
        }
    }

    /// `Err` with the reason while our configuration is refused.
    pub fn ready(&self) -> Result<(), Cow<'static, str>> {
        let state = self.state();
        if state.refusals > 0 { Err(state.why.clone()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn pause() -> Pause {
        Pause::new(Arc::new(Metrics::new("0").expect("declared rightly")), Arc::new(|| 0.0))
    }

    #[tokio::test(start_paused = true)]
    async fn waits_longer_after_each_refusal_and_tries_one_at_a_time() {
        let pause = pause();
        assert!(!pause.admit().await);
        for expected in [2, 4, 8, 16, 30, 30] {
            pause.refused("401".into());
            pause.refused("401 again, from a delivery already under way".into());
            let begun = Instant::now();
            assert!(pause.admit().await, "suspicious");
            assert_eq!(begun.elapsed(), Duration::from_secs(expected));
        }
        assert_eq!(pause.ready(), Err("401".into()));
        pause.accepted();
        assert!(!pause.admit().await);
        assert_eq!(pause.ready(), Ok(()));
    }
}
