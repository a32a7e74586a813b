//! Consuming: deliveries one by one, each settled by an acknowledgement that counts only when the
//! broker accepted it.

use std::{pin::Pin, sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::{
    event::QueuedEvent,
    fault::{Fault, Reason},
    queue::{Consume, Delivery, LATE_TURN, Receipt, Verdict},
    retry::Policy,
};
use futures_util::{
    Stream, StreamExt as _,
    stream::{self, SelectAll},
};
use jiff::Timestamp;
use lapin::{
    Consumer,
    message::Delivery as RawDelivery,
    options::{
        BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
    },
    types::{AMQPValue, FieldTable, ShortString},
};
use runtime::{
    failpoint::{self, Point},
    metrics::labels::ConnectionName,
};
use tokio::time::timeout;

use super::{
    ATTEMPT, DETAIL, QUEUED_AT, REASON, RabbitInspector, classify,
    declare::declare,
    integer,
    publish::{Message, RabbitPublisher},
    supervisor::{Broker, Session, Supervisor},
    together::Together,
    topology::{Destination, LATE, Names, routing_key},
};

/// Longest wait for an acknowledgement to be written, or for a consumer to be set up.
const STEP: Duration = Duration::from_secs(5);

/// Most attempts to publish a retry or dead letter before the message is left to the broker to
/// deliver again.
const COPIES: u32 = 5;

/// Takes messages from `work` and `unrouted`, and from `late` when those are empty or every
/// [`LATE_TURN`]th time.
pub struct RabbitConsumer {
    supervisor: Supervisor,
    publisher: Arc<RabbitPublisher>,
    acknowledgements: Arc<Acknowledgements>,
    names: Names,
    prefetch: u16,
    taking: Option<Taking>,
}

/// Acknowledges deliveries, and answers whether their session still counted then.
type Acknowledgements = Together<Delivered, lapin::Result<bool>>;

/// A delivery, as the broker knows it.
struct Delivered {
    session: Arc<Session>,
    tag: u64,
}

/// Acknowledges on the channel itself. lapin's `Acker` does that in a task of its own, after waking
/// lapin's thread once more.
async fn acknowledge(Delivered { session, tag }: Delivered) -> lapin::Result<bool> {
    if session.is_over() {
        return Ok(false);
    }
    session.channel.basic_ack(tag, BasicAckOptions::default()).await.map(|()| true)
}

struct Taking {
    session: Arc<Session>,
    tags: Vec<ShortString>,
    fresh: SelectAll<Messages>,
    late: Messages,
    turn: usize,
}

/// The messages of one queue. `None` marks the end: a stream that merely ended would drop out of a
/// merged one unnoticed.
type Messages = Pin<Box<dyn Stream<Item = Option<lapin::Result<RawDelivery>>> + Send + Sync>>;

fn with_its_end(consumer: Consumer) -> Messages {
    Box::pin(consumer.map(Some).chain(stream::iter([None])))
}

impl Taking {
    async fn next(&mut self) -> Option<lapin::Result<RawDelivery>> {
        self.turn = (self.turn + 1) % LATE_TURN;
        let Self { fresh, late, turn, .. } = self;
        let message = if *turn == 0 {
            tokio::select! { biased; message = late.next() => message, message = fresh.next() => message }
        } else {
            tokio::select! { biased; message = fresh.next() => message, message = late.next() => message }
        };
        message.flatten()
    }
}

impl RabbitConsumer {
    /// Connects in the background. `prefetch` is the most unsettled messages that the broker
    /// delivers at once; retries and dead letters are published through `publisher`.
    pub fn new(broker: Broker, publisher: Arc<RabbitPublisher>, prefetch: u16) -> Self {
        let names = broker.config.names.clone();
        Self {
            supervisor: Supervisor::start(broker, ConnectionName::Consumer),
            publisher,
            acknowledgements: Arc::new(Together::start(acknowledge)),
            names,
            prefetch: prefetch.max(1),
            taking: None,
        }
    }

    /// An inspector of the queues this consumer serves.
    pub fn inspector(&self) -> RabbitInspector {
        RabbitInspector {
            publisher: Arc::clone(&self.publisher),
            consumer: self.supervisor.view(),
            names: self.names.clone(),
        }
    }

    async fn begin(&self, session: Arc<Session>) -> lapin::Result<Taking> {
        let consume = |queue: String| {
            session.channel.basic_consume(
                queue.into(),
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
        };
        // Sent in this order, without waiting for the answers in between.
        let limited = session.channel.basic_qos(self.prefetch, BasicQosOptions::default());
        let (work, unrouted, late) = (
            consume(self.names.work()),
            consume(self.names.unrouted()),
            consume(self.names.late()),
        );
        let ((), work, unrouted, late) = futures_util::try_join!(limited, work, unrouted, late)?;
        let consumers = [work, unrouted, late];
        let tags = consumers.iter().map(Consumer::tag).collect();
        let [work, unrouted, late] = consumers.map(with_its_end);
        Ok(Taking { session, tags, fresh: [work, unrouted].into_iter().collect(), late, turn: 0 })
    }

    /// Handles what only the fallback delivers: a retry or a dead letter whose own queue is gone.
    /// Declares the queues again; a dead letter then goes where it belongs, without being worked on
    /// a second time.
    async fn misrouted(&self, raw: RawDelivery, session: &Arc<Session>) -> Option<Delivery> {
        tracing::warn!(
            routing_key = raw.routing_key.as_str(),
            "declaring the queues again: the queue of a message is gone"
        );
        if !matches!(timeout(STEP, declare(&session.connection, &self.names)).await, Ok(Ok(()))) {
            session.fail();
            return None;
        }
        if raw.routing_key != routing_key(Destination::Dead) {
            return Some(self.delivery(raw, session));
        }
        let text = |name: &str| match header(&raw, name) {
            Some(AMQPValue::LongString(text)) => text.to_string(),
            _ => String::new(),
        };
        let verdict = Verdict::DeadLetter {
            reason: Reason::from_label(&text(REASON)).unwrap_or(Reason::None),
            detail: text(DETAIL).into(),
        };
        if let Err(fault) = self.delivery(raw, session).settle(verdict).await {
            tracing::warn!(
                %fault,
                "cannot move a dead letter to its queue; it will be delivered again"
            );
        }
        None
    }

    fn delivery(&self, raw: RawDelivery, session: &Arc<Session>) -> Delivery {
        let number = |name: &str| header(&raw, name).and_then(integer);
        let attempt =
            number(ATTEMPT).and_then(|attempt| u32::try_from(attempt).ok()).unwrap_or(1).max(1);
        let queued_at =
            number(QUEUED_AT).and_then(|millisecond| Timestamp::from_millisecond(millisecond).ok());
        let event = QueuedEvent::decode(&raw.data);
        let receipt = RabbitReceipt {
            publisher: Arc::clone(&self.publisher),
            session: Arc::clone(session),
            acknowledgements: Arc::clone(&self.acknowledgements),
            tag: raw.delivery_tag,
            id: event.as_ref().ok().map(|event| event.event_id.to_string()),
            body: raw.data,
            attempt,
        };
        Delivery { event, attempt, queued_at, receipt: Box::new(receipt) }
    }
}

fn header<'a>(raw: &'a RawDelivery, name: &str) -> Option<&'a AMQPValue> {
    raw.properties.headers().as_ref()?.inner().get(name)
}

