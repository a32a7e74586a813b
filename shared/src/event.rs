//! The queued form of an event: the only thing this product writes to a queue.
//!
//! It holds identifiers and times. No code, no address, no name: whoever reads the queue, a backup of it or a dead
//! letter learns nothing that opens an account. Every form carries its version, so that a queue filled by one release
//! can be read by the next. And every form, whatever else changes, has `v` and `expires_at`: a release that does not know a
//! version can still leave the message for one that does, as long as that is of use to anybody.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{EventId, MagicAuthId, UserId};

/// The version this release writes.
const VERSION: u32 = 1;

/// Largest message that is looked at, in bytes. Ours are under 700.
const MAX_MESSAGE_BYTES: usize = 16 * 1024;

/// The kinds of event a mail follows from. New kinds make every `match` on this incomplete, which is the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EventKind {
    /// A login code was made.
    #[serde(rename = "magic_auth.created")]
    MagicAuthCreated,
}

impl EventKind {
    /// WorkOS's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MagicAuthCreated => "magic_auth.created",
        }
    }
}

/// One event on its way to a mail. Made from a verified delivery, from WorkOS's own list of
/// events, or from a message of ours, nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueuedEvent {
    /// Claims are kept under this.
    pub event_id: EventId,
    /// What happened.
    pub kind: EventKind,
    /// The code is fetched under this.
    pub object_id: MagicAuthId,
    /// Whose code it is, if WorkOS said so.
    pub user_id: Option<UserId>,
    /// When the code was made. The person's wait is counted from here.
    pub created_at: Timestamp,
    /// When the code dies. Drives every retry.
    pub expires_at: Timestamp,
    /// When the webhook reached us.
    pub received_at: Timestamp,
    /// W3C trace context of the delivery, if it had one.
    pub traceparent: Option<String>,
}

/// Why a message is not an event. Never repeats the message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    /// Larger than anything we write.
    #[error("a message of {0} bytes, and none of ours is over {MAX_MESSAGE_BYTES}")]
    TooLarge(usize),
    /// Not our JSON.
    #[error("not a queued event (line {line}, column {column})")]
    Shape {
        /// Line of the first byte that does not fit.
        line: usize,
        /// Column of it.
        column: usize,
    },
    /// Written by a release that this one does not know.
    #[error("version {version} of the queued form, and this release reads version {VERSION}")]
    Version {
        /// Its version.
        version: u32,
        /// When its code dies, if that can be read.
        expires_at: Option<Timestamp>,
    },
}

/// What every version has.
#[derive(Deserialize)]
struct AnyWire {
    v: u32,
    #[serde(default)]
    expires_at: serde_json::Value,
}

#[derive(Serialize, Deserialize)]
struct WireV1 {
    v: u32,
    event_id: EventId,
    kind: EventKind,
    object_id: MagicAuthId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_id: Option<UserId>,
    created_at: Timestamp,
    expires_at: Timestamp,
    received_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
}

impl QueuedEvent {
    /// The message body.
    pub fn encode(&self) -> Vec<u8> {
        let Self { event_id, kind, object_id, user_id, created_at, expires_at, received_at, traceparent } = self.clone();
        let wire = WireV1 { v: VERSION, event_id, kind, object_id, user_id, created_at, expires_at, received_at, traceparent };
        // Strings, numbers and times only: there is no value of this type that JSON cannot hold.
        serde_json::to_vec(&wire).unwrap_or_default()
    }

    /// Reads a message body.
    pub fn decode(message: &[u8]) -> Result<Self, Undecodable> {
        if message.len() > MAX_MESSAGE_BYTES {
            return Err(Undecodable::TooLarge(message.len()));
        }
        let shape = |error: serde_json::Error| Undecodable::Shape { line: error.line(), column: error.column() };
        let AnyWire { v: version, expires_at } = serde_json::from_slice(message).map_err(shape)?;
        if version != VERSION {
            return Err(Undecodable::Version { version, expires_at: expires_at.as_str().and_then(|text| text.parse().ok()) });
        }
        let WireV1 { v: _, event_id, kind, object_id, user_id, created_at, expires_at, received_at, traceparent } =
            serde_json::from_slice(message).map_err(shape)?;
        Ok(Self { event_id, kind, object_id, user_id, created_at, expires_at, received_at, traceparent })
    }

