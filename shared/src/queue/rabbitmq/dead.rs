//! Dead letters, and what waits, at the broker: looked at from outside.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use lapin::{
    Channel,
    message::BasicGetMessage,
    options::{BasicAckOptions, BasicGetOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use tokio::time::timeout;

use super::{
    ATTEMPT, DETAIL, QUEUED_AT, REASON, classify, integer,
    publish::{Message, RabbitPublisher},
    topology::{Destination, Names},
};
use crate::{
    event::QueuedEvent,
    fault::{Fault, Reason},
    queue::{
        dead::{DeadLetter, DeadLetters, Fate, Judge, MOST_LETTERS},
        search::{MOST_MESSAGES, Search, Waiting, Wanted},
    },
    retry::STAGES,
};

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Longest wait for each answer.
const STEP: Duration = Duration::from_secs(5);

/// What the broker itself says of a message that workers died on.
const DELIVERY_LIMIT: &str = "delivery_limit";

/// Messages are held while they are looked at, and go back, in their order, when the look ends.
pub struct RabbitLook {
    publisher: Arc<RabbitPublisher>,
    names: Names,
}

impl RabbitLook {
    /// Over the connection of `publisher`, by which letters are also sent back to work.
    pub fn new(publisher: Arc<RabbitPublisher>, names: Names) -> Self {
        Self { publisher, names }
    }

    async fn look(&self, channel: &Channel, judge: &Judge) -> Result<Vec<(DeadLetter, Fate)>, Fault> {
        let mut judged = Vec::new();
        while judged.len() < MOST_LETTERS {
            let got = in_time(channel.basic_get(self.names.dead().into(), BasicGetOptions::default())).await?;
            let Some(message) = got else { break };
            let letter = read(&message);
            let fate = judge(&letter);
            if fate == Fate::Redrive {
                let id = letter.event.as_ref().ok().map(|event| event.event_id.as_str());
                let copy = Message { body: &message.delivery.data, id, attempt: 1, reason: Reason::None, detail: "" };
                self.publisher.send(Destination::Work, copy).await?;
            }
            if fate != Fate::Keep && !in_time(message.delivery.acker.ack(BasicAckOptions::default())).await? {
                return Err(Fault::transient(Reason::QueueUnavailable, "the channel was lost before the acknowledgement"));
            }
            judged.push((letter, fate));
        }
        Ok(judged)
    }
}

impl RabbitLook {
    /// A channel of its own: when it closes, what was looked at and kept is back in its place.
    async fn channel(&self) -> Result<Channel, Fault> {
        let no_connection = |_| Fault::transient(Reason::QueueUnavailable, "no connection to the broker in time");
        let session = timeout(CONNECT, self.publisher.link.state().up()).await.map_err(no_connection)?;
        in_time(session.connection.create_channel()).await
    }

    /// What is ready in one queue now, as far as it is wanted.
    async fn look_into(&self, place: &str, queue: String, wanted: &Wanted) -> Result<Vec<Waiting>, Fault> {
        let channel = self.channel().await?;
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
        let ready = in_time(channel.queue_declare(queue.clone().into(), passive, FieldTable::default())).await?.message_count();
        let mut found = Vec::new();
        for _ in 0..usize::try_from(ready).unwrap_or(usize::MAX).min(MOST_MESSAGES) {
            let Some(message) = in_time(channel.basic_get(queue.clone().into(), BasicGetOptions::default())).await? else { break };
            let DeadLetter { event, reason, attempt, died_at, .. } = read(&message);
            let reason = Some(reason).filter(|reason| reason != DELIVERY_LIMIT);
            let waiting = event.ok().filter(|event| wanted(event));
            found.extend(waiting.map(|event| Waiting { place: place.to_owned(), event, attempt, reason, since: died_at }));
        }
        in_time(channel.close(200, "looked".into())).await?;
        Ok(found)
    }
}

#[async_trait]
impl Search for RabbitLook {
    async fn search(&self, wanted: Wanted) -> Result<Vec<Waiting>, Fault> {
        let fixed = [("work", self.names.work()), ("late", self.names.late()), ("unrouted", self.names.unrouted())];
        let resting = STAGES.map(|stage| ("retry", self.names.retry(stage)));
        let mut found = Vec::new();
        for (place, queue) in fixed.into_iter().chain(resting) {
            found.extend(self.look_into(place, queue, &wanted).await?);
        }
        Ok(found)
    }
}

#[async_trait]
impl DeadLetters for RabbitLook {
    async fn walk(&self, judge: Judge) -> Result<Vec<(DeadLetter, Fate)>, Fault> {
        let channel = self.channel().await?;
        let judged = self.look(&channel, &judge).await;
        in_time(channel.close(200, "looked".into())).await?;
        judged
    }
}

async fn in_time<T>(answer: impl Future<Output = lapin::Result<T>>) -> Result<T, Fault> {
    match timeout(STEP, answer).await {
        Ok(result) => result.map_err(|error| classify(&error)),
        Err(_) => Err(Fault::transient(Reason::QueueUnavailable, "no answer in time")),
    }
}

fn read(message: &BasicGetMessage) -> DeadLetter {
    let headers = message.delivery.properties.headers().as_ref().map(FieldTable::inner);
    let header = |name: &str| headers.and_then(|headers| headers.get(name));
    let text = |name: &str| match header(name) {
        Some(AMQPValue::LongString(text)) => Some(text.to_string()),
        _ => None,
    };
    let number = |name: &str| header(name).and_then(integer);
    DeadLetter {
        event: QueuedEvent::decode(&message.delivery.data),
        reason: text(REASON).unwrap_or_else(|| DELIVERY_LIMIT.to_owned()),
        detail: text(DETAIL).unwrap_or_default(),
        attempt: number(ATTEMPT).and_then(|attempt| u32::try_from(attempt).ok()).unwrap_or(1),
        died_at: number(QUEUED_AT).and_then(|millisecond| Timestamp::from_millisecond(millisecond).ok()),
    }
}
