//! What every queue must do.

use std::{path::Path, sync::Arc};

use domain::{
    clock::Clock as _,
    event::QueuedEvent,
    fault::Reason,
    queue::{Capacity, Consume, Delivery, FRESH_FOR, Inspect, Publish, Verdict},
    retry::Stage,
};
use engine::{
    embedded::EmbeddedQueue,
    rabbitmq::{Broker, BrokerConfig, Names, RabbitConsumer, RabbitPublisher},
    sqlite::Store,
};
use lapin::options::BasicPublishOptions;
use runtime::{clock::SystemClock, metrics::Metrics};
use sandbox::clock::ManualClock;
use secrecy::SecretString;

use crate::harness::{app, eventually, in_time, queues, services::Services};

/// The queue under test, with its ports.
struct Subject {
    publish: Arc<dyn Publish>,
    consume: Box<dyn Consume>,
    inspect: Arc<dyn Inspect>,
    clock: Arc<ManualClock>,
    place: Place,
    longest: u64,
}

enum Place {
    Folder(tempfile::TempDir),
    Prefix(String),
}

impl Subject {
    fn embedded(longest: u64) -> Self {
        Self::open(Place::Folder(tempfile::tempdir().expect("a folder")), longest)
    }

    fn rabbitmq(longest: u64) -> Self {
        Self::open(Place::Prefix(app::fresh_prefix()), longest)
    }

    fn open(place: Place, longest: u64) -> Self {
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        match &place {
            Place::Folder(folder) => {
                let queue = embedded(folder.path(), &clock, capacity(longest));
                let consume = Box::new(queue.consumer(8));
                let publish = Arc::new(queue.clone());
                Self { publish, consume, inspect: Arc::new(queue), clock, place, longest }
            }
            Place::Prefix(prefix) => {
                let publisher = Arc::new(RabbitPublisher::new(
                    broker(prefix, capacity(longest)),
                    clock.clone(),
                ));
                let consumer = RabbitConsumer::new(
                    broker(prefix, capacity(longest)),
                    Arc::clone(&publisher),
                    8,
                );
                let inspect = Arc::new(consumer.inspector());
                let consume = Box::new(consumer);
                Self { publish: publisher, consume, inspect, clock, place, longest }
            }
        }
    }

    /// The same queue after everything that used it is gone, as after a crash.
    fn reopen(self) -> Self {
        let Self { publish, consume, inspect, place, longest, .. } = self;
        drop((publish, consume, inspect));
        Self::open(place, longest)
    }

    async fn publish(&self, number: u32) -> QueuedEvent {
        let event = event(number);
        eventually("the queue can be reached", async || self.publish.ready().ok()).await;
        self.publish.publish(&event).await.expect("published");
        event
    }

    async fn next(&mut self) -> Delivery {
        in_time("a delivery", self.consume.next()).await
    }

    /// The embedded engine goes by its clock, the broker by its own.
    async fn let_it_become_late(&self) {
        let beyond = jiff::SignedDuration::try_from(FRESH_FOR).expect("short")
            + jiff::SignedDuration::from_secs(1);
        self.clock.advance(beyond);
        if let Place::Prefix(prefix) = &self.place {
            let names = Names::new(prefix, capacity(self.longest));
            eventually("the broker calls it late", async || {
                (queues::ready_in(Services::shared().amqp_url(), [names.late()]).await == 1)
                    .then_some(())
            })
            .await;
        }
    }

    async fn end(self) {
        let Self { publish, consume, inspect, place, .. } = self;
        drop((publish, consume, inspect));
        if let Place::Prefix(prefix) = place {
            queues::delete_queues(Services::shared().amqp_url(), &prefix).await;
        }
    }
}

/// As many dead letters as events.
fn capacity(longest: u64) -> Capacity {
    Capacity { events: longest, dead_letters: longest }
}

fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::new("test").expect("declared rightly"))
}

