//! The rules for the events of one user: the newest wins, and there are no more than so many. The
//! Lua scripts of the store in Redis apply the same rules.

use std::time::Duration;

use crate::clock::milliseconds;

/// How long an event gives way to a newer one of its user at most: until this much of its code's
/// life is left. If the newer one has not been mailed by then, the older is better than nothing.
pub const GIVES_WAY_UNTIL: Duration = Duration::from_secs(120);

/// How long what is known of a user is kept at least: longer than any code works.
pub const USER_KEPT: Duration = Duration::from_secs(3600);

/// Most events within a period, by the generic cell rate algorithm: so many at once after a quiet
/// time, and later one in each part of the period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    pub most: u32,
    pub period: Duration,
}

impl Limit {
    /// Milliseconds between two events that are evenly spaced.
    pub fn interval(self) -> i64 {
        let interval = milliseconds(self.period) / u64::from(self.most.max(1));
        i64::try_from(interval).unwrap_or(i64::MAX).max(1)
    }

    /// How many there may be in an hour, if they are evenly spaced.
    pub fn per_hour(self) -> i64 {
        3_600_000 / self.interval()
    }

    /// When the next event would be due after one at `now`, if there were no bursts; or how long
    /// the one at `now` has to wait. All in milliseconds.
    pub fn take(self, due: i64, now: i64) -> Result<i64, Duration> {
        let period = i64::try_from(milliseconds(self.period)).unwrap_or(i64::MAX);
        let next = due.max(now).saturating_add(self.interval());
        let over = next.saturating_sub(now).saturating_sub(period);
        match u64::try_from(over) {
            Ok(wait @ 1..) => Err(Duration::from_millis(wait)),
            _ => Ok(next),
        }
    }
}

/// What is known of a user's events. Times in milliseconds since 1970; 0 if there was none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UserEvents {
    /// When the newest event that is known was created.
    pub newest: i64,
    /// When the newest event whose mail a relay accepted was created.
    pub accepted: i64,
    /// When the next event would be due if they were evenly spaced.
    pub due: i64,
}

/// Whether an event of a user may be worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    Admitted(UserEvents),
    /// A relay accepted the mail for a newer one.
    Superseded,
    /// A newer one goes first.
    GivesWay,
    OverLimit,
}

impl UserEvents {
    /// Decides about an event that was created at `created`. With a `limit` it is counted.
    #[must_use]
    pub fn admit(
        mut self,
        created: i64,
        gives_way: bool,
        limit: Option<Limit>,
        now: i64,
    ) -> Admission {
        if self.accepted > created {
            return Admission::Superseded;
        }
        if gives_way && self.newest > created {
            return Admission::GivesWay;
        }
        match limit.map(|limit| limit.take(self.due, now)) {
            Some(Err(_)) => return Admission::OverLimit,
            Some(Ok(due)) => self.due = due,
            None => {}
        }
        Admission::Admitted(self.with_event(created))
    }

    /// There is an event that was created at `created`.
    #[must_use]
    pub fn with_event(self, created: i64) -> Self {
        Self { newest: self.newest.max(created), ..self }
    }

    /// A relay accepted the mail for the event that was created at `created`.
    #[must_use]
    pub fn with_mail(self, created: i64) -> Self {
        Self { accepted: self.accepted.max(created), ..self.with_event(created) }
    }

    /// The event that was created at `created` will not be mailed: no older one gives way to it.
    #[must_use]
    pub fn without_event(self, created: i64) -> Self {
        if self.newest == created { Self { newest: self.accepted, ..self } } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NONE: UserEvents = UserEvents { newest: 0, accepted: 0, due: 0 };

    #[test]
    fn an_older_event_gives_way_and_ends_only_after_a_mail() {
        let known = NONE.with_event(20);
        assert_eq!(known.admit(10, true, None, 0), Admission::GivesWay);
        assert_eq!(known.admit(10, false, None, 0), Admission::Admitted(known));
        assert_eq!(known.admit(20, true, None, 0), Admission::Admitted(known));
        let mailed = known.with_mail(20);
        for gives_way in [true, false] {
            assert_eq!(mailed.admit(10, gives_way, None, 0), Admission::Superseded);
        }
        assert!(matches!(mailed.admit(20, true, None, 0), Admission::Admitted(_)));
        assert_eq!(known.without_event(20), NONE);
        assert_eq!(known.without_event(10), known);
    }

    #[test]
    fn a_limit_allows_a_burst_and_then_its_rate() {
        let limit = Limit { most: 3, period: Duration::from_millis(900) };
        let mut due = 0;
        for _ in 0..3 {
            due = limit.take(due, 1000).expect("a burst");
        }
        assert_eq!(limit.take(due, 1000), Err(Duration::from_millis(300)));
        assert_eq!(limit.take(due, 1299), Err(Duration::from_millis(1)));
        let due = limit.take(due, 1300).expect("its turn");
        assert!(limit.take(due, 1400).is_err() && limit.take(due, 1600).is_ok());
    }

    proptest! {
        #[test]
        fn in_no_period_more_than_twice_the_limit(
            most in 1_u32..20, steps in proptest::collection::vec(0_i64..200, 1..300),
        ) {
            let limit = Limit { most, period: Duration::from_millis(1000) };
            let (mut now, mut due, mut admitted) = (1_i64, 0, Vec::new());
            for step in steps {
                now += step;
                if let Ok(next) = limit.take(due, now) {
                    due = next;
                    admitted.push(now);
                }
            }
            for (index, at) in admitted.iter().enumerate() {
                let within = admitted[index..].iter().filter(|later| **later < at + 1000).count();
                prop_assert!(within <= 2 * usize::try_from(most).expect("small"), "{within}");
            }
        }
    }
}
