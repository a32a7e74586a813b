//! What every claim store must do.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use domain::{
    claims::{
        Announced, Claim, ClaimStore, Completion, GivenBack, History, Lease, Limit, Next, Owner,
        Owners, Sending, Subject as Event, Terms,
    },
    clock::Clock as _,
    fault::Reason,
};
use engine::{embedded::EmbeddedClaims, memory::MemoryClaims, redis::RedisClaims, sqlite::Store};
use jiff::Timestamp;
use runtime::clock::SystemClock;
use sandbox::clock::ManualClock;

use super::redis;
use crate::harness::eventually;

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
        let store = RedisClaims::new(Arc::new(redis()), TERMS);
        Self { store: Arc::new(store), clock: None, _folder: None }
    }

    async fn claim(&self, owner: Owner) -> Claim {
        self.store.claim(&event("1"), owner).await.expect("answers")
    }

    async fn claim_of(&self, event: &str, user: &str, owner: Owner) -> Claim {
        self.store.claim(&event_of(event, user, 1), owner).await.expect("answers")
    }

    /// Claims an event and has its mail accepted.
    async fn mail(&self, event: &Event) {
        let claim = self.store.claim(event, owner()).await.expect("answers");
        let Claim::Fresh(lease) = claim else { panic!("{claim:?}") };
        let announced = self.store.sending(lease).await.expect("answers");
        let sending = announced.sending().expect("ours");
        assert_eq!(self.store.complete(&sending, "id").await, Ok(Completion::Recorded));
    }

    async fn fresh(&self, owner: Owner) -> Lease {
        match self.claim(owner).await {
            Claim::Fresh(lease) => lease,
            other => panic!("{other:?}"),
        }
    }

    async fn sending(&self, owner: Owner) -> Sending {
        let lease = self.fresh(owner).await;
        self.store.sending(lease).await.expect("answers").sending().expect("ours")
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
    mail_limit: Some(MAIL_LIMIT),
};

const USER_LIMIT: Limit = Limit { most: 3, period: Duration::from_millis(900) };

const MAIL_LIMIT: Limit = Limit { most: 6, period: Duration::from_millis(1800) };

/// An owner unlike every other in this process.
fn owner() -> Owner {
    static OWNERS: LazyLock<Owners> = LazyLock::new(|| Owners::new(u64::from(std::process::id())));
    OWNERS.next()
}

/// An event that belongs to no user.
fn event(name: &str) -> Event {
    let event = sandbox::events::event(name, SystemClock.now());
    Event { event: Arc::new(event), attempt: 1, gives_way: true }
}

/// An event of a user that was created at this second of the minute before.
fn event_of(name: &str, user: &str, second: i64) -> Event {
    static START: LazyLock<Timestamp> = LazyLock::new(|| SystemClock.now());
    let created = *START + jiff::SignedDuration::from_secs(second - 60);
    let event = sandbox::events::event_of(name, user, created);
    Event { event: Arc::new(event), attempt: 1, gives_way: true }
}

/// There is another attempt, at once.
fn again() -> GivenBack {
    GivenBack::new(Next::Retry(Timestamp::UNIX_EPOCH), Reason::RelayDeferred, "451 later")
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
    let sending = subject.store.sending(second).await.expect("answers").sending().expect("ours");
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
    subject.store.release(lease, &again()).await.expect("answers");
    let sending = subject.sending(owner()).await;
    subject.store.release(sending.nothing_was_sent(), &again()).await.expect("answers");
    assert!(!subject.fresh(owner()).await.history().may_have_sent(), "nothing was sent");
}

