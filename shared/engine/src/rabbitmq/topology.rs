//! Which exchanges and queues there are, with their arguments.

use std::time::Duration;

use domain::{
    queue::{Capacity, FRESH_FOR},
    retry::{STAGES, Stage},
};
use lapin::types::{AMQPValue, FieldTable, ShortString};

/// A message that was delivered this often without being settled (its workers crash) becomes a dead
/// letter.
const DELIVERY_LIMIT: i32 = 20;
/// The routing key of late messages.
pub(super) const LATE: &str = "late";
/// Dead letters are kept for 14 days.
const DEAD_KEPT_MS: i64 = 14 * 24 * 3600 * 1000;

/// Names of everything we declare, all under one prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    prefix: String,
    pub(super) capacity: Capacity,
}

impl Names {
    /// `prefix` for every name; `capacity` of each queue.
    pub fn new(prefix: &str, capacity: Capacity) -> Self {
        Self { prefix: prefix.to_owned(), capacity }
    }

    /// The exchange every publish goes through.
    pub fn events(&self) -> String {
        format!("{}.events", self.prefix)
    }

    /// The exchange for messages that the first one cannot route.
    pub(super) fn fallback(&self) -> String {
        format!("{}.fallback", self.prefix)
    }

    /// The queue workers consume first.
    pub fn work(&self) -> String {
        format!("{}.work", self.prefix)
    }

    /// The queue of messages that waited in `work` for longer than [`FRESH_FOR`]. Consumed when
    /// `work` is empty.
    pub fn late(&self) -> String {
        format!("{}.late", self.prefix)
    }

    /// The queue of messages that could not be routed. Consumed like `work`.
    pub fn unrouted(&self) -> String {
        format!("{}.unrouted", self.prefix)
    }

    /// The queue of dead letters.
    pub fn dead(&self) -> String {
        format!("{}.dead", self.prefix)
    }

    /// The queue where messages wait for a retry.
    pub fn retry(&self, stage: Stage) -> String {
        format!("{}.retry.{}", self.prefix, stage.label())
    }
}

/// The routing key on the events exchange.
pub(super) fn routing_key(destination: Destination) -> ShortString {
    match destination {
        Destination::Work => "work".into(),
        Destination::Retry(stage) => format!("retry.{}", stage.label()).into(),
        Destination::Dead => "dead".into(),
    }
}

/// Where a message is published to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Destination {
    Work,
    Retry(Stage),
    Dead,
}

/// One queue, with its binding.
pub(super) struct Queue {
    pub(super) name: String,
    pub(super) arguments: FieldTable,
    pub(super) exchange: String,
    pub(super) routing_key: ShortString,
}

/// Every queue, with its arguments.
pub(super) fn queues(names: &Names) -> Vec<Queue> {
    let on_events = |name: String, arguments, routing_key| Queue {
        name,
        arguments,
        exchange: names.events(),
        routing_key,
    };
    let work = on_events(names.work(), work_arguments(names), routing_key(Destination::Work));
    let late = on_events(names.late(), late_arguments(names), LATE.into());
    let dead = on_events(names.dead(), dead_arguments(names), routing_key(Destination::Dead));
    let (name, exchange) = (names.unrouted(), names.fallback());
    let unrouted = Queue {
        name,
        arguments: late_arguments(names),
        exchange,
        routing_key: ShortString::default(),
    };
    let retries = STAGES.into_iter().map(|stage| {
        on_events(
            names.retry(stage),
            retry_arguments(names, stage),
            routing_key(Destination::Retry(stage)),
        )
    });
    [dead, late, work, unrouted].into_iter().chain(retries).collect()
}

/// Quorum queues everywhere: they fsync before they confirm, on one node as on three. A full queue
/// refuses (reject-publish), so the ingress answers 503 instead of an old event being dropped.
fn work_arguments(names: &Names) -> FieldTable {
    let mut arguments = leading_to(names, LATE);
    arguments.insert("x-message-ttl".into(), milliseconds(FRESH_FOR));
    // A queue has one dead-letter target: a message that workers crash on goes to `late` first, and
    // from there to `dead`.
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

/// A bounded queue whose messages are routed by `key` when they expire or reach the delivery limit.
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

/// RabbitMQ 4 drops messages that were delivered 20 times, unless told otherwise; listing a letter
/// counts as a delivery. A full queue drops its oldest letter.
fn dead_arguments(names: &Names) -> FieldTable {
    table(&[
        ("x-max-length", length(names.capacity.dead_letters)),
        ("x-overflow", text("drop-head")),
        ("x-queue-type", text("quorum")),
        ("x-message-ttl", AMQPValue::LongLongInt(DEAD_KEPT_MS)),
        ("x-delivery-limit", AMQPValue::LongInt(i32::MAX)),
    ])
}

fn bounded(names: &Names) -> FieldTable {
    table(&[
        ("x-queue-type", text("quorum")),
        ("x-overflow", text("reject-publish")),
        ("x-max-length", length(names.capacity.events)),
    ])
}

fn length(most: u64) -> AMQPValue {
    AMQPValue::LongLongInt(i64::try_from(most).unwrap_or(i64::MAX))
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
mod tests;
