//! When to try again: an exponential, jittered delay that never reaches past the end of the code's life.
//!
//! The series itself comes from the `backoff` crate, which is no longer maintained; this is the only module that names
//! it. Chance is an argument, so every bound below is a property test.

use std::time::Duration;

use backoff::{ExponentialBackoff, ExponentialBackoffBuilder, backoff::Backoff as _};
use jiff::{SignedDuration, Timestamp};

/// No retry is scheduled to start later than this before the code expires: a person needs time to read and type.
pub const LAST_START_BEFORE_EXPIRY: Duration = Duration::from_secs(15);

/// The delays a queue offers. RabbitMQ has one queue each (a queue's messages expire only at its head, so one queue
/// cannot hold mixed delays); the embedded engine uses the same steps so that both behave alike.
pub const STAGES: [Stage; 5] = [Stage::S2, Stage::S10, Stage::S30, Stage::S60, Stage::S120];

/// One step of the retry ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// 2 seconds.
    S2,
    /// 10 seconds.
    S10,
    /// 30 seconds.
    S30,
    /// 60 seconds.
    S60,
    /// 120 seconds.
    S120,
}

impl Stage {
    /// How long a message rests here.
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
    pub const EVENTS: Self = Self { first: Duration::from_secs(2), longest: Duration::from_secs(120) };
    /// Between attempts to reach a broker: 0.2 s … 1.5 s. Short, because codes are waiting and a broker that is back
    /// must be used within seconds.
    pub const CONNECTIONS: Self = Self { first: Duration::from_millis(200), longest: Duration::from_millis(1500) };
    /// Between attempts to reach the dedupe store while an event is held: 0.1 s … 1 s.
    pub const HOLDING: Self = Self { first: Duration::from_millis(100), longest: Duration::from_secs(1) };
    /// Between looks at a refused configuration: 2 s … 30 s.
    pub const REFUSED: Self = Self { first: Duration::from_secs(2), longest: Duration::from_secs(30) };

    /// The delay after `failures` failures (1 is the first). `chance` in `0.0..1.0` takes up to a third off, so that
    /// events that failed together do not come back together and a delay still fits the stage it was meant for.
    pub fn delay(self, failures: u32, chance: f64) -> Duration {
        let mut series: ExponentialBackoff = ExponentialBackoffBuilder::new()
            .with_initial_interval(self.first)
            .with_max_interval(self.longest)
            .with_multiplier(2.0)
            .with_randomization_factor(0.0)
            .with_max_elapsed_time(None)
            .build();
        // The series is flat once it has reached its longest step, so there is no use in walking on.
        let steps = failures.clamp(1, 32);
        let base = (0..steps).filter_map(|_| series.next_backoff()).last().unwrap_or(self.longest);
        base.mul_f64(1.0 - chance.clamp(0.0, 1.0) / 3.0)
    }
}

/// When the next attempt may start, or `None` when that would be too late to be of use to anybody.
pub fn next_stage(wanted: Duration, now: Timestamp, expires_at: Timestamp) -> Option<Stage> {
    let fits = |stage: Stage| starts_in_time(now, stage.delay(), expires_at);
    if !starts_in_time(now, wanted, expires_at) {
        return None;
    }
    // A shorter rest than wanted beats no further attempt.
    let stage = Stage::at_least(wanted);
    STAGES.into_iter().rev().find(|candidate| *candidate <= stage && fits(*candidate))
}

/// Whether work that starts `after` from `now` still has [`LAST_START_BEFORE_EXPIRY`] of the code's life left.
pub fn starts_in_time(now: Timestamp, after: Duration, expires_at: Timestamp) -> bool {
    let needed = SignedDuration::try_from(after.saturating_add(LAST_START_BEFORE_EXPIRY)).unwrap_or(SignedDuration::MAX);
    expires_at.duration_since(now) >= needed
}

/// Where chance comes from: numbers in `0.0..1.0`. Tests hand in a constant.
pub type Chance = std::sync::Arc<dyn Fn() -> f64 + Send + Sync>;

/// Chance from the operating system, through the random part of a ULID.
pub fn system_chance() -> Chance {
    std::sync::Arc::new(|| {
        let bits = u32::try_from(ulid::Ulid::generate().random() & u128::from(u32::MAX)).unwrap_or(0);
        f64::from(bits) / (f64::from(u32::MAX) + 1.0)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    #[test]
    fn doubles_up_to_its_longest_step() {
        let delays: Vec<u64> = (1..=9).map(|failures| Policy::EVENTS.delay(failures, 0.0).as_secs()).collect();
        assert_eq!(delays, [2, 4, 8, 16, 32, 64, 120, 120, 120]);
    }

    #[test]
    fn a_delay_becomes_the_first_stage_at_or_above_it() {
        for (delay, stage) in [(0, Stage::S2), (2, Stage::S2), (3, Stage::S10), (31, Stage::S60), (120, Stage::S120), (999, Stage::S120)] {
            assert_eq!(Stage::at_least(seconds(delay)), stage, "{delay} s");
        }
    }

    #[test]
    fn the_wall_stands_fifteen_seconds_before_the_end() {
        assert_eq!(next_stage(seconds(2), at(0), at(17)), Some(Stage::S2));
        assert_eq!(next_stage(seconds(2), at(0), at(16)), None);
        // 16 s wanted, the 30 s stage is too late, the 10 s stage is not.
        assert_eq!(next_stage(seconds(16), at(0), at(40)), Some(Stage::S10));
        assert_eq!(next_stage(seconds(3600), at(0), at(600)), None);
    }

    proptest! {
        #[test]
        fn no_delay_leaves_its_bounds(failures in 0u32..=u32::MAX, chance in 0.0f64..1.0) {
            for policy in [Policy::EVENTS, Policy::CONNECTIONS, Policy::HOLDING, Policy::REFUSED] {
                let delay = policy.delay(failures, chance);
                prop_assert!(delay <= policy.longest);
                prop_assert!(delay >= policy.first.mul_f64(2.0 / 3.0).saturating_sub(Duration::from_nanos(1)));
            }
        }

        #[test]
        fn no_retry_is_scheduled_past_the_wall(wanted in 0u64..100_000, life in -1000i64..2000) {
            if let Some(stage) = next_stage(seconds(wanted), at(0), at(life)) {
                prop_assert!(i64::try_from(stage.delay().as_secs()).expect("small") + 15 <= life);
            }
        }
    }
}
