//! The ways a delivery can end, and what follows from each: for the queue, for the metrics, for the log.

use std::time::Duration;

use jiff::Timestamp;
use shared::{
    fault::{Fault, Reason, Severity},
    metrics::labels::Ending,
    queue::Verdict,
    retry::{self, Policy, Stage},
};

/// How one delivery ended. Every delivery ends in exactly one of these; all but `Retry` are final.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "an outcome is settled, counted and logged"]
pub enum Outcome {
    /// The relay has the mail.
    Sent {
        /// The relay's queue id, as far as it is one.
        receipt: String,
    },
    /// Mailed before.
    Duplicate,
    /// The code died, or would have before another attempt could help. `after` is what stood in the way.
    Expired {
        /// The last failure, or `Reason::None`.
        after: Reason,
    },
    /// Another attempt follows.
    Retry {
        /// After this rest.
        stage: Stage,
        /// Under this number.
        attempt: u32,
        /// Because of this.
        fault: Fault,
    },
    /// Kept as a dead letter.
    Dead {
        /// Because of this.
        fault: Fault,
    },
}

/// What an outcome is decided from.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances {
    /// Which attempt this was, from 1.
    pub attempt: u32,
    /// Now.
    pub now: Timestamp,
    /// The code's end.
    pub expires_at: Timestamp,
    /// Jitter, in `0.0..1.0`.
    pub chance: f64,
}

impl Outcome {
    /// What a failure leads to.
    pub fn after(fault: Fault, circumstances: Circumstances) -> Self {
        let Circumstances { attempt, chance, .. } = circumstances;
        match fault.severity {
            Severity::Permanent => Self::Dead { fault },
            Severity::Doubtful if attempt > 1 => Self::Dead { fault },
            // Ours to mend: the event is not at fault, so no attempt is counted.
            Severity::Misconfigured => Self::retry(fault, Duration::ZERO, attempt, circumstances),
            Severity::Doubtful => Self::retry(fault, Policy::EVENTS.delay(attempt, chance), attempt.saturating_add(1), circumstances),
            Severity::Transient { retry_after } => {
                let wanted = Policy::EVENTS.delay(attempt, chance).max(retry_after.unwrap_or_default());
                Self::retry(fault, wanted, attempt.saturating_add(1), circumstances)
            }
        }
    }

    /// Another look later, without an attempt being counted: somebody else has the claim, or must do the work, or we are stopping.
    pub fn later(fault: Fault, wanted: Duration, circumstances: Circumstances) -> Self {
        Self::retry(fault, wanted, circumstances.attempt, circumstances)
    }

    fn retry(fault: Fault, wanted: Duration, attempt: u32, circumstances: Circumstances) -> Self {
        match retry::next_stage(wanted, circumstances.now, circumstances.expires_at) {
            Some(stage) => Self::Retry { stage, attempt, fault },
            None => Self::Expired { after: fault.reason },
        }
    }

    /// What the queue must do.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Sent { .. } | Self::Duplicate | Self::Expired { .. } => Verdict::Done,
            Self::Retry { stage, attempt, fault } => Verdict::Retry { stage: *stage, attempt: *attempt, reason: fault.reason },
            Self::Dead { fault } => Verdict::Bury { reason: fault.reason, detail: fault.detail.clone() },
        }
    }

    /// The metric's two labels.
    pub fn labels(&self) -> (Ending, Reason) {
        match self {
            Self::Sent { .. } => (Ending::Sent, Reason::None),
            Self::Duplicate => (Ending::Duplicate, Reason::None),
            Self::Expired { after } => (Ending::Expired, *after),
            Self::Retry { fault, .. } => (Ending::Retry, fault.reason),
            Self::Dead { fault } => (Ending::Dead, fault.reason),
        }
    }

    /// Whether our own configuration was refused.
    pub fn is_misconfiguration(&self) -> bool {
        matches!(self, Self::Retry { fault, .. } if fault.severity == Severity::Misconfigured)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn circumstances(attempt: u32, life: i64) -> Circumstances {
        Circumstances { attempt, now: Timestamp::UNIX_EPOCH, expires_at: Timestamp::from_second(life).expect("in range"), chance: 0.0 }
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
        assert_eq!(retried(Outcome::after(transient(None), circumstances(1, 600))), (Stage::S2, 2));
        assert_eq!(retried(Outcome::after(transient(None), circumstances(4, 600))), (Stage::S30, 5));
        assert_eq!(retried(Outcome::after(transient(Some(45)), circumstances(1, 600))), (Stage::S60, 2));
        assert_eq!(Outcome::after(transient(None), circumstances(1, 16)), Outcome::Expired { after: Reason::RelayDeferred });
        assert_eq!(Outcome::after(transient(Some(60)), circumstances(1, 70)), Outcome::Expired { after: Reason::RelayDeferred });
    }

    #[test]
    fn a_doubtful_answer_gets_one_more_try() {
        let fault = Fault::doubtful(Reason::WorkosBadAnswer, "HTML");
        assert!(matches!(Outcome::after(fault.clone(), circumstances(1, 600)), Outcome::Retry { attempt: 2, .. }));
        assert_eq!(Outcome::after(fault.clone(), circumstances(2, 600)), Outcome::Dead { fault });
    }

    #[test]
    fn a_refused_configuration_costs_no_attempt() {
        let fault = Fault::misconfigured(Reason::WorkosUnauthorized, "401");
        let outcome = Outcome::after(fault, circumstances(7, 600));
        assert!(matches!(outcome, Outcome::Retry { attempt: 7, stage: Stage::S2, .. }) && outcome.is_misconfiguration());
    }

    #[test]
    fn what_is_final_is_buried_with_its_reason() {
        let outcome = Outcome::after(Fault::permanent(Reason::NotFound, "gone"), circumstances(1, 600));
        assert_eq!(outcome.verdict(), Verdict::Bury { reason: Reason::NotFound, detail: "gone".into() });
    }

    proptest! {
        #[test]
        fn no_failure_leads_past_the_wall(attempt in 1u32..50, life in -10i64..900, chance in 0.0f64..1.0, wish in proptest::option::of(0u64..120)) {
            let outcome = Outcome::after(transient(wish), Circumstances { chance, ..circumstances(attempt, life) });
            if let Outcome::Retry { stage, .. } = outcome {
                prop_assert!(i64::try_from(stage.delay().as_secs()).expect("small") <= life - 15);
            }
        }
    }
}
