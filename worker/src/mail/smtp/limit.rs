//! How many connections the relay takes at once: as configured, and fewer once it turned some away.
//!
//! What finds no room waits for a connection that becomes free, which takes milliseconds; charged
//! to the event, it would take a retry.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

/// So long after the relay last turned a connection away, one more is tried.
const GROW_AFTER: Duration = Duration::from_secs(30);

/// Limits the connections in use.
pub(super) struct ConnectionLimit {
    permits: Arc<Semaphore>,
    most: usize,
    state: Mutex<State>,
}

struct State {
    limit: usize,
    /// Permits that are not handed out again when they come back.
    surplus: usize,
    changed: Option<Instant>,
}

/// The right to use one connection.
pub(super) struct Permit {
    permit: Option<OwnedSemaphorePermit>,
    limit: Arc<ConnectionLimit>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.limit.state.lock();
        if let Some(permit) = self.permit.take()
            && state.surplus > 0
        {
            state.surplus -= 1;
            permit.forget();
        }
    }
}

impl ConnectionLimit {
    /// A limit of `most` connections, until the relay turns some away.
    pub(super) fn new(most: usize) -> Arc<Self> {
        let most = most.clamp(1, Semaphore::MAX_PERMITS);
        let state = Mutex::new(State { limit: most, surplus: 0, changed: None });
        Arc::new(Self { permits: Arc::new(Semaphore::new(most)), most, state })
    }

    /// Waits until a connection may be used.
    pub(super) async fn permit(self: &Arc<Self>) -> Permit {
        self.grow();
        // Fails only if the semaphore is closed, which it never is.
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        Permit { permit, limit: Arc::clone(self) }
    }

    /// Whether the next one that asks has to wait.
    pub(super) fn is_exhausted(&self) -> bool {
        self.permits.available_permits() == 0
    }

    /// The limit at the moment.
    pub(super) fn current(&self) -> usize {
        self.state.lock().limit
    }

    /// The relay turned a connection away while it had, or was about to have, `others` of ours.
    pub(super) fn turned_away(&self, others: usize) {
        let mut state = self.state.lock();
        state.changed = Some(Instant::now());
        while state.limit > others.max(1) {
            state.limit -= 1;
            match self.permits.try_acquire() {
                Ok(permit) => permit.forget(),
                Err(_) => state.surplus += 1,
            }
        }
    }

    fn grow(&self) {
        let mut state = self.state.lock();
        let is_time = state.changed.is_some_and(|when| when.elapsed() >= GROW_AFTER);
        if state.limit < self.most && is_time {
            (state.limit, state.changed) = (state.limit + 1, Some(Instant::now()));
            match state.surplus {
                0 => self.permits.add_permits(1),
                _ => state.surplus -= 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use proptest::prelude::*;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_learns_how_many_the_relay_takes() {
        let limit = ConnectionLimit::new(32);
        let mut taken = Vec::new();
        for _ in 0..32 {
            taken.push(limit.permit().await);
        }
        // All are being opened; the relay takes three.
        for others in (3..32).rev() {
            limit.turned_away(others);
            drop(taken.pop());
        }
        assert_eq!(limit.current(), 3);
        assert!(limit.permit().now_or_never().is_none(), "three are in use");
        drop(taken.pop());
        let again = limit.permit().now_or_never().expect("one is free");
        assert!(limit.is_exhausted());
        tokio::time::advance(GROW_AFTER).await;
        let fourth = limit.permit().now_or_never().expect("one more is tried");
        limit.turned_away(3);
        drop(fourth);
        assert!(limit.permit().now_or_never().is_none(), "in vain");
        drop((again, taken));
    }

    proptest! {
        /// No permit is lost or made up: never fewer than one, never more than the limit.
        #[test]
        fn permits_add_up(steps in prop::collection::vec((0..4_u8, 0..12_usize), 0..200)) {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time().start_paused(true).build().expect("a runtime");
            runtime.block_on(async {
                let limit = ConnectionLimit::new(8);
                let mut taken = Vec::new();
                for (step, number) in steps {
                    match step {
                        0 => taken.extend(limit.permit().now_or_never()),
                        1 => limit.turned_away(number),
                        2 => tokio::time::advance(GROW_AFTER).await,
                        _ if taken.is_empty() => {}
                        _ => drop(taken.swap_remove(number % taken.len())),
                    }
                }
                drop(taken);
                assert_eq!(limit.permits.available_permits(), limit.current());
                assert!((1..=8).contains(&limit.current()));
            });
        }
    }
}
