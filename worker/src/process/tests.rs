//! The story with every port scripted: the moments that no real dependency produces on request.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use domain::{
    address::EmailAddress,
    claims::{Claim, ClaimStore, Owner, Owners, Subject, Terms},
    clock::{Clock, SyncedClock},
    codes::CodeSource,
    ids::{EventId, MagicAuthId},
    login_code::{Code, LoginCode},
    queue::{Consume, Delivery, Receipt, Verdict},
    retry::starts_in_time,
};
use engine::{embedded::EmbeddedClaims, sqlite::Store};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use runtime::{health::Health, live::Live, metrics::Metrics};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    LanguageSources,
    breaker::CircuitBreaker,
    mail::{
        Accepted, BegunMail, Mailer,
        message::Sender,
        render::{TemplateOptions, Templates},
    },
    state::{OnAmbiguity, WorkerConfig},
};

mod many_relays;

const TERMS: Terms = Terms {
    lease: Duration::from_secs(20),
    sending: Duration::from_secs(20),
    done: Duration::from_secs(600),
    user_limit: None,
    mail_limit: None,
};

fn now() -> Timestamp {
    "2026-01-15T12:00:01Z".parse().expect("a time")
}

fn event() -> QueuedEvent {
    QueuedEvent::decode(
        include_str!("../../../shared/domain/tests/data/queued_event_v1.json").trim().as_bytes(),
    )
    .expect("the golden file")
}

/// A clock that is set by hand.
struct TestClock {
    now: Mutex<Timestamp>,
    synced: AtomicBool,
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        *self.now.lock()
    }
}

impl SyncedClock for TestClock {
    fn is_synced(&self) -> bool {
        self.synced.load(Ordering::Relaxed)
    }
}

/// The way the dependencies behave.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Behaviour {
    Normal,
    CodesPanic,
    /// The store cannot record a sent mail.
    RecordingFails,
    /// The lease is lost while the code is fetched.
    LeaseIsLost,
    StoreHangs,
    /// The reply to the announcement is lost, one time.
    ReplyIsLost,
    /// The relay is reached after ten minutes.
    RelayIsFar,
}

struct Scripted {
    behaviour: Behaviour,
    clock: Arc<TestClock>,
    lost_one: AtomicBool,
    store: EmbeddedClaims,
    _folder: tempfile::TempDir,
}

#[async_trait]
impl CodeSource for Scripted {
    async fn login_code(&self, _: &MagicAuthId) -> Result<LoginCode, Fault> {
        assert!(self.behaviour != Behaviour::CodesPanic, "a bug");
        Ok(LoginCode {
            code: Code::parse("123456".to_owned()).expect("valid"),
            recipient: EmailAddress::parse("alice@example.com").expect("valid"),
            expires_at: now() + SignedDuration::from_mins(9),
        })
    }
}

#[async_trait]
impl ClaimStore for Scripted {
    async fn claim(&self, subject: &Subject, owner: Owner) -> Result<Claim, Fault> {
        if self.behaviour == Behaviour::StoreHangs {
            std::future::pending::<()>().await;
        }
        self.store.claim(subject, owner).await
    }
    async fn sending(&self, lease: Lease) -> Result<Announced, (Lease, Fault)> {
        match self.behaviour {
            Behaviour::LeaseIsLost => Ok(Announced::Lost),
            // The store has taken note; only its reply is lost, and only this time.
            Behaviour::ReplyIsLost if !self.lost_one.swap(true, Ordering::Relaxed) => {
                let sending = self.store.sending(lease).await.expect("answers");
                let sending = sending.sending().expect("ours");
                Err((
                    sending.nothing_was_sent(),
                    Fault::transient(Reason::DedupeUnavailable, "the reply was lost"),
                ))
            }
            _ => self.store.sending(lease).await,
        }
    }
    async fn complete(&self, sending: &Sending, receipt: &str) -> Result<Completion, Fault> {
        if self.behaviour == Behaviour::RecordingFails {
            return Err(Fault::transient(Reason::DedupeUnavailable, "away"));
        }
        self.store.complete(sending, receipt).await
    }
    async fn release(&self, lease: Lease, then: &GivenBack) -> Result<(), Fault> {
        self.store.release(lease, then).await
    }
    async fn doubt(&self, sending: Sending, then: &GivenBack) -> Result<(), Fault> {
        self.store.doubt(sending, then).await
    }
    async fn withdraw(&self, subject: &Subject) -> Result<(), Fault> {
        self.store.withdraw(subject).await
    }
    async fn ready(&self) -> Result<(), Cow<'static, str>> {
        Ok(())
    }
}

