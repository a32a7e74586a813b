//! The gate that every call to WorkOS passes which a stranger can cause.
//!
//! Such a call costs a part of the quota that codes are read with, a descriptor and memory. So
//! there are at most so many a second and at once, whoever asks, and a token that WorkOS refused is
//! not sent there again for a while. A call ends when its client hangs up: nobody could be given
//! what it brings.

use std::{
    collections::{HashSet, VecDeque},
    hash::{BuildHasher as _, RandomState},
    num::NonZeroU32,
    time::Duration,
};

use domain::fault::{Fault, Reason};
use parking_lot::Mutex;
use runtime::clock::wait_until;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout},
};

/// Most calls at once; each has a descriptor.
pub const MOST_CALLS: usize = 64;

/// Calls that may begin at once after a quiet time.
const BURST: u32 = 20;

/// Longest wait for a turn: a person is waiting.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// How long a refused token is remembered, and most of them.
const REMEMBERED: Duration = Duration::from_mins(1);
const MOST_REMEMBERED: usize = 10_000;

/// Lets calls to WorkOS begin.
pub(super) struct Gate {
    interval: Duration,
    /// When the next call would be due if they were evenly spaced.
    due: Mutex<Instant>,
    calls: Semaphore,
    refused: Mutex<Refused>,
    hasher: RandomState,
}

#[derive(Default)]
struct Refused {
    tokens: HashSet<u64>,
    order: VecDeque<(Instant, u64)>,
}

/// A call may be made while this is held.
pub(super) struct Pass<'a>(
    #[expect(dead_code, reason = "held until the call ends")] SemaphorePermit<'a>,
);

impl Gate {
    /// At most so many calls `a_second` in the long run.
    pub(super) fn new(a_second: NonZeroU32) -> Self {
        Self {
            interval: Duration::from_secs(1) / a_second.get(),
            due: Mutex::new(Instant::now()),
            calls: Semaphore::new(MOST_CALLS),
            refused: Mutex::default(),
            hasher: RandomState::new(),
        }
    }

    /// Waits for a turn for so many calls, one after the other.
    pub(super) async fn enter(&self, calls: u32) -> Result<Pass<'_>, Fault> {
        let place = timeout(LONGEST_WAIT, self.calls.acquire()).await;
        let Ok(Ok(place)) = place else { return Err(busy(LONGEST_WAIT)) };
        let turn = self.turn(calls)?;
        wait_until(turn).await;
        Ok(Pass(place))
    }

    fn turn(&self, calls: u32) -> Result<Instant, Fault> {
        let now = Instant::now();
        let mut next = self.due.lock();
        let due = (*next).max(now);
        let turn = due.checked_sub(self.interval * BURST).unwrap_or(now).max(now);
        if turn.duration_since(now) > LONGEST_WAIT {
            return Err(busy(turn.duration_since(now)));
        }
        *next = due + self.interval * calls;
        Ok(turn)
    }

    /// Whether WorkOS refused this token a moment ago.
    pub(super) fn was_refused(&self, token: &SecretString) -> bool {
        let mut refused = self.refused.lock();
        let now = Instant::now();
        while let Some((at, oldest)) = refused.order.front().copied() {
            if now.duration_since(at) < REMEMBERED && refused.order.len() <= MOST_REMEMBERED {
                break;
            }
            refused.order.pop_front();
            refused.tokens.remove(&oldest);
        }
        refused.tokens.contains(&self.hasher.hash_one(token.expose_secret()))
    }

    /// Remembers that WorkOS refused this token.
    pub(super) fn remember_refused(&self, token: &SecretString) {
        let hash = self.hasher.hash_one(token.expose_secret());
        let mut refused = self.refused.lock();
        if refused.tokens.insert(hash) {
            refused.order.push_back((Instant::now(), hash));
        }
    }
}

fn busy(wait: Duration) -> Fault {
    Fault::transient_after(
        Some(wait),
        Reason::WorkosRateLimited,
        "the rate limit for sign-ins leaves no turn in time",
    )
}

#[cfg(test)]
mod tests;