fn embedded(folder: &Path, clock: &Arc<ManualClock>, capacity: Capacity) -> EmbeddedQueue {
    // The former handle's thread may still be closing the file.
    let store = loop {
        match Store::open(folder) {
            Ok(store) => break store,
            Err(engine::sqlite::OpenError::InUse { .. }) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    };
    EmbeddedQueue::new(store, clock.clone(), capacity, metrics())
}

fn broker(prefix: &str, capacity: Capacity) -> Broker {
    let url = SecretString::from(Services::shared().amqp_url().to_owned());
    let trust = runtime::tls::Trust::load(None).expect("usable");
    Broker {
        config: BrokerConfig::parse(&url, Names::new(prefix, capacity), &trust).expect("a URL"),
        metrics: metrics(),
        chance: Arc::new(|| 0.5),
    }
}

fn event(number: u32) -> QueuedEvent {
    let message = format!(
        r#"{{"v":1,"event_id":"event_{number}","kind":"magic_auth.created",
           "object_id":"magic_auth_{number}","created_at":"2026-01-15T12:00:00Z",
           "expires_at":"2026-01-15T12:10:00Z","received_at":"2026-01-15T12:00:01Z"}}"#
    );
    QueuedEvent::decode(message.as_bytes()).expect("an event")
}

async fn what_is_published_is_delivered_as_it_was(mut queue: Subject) {
    let event = queue.publish(1).await;
    let delivery = queue.next().await;
    assert_eq!(delivery.event, Ok(event));
    assert_eq!(delivery.attempt, 1);
    assert_eq!(
        delivery.queued_at.map(jiff::Timestamp::as_millisecond),
        Some(queue.clock.now().as_millisecond())
    );
    delivery.settle(Verdict::Done).await.expect("settled");
    queue.end().await;
}

async fn many_at_once_arrive_once_each(mut queue: Subject) {
    queue.publish(0).await;
    let events: Vec<_> = (1..200).map(event).collect();
    let published = events.iter().map(|event| queue.publish.publish(event));
    for result in futures_util::future::join_all(published).await {
        result.expect("published");
    }
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..200 {
        let delivery = queue.next().await;
        assert!(
            seen.insert(delivery.event.as_ref().expect("an event").event_id.to_string()),
            "delivered twice"
        );
        delivery.settle(Verdict::Done).await.expect("settled");
    }
    queue.end().await;
}

async fn a_retry_comes_back_after_its_rest_with_its_number(mut queue: Subject) {
    let event = queue.publish(1).await;
    let verdict = Verdict::Retry { stage: Stage::S2, attempt: 7, reason: Reason::RelayDeferred };
    queue.next().await.settle(verdict).await.expect("settled");
    assert_eq!(eventually_depths(&queue, |depths| depths.retry == 1).await.work, 0);
    queue.clock.advance(jiff::SignedDuration::from_secs(2));
    let delivery = queue.next().await;
    assert_eq!((delivery.event.clone(), delivery.attempt), (Ok(event), 7));
    delivery.settle(Verdict::Done).await.expect("settled");
    queue.end().await;
}

async fn a_buried_message_stays_buried(mut queue: Subject) {
    queue.publish(1).await;
    let verdict = Verdict::DeadLetter { reason: Reason::NotFound, detail: "gone".into() };
    queue.next().await.settle(verdict).await.expect("settled");
    assert_eq!(eventually_depths(&queue, |depths| depths.dead == 1).await.work, 0);
    let queue = queue.reopen();
    eventually("the queue can be reached", async || queue.publish.ready().ok()).await;
    eventually_depths(&queue, |depths| depths.dead == 1 && depths.work == 0).await;
    queue.end().await;
}

async fn what_is_not_settled_is_handed_out_again(mut queue: Subject) {
    let event = queue.publish(1).await;
    let unsettled = queue.next().await;
    assert_eq!(unsettled.event, Ok(event.clone()));
    drop(unsettled);
    let mut queue = queue.reopen();
    let again = queue.next().await;
    assert_eq!(again.event, Ok(event));
    again.settle(Verdict::Done).await.expect("settled");
    queue.end().await;
}

async fn waiting_messages_survive_a_restart(queue: Subject) {
    for number in 0..10 {
        queue.publish(number).await;
    }
    let mut queue = queue.reopen();
    for _ in 0..10 {
        queue.next().await.settle(Verdict::Done).await.expect("settled");
    }
    queue.end().await;
}

