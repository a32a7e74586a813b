//! Dead letters at the broker, for an operator.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::{
    event::QueuedEvent,
    fault::{Fault, Reason},
    queue::dead_letters::{Action, Choose, DeadLetter, DeadLetters, MAX_LETTERS},
};
use jiff::Timestamp;
use lapin::{
    Channel,
    message::BasicGetMessage,
    options::{BasicAckOptions, BasicGetOptions},
    types::{AMQPValue, FieldTable},
};
use tokio::time::timeout;

use super::{
    ATTEMPT, DETAIL, QUEUED_AT, REASON, classify, integer,
    publish::{Message, RabbitPublisher},
    topology::{Destination, Names},
};

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Longest wait for each answer.
const STEP: Duration = Duration::from_secs(5);

/// The reason that the broker gives for a message that workers crashed on.
const DELIVERY_LIMIT: &str = "delivery_limit";

/// Access for an operator. Messages are held while they are read, and return in their order when
/// the channel closes.
pub struct RabbitOperator {
    publisher: Arc<RabbitPublisher>,
    names: Names,
}

impl RabbitOperator {
    /// Uses the connection of `publisher`, through which letters are also redriven.
    pub fn new(publisher: Arc<RabbitPublisher>, names: Names) -> Self {
        Self { publisher, names }
    }

    async fn visit(
        &self,
        channel: &Channel,
        choose: &Choose,
    ) -> Result<Vec<(DeadLetter, Action)>, Fault> {
        let mut visited = Vec::new();
        // Only letters that are there now: a redriven one may be back before the last is visited.
        let mut left = MAX_LETTERS;
        while left > 0 {
            let got = within_limit(
                channel.basic_get(self.names.dead().into(), BasicGetOptions::default()),
            )
            .await?;
            let Some(message) = got else { break };
            left = (left - 1).min(usize::try_from(message.message_count).unwrap_or(left));
            let letter = dead_letter_of(&message);
            let action = choose(&letter);
            if action == Action::Redrive {
                let id = letter.event.as_ref().ok().map(|event| event.event_id.as_str());
                let copy = Message {
                    body: &message.delivery.data,
                    id,
                    attempt: 1,
                    reason: Reason::None,
                    detail: "",
                };
                self.publisher.send(Destination::Work, copy).await?;
            }
            if action != Action::Keep
                && !within_limit(message.delivery.acker.ack(BasicAckOptions::default())).await?
            {
                return Err(Fault::transient(
                    Reason::QueueUnavailable,
                    "the channel was lost before the acknowledgement",
                ));
            }
            visited.push((letter, action));
        }
        Ok(visited)
    }
}

impl RabbitOperator {
    /// A new channel: when it closes, messages that were read and kept are back in their place.
    async fn channel(&self) -> Result<Channel, Fault> {
        let no_connection =
            |_| Fault::transient(Reason::QueueUnavailable, "no connection to the broker in time");
        let session =
            timeout(CONNECT, self.publisher.supervisor.view().up()).await.map_err(no_connection)?;
        within_limit(session.connection.create_channel()).await
    }
}

#[async_trait]
impl DeadLetters for RabbitOperator {
    async fn walk(&self, choose: Choose) -> Result<Vec<(DeadLetter, Action)>, Fault> {
        let channel = self.channel().await?;
        let visited = self.visit(&channel, &choose).await;
        within_limit(channel.close(200, "read".into())).await?;
        visited
    }
}

async fn within_limit<T>(answer: impl Future<Output = lapin::Result<T>>) -> Result<T, Fault> {
    match timeout(STEP, answer).await {
        Ok(result) => result.map_err(|error| classify(&error)),
        Err(_) => Err(Fault::transient(Reason::QueueUnavailable, "no answer in time")),
    }
}

fn dead_letter_of(message: &BasicGetMessage) -> DeadLetter {
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
        dead_lettered_at: number(QUEUED_AT)
            .and_then(|millisecond| Timestamp::from_millisecond(millisecond).ok()),
    }
}
