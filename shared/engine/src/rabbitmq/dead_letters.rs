//! Dead letters at the broker, for an operator.
//!
//! A letter that one reader holds is hidden from every other, so readers take turns: an exclusive
//! queue, which belongs to one connection and goes with it, is the lock. The first letter is got,
//! because that reply says how many are behind it; those come by a consumer, many at once.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::{
    event::QueuedEvent,
    fault::{Fault, Reason},
    queue::dead_letters::{Action, Choose, DeadLetter, DeadLetters, MAX_LETTERS},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use lapin::{
    Channel, Consumer,
    message::Delivery,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions, BasicQosOptions,
        QueueDeclareOptions,
    },
    types::{AMQPValue, DeliveryTag, FieldTable},
};
use tokio::time::{Instant, sleep, timeout};

use super::{
    ATTEMPT, DETAIL, QUEUED_AT, REASON, classify, integer,
    lock::{Lock, within_limit},
    publish::{Message, RabbitPublisher},
    supervisor::BrokerConfig,
    topology::Destination,
};

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Longest wait for the next letter.
const NEXT: Duration = Duration::from_secs(5);

/// Time between two looks whether letters are back.
const LOOK: Duration = Duration::from_millis(5);

/// Letters that are redriven at once.
const AT_ONCE: usize = 64;

/// The reason that the broker gives for a message that workers crashed on.
const DELIVERY_LIMIT: &str = "delivery_limit";

/// Access for an operator. Letters are held while they are read, and given back in their order.
pub struct RabbitOperator {
    publisher: Arc<RabbitPublisher>,
    broker: BrokerConfig,
}

impl RabbitOperator {
    /// Reads over connections of its own, and redrives through `publisher`.
    pub fn new(publisher: Arc<RabbitPublisher>, broker: BrokerConfig) -> Self {
        Self { publisher, broker }
    }

    /// Visits the letters that are there now: a redriven one may be back before the last is visited.
    async fn visit(&self, channel: &Channel, choose: &Choose) -> Result<Visited, Fault> {
        let queue = self.broker.names.dead();
        let get = channel.basic_get(queue.clone().into(), BasicGetOptions::default());
        let Some(first) = within_limit(get).await? else { return Ok(Visited::default()) };
        let behind = usize::try_from(first.message_count).unwrap_or(MAX_LETTERS);
        let behind = behind.min(MAX_LETTERS - 1);
        let rest = match behind {
            0 => None,
            behind => Some(consume(channel, &queue, behind).await?),
        };
        let letters = stream::once(std::future::ready(Ok(first.delivery)))
            .chain(stream::unfold(rest, next_letter).take(behind));
        // After a stop the others are received, too, so that all can be given back in order.
        let mut stopped = false;
        let mut kept = Vec::new();
        let mut letters: Vec<(DeadLetter, Action)> = letters
            .map_ok(|delivery| {
                let letter = letter_of(&delivery);
                let action = if stopped { Action::Stop } else { choose(&letter) };
                stopped = action == Action::Stop;
                if matches!(action, Action::Keep | Action::Stop) {
                    kept.push(delivery.delivery_tag);
                }
                self.act(delivery, letter, action)
            })
            .try_buffered(AT_ONCE)
            .try_collect()
            .await?;
        letters.retain(|(_, action)| *action != Action::Stop);
        Ok(Visited { letters, kept })
    }

    async fn act(
        &self,
        delivery: Delivery,
        letter: DeadLetter,
        action: Action,
    ) -> Result<(DeadLetter, Action), Fault> {
        if action == Action::Redrive {
            let id = letter.event.as_ref().ok().map(|event| &event.event_id);
            let copy = Message::first(delivery.data, id);
            self.publisher.send(Destination::Work, copy).await?;
        }
        if matches!(action, Action::Redrive | Action::Purge)
            && !within_limit(delivery.acker.ack(BasicAckOptions::default())).await?
        {
            return Err(unavailable("the channel was lost before the acknowledgement"));
        }
        Ok((letter, action))
    }
}

