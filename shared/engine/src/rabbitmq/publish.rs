//! Publishing with confirms, many at once on one channel.

use std::{borrow::Cow, sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::{
    clock::Clock,
    event::QueuedEvent,
    fault::{Fault, Reason},
    ids::EventId,
    queue::Publish,
};
use lapin::{
    BasicProperties, Confirmation,
    options::BasicPublishOptions,
    types::{AMQPValue, FieldTable, ShortString},
};
use runtime::metrics::{Metrics, labels::ConnectionName};
use tokio::time::timeout;

use super::{
    ATTEMPT, DETAIL, QUEUED_AT, REASON, classify,
    supervisor::{Broker, Session, Supervisor},
    together::Together,
    topology::{Destination, routing_key},
};

/// Longest wait for the broker's confirm. The ingress must answer within what a sender waits.
const CONFIRM: Duration = Duration::from_secs(4);

/// Publishes, and returns only when the broker has confirmed.
pub struct RabbitPublisher {
    pub(super) supervisor: Supervisor,
    confirms: Together<Publishing, Result<(), Unconfirmed>>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    most_dead_letters: u64,
}

/// A message to publish: the bytes of the event, with what we know about them in headers.
pub(super) struct Message {
    pub(super) body: Vec<u8>,
    pub(super) id: Option<String>,
    pub(super) attempt: u32,
    pub(super) reason: Reason,
    pub(super) detail: String,
}

impl Message {
    /// A message for the first attempt.
    pub(super) fn first(body: Vec<u8>, id: Option<&EventId>) -> Self {
        let id = id.map(|id| id.as_str().to_owned());
        Self { body, id, attempt: 1, reason: Reason::None, detail: String::new() }
    }
}

const FULL: &str = "the broker refused the message: its queue is full";

impl RabbitPublisher {
    /// Starts a publisher that connects in the background.
    pub fn new(broker: Broker, clock: Arc<dyn Clock>) -> Self {
        let events = ShortString::from(broker.config.names.events());
        let metrics = Arc::clone(&broker.metrics);
        let most_dead_letters = broker.config.names.capacity.dead_letters;
        let supervisor = Supervisor::start(broker, ConnectionName::Publisher);
        let confirms = Together::start(move |message| confirmed(events.clone(), message));
        Self { supervisor, confirms, clock, metrics, most_dead_letters }
    }

    /// Counts the letter that a full queue dropped for a new one. The broker tells nobody: whether
    /// the queue is full is known from the last look at its depth.
    pub(super) fn count_dropped(&self) {
        if self.metrics.dead_letters() >= self.most_dead_letters {
            self.metrics.dead_letters_dropped(1);
        }
    }

    pub(super) async fn send(
        &self,
        destination: Destination,
        message: Message,
    ) -> Result<(), Fault> {
        let unavailable = |detail| Fault::transient(Reason::QueueUnavailable, detail);
        let session =
            self.supervisor.now().ok_or_else(|| unavailable("not connected to the broker"))?;
        let now = u64::try_from(self.clock.now().as_millisecond()).unwrap_or(0);
        let publishing = Publishing { session: Arc::clone(&session), destination, message, now };
        // A blocked broker reads nothing, so waiting is useless. It may still store the message
        // when it reads again; the claim makes that copy harmless.
        let result = tokio::select! {
            biased;
            () = session.blocked() => {
                return Err(Fault::transient(Reason::QueueBlocked, "the broker blocks publishing"));
            }
            result = timeout(CONFIRM, self.confirms.run(publishing)) => result,
        };
        match result {
            Ok(Some(Ok(()))) => Ok(()),
            Ok(Some(Err(Unconfirmed::Full))) => Err(Fault::transient(Reason::QueueFull, FULL)),
            Ok(None | Some(Err(Unconfirmed::Unroutable))) => {
                // Work queue and fallback are gone: a new session declares them again. lapin may
                // have attributed this return to the wrong one of several publishes in flight, so
                // none on that channel is trusted.
                session.fail();
                Err(unavailable("the broker has no queue for the message"))
            }
            Ok(Some(Err(Unconfirmed::Error(error)))) => {
                session.fail();
                Err(classify(&error))
            }
            Err(_) => {
                session.fail();
                Err(unavailable("no confirm in time"))
            }
        }
    }
}

/// A message on its way, with everything that it takes.
struct Publishing {
    session: Arc<Session>,
    destination: Destination,
    message: Message,
    /// The time, in milliseconds since 1970.
    now: u64,
}

/// Publishes, and waits for the broker's confirm.
async fn confirmed(exchange: ShortString, publishing: Publishing) -> Result<(), Unconfirmed> {
    let Publishing { session, destination, message, now } = publishing;
    let Message { body, id, attempt, reason, detail } = message;
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let properties = properties(id, headers(attempt, (reason, detail), now), now);
    let key = routing_key(destination);
    let sent = session.channel.basic_publish(exchange, key, options, &body, properties).await;
    let confirmation = sent.map_err(Unconfirmed::Error)?.await.map_err(Unconfirmed::Error)?;
    match confirmation {
        Confirmation::Ack(None) if !session.is_over() => Ok(()),
        Confirmation::Nack(_) => Err(Unconfirmed::Full),
        // Returned; or confirmed on a session that has ended since: it may be stored, but that is
        // not certain.
        Confirmation::Ack(_) | Confirmation::NotRequested => Err(Unconfirmed::Unroutable),
    }
}

fn headers(attempt: u32, (reason, detail): (Reason, String), now: u64) -> FieldTable {
    let mut headers = FieldTable::default();
    let attempt = i32::try_from(attempt).unwrap_or(i32::MAX);
    headers.insert(ATTEMPT.into(), AMQPValue::LongInt(attempt));
    if reason != Reason::None {
        headers.insert(REASON.into(), AMQPValue::LongString(reason.label().into()));
        headers.insert(DETAIL.into(), AMQPValue::LongString(detail.into()));
    }
    // AMQP timestamps are whole seconds, too coarse for the age of a code.
    let queued_at = i64::try_from(now).unwrap_or(i64::MAX);
    headers.insert(QUEUED_AT.into(), AMQPValue::LongLongInt(queued_at));
    headers
}

fn properties(id: Option<String>, headers: FieldTable, now: u64) -> BasicProperties {
    let properties = BasicProperties::default()
        .with_delivery_mode(2)
        .with_content_type("application/json".into())
        .with_timestamp(now / 1000)
        .with_headers(headers);
    match id {
        Some(id) => properties.with_message_id(id.into()),
        None => properties,
    }
}

enum Unconfirmed {
    /// Refused: the queue is full.
    Full,
    /// Returned, or not certain to be stored.
    Unroutable,
    /// The channel or the connection broke.
    Error(lapin::Error),
}

#[async_trait]
impl Publish for RabbitPublisher {
    async fn publish(&self, event: &QueuedEvent) -> Result<(), Fault> {
        let message = Message::first(event.encode(), Some(&event.event_id));
        self.send(Destination::Work, message).await
    }

    fn ready(&self) -> Result<(), Cow<'static, str>> {
        self.supervisor.view().ready()
    }

    fn system(&self) -> &'static str {
        super::SYSTEM
    }
}
