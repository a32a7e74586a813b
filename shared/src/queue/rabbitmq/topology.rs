//! Which exchanges and queues there are, and how they are declared.
//!
//! Declaring is idempotent and done on every new connection, so a broker that lost everything is set up again by the
//! first connection it accepts. Arguments that differ from an existing queue's are refused by the broker (406); the
//! queue is then used as it is, and the log says what to do.

use std::time::Duration;

use lapin::{
    Channel, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable, ShortString},
};

use crate::{
    queue::FRESH_FOR,
    retry::{STAGES, Stage},
};

/// Handed out this often without an answer (a worker that dies on it), a message becomes a dead letter.
const DELIVERY_LIMIT: i32 = 20;
/// The routing key of what has become late.
pub(super) const LATE: &str = "late";
/// Dead letters are kept for 14 days.
const DEAD_KEPT_MS: i64 = 14 * 24 * 3600 * 1000;

/// Names of everything we declare, all under one prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    prefix: String,
    longest: u64,
}

impl Names {
    /// `prefix` for every name; `longest` is how many events may wait in a queue before publishing is refused.
    pub fn new(prefix: &str, longest: u64) -> Self {
        Self { prefix: prefix.to_owned(), longest }
    }

    /// The exchange every publish goes through.
    pub fn events(&self) -> String {
        format!("{}.events", self.prefix)
    }

    /// The exchange that catches what the first one cannot route.
    fn fallback(&self) -> String {
        format!("{}.fallback", self.prefix)
    }

    /// The queue workers consume first.
    pub fn work(&self) -> String {
        format!("{}.work", self.prefix)
    }

    /// Where the broker puts what has waited in `work` for longer than [`FRESH_FOR`]. Consumed when `work` has nothing.
    pub fn late(&self) -> String {
        format!("{}.late", self.prefix)
    }

    /// The queue that catches what could not be routed. Consumed like `work`.
    pub fn unrouted(&self) -> String {
        format!("{}.unrouted", self.prefix)
    }

    /// Dead letters.
    pub fn dead(&self) -> String {
        format!("{}.dead", self.prefix)
    }

    /// Where a message rests before a retry.
    pub fn retry(&self, stage: Stage) -> String {
        format!("{}.retry.{}", self.prefix, stage.label())
    }
}

/// Where a publish is to go: the routing key on the events exchange.
pub(super) fn routing_key(destination: Destination) -> ShortString {
    match destination {
        Destination::Work => "work".into(),
        Destination::Retry(stage) => format!("retry.{}", stage.label()).into(),
        Destination::Dead => "dead".into(),
    }
}

/// The three ways a message can go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Destination {
    Work,
    Retry(Stage),
    Dead,
}

/// Declares everything. A refused declaration (other arguments) is logged and lived with; any other error is returned.
pub(super) async fn declare(connection: &lapin::Connection, names: &Names) -> lapin::Result<()> {
    let channel = connection.create_channel().await?;
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let events = ShortString::from(names.events());
    let fallback = ShortString::from(names.fallback());
    channel.exchange_declare(fallback.clone(), ExchangeKind::Fanout, durable, FieldTable::default()).await?;
    let alternate = table(&[("alternate-exchange", text(fallback.as_str()))]);
    channel.exchange_declare(events.clone(), ExchangeKind::Direct, durable, alternate).await?;

    queue(connection, &names.dead(), &dead_arguments()).await?;
    bind(&channel, &names.dead(), &events, &routing_key(Destination::Dead)).await?;
    queue(connection, &names.late(), &late_arguments(names)).await?;
    bind(&channel, &names.late(), &events, &LATE.into()).await?;
    queue(connection, &names.work(), &work_arguments(names)).await?;
    bind(&channel, &names.work(), &events, &routing_key(Destination::Work)).await?;
    queue(connection, &names.unrouted(), &late_arguments(names)).await?;
    bind(&channel, &names.unrouted(), &fallback, &ShortString::default()).await?;
    for stage in STAGES {
        queue(connection, &names.retry(stage), &retry_arguments(names, stage)).await?;
        bind(&channel, &names.retry(stage), &events, &routing_key(Destination::Retry(stage))).await?;
    }
    channel.close(200, "declared".into()).await
}

