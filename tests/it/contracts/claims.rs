//! What every claim store must do.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use domain::{
    claims::{
        Claim, ClaimStore, Completion, History, Lease, Owner, Owners, Sending, Terms, UserLimit,
    },
    clock::Clock as _,
    ids::{EventId, UserId},
};
use engine::{embedded::EmbeddedClaims, memory::MemoryClaims, redis::RedisClaims, sqlite::Store};
use runtime::clock::SystemClock;
use sandbox::clock::ManualClock;

use super::redis;
use crate::harness::{app, eventually};

/// One store under test. Leases are short in Redis, which keeps its own time; the embedded engine's
/// end by the clock.
struct Subject {
    store: Arc<dyn ClaimStore>,
    clock: Option<Arc<ManualClock>>,
    _folder: Option<tempfile::TempDir>,
}

const LEASE: Duration = Duration::from_millis(1500);

impl Subject {
    fn embedded() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        let store =
            EmbeddedClaims::new(Store::open(folder.path()).expect("opens"), clock.clone(), TERMS);
        Self { store: Arc::new(store), clock: Some(clock), _folder: Some(folder) }
    }

    fn memory() -> Self {
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        let store = MemoryClaims::new(clock.clone(), TERMS);
        Self { store: Arc::new(store), clock: Some(clock), _folder: None }
    }

    fn redis() -> Self {
        let store = RedisClaims::new(Arc::new(redis()), &app::fresh_prefix(), TERMS);
        Self { store: Arc::new(store), clock: None, _folder: None }
    }

    async fn claim(&self, owner: Owner) -> Claim {
        self.store.claim(&id(), None, owner).await.expect("answers")
    }

    async fn claim_of(&self, event: &str, user: &str, owner: Owner) -> Claim {
        let event = EventId::parse(event).expect("valid");
        let user = UserId::parse(user).expect("valid");
        self.store.claim(&event, Some(&user), owner).await.expect("answers")
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
        let successor = owner();
        eventually("the lease runs out", async || match self.claim(successor).await {
            Claim::Fresh(lease) => Some(lease),
            Claim::Busy(left) => {
                assert!(left <= LEASE, "{left:?}");
                None
            }
            other => panic!("nobody completed it: {other:?}"),
        })
        .await
    }
}

const TERMS: Terms = Terms {
    lease: LEASE,
    sending: LEASE,
    done: Duration::from_secs(600),
    user_limit: Some(USER_LIMIT),
};

const USER_LIMIT: UserLimit = UserLimit { most: 3, period: Duration::from_millis(900) };

/// An owner unlike every other in this process.
fn owner() -> Owner {
    static OWNERS: LazyLock<Owners> = LazyLock::new(|| Owners::new(u64::from(std::process::id())));
    OWNERS.next()
}

fn id() -> EventId {
    EventId::parse("event_1").expect("valid")
}

async fn one_of_many_gets_it(subject: Subject) {
    let claims = (0..50).map(|_| subject.claim(owner()));
    let claims = futures_util::future::join_all(claims).await;
    let fresh = claims.iter().filter(|claim| matches!(claim, Claim::Fresh(_))).count();
    let busy =
        claims.iter().filter(|claim| matches!(claim, Claim::Busy(left) if *left <= LEASE)).count();
    assert_eq!((fresh, busy), (1, 49));
}

async fn asking_again_repeats_the_answer(subject: Subject) {
    let owner = owner();
    let first = subject.fresh(owner).await;
    let second = subject.fresh(owner).await;
    assert_eq!(first.history(), second.history());
    let sending = subject.store.sending(second).await.expect("answers").expect("ours");
    assert_eq!(subject.store.complete(&sending, "id").await, Ok(Completion::Recorded));
    assert_eq!(
        subject.store.complete(&sending, "id").await,
        Ok(Completion::Recorded),
        "a lost reply may be asked for again"
    );
}

async fn done_is_done_for_everybody(subject: Subject) {
    let owner = owner();
    let sending = subject.sending(owner).await;
    assert_eq!(subject.store.complete(&sending, "4Zx1").await, Ok(Completion::Recorded));
    for owner in [owner, self::owner()] {
        assert_eq!(subject.claim(owner).await, Claim::Done);
    }
}

async fn what_is_released_is_free_at_once(subject: Subject) {
    let lease = subject.fresh(owner()).await;
    subject.store.release(lease).await.expect("answers");
    let sending = subject.sending(owner()).await;
    subject.store.release(sending.nothing_was_sent()).await.expect("answers");
    assert!(!subject.fresh(owner()).await.history().may_have_sent(), "nothing was sent");
}

