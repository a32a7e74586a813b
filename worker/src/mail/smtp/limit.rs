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
mod tests;
