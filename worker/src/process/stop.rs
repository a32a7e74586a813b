//! Why an attempt mails nothing.

use std::time::Duration;

use domain::{
    claims::{Lease, Sending},
    fault::{Fault, Reason},
};

use crate::{
    mail::render::NotMade,
    outcome::{Outcome, RetryContext},
};

/// Why an event is not mailed by this attempt.
pub(super) enum Stop {
    /// The mail had been sent before.
    Duplicate,
    /// A relay accepted the mail for a newer event of the user.
    Superseded,
    Expired,
    /// Another worker, a newer event or the claim store stands in the way, which is no failure of
    /// this attempt; and how long to wait.
    Later(Fault, Duration),
    Failed(Fault),
}

/// What an attempt ends with that mailed nothing, and what it holds of the claim.
pub(super) struct Stopped {
    pub(super) stop: Stop,
    pub(super) held: Option<Held>,
}

/// A claim that is to be given back.
pub(super) enum Held {
    /// Nothing was sent to a relay.
    Lease(Lease),
    /// The relay received the whole mail and did not answer.
    Unanswered(Sending),
}

impl From<Stop> for Stopped {
    fn from(stop: Stop) -> Self {
        Self { stop, held: None }
    }
}

impl Stop {
    /// Stops with a claim on which nothing was sent.
    pub(super) fn holding(self, lease: Lease) -> Stopped {
        Stopped { stop: self, held: Some(Held::Lease(lease)) }
    }

    pub(super) fn outcome(self, context: RetryContext) -> Outcome {
        match self {
            Self::Duplicate => Outcome::Duplicate,
            Self::Superseded => Outcome::Superseded,
            Self::Expired => Outcome::Expired { after: Reason::None },
            Self::Later(fault, wait) => Outcome::later(fault, wait, context),
            Self::Failed(fault) => Outcome::after(fault, context),
        }
    }
}

impl From<NotMade> for Stop {
    fn from(not_made: NotMade) -> Self {
        match not_made {
            NotMade::Expired => Self::Expired,
            NotMade::Failed(fault) => Self::Failed(fault),
        }
    }
}
