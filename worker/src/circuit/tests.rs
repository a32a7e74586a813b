//! Unit tests of the parent module.

use proptest::prelude::*;

use super::*;

fn circuit() -> Circuit {
    Circuit::new(Pauses { down: Policy::REFUSED, misconfigured: Policy::RELAY_MISCONFIGURED })
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn three_failures_in_a_row_open_it_and_tests_close_it() {
    let (mut circuit, mut now) = (circuit(), Instant::now());
    for _ in 0..2 {
        assert_eq!(circuit.failed(now, 0.0), None);
    }
    assert!(!circuit.succeeded(now), "it was closed");
    for _ in 0..2 {
        assert_eq!(circuit.failed(now, 0.0), None);
    }
    for pause in [2, 4, 8, 16, 30, 30] {
        assert_eq!(circuit.failed(now, 0.0), Some(SECOND * pause));
        assert_eq!(circuit.failed(now, 0.0), None, "one that was in progress");
        assert_eq!(circuit.phase(now), Phase::Open(Cause::Down));
        assert!(!circuit.begin_test(now));
        now += SECOND * pause;
        assert_eq!(circuit.phase(now), Phase::HalfOpen(Cause::Down));
        assert!(circuit.begin_test(now) && !circuit.begin_test(now), "one test at a time");
        assert_eq!(circuit.phase(now), Phase::Open(Cause::Down));
    }
    assert!(circuit.succeeded(now));
    assert_eq!(circuit.phase(now), Phase::Closed);
}

#[test]
fn half_of_eight_failures_within_half_a_minute_open_it() {
    let (mut circuit, now) = (circuit(), Instant::now());
    for _ in 0..3 {
        assert_eq!(circuit.failed(now, 0.0), None);
        circuit.succeeded(now);
    }
    circuit.succeeded(now);
    assert_eq!(circuit.failed(now, 0.0), Some(SECOND * 2), "four of eight");

    let mut circuit = self::circuit();
    for second in 0..100 {
        let now = now + SECOND * second * 5;
        assert_eq!(circuit.failed(now, 0.0), None, "six within half a minute");
        circuit.succeeded(now + SECOND);
        circuit.succeeded(now + SECOND * 2);
    }
}

#[test]
fn a_refused_configuration_opens_it_at_once_and_only_a_success_closes_it() {
    let (mut circuit, now) = (circuit(), Instant::now());
    assert_eq!(circuit.refused(now, 0.0), Some(SECOND * 30));
    assert!(!circuit.answered(now));
    assert_eq!(circuit.phase(now), Phase::Open(Cause::Misconfigured));
    let later = now + SECOND * 30;
    assert!(circuit.begin_test(later) && !circuit.answered(later));
    assert_eq!(circuit.phase(later), Phase::HalfOpen(Cause::Misconfigured), "the next one tests");
    assert!(circuit.begin_test(later));
    assert_eq!(circuit.refused(later, 0.0), Some(SECOND * 60));
    circuit.try_again(later);
    assert_eq!(circuit.phase(later), Phase::HalfOpen(Cause::Misconfigured));
    assert!(circuit.succeeded(later));
}

#[test]
fn a_cancelled_test_does_not_leave_it_open() {
    let (mut circuit, now) = (circuit(), Instant::now());
    circuit.refused(now, 0.0);
    let later = now + SECOND * 30;
    assert!(circuit.begin_test(later) && circuit.begin_test(later + LONGEST_TEST));
}

proptest! {
    /// Whatever happens, it remembers little, and half a minute after the last test it is not open.
    #[test]
    fn it_is_bounded(steps in prop::collection::vec((0..5_u8, 0..40_u64), 0..400)) {
        let (mut circuit, mut now) = (circuit(), Instant::now());
        for (step, seconds) in steps {
            now += Duration::from_secs(seconds);
            match step {
                0 => drop(circuit.failed(now, 0.5)),
                1 => drop(circuit.refused(now, 0.5)),
                2 => drop(circuit.succeeded(now)),
                3 => drop(circuit.answered(now)),
                _ => drop(circuit.begin_test(now)),
            }
            prop_assert!(circuit.results.len() <= MOST_RESULTS);
            let longest = Policy::RELAY_MISCONFIGURED.longest.max(LONGEST_TEST);
            prop_assert!(!matches!(circuit.phase(now + longest), Phase::Open(_)));
        }
    }
}
