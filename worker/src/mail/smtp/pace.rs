//! How many mails a second the relay takes: as configured, and half as many after it throttled us.

use std::{collections::VecDeque, time::Duration};

use parking_lot::Mutex;
use runtime::clock::wait_until;
use tokio::time::Instant;

/// A rate stays halved for so long.
const HALVED_FOR: Duration = Duration::from_secs(30);
/// After that it grows by [`GROWTH`] each time so long passed without throttling.
const GROW_EVERY: Duration = Duration::from_secs(10);
const GROWTH: f64 = 1.1;
/// Answers that throttle us within this time are one: mails in progress fail together.
const SAME_BURST: Duration = Duration::from_secs(1);
/// The lowest rate, in mails per second.
const SLOWEST: f64 = 2.0;
/// The rate at the moment is taken from the mails within this time, and from so many at most.
const MEASURED: Duration = Duration::from_secs(10);
const MOST_MEASURED: usize = 512;

/// Spaces the mails to one relay.
pub(super) struct Pace {
    configured: Option<f64>,
    state: Mutex<State>,
    /// Held by the one whose turn is next. Those behind it wait here, in order.
    turn: tokio::sync::Mutex<Option<Instant>>,
}

#[derive(Default)]
struct State {
    lowered: Option<Lowered>,
    /// When the last mails had their turns.
    turns: VecDeque<Instant>,
}

/// The rate after the relay throttled us.
struct Lowered {
    rate: f64,
    /// The rate before. There and above, nothing is limited any more.
    before: f64,
    at: Instant,
    grows_at: Instant,
}

impl Pace {
    /// `configured` is the most mails per second.
    pub(super) fn new(configured: Option<f64>) -> Self {
        Self { configured, state: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// Waits for the turn of the next mail.
    pub(super) async fn turn(&self) {
        if self.rate(Instant::now()).is_some() {
            let mut next = self.turn.lock().await;
            if let Some(next) = *next {
                wait_until(next).await;
            }
            let now = Instant::now();
            *next = self.rate(now).map(|rate| now + Duration::from_secs_f64(1.0 / rate));
        }
        let mut state = self.state.lock();
        if state.turns.len() == MOST_MEASURED {
            state.turns.pop_front();
        }
        state.turns.push_back(Instant::now());
    }

    /// Whether the next mail has to wait because of others.
    pub(super) fn is_busy(&self) -> bool {
        self.turn.try_lock().map_or(true, |next| next.is_some_and(|next| next > Instant::now()))
    }

    /// The relay throttled a mail: from now on half as many.
    pub(super) fn throttled(&self) {
        let (mut state, now) = (self.state.lock(), Instant::now());
        if state.lowered.as_ref().is_some_and(|lowered| now < lowered.at + SAME_BURST) {
            return;
        }
        let recent = state.turns.iter().rev().take_while(|when| now - **when <= MEASURED);
        let (count, oldest) = recent.fold((0.0, now), |(count, _), when| (count + 1.0, *when));
        let measured: f64 = count / (now - oldest).as_secs_f64().max(1.0);
        let limit = state.lowered.as_ref().map(|lowered| lowered.rate).or(self.configured);
        let current = limit.map_or(measured, |limit| limit.min(measured)).max(SLOWEST);
        let before = state.lowered.as_ref().map_or(current, |lowered| lowered.before);
        let rate = (current / 2.0).max(SLOWEST);
        state.lowered = Some(Lowered { rate, before, at: now, grows_at: now + HALVED_FOR });
    }

    /// The most mails per second at the moment.
    fn rate(&self, now: Instant) -> Option<f64> {
        let mut state = self.state.lock();
        if let Some(lowered) = &mut state.lowered {
            while lowered.grows_at <= now && lowered.rate < lowered.before {
                lowered.rate *= GROWTH;
                lowered.grows_at += GROW_EVERY;
            }
            if lowered.rate >= lowered.before && lowered.grows_at <= now {
                state.lowered = None;
            }
        }
        let lowered = state.lowered.as_ref().map(|lowered| lowered.rate);
        match (self.configured, lowered) {
            (Some(configured), Some(lowered)) => Some(configured.min(lowered)),
            (one, other) => one.or(other),
        }
    }
}

#[cfg(test)]
mod tests;