async fn a_doubt_is_free_at_once_and_remembered(subject: Subject) {
    for expected in 1..=2 {
        let sending = subject.sending(owner()).await;
        subject.store.doubt(sending, &again()).await.expect("answers");
        let lease = subject.fresh(owner()).await;
        assert_eq!(lease.history(), History { unanswered_sends: expected, crashed_sending: false });
        subject.store.release(lease, &again()).await.expect("answers");
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
    subject.store.release(successor, &again()).await.expect("answers");
    assert!(subject.fresh(owner()).await.history().crashed_sending, "it is not forgotten");
}

async fn a_lost_lease_cannot_send(subject: Subject) {
    let lost = subject.fresh(owner()).await;
    let successor = subject.succeed().await;
    assert_eq!(subject.store.sending(lost).await, Ok(Announced::Lost));
    let announced = subject.store.sending(successor).await.expect("answers");
    assert!(announced.sending().is_some());
}

async fn a_late_completion_is_recorded_and_told(subject: Subject) {
    let slow = subject.sending(owner()).await;
    let successor = subject.succeed().await;
    assert_eq!(subject.store.complete(&slow, "first").await, Ok(Completion::Late));
    assert_eq!(
        subject.store.sending(successor).await,
        Ok(Announced::Lost),
        "the successor is stopped: the mail is out"
    );
}

async fn a_second_completion_is_told(subject: Subject) {
    let slow = subject.sending(owner()).await;
    let successor = subject.succeed().await;
    let successor =
        subject.store.sending(successor).await.expect("answers").sending().expect("ours");
    assert_eq!(subject.store.complete(&successor, "second").await, Ok(Completion::Recorded));
    assert_eq!(subject.store.complete(&slow, "first").await, Ok(Completion::Already));
}

async fn a_late_release_does_not_end_the_lease_of_the_successor(subject: Subject) {
    let lost = subject.fresh(owner()).await;
    let successor = subject.succeed().await;
    subject.store.release(lost, &again()).await.expect("answers");
    assert!(matches!(subject.claim(owner()).await, Claim::Busy(_)));
    subject.store.release(successor, &again()).await.expect("answers");
}

async fn a_user_has_so_many_events_in_a_period(subject: Subject) {
    for event in ["1", "2", "3"] {
        let claim = subject.claim_of(event, "1", owner()).await;
        assert!(matches!(claim, Claim::Fresh(_)), "{event}: {claim:?}");
    }
    for _ in 0..3 {
        assert_eq!(subject.claim_of("4", "1", owner()).await, Claim::OverLimit);
    }
    assert!(matches!(subject.claim_of("5", "2", owner()).await, Claim::Fresh(_)));
    let again = subject.claim_of("3", "1", owner()).await;
    assert!(
        matches!(again, Claim::Busy(_)),
        "an event that was admitted is not counted: {again:?}"
    );
    if let Some(clock) = &subject.clock {
        clock.advance(jiff::SignedDuration::try_from(USER_LIMIT.period / 3).expect("short"));
    }
    eventually("a third of the period is over", async || {
        match subject.claim_of("4", "1", owner()).await {
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
        assert!(matches!(subject.claim_of("1", "1", owner).await, Claim::Fresh(_)));
    }
    assert!(matches!(subject.claim_of("2", "1", owner).await, Claim::Fresh(_)));
}

async fn an_older_event_gives_way_to_a_newer_one(subject: Subject) {
    let (old, new) = (event_of("1", "1", 1), event_of("2", "1", 2));
    let claim = subject.store.claim(&new, owner()).await.expect("answers");
    let Claim::Fresh(lease) = claim else { panic!("{claim:?}") };
    assert_eq!(subject.store.claim(&old, owner()).await, Ok(Claim::GivesWay));
    subject.store.release(lease, &again()).await.expect("answers");
    assert_eq!(subject.store.claim(&old, owner()).await, Ok(Claim::GivesWay), "it is retried");
    let late = Event { gives_way: false, ..old.clone() };
    let claim = subject.store.claim(&late, owner()).await.expect("answers");
    let Claim::Fresh(lease) = claim else { panic!("{claim:?}: its code is about to expire") };
    subject.store.release(lease, &again()).await.expect("answers");
    subject.store.withdraw(&new).await.expect("answers");
    let claim = subject.store.claim(&old, owner()).await.expect("answers");
    assert!(matches!(claim, Claim::Fresh(_)), "{claim:?}: the newer one is dead");
    assert!(matches!(subject.claim_of("3", "2", owner()).await, Claim::Fresh(_)));
}

/// Whatever its worker's clock says: it may be slow, and the code would expire meanwhile.
async fn an_event_near_its_end_gives_way_no_longer(subject: Subject) {
    let old = event_of("1", "1", -425);
    let claim = subject.store.claim(&event_of("2", "1", 1), owner()).await.expect("answers");
    assert!(matches!(claim, Claim::Fresh(_)), "{claim:?}");
    let claim = subject.store.claim(&old, owner()).await.expect("answers");
    assert!(matches!(claim, Claim::Fresh(_)), "{claim:?}: two minutes are left");
}

async fn an_older_event_ends_once_a_newer_one_was_mailed(subject: Subject) {
    let [old, middle, new] = [1, 2, 3].map(|n| event_of(&n.to_string(), "1", n));
    let owner = owner();
    let claim = subject.store.claim(&old, owner).await.expect("answers");
    let Claim::Fresh(lease) = claim else { panic!("{claim:?}") };
    subject.mail(&new).await;
    assert_eq!(subject.store.sending(lease).await, Ok(Announced::Superseded), "under way");
    for event in [&middle, &old] {
        let late = Event { gives_way: false, ..event.clone() };
        for _ in 0..2 {
            assert_eq!(subject.store.claim(&late, self::owner()).await, Ok(Claim::Superseded));
        }
    }
    assert_eq!(subject.store.claim(&new, owner).await, Ok(Claim::Done));
    // Created at the same time as the one that was mailed.
    subject.mail(&event_of("4", "1", 3)).await;
}

async fn all_users_together_have_a_limit(subject: Subject) {
    for n in 0..6 {
        let claim = subject.claim_of(&n.to_string(), &n.to_string(), owner()).await;
        assert!(matches!(claim, Claim::Fresh(_)), "{n}: {claim:?}");
    }
    let claim = subject.claim_of("6", "6", owner()).await;
    let Claim::Held(wait) = claim else { panic!("{claim:?}") };
    assert!(wait <= MAIL_LIMIT.period / 6, "{wait:?}");
    if let Some(clock) = &subject.clock {
        clock.advance(jiff::SignedDuration::try_from(wait).expect("short"));
    }
    eventually("there is room again", async || {
        let claim = subject.claim_of("6", "6", owner()).await;
        matches!(claim, Claim::Fresh(_)).then_some(())
    })
    .await;
}

/// One process at a time uses the file, so nobody waits for the lease of an earlier one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_earlier_process_held_in_the_file_is_free() {
    let subject = Subject::embedded();
    let (earlier, later) = (Owners::new(1), Owners::new(2));
    drop(subject.sending(earlier.next()).await);
    assert!(matches!(subject.claim(earlier.next()).await, Claim::Busy(_)));
    let lease = subject.fresh(later.next()).await;
    assert!(lease.history().crashed_sending, "a mail may have been sent");
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
    an_event_near_its_end_gives_way_no_longer,
    an_older_event_gives_way_to_a_newer_one,
    an_older_event_ends_once_a_newer_one_was_mailed,
    all_users_together_have_a_limit,
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
