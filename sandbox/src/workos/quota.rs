//! The quota of an API key: so many requests in any window of so long
//! (<https://workos.com/docs/reference/rate-limits>).

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// The requests that were let through within the window.
pub(super) struct Quota {
    most: usize,
    window: Duration,
    passed: VecDeque<Instant>,
}

impl Quota {
    pub(super) fn new(most: usize, window: Duration) -> Self {
        Self { most, window, passed: VecDeque::new() }
    }

    /// Counts a request; `false` if it is over the quota.
    pub(super) fn take(&mut self) -> bool {
        let now = Instant::now();
        while self.passed.front().is_some_and(|first| now.duration_since(*first) >= self.window) {
            self.passed.pop_front();
        }
        let within = self.passed.len() < self.most;
        if within {
            self.passed.push_back(now);
        }
        within
    }
}
