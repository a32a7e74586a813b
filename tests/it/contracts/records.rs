//! What every store must put on record of an event, and that records are found by event, code and user.

use std::{sync::Arc, time::Duration};

use domain::{
    claims::{Claim, ClaimStore, GivenBack, Lease, Limit, Next, Owners, Subject, Terms},
    clock::Clock,
    event::QueuedEvent,
    fault::Reason,
    queue::Publish,
    records::{Progress, Record, RecordKey, Records},
};
use engine::{
    embedded::{EmbeddedClaims, EmbeddedQueue, EmbeddedRecords},
    redis::{NotingPublisher, RedisClaims, RedisRecords},
    sqlite::Store,
};
use jiff::{SignedDuration, Timestamp};
use runtime::{clock::SystemClock, metrics::Metrics};
use sandbox::{clock::ManualClock, events::event_of};

use super::redis;
use crate::harness::eventually;

const TERMS: Terms = Terms {
    lease: Duration::from_secs(30),
    sending: Duration::from_secs(30),
    done: Duration::from_secs(600),
    user_limit: Some(Limit { most: 3, period: Duration::from_secs(600) }),
    mail_limit: None,
};

/// The stores of one engine.
struct Stores {
    publish: Arc<dyn Publish>,
    claims: Arc<dyn ClaimStore>,
    records: Arc<dyn Records>,
    owners: Owners,
    now: Timestamp,
    _folder: Option<tempfile::TempDir>,
}

/// A queue in front of which Redis notes what it took.
pub(super) struct Taken;

#[async_trait::async_trait]
impl Publish for Taken {
    async fn publish(&self, _: &QueuedEvent) -> Result<(), domain::fault::Fault> {
        Ok(())
    }
    fn ready(&self) -> Result<(), std::borrow::Cow<'static, str>> {
        Ok(())
    }
    fn system(&self) -> &'static str {
        "test"
    }
}

impl Stores {
    fn embedded() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let now = SystemClock.now();
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(now));
        let store = Store::open(folder.path()).expect("opens");
        let queue = EmbeddedQueue::new(
            Arc::clone(&store),
            Arc::clone(&clock),
            domain::queue::Capacity::default(),
            metrics(),
        );
        Self {
            publish: Arc::new(queue),
            claims: Arc::new(EmbeddedClaims::new(Arc::clone(&store), Arc::clone(&clock), TERMS)),
            records: Arc::new(EmbeddedRecords::new(store, clock)),
            owners: Owners::new(1),
            now,
            _folder: Some(folder),
        }
    }

    fn redis() -> Self {
        let connection = Arc::new(redis());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (noted, noting) = (Arc::clone(&connection), Arc::clone(&clock));
        Self {
            publish: Arc::new(NotingPublisher::new(Arc::new(Taken), noted, noting, metrics())),
            claims: Arc::new(RedisClaims::new(Arc::clone(&connection), TERMS)),
            records: Arc::new(RedisRecords::new(connection, clock)),
            owners: Owners::new(1),
            now: SystemClock.now(),
            _folder: None,
        }
    }

    /// An event that was created `seconds` after the start.
    fn event(&self, name: &str, user: &str, seconds: i64) -> QueuedEvent {
        // Stores keep milliseconds.
        let now = Timestamp::from_millisecond(self.now.as_millisecond()).expect("a time");
        event_of(name, user, now + SignedDuration::from_secs(seconds))
    }

    async fn claim(&self, event: &QueuedEvent, attempt: u32) -> Claim {
        let subject = Subject { event: Arc::new(event.clone()), attempt, gives_way: true };
        self.claims.claim(&subject, self.owners.next()).await.expect("answers")
    }

    async fn lease(&self, event: &QueuedEvent, attempt: u32) -> Lease {
        match self.claim(event, attempt).await {
            Claim::Fresh(lease) => lease,
            other => panic!("{other:?}"),
        }
    }

    async fn find(&self, key: RecordKey) -> Vec<Record> {
        self.records.find(&key).await.expect("answers")
    }

    async fn of(&self, event: &QueuedEvent) -> Record {
        let mut found = self.find(RecordKey::Event(event.event_id.clone())).await;
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }
}

fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::new("test").expect("declared rightly"))
}

