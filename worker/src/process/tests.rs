//! The story with every port in hand: the moments that no real dependency produces on request.

use std::{
    borrow::Cow,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use shared::{
    address::EmailAddress,
    clock::Clock,
    dedupe::{DedupeStore, embedded::EmbeddedDedupe},
    health::Health,
    ids::{EventId, MagicAuthId},
    login_code::{Code, LoginCode},
    metrics::Metrics,
    queue::{Consume, Delivery, Receipt, Verdict},
    sqlite::Store,
    workos::{CodeSource, WorkosClock},
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    Manner, Pause,
    mail::{Accepted, Mailer, message::Sender, render::Templates},
};

const TERMS: shared::dedupe::Terms =
    shared::dedupe::Terms { lease: Duration::from_secs(20), sending: Duration::from_secs(20), done: Duration::from_secs(600) };

fn now() -> Timestamp {
    "2026-01-15T12:00:01Z".parse().expect("a time")
}

fn event() -> QueuedEvent {
    QueuedEvent::decode(include_str!("../../../shared/tests/data/queued_event_v1.json").trim().as_bytes()).expect("the golden file")
}

/// A clock that moves when told to.
struct Hands(Mutex<Timestamp>);

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("not poisoned")
    }
}

/// What the world does when asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weather {
    Fine,
    /// Fetching the code panics.
    CodesPanic,
    /// The store forgets how to record.
    RecordingFails,
    /// The lease is taken away while the code is fetched.
    LeaseIsLost,
    /// The store never answers.
    StoreHangs,
    /// The reply to the announcement is lost, one time.
    ReplyIsLost,
    /// The relay is reached after ten minutes.
    RelayIsFar,
}

struct World {
    weather: Weather,
    clock: Arc<Hands>,
    lost_one: AtomicBool,
    store: EmbeddedDedupe,
    _folder: tempfile::TempDir,
}

#[async_trait]
impl CodeSource for World {
    async fn login_code(&self, _: &MagicAuthId) -> Result<LoginCode, Fault> {
        assert!(self.weather != Weather::CodesPanic, "a bug");
        Ok(LoginCode {
            code: Code::parse("123456".to_owned()).expect("valid"),
            recipient: EmailAddress::parse("alice@example.com").expect("valid"),
            expires_at: now() + SignedDuration::from_mins(9),
        })
    }
}

#[async_trait]
impl DedupeStore for World {
    async fn claim(&self, event_id: &EventId, owner: Owner) -> Result<Claim, Fault> {
        if self.weather == Weather::StoreHangs {
            std::future::pending::<()>().await;
        }
        self.store.claim(event_id, owner).await
    }
    async fn sending(&self, lease: Lease) -> Result<Option<Sending>, (Lease, Fault)> {
        match self.weather {
            Weather::LeaseIsLost => Ok(None),
            // The store has taken note; only its reply is lost, and only this time.
            Weather::ReplyIsLost if !self.lost_one.swap(true, Ordering::Relaxed) => {
                let sending = self.store.sending(lease).await.expect("answers").expect("ours");
                Err((sending.nothing_was_sent(), Fault::transient(Reason::DedupeUnavailable, "the reply was lost")))
            }
            _ => self.store.sending(lease).await,
        }
    }
    async fn complete(&self, sending: &Sending, receipt: &str) -> Result<Completion, Fault> {
        if self.weather == Weather::RecordingFails {
            return Err(Fault::transient(Reason::DedupeUnavailable, "away"));
        }
        self.store.complete(sending, receipt).await
    }
    async fn release(&self, lease: Lease) -> Result<(), Fault> {
        self.store.release(lease).await
    }
    async fn doubt(&self, sending: Sending) -> Result<(), Fault> {
        self.store.doubt(sending).await
    }
    async fn ready(&self) -> Result<(), Cow<'static, str>> {
        Ok(())
    }
}

#[async_trait]
impl Mailer for World {
    async fn connect(&self) -> Result<Box<dyn Relay>, Fault> {
        if self.weather == Weather::RelayIsFar {
            *self.clock.0.lock().expect("not poisoned") += SignedDuration::from_mins(10);
        }
        Ok(Box::new(Counting))
    }
    async fn ready(&self) -> Result<(), Cow<'static, str>> {
        Ok(())
    }
}

/// Accepts everything.
struct Counting;

#[async_trait]
impl Relay for Counting {
    async fn send(self: Box<Self>, _: &Mail) -> Result<Accepted, SendError> {
        Ok(Accepted { receipt: "4Zx1".to_owned() })
    }
}