#[async_trait]
impl DeadLetters for RabbitOperator {
    async fn walk(&self, choose: Choose) -> Result<Vec<(DeadLetter, Action)>, Fault> {
        let no_connection = |_| unavailable("no connection to the broker in time");
        // That connection declares the queues.
        let up = self.publisher.supervisor.view().up();
        timeout(CONNECT, up).await.map_err(no_connection)?;
        let connecting = self.broker.connect("dead letters", CONNECT).await;
        let connection = connecting.map_err(|error| classify(&error))?;
        let queue = self.broker.names.dead();
        let lock = Lock::take(&connection, format!("{queue}.lock")).await?;
        let channel = within_limit(connection.create_channel()).await?;
        // After a failure, the end of the connection gives everything back.
        let Visited { letters, kept } = self.visit(&channel, &choose).await?;
        let asking = within_limit(connection.create_channel()).await?;
        give_back(channel, &kept, &asking, &queue).await?;
        lock.release().await?;
        within_limit(connection.close(200, "read".into())).await?;
        Ok(letters)
    }
}

/// The letters that a walk has visited, and which of them it still holds.
#[derive(Default)]
struct Visited {
    letters: Vec<(DeadLetter, Action)>,
    kept: Vec<DeliveryTag>,
}

/// A consumer that may hold so many letters at once.
async fn consume(channel: &Channel, queue: &str, letters: usize) -> Result<Consumer, Fault> {
    // 0 is any number.
    let prefetch = u16::try_from(letters).unwrap_or(0);
    within_limit(channel.basic_qos(prefetch, BasicQosOptions::default())).await?;
    let options = BasicConsumeOptions::default();
    let consuming = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default());
    within_limit(consuming).await
}

/// Gives letters back and returns once they are there again. Closing the channel gives back all that
/// it consumed in the order of the queue, some time later; asking for that does not keep the order.
async fn give_back(
    reading: Channel,
    letters: &[DeliveryTag],
    asking: &Channel,
    queue: &str,
) -> Result<(), Fault> {
    // The first was not consumed but got, and is in front of the others.
    if let Some(first) = letters.first().filter(|tag| **tag == 1) {
        let options = BasicNackOptions { multiple: false, requeue: true };
        within_limit(reading.basic_nack(*first, options)).await?;
    }
    let held = u32::try_from(letters.iter().filter(|tag| **tag > 1).count()).unwrap_or(u32::MAX);
    let expected = ready(asking, queue).await?.saturating_add(held);
    within_limit(reading.close(200, "read".into())).await?;
    let begun = Instant::now();
    while ready(asking, queue).await? < expected && begun.elapsed() < NEXT {
        sleep(LOOK).await;
    }
    Ok(())
}

/// How many letters nobody holds.
async fn ready(channel: &Channel, queue: &str) -> Result<u32, Fault> {
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
    let asking = channel.queue_declare(queue.into(), passive, FieldTable::default());
    Ok(within_limit(asking).await?.message_count())
}

/// The next letter of a consumer. It is there, unless somebody who does not know of the lock reads
/// the letters, too.
async fn next_letter(
    rest: Option<Consumer>,
) -> Option<(Result<Delivery, Fault>, Option<Consumer>)> {
    let mut consumer = rest?;
    match timeout(NEXT, consumer.next()).await {
        Ok(Some(Ok(delivery))) => Some((Ok(delivery), Some(consumer))),
        Ok(Some(Err(error))) => Some((Err(classify(&error)), None)),
        Ok(None) => Some((Err(unavailable("the broker ended the reading")), None)),
        Err(_) => Some((Err(unavailable(SHARED)), None)),
    }
}

const SHARED: &str =
    "letters are missing: another program is reading the dead letters; try again when it has ended";

fn unavailable(detail: &'static str) -> Fault {
    Fault::transient(Reason::QueueUnavailable, detail)
}

fn letter_of(message: &Delivery) -> DeadLetter {
    let headers = message.properties.headers().as_ref().map(FieldTable::inner);
    let header = |name: &str| headers.and_then(|headers| headers.get(name));
    let text = |name: &str| match header(name) {
        Some(AMQPValue::LongString(text)) => Some(text.to_string()),
        _ => None,
    };
    let number = |name: &str| header(name).and_then(integer);
    DeadLetter {
        event: QueuedEvent::decode(&message.data),
        reason: text(REASON).unwrap_or_else(|| DELIVERY_LIMIT.to_owned()),
        detail: text(DETAIL).unwrap_or_default(),
        attempt: number(ATTEMPT).and_then(|attempt| u32::try_from(attempt).ok()).unwrap_or(1),
        dead_lettered_at: number(QUEUED_AT)
            .and_then(|millisecond| Timestamp::from_millisecond(millisecond).ok()),
    }
}