#[async_trait]
impl Consume for RabbitConsumer {
    async fn next(&mut self) -> Delivery {
        loop {
            let Some(taking) = &mut self.taking else {
                let session = self.supervisor.session().await;
                match timeout(STEP, self.begin(Arc::clone(&session))).await {
                    Ok(Ok(taking)) => self.taking = Some(taking),
                    _ => session.fail(),
                }
                continue;
            };
            match taking.next().await {
                Some(Ok(raw)) if !taking.session.is_over() => {
                    let session = Arc::clone(&taking.session);
                    if raw.routing_key == routing_key(Destination::Work)
                        || raw.routing_key == ShortString::from(LATE)
                    {
                        return self.delivery(raw, &session);
                    }
                    if let Some(delivery) = self.misrouted(raw, &session).await {
                        return delivery;
                    }
                }
                // A stream ends when the broker cancels it (its queue is gone) and fails when its
                // channel is lost. Either way a new session declares and consumes everything again.
                _ => {
                    taking.session.fail();
                    self.taking = None;
                }
            }
        }
    }

    async fn give_back(&mut self) {
        if let Some(taking) = self.taking.take()
            && timeout(STEP, return_buffered(taking)).await.is_err()
        {
            tracing::debug!(
                "messages that were fetched ahead return to the queue when the connection closes"
            );
        }
    }