fn back(weather: Weather, health: &mut Health) -> Back {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Arc::new(Hands(Mutex::new(now())));
    let store = EmbeddedDedupe::new(Store::open(folder.path()).expect("opens"), clock.clone(), TERMS);
    let world = Arc::new(World { weather, clock: clock.clone(), lost_one: AtomicBool::new(false), store, _folder: folder });
    let metrics = Arc::new(Metrics::new("test").expect("declared rightly"));
    let clock = Arc::new(WorkosClock::new(clock, Arc::clone(&metrics)));
    let sender = Sender { name: None, address: EmailAddress::parse("login@acme.example").expect("valid") };
    Back {
        dedupe: world.clone(),
        codes: world.clone(),
        mailer: world,
        templates: Templates::load(None, "Acme", sender).expect("usable"),
        clock,
        chance: Arc::new(|| 0.0),
        pause: Arc::new(Pause::new(Arc::clone(&metrics), Arc::new(|| 0.0))),
        metrics,
        manner: Manner { concurrency: 1, on_ambiguity: OnAmbiguity::Resend, record_for: Duration::from_millis(200) },
        heartbeat: health.heartbeat("worker"),
        stop: CancellationToken::new(),
    }
}

#[tokio::test]
async fn a_fine_day() {
    let back = back(Weather::Fine, &mut Health::default());
    assert_eq!(process(&back, &event(), 1).await, Outcome::Sent { receipt: "4Zx1".to_owned() });
    assert_eq!(process(&back, &event(), 1).await, Outcome::Duplicate);
}

#[tokio::test]
async fn a_mail_that_cannot_be_recorded_is_sent_all_the_same() {
    let back = back(Weather::RecordingFails, &mut Health::default());
    assert!(matches!(process(&back, &event(), 1).await, Outcome::Sent { .. }), "after the 250 nothing becomes a retry");
    assert!(back.metrics.expose().contains("authpost_claims_total{result=\"unrecorded\"} 1"));
}

#[tokio::test]
async fn a_code_that_dies_on_the_way_to_the_relay_is_not_mailed() {
    let back = back(Weather::RelayIsFar, &mut Health::default());
    // Its lease ran out on the way as well; whichever is seen first.
    assert!(matches!(process(&back, &event(), 1).await, Outcome::Expired { .. }));
    assert!(back.metrics.expose().contains("authpost_delivery_seconds_count 0"));
}

#[tokio::test]
async fn a_code_is_given_up_unasked_only_by_a_clock_that_was_compared() {
    let back = back(Weather::Fine, &mut Health::default());
    let mut dead = event();
    dead.expires_at = now() - SignedDuration::from_secs(1);
    assert!(matches!(process(&back, &dead, 1).await, Outcome::Sent { .. }), "WorkOS says that it lives");
    back.clock.compare(now());
    dead.event_id = EventId::parse("event_2").expect("valid");
    assert_eq!(process(&back, &dead, 1).await, Outcome::Expired { after: Reason::None });
}

#[tokio::test]
async fn a_lost_reply_costs_a_moment_and_not_a_term() {
    let back = back(Weather::ReplyIsLost, &mut Health::default());
    assert!(matches!(process(&back, &event(), 1).await, Outcome::Sent { .. }));
}

#[tokio::test]
async fn without_a_lease_nothing_is_sent() {
    let back = back(Weather::LeaseIsLost, &mut Health::default());
    let outcome = process(&back, &event(), 3).await;
    assert!(matches!(outcome, Outcome::Retry { attempt: 3, .. }), "{outcome:?}");
    let exposition = back.metrics.expose();
    assert!(exposition.contains("authpost_claims_total{result=\"lost\"} 1") && exposition.contains("authpost_delivery_seconds_count 0"));
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
        *self.0.lock().expect("not poisoned") = Some(verdict);
        self.1.cancel();
        Ok(())
    }
}

fn one(back: &Back) -> (Box<One>, Arc<Mutex<Option<Verdict>>>) {
    let told = Arc::new(Mutex::new(None));
    let receipt = Box::new(Told(Arc::clone(&told), back.stop.clone()));
    (Box::new(One { delivery: Some(Delivery { event: Ok(event()), attempt: 1, queued_at: None, receipt }) }), told)
}

#[tokio::test]
async fn a_bug_buries_its_event_and_the_loop_goes_on() {
    let back = Arc::new(back(Weather::CodesPanic, &mut Health::default()));
    let (queue, told) = one(&back);
    crate::run(back, queue).await;
    let verdict = told.lock().expect("not poisoned").take();
    assert!(matches!(verdict, Some(Verdict::Bury { reason: Reason::Panicked, .. })), "{verdict:?}");
}

#[tokio::test(start_paused = true)]
async fn a_worker_whose_tasks_never_end_is_called_stuck_and_an_idle_one_is_not() {
    let mut health = Health::default();
    let idle = Arc::new(back(Weather::Fine, &mut health));
    let running = tokio::spawn(crate::run(Arc::clone(&idle), Box::new(One { delivery: None })));
    tokio::time::advance(Duration::from_secs(1000)).await;
    sleep(Duration::from_secs(10)).await;
    assert!(health.stuck().is_empty());
    idle.stop.cancel();
    running.await.expect("no panic");

    let mut health = Health::default();
    let hanging = Arc::new(back(Weather::StoreHangs, &mut health));
    let (queue, _) = one(&hanging);
    let running = tokio::spawn(crate::run(Arc::clone(&hanging), queue));
    sleep(Duration::from_secs(200)).await;
    assert_eq!(health.stuck(), ["worker"]);
    running.abort();
}
