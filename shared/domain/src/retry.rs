//! When to try again: an exponential, jittered delay that never reaches past the end of the code's
//! life.
//!
//! The series itself comes from the `backoff` crate, which is no longer maintained; this is the
//! only module that names it. Chance is an argument, so every bound below is a property test.

use std::time::Duration;

use backoff::{ExponentialBackoff, ExponentialBackoffBuilder, backoff::Backoff as _};
use jiff::{SignedDuration, Timestamp};

/// No retry is scheduled to start later than this before the code expires: a person needs time to
/// read and type.
pub const LAST_START_BEFORE_EXPIRY: Duration = Duration::from_secs(15);

/// The delays a queue offers. RabbitMQ has one queue each (a queue's messages expire only at its
/// head, so one queue cannot hold mixed delays); the embedded engine uses the same steps so that
/// both behave alike.
pub const STAGES: [Stage; 5] = [Stage::S2, Stage::S10, Stage::S30, Stage::S60, Stage::S120];

/// One step of the retry ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    S2,
    S10,
    S30,
    S60,
    S120,
}

impl Stage {
    /// How long a message waits in this stage.
    pub const fn delay(self) -> Duration {
        Duration::from_secs(match self {
            Self::S2 => 2,
            Self::S10 => 10,
            Self::S30 => 30,
            Self::S60 => 60,
            Self::S120 => 120,
        })
    }

    /// The name in queue names and metric labels.
    pub const fn label(self) -> &'static str {
        match self {
            Self::S2 => "2s",
            Self::S10 => "10s",
            Self::S30 => "30s",
            Self::S60 => "60s",
            Self::S120 => "120s",
        }
    }

    /// The first step that is at least `delay` long; the longest when none is.
    pub fn at_least(delay: Duration) -> Self {
        STAGES.into_iter().find(|stage| stage.delay() >= delay).unwrap_or(Self::S120)
    }
}

/// An exponential series with jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The delay after the first failure, before jitter.
    pub first: Duration,
    /// The longest delay, before jitter.
    pub longest: Duration,
}

impl Policy {
    /// Between attempts at one event: 2 s, 4 s, 8 s … 120 s.
    pub const EVENTS: Self =
        Self { first: Duration::from_secs(2), longest: Duration::from_secs(120) };
    /// Between attempts to reach a broker: 0.2 s … 1.5 s. Short, because codes are waiting and a
    /// broker that is back must be used within seconds.
    pub const CONNECTIONS: Self =
        Self { first: Duration::from_millis(200), longest: Duration::from_millis(1500) };
    /// Between attempts to reach the dedupe store while an event is held: 0.1 s … 1 s.
    pub const HOLDING: Self =
        Self { first: Duration::from_millis(100), longest: Duration::from_secs(1) };
    /// Between tests of a relay of several that refuses our configuration: 30 s … 5 min. The others
    /// take its mails meanwhile.
    pub const RELAY_MISCONFIGURED: Self =
        Self { first: Duration::from_secs(30), longest: Duration::from_secs(300) };
    /// Between tries while our configuration is refused, or while a relay is down: 2 s … 30 s.
    pub const REFUSED: Self =
        Self { first: Duration::from_secs(2), longest: Duration::from_secs(30) };

    /// The delay after `failures` failures (1 is the first). `chance` in `0.0..1.0` takes up to a
    /// third off, so that events that failed together do not come back together and a delay still
    /// fits the stage it was meant for.
    pub fn delay(self, failures: u32, chance: f64) -> Duration {
        let mut series: ExponentialBackoff = ExponentialBackoffBuilder::new()
            .with_initial_interval(self.first)
            .with_max_interval(self.longest)
            .with_multiplier(2.0)
            .with_randomization_factor(0.0)
            .with_max_elapsed_time(None)
            .build();
        // The series is flat once it has reached its longest step.
        let steps = failures.clamp(1, 32);
        let base = (0..steps).filter_map(|_| series.next_backoff()).last().unwrap_or(self.longest);
        base.mul_f64(1.0 - chance.clamp(0.0, 1.0) / 3.0)
    }
}

/// When the next attempt may start, or `None` when the code would expire too soon after it.
pub fn next_stage(wanted: Duration, now: Timestamp, expires_at: Timestamp) -> Option<Stage> {
    let fits = |stage: Stage| starts_in_time(now, stage.delay(), expires_at);
    if !starts_in_time(now, wanted, expires_at) {
        return None;
    }
    // A shorter delay than wanted is better than no further attempt.
    let stage = Stage::at_least(wanted);
    STAGES.into_iter().rev().find(|candidate| *candidate <= stage && fits(*candidate))
}

/// Whether work that starts `after` from `now` still has [`LAST_START_BEFORE_EXPIRY`] of the code's
/// life left.
pub fn starts_in_time(now: Timestamp, after: Duration, expires_at: Timestamp) -> bool {
    let needed = SignedDuration::try_from(after.saturating_add(LAST_START_BEFORE_EXPIRY))
        .unwrap_or(SignedDuration::MAX);
    expires_at.duration_since(now) >= needed
}

/// A source of random numbers in `0.0..1.0`. Tests pass a constant.
pub type Chance = std::sync::Arc<dyn Fn() -> f64 + Send + Sync>;

#[cfg(test)]
mod tests;