async fn a_doubt_is_free_at_once_and_remembered(subject: Subject) {
    for expected in 1..=2 {
        let sending = subject.sending(owner()).await;
        subject.store.doubt(sending).await.expect("answers");
        let lease = subject.fresh(owner()).await;
        assert_eq!(lease.history(), History { unanswered_sends: expected, crashed_sending: false });
        subject.store.release(lease).await.expect("answers");
    }
}

async fn a_crashed_worker_is_succeeded(subject: Subject) {
    drop(subject.fresh(owner()).await);
    assert!(!subject.succeed().await.history().may_have_sent(), "it had not begun to send");
}

async fn a_worker_that_crashed_while_sending_leaves_a_doubt(subject: Subject) {
    drop(subject.sending(owner()).await);
    let successor = subject.succeed().await;
    assert_eq!(successor.history(), History { unanswered_sends: 0, crashed_sending: true });
    subject.store.release(successor).await.expect("answers");
    assert!(subject.fresh(owner()).await.history().crashed_sending, "it is not forgotten");
}

async fn a_lost_lease_cannot_send(subject: Subject) {
    let lost = subject.fresh(owner()).await;
    let successor = subject.succeed().await;
    assert_eq!(subject.store.sending(lost).await, Ok(None));
    assert!(subject.store.sending(successor).await.expect("answers").is_some());
}

async fn a_late_completion_is_recorded_and_told(subject: Subject) {
    let slow = subject.sending(owner()).await;
    let successor = subject.succeed().await;
    assert_eq!(subject.store.complete(&slow, "first").await, Ok(Completion::Late));
    assert_eq!(
        subject.store.sending(successor).await,
        Ok(None),
        "the successor is stopped: the mail is out"
    );
}

async fn a_second_completion_is_told(subject: Subject) {
    let slow = subject.sending(owner()).await;
    let successor = subject.succeed().await;
    let successor = subject.store.sending(successor).await.expect("answers").expect("ours");
    assert_eq!(subject.store.complete(&successor, "second").await, Ok(Completion::Recorded));
    assert_eq!(subject.store.complete(&slow, "first").await, Ok(Completion::Already));
}

async fn a_late_release_does_not_end_the_lease_of_the_successor(subject: Subject) {
    let lost = subject.fresh(owner()).await;
    let successor = subject.succeed().await;
    subject.store.release(lost).await.expect("answers");
    assert!(matches!(subject.claim(owner()).await, Claim::Busy(_)));
    subject.store.release(successor).await.expect("answers");
}

async fn a_user_has_so_many_events_in_a_period(subject: Subject) {
    for event in ["event_1", "event_2", "event_3"] {
        let claim = subject.claim_of(event, "user_1", owner()).await;
        assert!(matches!(claim, Claim::Fresh(_)), "{event}: {claim:?}");
    }
    for _ in 0..3 {
        assert_eq!(subject.claim_of("event_4", "user_1", owner()).await, Claim::OverLimit);
    }
    assert!(matches!(subject.claim_of("event_5", "user_2", owner()).await, Claim::Fresh(_)));
    let again = subject.claim_of("event_3", "user_1", owner()).await;
    assert!(
        matches!(again, Claim::Busy(_)),
        "an event that was admitted is not counted: {again:?}"
    );
    if let Some(clock) = &subject.clock {
        clock.advance(jiff::SignedDuration::try_from(USER_LIMIT.period).expect("short"));
    }
    eventually("the period is over", async || {
        match subject.claim_of("event_4", "user_1", owner()).await {
            Claim::Fresh(_) => Some(()),
            other => {
                assert_eq!(other, Claim::OverLimit);
                None
            }
        }
    })
    .await;
}

async fn a_claim_that_is_repeated_is_counted_one_time(subject: Subject) {
    let owner = owner();
    for _ in 0..5 {
        assert!(matches!(subject.claim_of("event_1", "user_1", owner).await, Claim::Fresh(_)));
    }
    assert!(matches!(subject.claim_of("event_2", "user_1", owner).await, Claim::Fresh(_)));
}

async fn it_is_ready(subject: Subject) {
    assert_eq!(subject.store.ready().await, Ok(()));
}

macro_rules! contract {
    ($($name:ident,)*) => {
        mod memory_claims {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Subject::memory()).await;
            })*
        }
        mod embedded_claims {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Subject::embedded()).await;
            })*
        }
        mod redis_claims {
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
    a_user_has_so_many_events_in_a_period,
    a_claim_that_is_repeated_is_counted_one_time,
    asking_again_repeats_the_answer,
    done_is_done_for_everybody,
    what_is_released_is_free_at_once,
    a_doubt_is_free_at_once_and_remembered,
    a_crashed_worker_is_succeeded,
    a_worker_that_crashed_while_sending_leaves_a_doubt,
    a_lost_lease_cannot_send,
    a_late_completion_is_recorded_and_told,
    a_second_completion_is_told,
    a_late_release_does_not_end_the_lease_of_the_successor,
    it_is_ready,
}
