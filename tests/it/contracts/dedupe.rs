//! What every dedupe store must do.

use std::{sync::Arc, time::Duration};

use sandbox::clock::ManualClock;
use secrecy::SecretString;
use shared::{
    clock::{Clock as _, SystemClock},
    dedupe::{
        Claim, Completion, DedupeStore, Lease, Owner, Past, Sending, Terms, embedded::EmbeddedDedupe, redis::RedisDedupe,
        redis_link::RedisLink,
    },
    ids::EventId,
    sqlite::Store,
};

use crate::harness::{app, eventually, services::Services};

/// One store under test. Leases are short in Redis, which keeps its own time; the embedded engine's end by the clock.
struct Subject {
    store: Arc<dyn DedupeStore>,
    clock: Option<Arc<ManualClock>>,
    _folder: Option<tempfile::TempDir>,
}

const LEASE: Duration = Duration::from_millis(1500);

impl Subject {
    fn embedded() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        let store = EmbeddedDedupe::new(Store::open(folder.path()).expect("opens"), clock.clone(), TERMS);
        Self { store: Arc::new(store), clock: Some(clock), _folder: Some(folder) }
    }

    fn redis() -> Self {
        let url = SecretString::from(Services::shared().redis_url().to_owned());
        let link = RedisLink::new(&url, None).expect("a URL");
        let store = RedisDedupe::new(Arc::new(link), &app::fresh_prefix(), TERMS);
        Self { store: Arc::new(store), clock: None, _folder: None }
    }

    async fn claim(&self, owner: Owner) -> Claim {
        self.store.claim(&id(), owner).await.expect("answers")
    }

    async fn fresh(&self, owner: Owner) -> Lease {
        match self.claim(owner).await {
            Claim::Fresh(lease) => lease,
            other => panic!("{other:?}"),
        }
    }

    async fn sending(&self, owner: Owner) -> Sending {
        let lease = self.fresh(owner).await;
        self.store.sending(lease).await.expect("answers").expect("ours")
    }

    /// Another owner's lease, once the one before has run out.
    async fn succeed(&self) -> Lease {
        if let Some(clock) = &self.clock {
            clock.advance(jiff::SignedDuration::try_from(LEASE).expect("short"));
        }
        let heir = Owner::fresh();
        eventually("the lease runs out", async || match self.claim(heir).await {
            Claim::Fresh(lease) => Some(lease),
            Claim::Busy(left) => {
                assert!(left <= LEASE, "{left:?}");
                None
            }
            Claim::Done => panic!("nobody completed it"),
        })
        .await
    }
}

const TERMS: Terms = Terms { lease: LEASE, sending: LEASE, done: Duration::from_secs(600) };

fn id() -> EventId {
    EventId::parse("event_1").expect("valid")
}

async fn one_of_many_gets_it(subject: Subject) {
    let claims = (0..50).map(|_| subject.claim(Owner::fresh()));
    let claims = futures_util::future::join_all(claims).await;
    let fresh = claims.iter().filter(|claim| matches!(claim, Claim::Fresh(_))).count();
    let busy = claims.iter().filter(|claim| matches!(claim, Claim::Busy(left) if *left <= LEASE)).count();
    assert_eq!((fresh, busy), (1, 49));
}

async fn asking_again_repeats_the_answer(subject: Subject) {
    let owner = Owner::fresh();
    let first = subject.fresh(owner).await;
    let second = subject.fresh(owner).await;
    assert_eq!(first.past(), second.past());
    let sending = subject.store.sending(second).await.expect("answers").expect("ours");
    assert_eq!(subject.store.complete(&sending, "id").await, Ok(Completion::Recorded));
    assert_eq!(subject.store.complete(&sending, "id").await, Ok(Completion::Recorded), "a lost reply may be asked for again");
}

async fn done_is_done_for_everybody(subject: Subject) {
    let owner = Owner::fresh();
    let sending = subject.sending(owner).await;
    assert_eq!(subject.store.complete(&sending, "4Zx1").await, Ok(Completion::Recorded));
    for owner in [owner, Owner::fresh()] {
        assert_eq!(subject.claim(owner).await, Claim::Done);
    }
}

