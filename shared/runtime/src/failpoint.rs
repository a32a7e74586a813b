//! Places where a test can abort this process as if by `kill -9`: nothing is unwound, flushed or
//! closed.
//!
//! Only in test builds: the dev-dependencies of the root package enable the feature `failpoints`,
//! and nothing else does. Without it [`reach`] is empty. `AUTHPOST_FAILPOINT=after_claim` aborts at
//! the first pass, `after_claim:5` at the fifth.

/// A place in the journey of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The event is stored; its sender has no answer yet.
    AfterStore,
    /// The event is claimed; the code is not fetched yet.
    AfterClaim,
    /// The code is fetched; `sending` is not recorded yet.
    AfterFetch,
    /// `sending` is recorded; the relay is not contacted yet.
    BeforeMail,
    /// The relay accepted the mail; nothing is recorded yet.
    AfterRelay,
    /// The mail is recorded; the event is not settled yet.
    AfterRecord,
    /// The copy of a retry or dead letter is confirmed; the original is not acknowledged yet.
    AfterCopy,
}

impl Point {
    /// The name, as given in `AUTHPOST_FAILPOINT`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AfterStore => "after_store",
            Self::AfterClaim => "after_claim",
            Self::AfterFetch => "after_fetch",
            Self::BeforeMail => "before_mail",
            Self::AfterRelay => "after_relay",
            Self::AfterRecord => "after_record",
            Self::AfterCopy => "after_copy",
        }
    }
}

/// Aborts here if a test asked for it.
#[cfg(feature = "failpoints")]
#[expect(clippy::disallowed_methods, reason = "not configuration: a test instructs its own child")]
pub fn reach(point: Point) {
    use std::sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    };

    static ARMED: OnceLock<Option<(String, AtomicU32)>> = OnceLock::new();
    let armed = ARMED.get_or_init(|| {
        let order = std::env::var("AUTHPOST_FAILPOINT").ok()?;
        let (name, passes) = order.split_once(':').unwrap_or((&order, "1"));
        Some((name.to_owned(), AtomicU32::new(passes.parse().ok()?)))
    });
    if let Some((name, passes)) = armed
        && name == point.name()
        && passes.fetch_sub(1, Ordering::Relaxed) == 1
    {
        std::process::abort();
    }
}

/// Does nothing outside test builds.
#[cfg(not(feature = "failpoints"))]
pub fn reach(_: Point) {}
