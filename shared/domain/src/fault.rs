//! What went wrong at a dependency, in the only terms the rest of the code needs: what to do about
//! it.
//!
//! An adapter turns its library's errors into a [`Fault`] in one table-tested function. Nothing
//! downstream looks at a library's error again, and nothing downstream decides whether a failure
//! may be retried.

use std::{borrow::Cow, fmt, time::Duration};

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Try again later, as long as the code lives. `retry_after` is what the dependency asked for.
    Transient {
        /// The dependency's own wish, already capped by the adapter.
        retry_after: Option<Duration>,
    },
    /// An answer that cannot be understood: worth one more attempt, then a dead letter.
    Doubtful,
    /// No further attempt can succeed.
    Permanent,
    /// Our own configuration is refused (a key, a password). Every event would fail alike: stop
    /// taking them, use up no attempt, and tell the operator.
    Misconfigured,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $label:literal,)*) => {
        /// Why an event was retried, expired or dead-lettered. A closed set: these are metric
        /// labels and dead-letter reasons.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[$doc])* $variant,)* }

        impl Reason {
            /// Every reason, so that each metric series exists from the start.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The label in metrics, logs and dead letters.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }

            /// The reason with this label.
            pub fn from_label(label: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|reason| reason.label() == label)
            }
        }
    };
}

reasons! {
    /// No reason: nothing went wrong.
    None = "none",
    /// The queued message is not one this version can read.
    Undecodable = "undecodable",
    /// WorkOS has no such code (used already, or a dashboard test event).
    NotFound = "not_found",
    /// WorkOS answered something that is not a login code.
    WorkosBadAnswer = "workos_bad_answer",
    /// WorkOS could not be reached or answered 5xx.
    WorkosUnavailable = "workos_unavailable",
    /// WorkOS asked us to slow down.
    WorkosRateLimited = "workos_rate_limited",
    /// WorkOS refused our API key.
    WorkosUnauthorized = "workos_unauthorized",
    /// No mail can be sent to this address.
    UnsupportedAddress = "unsupported_address",
    /// The mail could not be rendered.
    RenderFailed = "render_failed",
    /// The relay could not be reached, hung up, or stalled before it had the mail.
    RelayUnavailable = "relay_unavailable",
    /// The relay answered with a 4xx.
    RelayDeferred = "relay_deferred",
    /// The relay refused our credentials or our TLS.
    RelayRefusedUs = "relay_refused_us",
    /// The relay refused the recipient for good.
    RecipientRefused = "recipient_refused",
    /// The relay refused the mail for good.
    MailRefused = "mail_refused",
    /// The relay received the whole mail and did not answer: it may or may not deliver it.
    Ambiguous = "ambiguous",
    /// The user has as many mails as `AUTHPOST_PERSON_LIMIT` allows.
    PersonLimit = "person_limit",
    /// All users together have as many mails as `AUTHPOST_MAIL_LIMIT` allows.
    MailLimit = "mail_limit",
    /// A newer code of the same user goes first.
    GivesWay = "gives_way",
    /// The dedupe store did not answer.
    DedupeUnavailable = "dedupe_unavailable",
    /// Another worker holds the claim.
    Claimed = "claimed",
    /// The queue did not take or give a message.
    QueueUnavailable = "queue_unavailable",
    /// The queue is at its configured length.
    QueueFull = "queue_full",
    /// The broker blocks publishing (memory or disk alarm).
    QueueBlocked = "queue_blocked",
    /// Handling the event panicked: a bug, kept with its event.
    Panicked = "panicked",
}

impl Reason {
    /// The reasons for which a mail goes on to the next relay.
    pub const OF_RELAYS: &[Self] = &[
        Self::RelayUnavailable,
        Self::RelayDeferred,
        Self::RelayRefusedUs,
        Self::RecipientRefused,
        Self::MailRefused,
        Self::UnsupportedAddress,
    ];
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// A failure with its verdict. `detail` is for a person and holds no address, code, secret or text
/// of a remote party.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Fault {
    /// What to do about it.
    pub severity: Severity,
    /// Which of the known ways to fail this is.
    pub reason: Reason,
    /// One clause for a log line or a dead letter.
    pub detail: Cow<'static, str>,
}

impl Fault {
    /// A failure that is worth trying again.
    pub fn transient(reason: Reason, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { severity: Severity::Transient { retry_after: None }, reason, detail: detail.into() }
    }

    /// Worth trying again, not before `retry_after`.
    pub fn transient_after(
        retry_after: Option<Duration>,
        reason: Reason,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { severity: Severity::Transient { retry_after }, reason, detail: detail.into() }
    }

    /// Worth exactly one more try.
    pub fn doubtful(reason: Reason, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { severity: Severity::Doubtful, reason, detail: detail.into() }
    }

    /// A failure that no further attempt can change.
    pub fn permanent(reason: Reason, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { severity: Severity::Permanent, reason, detail: detail.into() }
    }

    /// A failure of our own configuration, for the operator to fix.
    pub fn misconfigured(reason: Reason, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { severity: Severity::Misconfigured, reason, detail: detail.into() }
    }
}