#[async_trait]
impl Mailer for Scripted {
    async fn connect(&self, _: &Mail) -> Result<Box<dyn RelayConnection>, Fault> {
        if self.behaviour == Behaviour::RelayIsFar {
            *self.clock.now.lock() += SignedDuration::from_mins(10);
        }
        Ok(Box::new(Accepting))
    }
    async fn ready(&self) -> Result<(), Cow<'static, str>> {
        Ok(())
    }
}

fn accepted() -> Accepted {
    Accepted { receipt: "4Zx1".to_owned(), relay: "relay".into() }
}

/// A relay that accepts every mail.
struct Accepting;

#[async_trait]
impl RelayConnection for Accepting {
    async fn begin(self: Box<Self>, _: &Mail) -> Result<Box<dyn BegunMail>, SendError> {
        Ok(self)
    }
}

#[async_trait]
impl BegunMail for Accepting {
    async fn finish(self: Box<Self>, _: &Mail) -> Result<Accepted, SendError> {
        Ok(accepted())
    }
}

fn worker(behaviour: Behaviour, health: &mut Health) -> Worker {
    let clock = Arc::new(TestClock { now: Mutex::new(now()), synced: AtomicBool::new(false) });
    worker_with_clock(behaviour, health, clock)
}

fn worker_with_clock(behaviour: Behaviour, health: &mut Health, clock: Arc<TestClock>) -> Worker {
    let folder = tempfile::tempdir().expect("a folder");
    let store =
        EmbeddedClaims::new(Store::open(folder.path()).expect("opens"), clock.clone(), TERMS);
    let world = Arc::new(Scripted {
        behaviour,
        clock: clock.clone(),
        lost_one: AtomicBool::new(false),
        store,
        _folder: folder,
    });
    let metrics = Arc::new(Metrics::new("test").expect("declared rightly"));
    let sender =
        Sender { name: None, address: EmailAddress::parse("login@acme.example").expect("valid") };
    Worker {
        claims: world.clone(),
        owners: Owners::new(1),
        codes: world.clone(),
        languages: LanguageSources::default(),
        mailer: Live::new(world as Arc<dyn Mailer>),
        templates: Live::new(
            Templates::load(TemplateOptions::plain("Acme", sender)).expect("usable"),
        ),
        clock,
        chance: Arc::new(|| 0.0),
        breaker: Arc::new(CircuitBreaker::new(Arc::clone(&metrics), Arc::new(|| 0.0))),
        metrics,
        config: WorkerConfig {
            concurrency: 1,
            on_ambiguity: OnAmbiguity::Resend,
            record_for: Duration::from_millis(200),
        },
        heartbeat: health.heartbeat("worker"),
        stop: CancellationToken::new(),
    }
}

#[tokio::test]
async fn the_normal_case() {
    let worker = worker(Behaviour::Normal, &mut Health::default());
    assert_eq!(process(&worker, &Arc::new(event()), 1).await, Outcome::Sent(accepted()));
    assert_eq!(process(&worker, &Arc::new(event()), 1).await, Outcome::Duplicate);
}

#[tokio::test]
async fn a_mail_that_cannot_be_recorded_is_sent_all_the_same() {
    let worker = worker(Behaviour::RecordingFails, &mut Health::default());
    assert!(
        matches!(process(&worker, &Arc::new(event()), 1).await, Outcome::Sent { .. }),
        "after the 250 nothing becomes a retry"
    );
    assert!(worker.metrics.expose().contains("authpost_claims_total{result=\"unrecorded\"} 1"));
}

#[tokio::test]
async fn a_code_that_expires_on_the_way_to_the_relay_is_not_mailed() {
    // WorkOS was heard when the code was fetched.
    let clock = Arc::new(TestClock { now: Mutex::new(now()), synced: AtomicBool::new(true) });
    let worker = worker_with_clock(Behaviour::RelayIsFar, &mut Health::default(), clock);
    // Its lease ran out on the way as well; whichever is seen first.
    assert!(matches!(process(&worker, &Arc::new(event()), 1).await, Outcome::Expired { .. }));
    assert!(worker.metrics.expose().contains("authpost_delivery_seconds_count 0"));
}