async fn an_event_is_on_record_from_the_start(stores: Stores) {
    let event = stores
        .event("1", "1", 0)
        .with_traceparent(Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
    stores.publish.publish(&event).await.expect("published");
    let record = eventually("it is noted", async || {
        stores.find(RecordKey::Event(event.event_id.clone())).await.pop()
    })
    .await;
    assert_eq!((record.progress, record.attempt), (Progress::Accepted, 0));
    let facts = record.facts.expect("a new record");
    assert_eq!((facts.object_id, facts.user_id), (event.object_id.clone(), event.user_id.clone()));
    assert_eq!((facts.created_at, facts.expires_at), (event.created_at, event.expires_at));
    assert!(facts.accepted_at >= event.created_at, "{}", facts.accepted_at);
    assert_eq!(facts.trace_id.as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
    let lease = stores.lease(&event, 1).await;
    let announced = stores.claims.sending(lease).await.expect("answers");
    let sending = announced.sending().expect("ours");
    assert_eq!(stores.of(&event).await.progress, Progress::Sending);
    stores.claims.complete(&sending, "4Zx1 at relay").await.expect("answers");
    // What is noted late changes nothing.
    stores.publish.publish(&event).await.expect("published");
    let record = stores.of(&event).await;
    let Progress::Sent { receipt, at: Some(at) } = record.progress else { panic!("{record:?}") };
    assert_eq!((receipt.as_str(), record.attempt), ("4Zx1 at relay", 1));
    assert!(at >= event.created_at, "{at}");
}

async fn every_way_to_end_an_attempt_is_on_record(stores: Stores) {
    let event = stores.event("1", "1", 0);
    let at = event.created_at + SignedDuration::from_secs(30);
    let lease = stores.lease(&event, 1).await;
    assert_eq!(stores.of(&event).await.progress, Progress::Leased);
    let then = GivenBack::new(Next::Retry(at), Reason::RelayDeferred, "451 4.7.1 later");
    stores.claims.release(lease, &then).await.expect("answers");
    let record = stores.of(&event).await;
    assert_eq!(record.progress, Progress::Waiting { next_at: Some(at) });
    assert_eq!(record.failure.as_deref(), Some("relay_deferred: 451 4.7.1 later"));

    let lease = stores.lease(&event, 2).await;
    let sending = stores.claims.sending(lease).await.expect("answers").sending().expect("ours");
    let then = GivenBack::new(Next::Retry(at), Reason::Ambiguous, "silent");
    stores.claims.doubt(sending, &then).await.expect("answers");
    let record = stores.of(&event).await;
    assert_eq!((record.attempt, record.history.unanswered_sends), (2, 1));

    for (attempt, next, ended) in
        [(3, Next::Expired, Progress::Expired), (4, Next::DeadLetter, Progress::Dead)]
    {
        let lease = stores.lease(&event, attempt).await;
        let then = GivenBack::new(next, Reason::NotFound, "");
        stores.claims.release(lease, &then).await.expect("answers");
        let record = stores.of(&event).await;
        assert_eq!((record.progress, record.attempt), (ended, attempt));
    }
    stores.records.redriven(std::slice::from_ref(&event.event_id)).await.expect("answers");
    assert_eq!(stores.of(&event).await.progress, Progress::Waiting { next_at: None });
}

async fn records_are_found_by_code_and_by_user(stores: Stores) {
    let (first, second) = (stores.event("1", "1", 0), stores.event("2", "1", 1));
    let other = stores.event("3", "2", 2);
    for event in [&second, &first, &other] {
        drop(stores.claim(event, 1).await);
    }
    let ids = |found: Vec<Record>| -> Vec<String> {
        found.iter().map(|record| record.event_id.to_string()).collect()
    };
    let user = first.user_id.clone().expect("there is one");
    let found = stores.find(RecordKey::User(user)).await;
    assert_eq!(ids(found), ["event_1", "event_2"], "the older one first");
    let found = stores.find(RecordKey::Object(other.object_id.clone())).await;
    assert_eq!(ids(found), ["event_3"]);
    let nobody = stores.event("4", "4", 0);
    let user = nobody.user_id.clone().expect("there is one");
    assert!(stores.find(RecordKey::User(user)).await.is_empty());
    assert!(stores.find(RecordKey::Event(nobody.event_id)).await.is_empty());
}

async fn what_was_not_claimed_says_why(stores: Stores) {
    let [old, new] = [0, 1].map(|n| stores.event(&n.to_string(), "1", n));
    drop(stores.lease(&new, 1).await);
    assert_eq!(stores.claim(&old, 1).await, Claim::GivesWay);
    let record = stores.of(&old).await;
    assert_eq!(
        (record.progress, record.failure.as_deref()),
        (Progress::Accepted, Some("gives_way"))
    );
    for n in 2..4 {
        drop(stores.lease(&stores.event(&n.to_string(), "1", n), 1).await);
    }
    let over = stores.event("4", "1", 4);
    assert_eq!(stores.claim(&over, 1).await, Claim::OverLimit);
    let record = stores.of(&over).await;
    assert_eq!(
        (record.progress, record.failure.as_deref()),
        (Progress::Dead, Some("person_limit"))
    );
    stores.records.lift_limit(&over.event_id).await.expect("answers");
    assert!(matches!(stores.claim(&over, 1).await, Claim::Fresh(_)));
}

/// A worker may be done with an event before the ingress has noted it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis: ./scripts/test"]
async fn nothing_gives_way_to_a_dead_letter_that_is_noted_late() {
    let stores = Stores::redis();
    let (older, newer) = (stores.event("1", "1", 0), stores.event("2", "1", 1));
    let lease = stores.lease(&newer, 1).await;
    let dead = GivenBack::new(Next::DeadLetter, Reason::RecipientRefused, "");
    stores.claims.release(lease, &dead).await.expect("answers");
    let subject = Subject { event: Arc::new(newer.clone()), attempt: 1, gives_way: true };
    stores.claims.withdraw(&subject).await.expect("answers");
    stores.publish.publish(&newer).await.expect("published");
    // Notes are written in order.
    let last = stores.event("3", "2", 2);
    stores.publish.publish(&last).await.expect("published");
    eventually("the last is noted", async || {
        stores.find(RecordKey::Event(last.event_id.clone())).await.pop()
    })
    .await;
    assert!(matches!(stores.claim(&older, 1).await, Claim::Fresh(_)));
}

macro_rules! contract {
    ($($name:ident)*) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Stores::embedded()).await;
            })*
        }
        mod distributed {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs Redis: ./scripts/test"]
            async fn $name() {
                super::$name(super::Stores::redis()).await;
            })*
        }
    };
}

contract! {
    an_event_is_on_record_from_the_start
    every_way_to_end_an_attempt_is_on_record
    records_are_found_by_code_and_by_user
    what_was_not_claimed_says_why
}