    /// The same event with the sender's trace context, if that is well formed (<https://www.w3.org/TR/trace-context/>).
    #[must_use]
    pub fn with_traceparent(mut self, header: Option<&str>) -> Self {
        let well_formed = |text: &&str| text.len() == 55 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        self.traceparent = header.filter(well_formed).map(str::to_owned);
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOLDEN: &str = include_str!("../tests/data/queued_event_v1.json");

    #[test]
    fn version_one_stays_readable_and_is_what_we_write() {
        let event = QueuedEvent::decode(GOLDEN.trim().as_bytes()).expect("the golden file");
        assert_eq!(event.event_id.as_str(), "event_01HYM0Z0000000000000000001");
        assert_eq!(String::from_utf8(event.encode()).expect("JSON"), GOLDEN.trim());
    }

    #[test]
    fn says_which_version_it_cannot_read() {
        let version = |expires_at| Err(Undecodable::Version { version: 2, expires_at });
        assert_eq!(QueuedEvent::decode(br#"{"v":2,"anything":1}"#), version(None));
        assert_eq!(QueuedEvent::decode(br#"{"v":2,"expires_at":{"of":"another form"}}"#), version(None));
        let end = "2026-01-01T00:10:00Z".parse().expect("a time");
        assert_eq!(QueuedEvent::decode(br#"{"expires_at":"2026-01-01T00:10:00Z","more":[1],"v":2}"#), version(Some(end)));
    }

    #[test]
    fn what_we_write_has_what_every_version_must_have() {
        let wire: AnyWire = serde_json::from_str(GOLDEN).expect("JSON");
        assert!(wire.v == VERSION && wire.expires_at.as_str().is_some_and(|text| text.parse::<Timestamp>().is_ok()));
    }

    #[test]
    fn a_message_of_another_kind_is_undecodable() {
        for message in [&b""[..], b"{}", b"null", b"\xff\xfe", br#"{"v":1}"#, br#"{"v":"1"}"#] {
            assert!(matches!(QueuedEvent::decode(message), Err(Undecodable::Shape { .. })));
        }
        assert!(matches!(QueuedEvent::decode(&vec![b'['; MAX_MESSAGE_BYTES + 1]), Err(Undecodable::TooLarge(_))));
        assert!(matches!(QueuedEvent::decode(&vec![b'['; MAX_MESSAGE_BYTES]), Err(Undecodable::Shape { .. })));
    }

    #[test]
    fn a_trace_context_is_kept_only_if_well_formed() {
        let event = QueuedEvent::decode(GOLDEN.trim().as_bytes()).expect("the golden file");
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(event.clone().with_traceparent(Some(good)).traceparent.as_deref(), Some(good));
        for bad in ["", "alice@example.com", &good.replace('0', "g")] {
            assert_eq!(event.clone().with_traceparent(Some(bad)).traceparent, None);
        }
    }

    proptest! {
        #[test]
        fn decode_never_panics(message in proptest::collection::vec(any::<u8>(), 0..600)) {
            drop(QueuedEvent::decode(&message));
        }

        #[test]
        fn what_is_encoded_decodes_to_itself(
            id in "[A-Za-z0-9_-]{1,64}", object in "[A-Za-z0-9_-]{1,64}", user in proptest::option::of("[A-Za-z0-9_-]{1,64}"),
            times in proptest::array::uniform3(-377_705_023_201_000i64..253_402_207_200_000),
        ) {
            let time = |ms| Timestamp::from_millisecond(ms).expect("in range");
            let event = QueuedEvent {
                event_id: EventId::parse(id).expect("valid"),
                kind: EventKind::MagicAuthCreated,
                object_id: MagicAuthId::parse(object).expect("valid"),
                user_id: user.map(|user| UserId::parse(user).expect("valid")),
                created_at: time(times[0]), expires_at: time(times[1]), received_at: time(times[2]),
                traceparent: None,
            };
            prop_assert_eq!(QueuedEvent::decode(&event.encode()), Ok(event));
        }
    }
}
