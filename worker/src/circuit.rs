//! The state of a circuit breaker, without waiting: closed, open, or half-open.

use std::{collections::VecDeque, time::Duration};

use domain::retry::Policy;
use tokio::time::Instant;

/// So many failures in a row open a circuit.
const IN_A_ROW: u32 = 3;
/// Within this time, failures that are half of at least [`ENOUGH`] results open it too.
const WINDOW: Duration = Duration::from_secs(30);
const ENOUGH: usize = 8;
/// Most results that are remembered.
const MOST_RESULTS: usize = 256;
/// A test without a result is given up after this time: whoever ran it was cancelled.
const LONGEST_TEST: Duration = Duration::from_secs(90);

/// Why a circuit is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It cannot be reached or does not answer.
    Down,
    /// It refuses our configuration, such as a password.
    Misconfigured,
}

/// The pauses of an open circuit, by cause.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pauses {
    pub(crate) down: Policy,
    pub(crate) misconfigured: Policy,
}

/// Whether a circuit lets work through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Closed,
    /// The pause is over: one test decides.
    HalfOpen(Cause),
    /// Until the pause is over, or while the test runs.
    Open(Cause),
}

/// The state of one circuit breaker.
#[derive(Debug)]
pub(crate) struct Circuit {
    pauses: Pauses,
    opened: Option<Opened>,
    in_a_row: u32,
    /// When the results within [`WINDOW`] came, and whether each was a failure.
    results: VecDeque<(Instant, bool)>,
}

/// A circuit that is not closed.
#[derive(Debug)]
struct Opened {
    cause: Cause,
    /// How many pauses there were.
    times: u32,
    /// The end of the pause, or of the test's time.
    until: Instant,
    tested: bool,
}

impl Circuit {
    /// A circuit that is closed.
    pub(crate) fn new(pauses: Pauses) -> Self {
        Self { pauses, opened: None, in_a_row: 0, results: VecDeque::new() }
    }

    pub(crate) fn phase(&self, now: Instant) -> Phase {
        match &self.opened {
            None => Phase::Closed,
            Some(opened) if opened.until <= now => Phase::HalfOpen(opened.cause),
            Some(opened) => Phase::Open(opened.cause),
        }
    }

    /// When the pause is over, if there is one.
    pub(crate) fn open_until(&self, now: Instant) -> Option<Instant> {
        self.opened.as_ref().map(|opened| opened.until).filter(|until| *until > now)
    }

    /// Begins the test of a half-open circuit, which others find open meanwhile. `false` if it is
    /// not half-open.
    pub(crate) fn begin_test(&mut self, now: Instant) -> bool {
        let Some(opened) = self.opened.as_mut().filter(|opened| opened.until <= now) else {
            return false;
        };
        (opened.until, opened.tested) = (now + LONGEST_TEST, true);
        true
    }

    /// Ends the pause: what was wrong may have been mended.
    pub(crate) fn try_again(&mut self, now: Instant) {
        if let Some(opened) = &mut self.opened {
            (opened.until, opened.tested) = (now, false);
        }
    }

    /// Records a success. `true` if the circuit was not closed.
    pub(crate) fn succeeded(&mut self, now: Instant) -> bool {
        self.note(now, false);
        self.opened.take().is_some()
    }

    /// Records an answer that says nothing about our configuration. `true` if the circuit was not
    /// closed, and is now.
    pub(crate) fn answered(&mut self, now: Instant) -> bool {
        match &mut self.opened {
            Some(opened) if opened.cause == Cause::Misconfigured => {
                if opened.tested {
                    self.try_again(now);
                }
                false
            }
            _ => self.succeeded(now),
        }
    }

    /// Records a failure. The length of the pause, if one begins.
    pub(crate) fn failed(&mut self, now: Instant, chance: f64) -> Option<Duration> {
        self.note(now, true);
        let failures = self.results.iter().filter(|(_, failed)| *failed).count();
        let half = self.results.len() >= ENOUGH && failures * 2 >= self.results.len();
        match &self.opened {
            Some(opened) if opened.until > now && !opened.tested => None,
            None if self.in_a_row < IN_A_ROW && !half => None,
            _ => self.open(Cause::Down, now, chance),
        }
    }

    /// Records that our configuration was refused. The length of the pause, if one begins.
    pub(crate) fn refused(&mut self, now: Instant, chance: f64) -> Option<Duration> {
        self.open(Cause::Misconfigured, now, chance)
    }

    fn open(&mut self, cause: Cause, now: Instant, chance: f64) -> Option<Duration> {
        let before = self.opened.as_ref().filter(|opened| opened.cause == cause);
        // What was in progress fails for the same reason; one pause is enough.
        if before.is_some_and(|opened| opened.until > now && !opened.tested) {
            return None;
        }
        let times = before.map_or(0, |opened| opened.times).saturating_add(1);
        let policy = match cause {
            Cause::Down => self.pauses.down,
            Cause::Misconfigured => self.pauses.misconfigured,
        };
        let pause = policy.delay(times, chance);
        self.opened = Some(Opened { cause, times, until: now + pause, tested: false });
        self.results.clear();
        Some(pause)
    }

    fn note(&mut self, now: Instant, failed: bool) {
        self.in_a_row = if failed { self.in_a_row.saturating_add(1) } else { 0 };
        self.results.push_back((now, failed));
        let is_old = |when: Instant| now.duration_since(when) > WINDOW;
        while self.results.len() > MOST_RESULTS
            || self.results.front().is_some_and(|(when, _)| is_old(*when))
        {
            self.results.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
