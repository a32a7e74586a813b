//! Unit tests of the parent module.

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
    let delays: Vec<u64> =
        (1..=9).map(|failures| Policy::EVENTS.delay(failures, 0.0).as_secs()).collect();
    assert_eq!(delays, [2, 4, 8, 16, 32, 64, 120, 120, 120]);
}

#[test]
fn a_delay_becomes_the_first_stage_at_or_above_it() {
    for (delay, stage) in [
        (0, Stage::S2),
        (2, Stage::S2),
        (3, Stage::S10),
        (31, Stage::S60),
        (120, Stage::S120),
        (999, Stage::S120),
    ] {
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
