//! A cache of the mails that this process has sent, in front of the claim store; and what happens
//! while the store is unavailable.
//!
//! Once the relay has accepted a mail, this process does not send it again even if the store could
//! not record it. The cache is bounded and outlives any code. While the store is unavailable an
//! event is held by default; with [`OnStoreOutage::SendAfter`] it is mailed on the word of this
//! cache alone once the outage has lasted that long.

use std::{
    borrow::Cow,
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use domain::{
    claims::{
        Announced, Claim, ClaimStore, Completion, GivenBack, History, Lease, Owner, Sending,
        Subject, adapter,
    },
    fault::Fault,
    ids::EventId,
};
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

/// Mails in the cache. At WorkOS's own limit of 100 codes a second this covers over ten minutes, in
/// about 6 MiB.
const CAPACITY: usize = 65_536;

/// The fence of a lease that no store granted. A store never grants 0.
const NO_STORE: i64 = 0;

/// What happens to events while the claim store is unavailable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStoreOutage {
    /// They wait as long as their codes work.
    Hold,
    /// After an outage of this length they are mailed; another replica may then mail the same
    /// event.
    SendAfter(Duration),
}

/// A [`ClaimStore`] behind a cache of sent mails.
pub struct LocalSentCache {
    store: Arc<dyn ClaimStore>,
    on_outage: OnStoreOutage,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sent: HashSet<EventId>,
    order: VecDeque<EventId>,
    unavailable_since: Option<Instant>,
}

impl State {
    fn remember(&mut self, event_id: EventId) {
        if self.sent.insert(event_id.clone()) {
            self.order.push_back(event_id);
        }
        if self.order.len() > CAPACITY
            && let Some(oldest) = self.order.pop_front()
        {
            self.sent.remove(&oldest);
        }
    }
}

impl LocalSentCache {
    /// Puts the cache in front of `store`.
    pub fn new(store: Arc<dyn ClaimStore>, on_outage: OnStoreOutage) -> Self {
        Self { store, on_outage, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// How long the store has been unavailable, counting this failure.
    fn unavailable_for(&self) -> Duration {
        let now = Instant::now();
        now.duration_since(*self.state().unavailable_since.get_or_insert(now))
    }
}

#[async_trait]
impl ClaimStore for LocalSentCache {
    async fn claim(&self, subject: &Subject, owner: Owner) -> Result<Claim, Fault> {
        let event_id = subject.event_id();
        if self.state().sent.contains(event_id) {
            return Ok(Claim::Done);
        }
        match self.store.claim(subject, owner).await {
            Ok(claim) => {
                self.state().unavailable_since = None;
                Ok(claim)
            }
            // It may have been sent while the store was waited for.
            Err(_) if self.state().sent.contains(event_id) => Ok(Claim::Done),
            Err(fault) => match self.on_outage {
                OnStoreOutage::SendAfter(patience) if self.unavailable_for() >= patience => {
                    Ok(Claim::Fresh(adapter::lease(
                        subject.clone(),
                        owner,
                        NO_STORE,
                        History::default(),
                    )))
                }
                _ => {
                    self.unavailable_for();
                    Err(fault)
                }
            },
        }
    }

    async fn sending(&self, lease: Lease) -> Result<Announced, (Lease, Fault)> {
        if lease.fence() == NO_STORE {
            Ok(Announced::Sending(adapter::sending(lease)))
        } else {
            self.store.sending(lease).await
        }
    }

    async fn complete(&self, sending: &Sending, receipt: &str) -> Result<Completion, Fault> {
        self.state().remember(sending.lease().event_id().clone());
        self.store.complete(sending, receipt).await
    }

    async fn release(&self, lease: Lease, then: &GivenBack) -> Result<(), Fault> {
        if lease.fence() == NO_STORE { Ok(()) } else { self.store.release(lease, then).await }
    }

    async fn doubt(&self, sending: Sending, then: &GivenBack) -> Result<(), Fault> {
        if sending.lease().fence() == NO_STORE {
            Ok(())
        } else {
            self.store.doubt(sending, then).await
        }
    }

    async fn withdraw(&self, subject: &Subject) -> Result<(), Fault> {
        self.store.withdraw(subject).await
    }

    async fn ready(&self) -> Result<(), Cow<'static, str>> {
        self.store.ready().await
    }
}

#[cfg(test)]
mod tests;
