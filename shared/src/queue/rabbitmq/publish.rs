//! Publishing with confirms, many at once on one channel.

use std::{borrow::Cow, sync::Arc, time::Duration};

use async_trait::async_trait;
use lapin::{
    BasicProperties, Confirmation,
    options::BasicPublishOptions,
    types::{AMQPValue, FieldTable, ShortString},
};
use tokio::time::timeout;

use super::{
    ATTEMPT, DETAIL, REASON, classify,
    link::{Broker, Link, Session},
    topology::{Destination, routing_key},
};
use crate::{
    clock::Clock,
    event::QueuedEvent,
    fault::{Fault, Reason},
    metrics::labels::LinkName,
    queue::Publish,
};

/// Longest wait for the broker's confirm. The front's whole answer must fit into what a sender waits.
const CONFIRM: Duration = Duration::from_secs(4);

/// Says "stored" only when the broker did.
pub struct RabbitPublisher {
    pub(super) link: Link,
    clock: Arc<dyn Clock>,
    events: ShortString,
}

/// What goes out: the same bytes that came in, with what we know about them in headers.
pub(super) struct Message<'a> {
    pub(super) body: &'a [u8],
    pub(super) id: Option<&'a str>,
    pub(super) attempt: u32,
    pub(super) reason: Reason,
    pub(super) detail: &'a str,
}

impl RabbitPublisher {
    /// Connects in the background.
    pub fn new(broker: Broker, clock: Arc<dyn Clock>) -> Self {
        let events = ShortString::from(broker.names.events());
        Self { link: Link::open(broker, LinkName::Publisher), clock, events }
    }

    pub(super) async fn send(&self, destination: Destination, message: Message<'_>) -> Result<(), Fault> {
        let session = self.link.now().ok_or_else(|| Fault::transient(Reason::QueueUnavailable, "not connected to the broker"))?;
        // A blocked broker reads nothing, so there is nothing to wait for: refusing at once is honest. What it has not
        // read it may still store when it reads again; the claim makes that copy harmless.
        let result = tokio::select! {
            biased;
            () = session.blocked() => {
                return Err(Fault::transient(Reason::QueueBlocked, "the broker has stopped taking messages"));
            }
            result = timeout(CONFIRM, self.confirmed(&session, destination, message)) => result,
        };
        match result {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Unconfirmed::Full)) => Err(Fault::transient(Reason::QueueFull, "the broker refused the message: its queue is full")),
            Ok(Err(Unconfirmed::Unroutable)) => {
                // Work queue and fallback are gone: a new session declares them again. lapin may have given this
                // return to the wrong one of several publishes in flight, so none of that channel is believed.
                session.fail();
                Err(Fault::transient(Reason::QueueUnavailable, "the broker knows no queue for the message"))
            }
            Ok(Err(Unconfirmed::Error(error))) => {
                session.fail();
                Err(classify(&error))
            }
            Err(_) => {
                session.fail();
                Err(Fault::transient(Reason::QueueUnavailable, "no confirm in time"))
            }
        }
    }

    async fn confirmed(&self, session: &Arc<Session>, destination: Destination, message: Message<'_>) -> Result<(), Unconfirmed> {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let properties = self.properties(&message);
        let sent = session.channel.basic_publish(self.events.clone(), routing_key(destination), options, message.body, properties).await;
        let confirmation = sent.map_err(Unconfirmed::Error)?.await.map_err(Unconfirmed::Error)?;
        match confirmation {
            Confirmation::Ack(None) if !session.is_over() => Ok(()),
            Confirmation::Nack(_) => Err(Unconfirmed::Full),
            // Returned; or confirmed on a channel that was given up meanwhile: it may be stored, but nobody vouches.
            Confirmation::Ack(_) | Confirmation::NotRequested => Err(Unconfirmed::Unroutable),
        }
    }

    fn properties(&self, message: &Message<'_>) -> BasicProperties {
        let now = u64::try_from(self.clock.now().as_millisecond()).unwrap_or(0);
        let mut headers = FieldTable::default();
        headers.insert(ATTEMPT.into(), AMQPValue::LongInt(i32::try_from(message.attempt).unwrap_or(i32::MAX)));
        if message.reason != Reason::None {
            headers.insert(REASON.into(), AMQPValue::LongString(message.reason.label().into()));
            headers.insert(DETAIL.into(), AMQPValue::LongString(message.detail.into()));
        }
        // AMQP timestamps are seconds; the age of a code is felt in less.
        headers.insert(super::QUEUED_AT.into(), AMQPValue::LongLongInt(i64::try_from(now).unwrap_or(i64::MAX)));
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_type("application/json".into())
            .with_timestamp(now / 1000)
            .with_headers(headers);
        match message.id {
            Some(id) => properties.with_message_id(id.into()),
            None => properties,
        }
    }
}

enum Unconfirmed {
    /// Refused: the queue is at its length.
    Full,
    /// Confirmed to have gone nowhere.
    Unroutable,
    /// The channel or the connection broke.
    Error(lapin::Error),
}

#[async_trait]
impl Publish for RabbitPublisher {
    async fn publish(&self, event: &QueuedEvent) -> Result<(), Fault> {
        let body = event.encode();
        let message = Message { body: &body, id: Some(event.event_id.as_str()), attempt: 1, reason: Reason::None, detail: "" };
        self.send(Destination::Work, message).await
    }

    fn ready(&self) -> Result<(), Cow<'static, str>> {
        self.link.state().ready()
    }

    fn system(&self) -> &'static str {
        super::SYSTEM
    }
}