/// On a channel of its own: a refusal closes the channel.
async fn queue(connection: &lapin::Connection, name: &str, arguments: &FieldTable) -> lapin::Result<()> {
    let channel = connection.create_channel().await?;
    match channel.queue_declare(name.into(), QueueDeclareOptions::durable(), arguments.clone()).await {
        Ok(_) => channel.close(200, "declared".into()).await,
        Err(error) if is_refusal(&error) => {
            tracing::warn!(
                queue = name,
                "the queue exists with other arguments and is used as it is; to change them, drain it, delete it, and let this service declare it"
            );
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn is_refusal(error: &lapin::Error) -> bool {
    matches!(error.kind(), lapin::ErrorKind::ProtocolError(amqp) if amqp.get_id() == 406)
}

async fn bind(channel: &Channel, queue: &str, exchange: &ShortString, key: &ShortString) -> lapin::Result<()> {
    channel.queue_bind(queue.into(), exchange.clone(), key.clone(), QueueBindOptions::default(), FieldTable::default()).await
}

/// Quorum queues everywhere: they fsync before they confirm, on one node as on three. A full one refuses
/// (reject-publish), so the front answers 503 instead of an old event being dropped.
fn work_arguments(names: &Names) -> FieldTable {
    let mut arguments = leading_to(names, LATE);
    arguments.insert("x-message-ttl".into(), milliseconds(FRESH_FOR));
    // One queue has one way out: what workers die on goes the late way first, and becomes a dead letter there.
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(DELIVERY_LIMIT));
    arguments
}

fn late_arguments(names: &Names) -> FieldTable {
    let mut arguments = leading_to(names, "dead");
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(DELIVERY_LIMIT));
    arguments
}

fn retry_arguments(names: &Names, stage: Stage) -> FieldTable {
    let mut arguments = leading_to(names, "work");
    arguments.insert("x-message-ttl".into(), milliseconds(stage.delay()));
    arguments
}

/// A bounded queue whose messages, when they leave it by themselves, go where `key` leads.
fn leading_to(names: &Names, key: &str) -> FieldTable {
    let mut arguments = bounded(names);
    arguments.insert("x-dead-letter-exchange".into(), text(&names.events()));
    arguments.insert("x-dead-letter-routing-key".into(), text(key));
    arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
    arguments
}

fn milliseconds(duration: Duration) -> AMQPValue {
    AMQPValue::LongLongInt(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

/// RabbitMQ 4 drops what was handed out 20 times, unless told otherwise; looking at a letter is such a time.
fn dead_arguments() -> FieldTable {
    table(&[
        ("x-queue-type", text("quorum")),
        ("x-message-ttl", AMQPValue::LongLongInt(DEAD_KEPT_MS)),
        ("x-delivery-limit", AMQPValue::LongInt(i32::MAX)),
    ])
}

fn bounded(names: &Names) -> FieldTable {
    let longest = i64::try_from(names.longest).unwrap_or(i64::MAX);
    table(&[("x-queue-type", text("quorum")), ("x-overflow", text("reject-publish")), ("x-max-length", AMQPValue::LongLongInt(longest))])
}

fn table(entries: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in entries {
        table.insert((*key).into(), value.clone());
    }
    table
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_bears_the_prefix() {
        let names = Names::new("acme", 10);
        let all = [names.events(), names.fallback(), names.work(), names.late(), names.unrouted(), names.dead(), names.retry(Stage::S30)];
        assert_eq!(all, ["acme.events", "acme.fallback", "acme.work", "acme.late", "acme.unrouted", "acme.dead", "acme.retry.30s"]);
    }

    #[test]
    fn every_queue_we_publish_to_under_load_is_bounded_and_refuses() {
        let names = Names::new("acme", 10);
        for arguments in [work_arguments(&names), late_arguments(&names), retry_arguments(&names, Stage::S2)] {
            assert!(arguments.contains_key("x-max-length") && arguments.contains_key("x-overflow"));
        }
    }
}
