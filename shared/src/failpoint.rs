//! Places where a test can make this process die as if by `kill -9`: nothing is unwound, flushed or said goodbye to.
//!
//! Only in test builds: the feature `failpoints` is asked for by the root package's dev-dependencies and by nothing
//! else. Without it [`reach`] is empty. `AUTHPOST_FAILPOINT=after_claim` dies at the first pass, `after_claim:5` at the
//! fifth.

/// Where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The event is stored, the sender not answered.
    AfterStore,
    /// The claim is made, nothing fetched.
    AfterClaim,
    /// The code is fetched, nothing announced.
    AfterFetch,
    /// The sending is announced, nothing said to the relay.
    BeforeMail,
    /// The relay has accepted the mail, nothing recorded.
    AfterRelay,
    /// The sending is recorded, the queue not told.
    AfterRecord,
    /// The copy of a retry or dead letter is confirmed, the original not acknowledged.
    AfterCopy,
}

/// Every point, in the order in which an event passes them.
pub const POINTS: [Point; 7] =
    [Point::AfterStore, Point::AfterClaim, Point::AfterFetch, Point::BeforeMail, Point::AfterRelay, Point::AfterRecord, Point::AfterCopy];

impl Point {
    /// The name in `AUTHPOST_FAILPOINT`.
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

/// Dies here if a test said so.
#[cfg(feature = "failpoints")]
#[expect(clippy::disallowed_methods, reason = "no configuration: a test's order to its own child")]
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

/// Nothing: this is no test build.
#[cfg(not(feature = "failpoints"))]
pub fn reach(_: Point) {}