#[tokio::test]
async fn an_expired_code_is_given_up_unasked_only_by_a_synced_clock() {
    let clock = Arc::new(TestClock { now: Mutex::new(now()), synced: AtomicBool::new(false) });
    let worker = worker_with_clock(Behaviour::Normal, &mut Health::default(), Arc::clone(&clock));
    let mut dead = event();
    dead.expires_at = now() - SignedDuration::from_secs(1);
    assert!(
        matches!(process(&worker, &Arc::new(dead.clone()), 1).await, Outcome::Sent { .. }),
        "WorkOS says that it is valid"
    );
    clock.synced.store(true, Ordering::Relaxed);
    dead.event_id = EventId::parse("event_2").expect("valid");
    assert_eq!(
        process(&worker, &Arc::new(dead), 1).await,
        Outcome::Expired { after: Reason::None }
    );
}

#[tokio::test]
async fn a_clock_that_workos_has_not_set_ends_no_event_until_an_hour_later() {
    let clock = Arc::new(TestClock { now: Mutex::new(now()), synced: AtomicBool::new(false) });
    let worker = worker_with_clock(Behaviour::Normal, &mut Health::default(), clock.clone());
    let is_kept = |minutes| {
        *clock.now.lock() = now() + SignedDuration::from_mins(minutes);
        starts_in_time(believed_now(&worker, &event()), Duration::ZERO, event().expires_at)
    };
    assert_eq!([9, 25, 69, 75].map(is_kept), [true, true, true, false]);
    clock.synced.store(true, Ordering::Relaxed);
    assert_eq!([9, 10, 25].map(is_kept), [true, false, false]);
}

#[tokio::test]
async fn a_lost_reply_costs_a_moment_and_not_a_term() {
    let worker = worker(Behaviour::ReplyIsLost, &mut Health::default());
    assert!(matches!(process(&worker, &Arc::new(event()), 1).await, Outcome::Sent { .. }));
}

#[tokio::test]
async fn without_a_lease_nothing_is_sent() {
    let worker = worker(Behaviour::LeaseIsLost, &mut Health::default());
    let outcome = process(&worker, &Arc::new(event()), 3).await;
    assert!(matches!(outcome, Outcome::Retry { attempt: 3, .. }), "{outcome:?}");
    let exposition = worker.metrics.expose();
    assert!(
        exposition.contains("authpost_claims_total{result=\"lost\"} 1")
            && exposition.contains("authpost_delivery_seconds_count 0")
    );
}

/// One delivery, and then none.
struct One {
    delivery: Option<Delivery>,
}

#[async_trait]
impl Consume for One {
    async fn next(&mut self) -> Delivery {
        match self.delivery.take() {
            Some(delivery) => delivery,
            None => std::future::pending().await,
        }
    }
    async fn give_back(&mut self) {}
    fn system(&self) -> &'static str {
        "test"
    }
}

/// Tells what a delivery was settled with.
struct Told(Arc<Mutex<Option<Verdict>>>, CancellationToken);

#[async_trait]
impl Receipt for Told {
    async fn settle(self: Box<Self>, verdict: Verdict) -> Result<(), Fault> {
        *self.0.lock() = Some(verdict);
        self.1.cancel();
        Ok(())
    }
}

fn one(worker: &Worker) -> (Box<One>, Arc<Mutex<Option<Verdict>>>) {
    let told = Arc::new(Mutex::new(None));
    let receipt = Box::new(Told(Arc::clone(&told), worker.stop.clone()));
    (
        Box::new(One {
            delivery: Some(Delivery { event: Ok(event()), attempt: 1, queued_at: None, receipt }),
        }),
        told,
    )
}

#[tokio::test]
async fn a_panic_dead_letters_its_event_and_the_loop_goes_on() {
    let worker = Arc::new(worker(Behaviour::CodesPanic, &mut Health::default()));
    let (queue, told) = one(&worker);
    crate::run(worker, queue).await;
    let verdict = told.lock().take();
    assert!(
        matches!(verdict, Some(Verdict::DeadLetter { reason: Reason::Panicked, .. })),
        "{verdict:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_worker_whose_tasks_never_end_is_called_stuck_and_an_idle_one_is_not() {
    let mut health = Health::default();
    let idle = Arc::new(worker(Behaviour::Normal, &mut health));
    let running = tokio::spawn(crate::run(Arc::clone(&idle), Box::new(One { delivery: None })));
    tokio::time::advance(Duration::from_secs(1000)).await;
    sleep(Duration::from_secs(10)).await;
    assert!(health.stuck().is_empty());
    idle.stop.cancel();
    running.await.expect("no panic");

    let mut health = Health::default();
    let hanging = Arc::new(worker(Behaviour::StoreHangs, &mut health));
    let (queue, _) = one(&hanging);
    let running = tokio::spawn(crate::run(Arc::clone(&hanging), queue));
    sleep(Duration::from_secs(200)).await;
    assert_eq!(health.stuck(), ["worker"]);
    running.abort();
}
