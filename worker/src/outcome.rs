//! The outcomes of a delivery, and what each means for the queue and the metrics.

use std::time::Duration;

use domain::{
    claims::{GivenBack, Next},
    fault::{Fault, Reason, Severity},
    queue::Verdict,
    retry::{self, Policy, Stage},
};
use jiff::{SignedDuration, Timestamp};
use runtime::metrics::labels::Ending;

use crate::mail::Accepted;

/// How one delivery ended. All but `Retry` are final.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "an outcome is settled, counted and logged"]
pub enum Outcome {
    /// The relay accepted the mail.
    Sent(Accepted),
    Duplicate,
    /// A relay accepted the mail for a newer code of the same user.
    Superseded,
    /// The code expired, or would before another attempt could help. `after` is the last failure.
    Expired {
        /// Reason of the last failure, or `Reason::None`.
        after: Reason,
    },
    Retry {
        /// Delay before the next attempt.
        stage: Stage,
        /// Number of the next attempt.
        attempt: u32,
        /// The failure that caused this.
        fault: Fault,
    },
    /// It is kept as a dead letter.
    Dead {
        /// The failure that caused this.
        fault: Fault,
    },
}

/// What decides whether and when a failed event is retried.
#[derive(Debug, Clone, Copy)]
pub struct RetryContext {
    /// Number of the failed attempt, from 1.
    pub attempt: u32,
    /// The current time by WorkOS's clock.
    pub now: Timestamp,
    pub expires_at: Timestamp,
    /// Jitter, from 0.0 to below 1.0.
    pub chance: f64,
}

impl Outcome {
    /// The outcome of a failure.
    pub fn after(fault: Fault, context: RetryContext) -> Self {
        let RetryContext { attempt, chance, .. } = context;
        match fault.severity {
            Severity::Permanent => Self::Dead { fault },
            Severity::Doubtful if attempt > 1 => Self::Dead { fault },
            // Our configuration is wrong, not the event: no attempt is counted.
            Severity::Misconfigured => Self::retry(fault, Duration::ZERO, attempt, context),
            Severity::Doubtful => Self::retry(
                fault,
                Policy::EVENTS.delay(attempt, chance),
                attempt.saturating_add(1),
                context,
            ),
            Severity::Transient { retry_after } => {
                let wanted =
                    Policy::EVENTS.delay(attempt, chance).max(retry_after.unwrap_or_default());
                Self::retry(fault, wanted, attempt.saturating_add(1), context)
            }
        }
    }

    /// The outcome of an attempt that does not count: another worker holds the claim or must do the
    /// work, or this process is stopping.
    pub fn later(fault: Fault, wanted: Duration, context: RetryContext) -> Self {
        Self::retry(fault, wanted, context.attempt, context)
    }

    fn retry(fault: Fault, wanted: Duration, attempt: u32, context: RetryContext) -> Self {
        match retry::next_stage(wanted, context.now, context.expires_at) {
            Some(stage) => Self::Retry { stage, attempt, fault },
            None => Self::Expired { after: fault.reason },
        }
    }

    /// What the queue must do with the message.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Sent(_) | Self::Duplicate | Self::Superseded | Self::Expired { .. } => {
                Verdict::Done
            }
            Self::Retry { stage, attempt, fault } => {
                Verdict::Retry { stage: *stage, attempt: *attempt, reason: fault.reason }
            }
            Self::Dead { fault } => {
                Verdict::DeadLetter { reason: fault.reason, detail: fault.detail.clone() }
            }
        }
    }

    /// What the record of the event says after an attempt that mailed nothing. `None` if the record
    /// says it already.
    pub fn given_back(&self, now: Timestamp) -> Option<GivenBack> {
        match self {
            Self::Sent(_) | Self::Duplicate | Self::Superseded => None,
            Self::Expired { after } => Some(GivenBack::new(Next::Expired, *after, "")),
            Self::Retry { stage, fault, .. } => {
                let delay = SignedDuration::try_from(stage.delay()).unwrap_or_default();
                let next = Next::Retry(now.saturating_add(delay).unwrap_or(now));
                Some(GivenBack::new(next, fault.reason, &fault.detail))
            }
            Self::Dead { fault } => {
                Some(GivenBack::new(Next::DeadLetter, fault.reason, &fault.detail))
            }
        }
    }

    /// The labels of the metric.
    pub fn labels(&self) -> (Ending, Reason) {
        match self {
            Self::Sent(_) => (Ending::Sent, Reason::None),
            Self::Duplicate => (Ending::Duplicate, Reason::None),
            Self::Superseded => (Ending::Superseded, Reason::None),
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
mod tests;