async fn what_is_released_is_free_at_once(subject: Subject) {
    let lease = subject.fresh(Owner::fresh()).await;
    subject.store.release(lease).await.expect("answers");
    let sending = subject.sending(Owner::fresh()).await;
    subject.store.release(sending.nothing_was_sent()).await.expect("answers");
    assert!(!subject.fresh(Owner::fresh()).await.past().may_be_out(), "nothing was sent");
}

async fn a_doubt_is_free_at_once_and_remembered(subject: Subject) {
    for expected in 1..=2 {
        let sending = subject.sending(Owner::fresh()).await;
        subject.store.doubt(sending).await.expect("answers");
        let lease = subject.fresh(Owner::fresh()).await;
        assert_eq!(lease.past(), Past { silences: expected, died_sending: false });
        subject.store.release(lease).await.expect("answers");
    }
}

async fn a_worker_that_died_is_succeeded(subject: Subject) {
    drop(subject.fresh(Owner::fresh()).await);
    assert!(!subject.succeed().await.past().may_be_out(), "it had not begun to send");
}

async fn a_worker_that_died_while_sending_leaves_a_doubt(subject: Subject) {
    drop(subject.sending(Owner::fresh()).await);
    let heir = subject.succeed().await;
    assert_eq!(heir.past(), Past { silences: 0, died_sending: true });
    subject.store.release(heir).await.expect("answers");
    assert!(subject.fresh(Owner::fresh()).await.past().died_sending, "it is not forgotten");
}

async fn a_lost_lease_cannot_send(subject: Subject) {
    let lost = subject.fresh(Owner::fresh()).await;
    let heir = subject.succeed().await;
    assert_eq!(subject.store.sending(lost).await, Ok(None));
    assert!(subject.store.sending(heir).await.expect("answers").is_some());
}

async fn a_late_completion_is_recorded_and_told(subject: Subject) {
    let slow = subject.sending(Owner::fresh()).await;
    let heir = subject.succeed().await;
    assert_eq!(subject.store.complete(&slow, "first").await, Ok(Completion::Late));
    assert_eq!(subject.store.sending(heir).await, Ok(None), "the heir is stopped: the mail is out");
}

async fn a_second_completion_is_told(subject: Subject) {
    let slow = subject.sending(Owner::fresh()).await;
    let heir = subject.succeed().await;
    let heir = subject.store.sending(heir).await.expect("answers").expect("ours");
    assert_eq!(subject.store.complete(&heir, "second").await, Ok(Completion::Recorded));
    assert_eq!(subject.store.complete(&slow, "first").await, Ok(Completion::Already));
}

async fn a_late_release_does_not_take_the_heirs_lease(subject: Subject) {
    let lost = subject.fresh(Owner::fresh()).await;
    let heir = subject.succeed().await;
    subject.store.release(lost).await.expect("answers");
    assert!(matches!(subject.claim(Owner::fresh()).await, Claim::Busy(_)));
    subject.store.release(heir).await.expect("answers");
}

async fn it_is_ready(subject: Subject) {
    assert_eq!(subject.store.ready().await, Ok(()));
}

macro_rules! contract {
    ($($name:ident,)*) => {
        mod embedded_dedupe {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Subject::embedded()).await;
            })*
        }
        mod redis_dedupe {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
            async fn $name() {
                super::$name(super::Subject::redis()).await;
            })*
        }
    };
}

contract! {
    one_of_many_gets_it,
    asking_again_repeats_the_answer,
    done_is_done_for_everybody,
    what_is_released_is_free_at_once,
    a_doubt_is_free_at_once_and_remembered,
    a_worker_that_died_is_succeeded,
    a_worker_that_died_while_sending_leaves_a_doubt,
    a_lost_lease_cannot_send,
    a_late_completion_is_recorded_and_told,
    a_second_completion_is_told,
    a_late_release_does_not_take_the_heirs_lease,
    it_is_ready,
}