    fn system(&self) -> &'static str {
        super::SYSTEM
    }
}

/// Cancels the consumers and requeues what they had buffered. The session stays: messages in
/// progress are acknowledged on it.
async fn return_buffered(Taking { session, tags, fresh, late, .. }: Taking) -> Option<()> {
    for tag in tags {
        session.channel.basic_cancel(tag, BasicCancelOptions::default()).await.ok()?;
    }
    // The stream of a cancelled consumer ends after the messages it holds.
    let mut held = fresh.chain(late).filter_map(std::future::ready);
    while let Some(raw) = held.next().await {
        let requeue = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
        raw.ok()?.acker.nack(requeue).await.ok()?;
    }
    Some(())
}

struct RabbitReceipt {
    publisher: Arc<RabbitPublisher>,
    session: Arc<Session>,
    acknowledgements: Arc<Acknowledgements>,
    tag: u64,
    id: Option<String>,
    body: Vec<u8>,
    attempt: u32,
}

#[async_trait]
impl Receipt for RabbitReceipt {
    async fn settle(self: Box<Self>, verdict: Verdict) -> Result<(), Fault> {
        match &verdict {
            Verdict::Done => {}
            Verdict::Retry { stage, attempt, reason } => {
                self.copy(Destination::Retry(*stage), *attempt, *reason, "").await?;
                failpoint::reach(Point::AfterCopy);
            }
            Verdict::DeadLetter { reason, detail } => {
                self.copy(Destination::Dead, self.attempt, *reason, detail).await?;
                failpoint::reach(Point::AfterCopy);
                self.publisher.count_dropped();
            }
        }
        self.acknowledge().await
    }
}

impl RabbitReceipt {
    /// Publishes the copy that replaces this message. The original is acknowledged only after the
    /// broker confirmed the copy: a crash in between leaves two, and the claim absorbs one.
    async fn copy(
        &self,
        destination: Destination,
        attempt: u32,
        reason: Reason,
        detail: &str,
    ) -> Result<(), Fault> {
        let mut failures = 0;
        loop {
            let message = Message {
                body: self.body.clone(),
                id: self.id.clone(),
                attempt,
                reason,
                detail: detail.to_owned(),
            };
            match self.publisher.send(destination, message).await {
                Ok(()) => return Ok(()),
                Err(fault) => {
                    failures += 1;
                    if failures == COPIES || self.session.is_over() {
                        // Unacknowledged on a session that has ended, the message is delivered
                        // again.
                        self.session.fail();
                        return Err(fault);
                    }
                }
            }
            tokio::time::sleep(Policy::CONNECTIONS.delay(failures, 0.0)).await;
        }
    }

    /// Only `Ok(true)` is an acknowledgement; anything else means that the broker will deliver the
    /// message again.
    async fn acknowledge(&self) -> Result<(), Fault> {
        let delivered = Delivered { session: Arc::clone(&self.session), tag: self.tag };
        let result = timeout(STEP, self.acknowledgements.run(delivered)).await;
        if matches!(result, Ok(Some(Ok(true)))) {
            return Ok(());
        }
        self.session.fail();
        Err(match result {
            Ok(Some(Err(error))) => classify(&error),
            Ok(_) => Fault::transient(
                Reason::QueueUnavailable,
                "the channel was lost before the acknowledgement",
            ),
            Err(_) => Fault::transient(
                Reason::QueueUnavailable,
                "the acknowledgement could not be written in time",
            ),
        })
    }
}
