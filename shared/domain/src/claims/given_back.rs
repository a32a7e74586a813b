//! What a claim is given back with: what follows, and why nothing was mailed.

use jiff::Timestamp;

use crate::fault::Reason;

/// Longest reason in a record, in bytes. Redis keeps hashes with longer values in several times the
/// memory.
const REASON_BYTES: usize = 60;

/// What happens to an event whose claim is given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenBack {
    pub next: Next,
    /// Why: the label of a [`Reason`], and perhaps more. At most 60 bytes.
    pub failure: String,
}

/// What follows after an attempt that mailed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Another attempt, at this time.
    Retry(Timestamp),
    /// Nothing: the code has expired, or will have before the next attempt.
    Expired,
    DeadLetter,
}

impl Next {
    /// The word for it in a store.
    pub fn state(self) -> &'static str {
        match self {
            Self::Retry(_) => "free",
            Self::Expired => "expired",
            Self::DeadLetter => "dead",
        }
    }

    /// When the next attempt is due.
    pub fn retry_at(self) -> Option<Timestamp> {
        match self {
            Self::Retry(at) => Some(at),
            Self::Expired | Self::DeadLetter => None,
        }
    }
}

impl GivenBack {
    /// Names the reason, and as much of the detail as fits.
    pub fn new(next: Next, reason: Reason, detail: &str) -> Self {
        let mut failure = match (reason, detail) {
            (Reason::None, _) => String::new(),
            (reason, "") => reason.label().to_owned(),
            (reason, detail) => format!("{}: {detail}", reason.label()),
        };
        failure.truncate(failure.floor_char_boundary(REASON_BYTES));
        Self { next, failure }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_cut_between_two_characters() {
        let given_back =
            |detail: &str| GivenBack::new(Next::Expired, Reason::RelayDeferred, detail).failure;
        assert_eq!(given_back(""), "relay_deferred");
        assert_eq!(given_back("451 4.7.1 later"), "relay_deferred: 451 4.7.1 later");
        let long = given_back(&"ä".repeat(40));
        assert!(long.len() <= REASON_BYTES && long.ends_with('ä'), "{long}");
        assert_eq!(GivenBack::new(Next::Expired, Reason::None, "x").failure, "");
    }
}
