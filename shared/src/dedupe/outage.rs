//! What this process itself remembers of mails that went out, and what to do while the store is away.
//!
//! The memory is a second layer in front of the store: once the relay has accepted a mail, this process will not send
//! it again even if the store could not be told. It is bounded and outlives any code. While the store is away an
//! event is held by default; with [`WhenAway::SendAfter`] it is mailed on this memory alone once the outage has lasted.

use std::{
    borrow::Cow,
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;

use super::{Claim, Completion, DedupeStore, Lease, Owner, Past, Sending};
use crate::{fault::Fault, ids::EventId};

/// Mails remembered. At WorkOS's own limit of 100 codes a second this is over ten minutes, and about 6 MiB.
const REMEMBERED: usize = 65_536;

/// The fence of a lease that no store gave. A store never gives 0.
const NO_STORE: i64 = 0;

/// What happens to events while the store does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenAway {
    /// They wait, as long as their codes live.
    Hold,
    /// After an outage of this length they are mailed; another replica may then mail one of them as well.
    SendAfter(Duration),
}

/// A [`DedupeStore`] with a memory.
pub struct Remembering {
    store: Arc<dyn DedupeStore>,
    when_away: WhenAway,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sent: HashSet<EventId>,
    order: VecDeque<EventId>,
    away_since: Option<Instant>,
}

impl State {
    fn remember(&mut self, event_id: EventId) {
        if self.sent.insert(event_id.clone()) {
            self.order.push_back(event_id);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.sent.remove(&oldest);
        }
    }
}

impl Remembering {
    /// Puts the memory in front of `store`.
    pub fn new(store: Arc<dyn DedupeStore>, when_away: WhenAway) -> Self {
        Self { store, when_away, state: Mutex::default() }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Each change is one insertion: a panic elsewhere cannot have left it half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the store has been away, counting this failure.
    fn away_for(&self) -> Duration {
        let now = Instant::now();
        now.duration_since(*self.state().away_since.get_or_insert(now))
    }
}

#[async_trait]
impl DedupeStore for Remembering {
    async fn claim(&self, event_id: &EventId, owner: Owner) -> Result<Claim, Fault> {
        if self.state().sent.contains(event_id) {
            return Ok(Claim::Done);
        }
        match self.store.claim(event_id, owner).await {
            Ok(claim) => {
                self.state().away_since = None;
                Ok(claim)
            }
            Err(fault) => match self.when_away {
                WhenAway::SendAfter(patience) if self.away_for() >= patience => {
                    Ok(Claim::Fresh(Lease::new(event_id.clone(), owner, NO_STORE, Past::default())))
                }
                _ => {
                    self.away_for();
                    Err(fault)
                }
            },
        }
    }

    async fn sending(&self, lease: Lease) -> Result<Option<Sending>, (Lease, Fault)> {
        if lease.fence == NO_STORE { Ok(Some(Sending(lease))) } else { self.store.sending(lease).await }
    }

    async fn complete(&self, sending: &Sending, receipt: &str) -> Result<Completion, Fault> {
        self.state().remember(sending.0.event_id.clone());
        self.store.complete(sending, receipt).await
    }

    async fn release(&self, lease: Lease) -> Result<(), Fault> {
        if lease.fence == NO_STORE { Ok(()) } else { self.store.release(lease).await }
    }

    async fn doubt(&self, sending: Sending) -> Result<(), Fault> {
        if sending.0.fence == NO_STORE { Ok(()) } else { self.store.doubt(sending).await }
    }

    async fn ready(&self) -> Result<(), Cow<'static, str>> {
        self.store.ready().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Reason;

    /// A store that is away for good.
    struct Away;

    fn away<T>() -> Result<T, Fault> {
        Err(Fault::transient(Reason::DedupeUnavailable, "away"))
    }

    #[async_trait]
    impl DedupeStore for Away {
        async fn claim(&self, _: &EventId, _: Owner) -> Result<Claim, Fault> {
            away()
        }
        async fn sending(&self, lease: Lease) -> Result<Option<Sending>, (Lease, Fault)> {
            away().map_err(|fault| (lease, fault))
        }
        async fn complete(&self, _: &Sending, _: &str) -> Result<Completion, Fault> {
            away()
        }
        async fn release(&self, _: Lease) -> Result<(), Fault> {
            away()
        }
        async fn doubt(&self, _: Sending) -> Result<(), Fault> {
            away()
        }
        async fn ready(&self) -> Result<(), Cow<'static, str>> {
            Err(Cow::Borrowed("away"))
        }
    }

    fn id() -> EventId {
        EventId::parse("event_1").expect("valid")
    }

    #[tokio::test(start_paused = true)]
    async fn holds_by_default_however_long_it_lasts() {
        let store = Remembering::new(Arc::new(Away), WhenAway::Hold);
        assert!(store.claim(&id(), Owner::fresh()).await.is_err());
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert!(store.claim(&id(), Owner::fresh()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn sends_after_the_outage_has_lasted_and_not_twice() {
        let store = Remembering::new(Arc::new(Away), WhenAway::SendAfter(Duration::from_secs(20)));
        assert!(store.claim(&id(), Owner::fresh()).await.is_err());
        tokio::time::advance(Duration::from_secs(19)).await;
        assert!(store.claim(&id(), Owner::fresh()).await.is_err());
        tokio::time::advance(Duration::from_secs(1)).await;
        let Ok(Claim::Fresh(lease)) = store.claim(&id(), Owner::fresh()).await else { panic!("not given") };
        let sending = store.sending(lease).await.expect("no store asked").expect("ours");
        assert!(store.complete(&sending, "queued").await.is_err());
        assert_eq!(store.claim(&id(), Owner::fresh()).await, Ok(Claim::Done));
    }

    #[test]
    fn forgets_the_oldest_first() {
        let mut state = State::default();
        for n in 0..=REMEMBERED {
            state.remember(EventId::parse(format!("event_{n}")).expect("valid"));
        }
        assert_eq!(state.sent.len(), REMEMBERED);
        assert!(!state.sent.contains(&EventId::parse("event_0").expect("valid")));
    }
}
