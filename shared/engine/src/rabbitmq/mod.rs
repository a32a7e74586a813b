//! The queue in RabbitMQ, for replicas of either role. Works alike on 3.10 and 4.x and needs no
//! plugin.
//!
//! Publishing and consuming use separate connections: RabbitMQ blocks publishing connections when
//! it runs short of memory or disk, and acknowledgements must not wait behind that. Each connection
//! has a [`supervisor::Supervisor`], which replaces it after every failure; lapin's own recovery is
//! not used (docs/adr/0002).

mod connect;
mod consume;
mod dead_letters;
mod declare;
mod inspect;
mod lock;
mod publish;
mod supervisor;
mod together;
mod topology;

pub use self::{
    consume::RabbitConsumer,
    dead_letters::RabbitOperator,
    inspect::RabbitInspector,
    publish::RabbitPublisher,
    supervisor::{Broker, BrokerConfig, InvalidAmqpUrl},
    topology::Names,
};

use std::borrow::Cow;

use domain::fault::{Fault, Reason};
use lapin::types::AMQPValue;

/// The value of OpenTelemetry's attribute `messaging.system`.
const SYSTEM: &str = "rabbitmq";
/// Header: number of the attempt.
const ATTEMPT: &str = "x-authpost-attempt";
/// Header: why the last attempt failed, or why the message is a dead letter.
const REASON: &str = "x-authpost-reason";
/// Header: when the copy was published, in milliseconds since the epoch.
const QUEUED_AT: &str = "x-authpost-queued-at";
/// Header: the reason in one clause.
const DETAIL: &str = "x-authpost-detail";

/// Longest text of the broker's that is repeated, in characters.
const MAX_SAID: usize = 200;

/// Every failure of the broker is transient: none of them is the event's fault.
fn classify(error: &lapin::Error) -> Fault {
    use lapin::ErrorKind;
    let detail: Cow<'static, str> = match error.kind() {
        ErrorKind::IOError(_) | ErrorKind::MissingHeartbeatError => {
            "the connection to the broker broke".into()
        }
        // Names the queue, the virtual host or the permission.
        ErrorKind::ProtocolError(refusal) => {
            let said: String = refusal.get_message().as_str().chars().take(MAX_SAID).collect();
            format!("the broker refused the request: {said}").into()
        }
        ErrorKind::InvalidConnectionState(_) | ErrorKind::InvalidChannelState(..) => {
            "not connected to the broker".into()
        }
        _ => "the broker did not do as asked".into(),
    };
    Fault::transient(Reason::QueueUnavailable, detail)
}

/// Whether the broker gave this reply code (AMQP 0-9-1, 1.2).
fn has_code(error: &lapin::Error, code: u16) -> bool {
    matches!(error.kind(), lapin::ErrorKind::ProtocolError(amqp) if amqp.get_id() == code)
}

/// Reads an integer of any width: brokers and tools write all of them.
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
