//! Unit tests of the parent module.

use proptest::prelude::*;

use super::*;

fn context(attempt: u32, life: i64) -> RetryContext {
    RetryContext {
        attempt,
        now: Timestamp::UNIX_EPOCH,
        expires_at: Timestamp::from_second(life).expect("in range"),
        chance: 0.0,
    }
}

fn transient(seconds: Option<u64>) -> Fault {
    Fault::transient_after(seconds.map(Duration::from_secs), Reason::RelayDeferred, "later")
}

#[test]
fn a_transient_failure_is_retried_as_long_as_the_code_lives() {
    let retried = |outcome: Outcome| match outcome {
        Outcome::Retry { stage, attempt, .. } => (stage, attempt),
        other => panic!("{other:?}"),
    };
    assert_eq!(retried(Outcome::after(transient(None), context(1, 600))), (Stage::S2, 2));
    assert_eq!(retried(Outcome::after(transient(None), context(4, 600))), (Stage::S30, 5));
    assert_eq!(retried(Outcome::after(transient(Some(45)), context(1, 600))), (Stage::S60, 2));
    assert_eq!(
        Outcome::after(transient(None), context(1, 16)),
        Outcome::Expired { after: Reason::RelayDeferred }
    );
    assert_eq!(
        Outcome::after(transient(Some(60)), context(1, 70)),
        Outcome::Expired { after: Reason::RelayDeferred }
    );
}

#[test]
fn a_doubtful_answer_gets_one_more_try() {
    let fault = Fault::doubtful(Reason::WorkosBadAnswer, "HTML");
    assert!(matches!(
        Outcome::after(fault.clone(), context(1, 600)),
        Outcome::Retry { attempt: 2, .. }
    ));
    assert_eq!(Outcome::after(fault.clone(), context(2, 600)), Outcome::Dead { fault });
}

#[test]
fn a_refused_configuration_costs_no_attempt() {
    let fault = Fault::misconfigured(Reason::WorkosUnauthorized, "401");
    let outcome = Outcome::after(fault, context(7, 600));
    assert!(
        matches!(outcome, Outcome::Retry { attempt: 7, stage: Stage::S2, .. })
            && outcome.is_misconfiguration()
    );
}

#[test]
fn what_is_final_is_buried_with_its_reason() {
    let outcome = Outcome::after(Fault::permanent(Reason::NotFound, "gone"), context(1, 600));
    assert_eq!(
        outcome.verdict(),
        Verdict::DeadLetter { reason: Reason::NotFound, detail: "gone".into() }
    );
}

proptest! {
    #[test]
    fn no_failure_leads_past_the_wall(
        attempt in 1u32..50,
        life in -10i64..900,
        chance in 0.0f64..1.0,
        wish in proptest::option::of(0u64..120),
    ) {
        let outcome = Outcome::after(transient(wish), RetryContext { chance, ..context(attempt, life) });
        if let Outcome::Retry { stage, .. } = outcome {
            prop_assert!(i64::try_from(stage.delay().as_secs()).expect("small") <= life - 15);
        }
    }
}
