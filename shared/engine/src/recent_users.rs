//! How many events of each user were claimed lately. Kept in memory: one process uses the file, and
//! a restart may count anew.

use std::collections::{HashMap, VecDeque};

use domain::{claims::UserLimit, clock::milliseconds_before, ids::UserId};

/// Most users that are remembered. WorkOS's limit of 100 reads a second allows 60,000 codes in ten
/// minutes.
const MOST_USERS: usize = 100_000;

/// When the last events of each user were claimed, in milliseconds, the oldest first.
pub(crate) struct RecentUsers {
    limit: UserLimit,
    claimed: HashMap<UserId, VecDeque<i64>>,
    /// Number of users at which the next search for old ones takes place.
    search_at: usize,
}

impl RecentUsers {
    pub(crate) fn new(limit: UserLimit) -> Self {
        Self { limit, claimed: HashMap::new(), search_at: 1024 }
    }

    /// Counts an event of this user. `false`, and not counted, when the user is at the limit.
    pub(crate) fn admit(&mut self, user: UserId, now: i64) -> bool {
        let since = milliseconds_before(now, self.limit.period);
        self.forget_old(since);
        let claimed = self.claimed.entry(user).or_default();
        while claimed.front().is_some_and(|at| *at <= since) {
            claimed.pop_front();
        }
        let admitted = claimed.len() < usize::try_from(self.limit.most).unwrap_or(usize::MAX);
        if admitted {
            claimed.push_back(now);
        }
        admitted
    }

    fn forget_old(&mut self, since: i64) {
        if self.claimed.len() < self.search_at {
            return;
        }
        self.claimed.retain(|_, claimed| claimed.back().is_some_and(|at| *at > since));
        if self.claimed.len() >= MOST_USERS {
            self.claimed.clear();
        }
        // Each search is paid for by as many new users as it looks at.
        self.search_at = (2 * self.claimed.len()).clamp(1024, MOST_USERS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn user(n: usize) -> UserId {
        UserId::parse(format!("user_{n}")).expect("valid")
    }

    #[test]
    fn as_many_as_the_limit_in_any_period() {
        let mut users = RecentUsers::new(UserLimit { most: 2, period: Duration::from_millis(100) });
        let times = [(0, true), (10, true), (20, false), (99, false), (100, true), (105, false)];
        for (now, admitted) in times {
            assert_eq!(users.admit(user(1), now), admitted, "{now}");
        }
        assert!(users.admit(user(2), 105), "another user");
        assert!(users.admit(user(1), 110), "the second of the first two is old");
    }

    #[test]
    fn users_of_long_ago_are_forgotten() {
        let mut users = RecentUsers::new(UserLimit { most: 1, period: Duration::from_millis(100) });
        for n in 0..10_000 {
            assert!(users.admit(user(n), i64::try_from(n).expect("small")));
        }
        assert!(users.claimed.len() <= 1024, "{}", users.claimed.len());
        for n in 0..300_000 {
            users.admit(user(n), 20_000);
        }
        assert!(users.claimed.len() <= MOST_USERS);
    }
}
