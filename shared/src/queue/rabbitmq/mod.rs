//! The queue in RabbitMQ, for replicas of either role. Works alike on 3.10 and 4.x, needs no plugin.
//!
//! Publishing and consuming use connections of their own: RabbitMQ blocks publishing connections when it runs short of
//! memory or disk, and acknowledgements must not be stuck behind that. Each connection is watched by a [`link::Link`],
//! which makes it anew after every failure; lapin's own recovery is not used (docs/adr/0002).

mod consume;
mod dead;
mod inspect;
mod link;
mod publish;
mod topology;

pub use consume::RabbitConsumer;
pub use dead::RabbitLook;
pub use inspect::RabbitInspector;
pub use link::Broker;
pub use publish::RabbitPublisher;
pub use topology::Names;

use lapin::types::AMQPValue;

use crate::fault::{Fault, Reason};

/// What kind of queue this is.
const SYSTEM: &str = "rabbitmq";
/// Header: which attempt a delivery is.
const ATTEMPT: &str = "x-authpost-attempt";
/// Header: why the last attempt failed, or why the message is a dead letter.
const REASON: &str = "x-authpost-reason";
/// Header: when the copy was published, in milliseconds.
const QUEUED_AT: &str = "x-authpost-queued-at";
/// Header: one clause more.
const DETAIL: &str = "x-authpost-detail";

/// Every failure of the broker is worth another try: none of them is the event's fault.
fn classify(error: &lapin::Error) -> Fault {
    use lapin::ErrorKind;
    let detail = match error.kind() {
        ErrorKind::IOError(_) | ErrorKind::MissingHeartbeatError => "the connection to the broker broke",
        ErrorKind::ProtocolError(_) => "the broker refused the request",
        ErrorKind::InvalidConnectionState(_) | ErrorKind::InvalidChannelState(..) => "not connected to the broker",
        _ => "the broker did not do as asked",
    };
    Fault::transient(Reason::QueueUnavailable, detail)
}

/// Brokers and tools write integers in every width.
fn integer(value: &AMQPValue) -> Option<i64> {
    match value {
        AMQPValue::LongLongInt(number) => Some(*number),
        AMQPValue::LongInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortShortInt(number) => Some(i64::from(*number)),
        AMQPValue::LongUInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortUInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortShortUInt(number) => Some(i64::from(*number)),
        _ => None,
    }
}