async fn an_undecodable_message_is_one_bad_delivery(mut queue: Subject) {
    let good = queue.publish(1).await;
    match &queue.place {
        Place::Folder(folder) => {
            let database =
                rusqlite::Connection::open(folder.path().join("authpost.db")).expect("opens");
            database.busy_timeout(crate::harness::PATIENCE).expect("set");
            let sql = "INSERT INTO queue (due_ms, attempt, queued_ms, payload) \
                       VALUES (0, 1, 0, x'ff')";
            database.execute(sql, []).expect("inserted");
        }
        Place::Prefix(prefix) => {
            let connection = lapin::Connection::connect(
                Services::shared().amqp_url(),
                lapin::ConnectionProperties::default(),
            )
            .await
            .expect("connects");
            let channel = connection.create_channel().await.expect("a channel");
            let properties = lapin::BasicProperties::default().with_delivery_mode(2);
            let sent = channel.basic_publish(
                format!("{prefix}.events").into(),
                "work".into(),
                BasicPublishOptions::default(),
                b"\xff",
                properties,
            );
            sent.await.expect("sent").await.expect("taken");
            connection.close(200, "bye".into()).await.expect("closed");
        }
    }
    let mut deliveries = [queue.next().await, queue.next().await];
    deliveries.sort_by_key(|delivery| delivery.event.is_err());
    let [fine, bad] = deliveries;
    assert_eq!(fine.event, Ok(good));
    assert!(bad.event.is_err());
    fine.settle(Verdict::Done).await.expect("settled");
    bad.settle(Verdict::Done).await.expect("settled");
    queue.end().await;
}

async fn a_full_queue_refuses_and_recovers(mut queue: Subject) {
    queue.publish(0).await;
    let mut stored = 1;
    let refused = loop {
        match queue.publish.publish(&event(stored)).await {
            Ok(()) => stored += 1,
            Err(fault) => break fault,
        }
        // A quorum queue learns of its length a moment late; a handful over is its documented
        // inexactness.
        assert!(stored < 200, "never refused");
    };
    assert_eq!(refused.reason, Reason::QueueFull);
    for _ in 0..stored {
        queue.next().await.settle(Verdict::Done).await.expect("settled");
    }
    eventually("there is room", async || queue.publish.publish(&event(1000)).await.ok()).await;
    queue.next().await.settle(Verdict::Done).await.expect("settled");
    queue.end().await;
}

async fn what_has_become_late_goes_after_what_is_fresh(mut queue: Subject) {
    let early = queue.publish(1).await;
    queue.let_it_become_late().await;
    let later = queue.publish(2).await;
    let (first, second) = (queue.next().await, queue.next().await);
    assert_eq!((&first.event, &second.event), (&Ok(later), &Ok(early)));
    for delivery in [first, second] {
        delivery.settle(Verdict::Done).await.expect("settled");
    }
    queue.end().await;
}

async fn eventually_depths(
    queue: &Subject,
    fits: impl Fn(&domain::queue::Depths) -> bool,
) -> domain::queue::Depths {
    eventually("the depths", async || queue.inspect.depths().await.ok().filter(&fits)).await
}

async fn too_many_dead_letters_displace_the_oldest(mut queue: Subject) {
    for number in 1..=9 {
        queue.publish(number).await;
        let reason = Reason::NotFound;
        let verdict = Verdict::DeadLetter { reason, detail: "gone".into() };
        queue.next().await.settle(verdict).await.expect("settled");
    }
    let depths = eventually_depths(&queue, |depths| depths.dead == 4).await;
    assert_eq!((depths.work, depths.retry), (0, 0));
    queue.end().await;
}

macro_rules! contract {
    ($($name:ident($longest:literal),)*) => {
        mod embedded_queue {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Subject::embedded($longest)).await;
            })*
        }
        mod rabbitmq_queue {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
            async fn $name() {
                super::$name(super::Subject::rabbitmq($longest)).await;
            })*
        }
    };
}

contract! {
    what_is_published_is_delivered_as_it_was(1000),
    many_at_once_arrive_once_each(1000),
    a_retry_comes_back_after_its_rest_with_its_number(1000),
    a_buried_message_stays_buried(1000),
    what_is_not_settled_is_handed_out_again(1000),
    waiting_messages_survive_a_restart(1000),
    an_undecodable_message_is_one_bad_delivery(1000),
    a_full_queue_refuses_and_recovers(3),
    what_has_become_late_goes_after_what_is_fresh(1000),
    too_many_dead_letters_displace_the_oldest(4),
}
