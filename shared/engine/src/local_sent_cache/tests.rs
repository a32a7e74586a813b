//! Unit tests of the parent module.

use super::*;
use domain::{claims::Owners, event::QueuedEvent, fault::Reason};

/// A store that never answers.
struct Unavailable;

fn unavailable<T>() -> Result<T, Fault> {
    Err(Fault::transient(Reason::DedupeUnavailable, "unavailable"))
}

#[async_trait]
impl ClaimStore for Unavailable {
    async fn claim(&self, _: &Subject, _: Owner) -> Result<Claim, Fault> {
        // A while later.
        tokio::task::yield_now().await;
        unavailable()
    }
    async fn sending(&self, lease: Lease) -> Result<Announced, (Lease, Fault)> {
        unavailable().map_err(|fault| (lease, fault))
    }
    async fn complete(&self, _: &Sending, _: &str) -> Result<Completion, Fault> {
        unavailable()
    }
    async fn release(&self, _: Lease, _: &GivenBack) -> Result<(), Fault> {
        unavailable()
    }
    async fn doubt(&self, _: Sending, _: &GivenBack) -> Result<(), Fault> {
        unavailable()
    }
    async fn withdraw(&self, _: &Subject) -> Result<(), Fault> {
        unavailable()
    }
    async fn ready(&self) -> Result<(), Cow<'static, str>> {
        Err(Cow::Borrowed("unavailable"))
    }
}

fn subject() -> Subject {
    let message = include_str!("../../../domain/tests/data/queued_event_v1.json");
    let event = QueuedEvent::decode(message.trim().as_bytes()).expect("the golden file");
    Subject { event: Arc::new(event), attempt: 1, gives_way: true }
}

#[tokio::test(start_paused = true)]
async fn holds_by_default_however_long_it_lasts() {
    let owners = Owners::new(1);
    let store = LocalSentCache::new(Arc::new(Unavailable), OnStoreOutage::Hold);
    assert!(store.claim(&subject(), owners.next()).await.is_err());
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert!(store.claim(&subject(), owners.next()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn sends_after_the_outage_has_lasted_and_not_twice() {
    let owners = Owners::new(1);
    let store = LocalSentCache::new(
        Arc::new(Unavailable),
        OnStoreOutage::SendAfter(Duration::from_secs(20)),
    );
    assert!(store.claim(&subject(), owners.next()).await.is_err());
    tokio::time::advance(Duration::from_secs(19)).await;
    assert!(store.claim(&subject(), owners.next()).await.is_err());
    tokio::time::advance(Duration::from_secs(1)).await;
    let Ok(Claim::Fresh(lease)) = store.claim(&subject(), owners.next()).await else {
        panic!("not given")
    };
    let sending = store.sending(lease).await.expect("no store asked").sending().expect("ours");
    assert!(store.complete(&sending, "queued").await.is_err());
    assert_eq!(store.claim(&subject(), owners.next()).await, Ok(Claim::Done));
}

/// Delivered again while its first delivery is being mailed.
#[tokio::test(start_paused = true)]
async fn what_was_sent_while_the_store_was_waited_for_is_not_sent_again() {
    let owners = Owners::new(1);
    let outage = OnStoreOutage::SendAfter(Duration::ZERO);
    let store = LocalSentCache::new(Arc::new(Unavailable), outage);
    let Ok(Claim::Fresh(lease)) = store.claim(&subject(), owners.next()).await else {
        panic!("not given")
    };
    let sending = store.sending(lease).await.expect("no store asked").sending().expect("ours");
    let event = subject();
    let mut again = store.claim(&event, owners.next());
    assert!(futures_util::poll!(&mut again).is_pending());
    assert!(store.complete(&sending, "queued").await.is_err());
    assert_eq!(again.await, Ok(Claim::Done));
}

#[test]
fn forgets_the_oldest_first() {
    let mut state = State::default();
    for n in 0..=CAPACITY {
        state.remember(EventId::parse(format!("event_{n}")).expect("valid"));
    }
    assert_eq!(state.sent.len(), CAPACITY);
    assert!(!state.sent.contains(&EventId::parse("event_0").expect("valid")));
}
