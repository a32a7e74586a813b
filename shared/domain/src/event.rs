//! The queued form of an event: the only thing this product writes to a queue.
//!
//! It holds identifiers and times. No code, no address, no name: whoever reads the queue, a backup
//! of it or a dead letter learns nothing that opens an account. Every form carries its version, so
//! that a queue filled by one release can be read by the next. And every form, whatever else
//! changes, has `v` and `expires_at`: a release that does not know a version can still leave the
//! message for one that does, as long as the code works.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::ids::{ClientId, EventId, MagicAuthId, UserId};

/// The version this release writes.
const VERSION: u32 = 1;

/// Largest message that is looked at, in bytes. Ours are under 700.
const MAX_MESSAGE_BYTES: usize = 16 * 1024;

/// Room for a message of ours, unless its ids are unusually long.
const USUAL_BYTES: usize = 512;

/// The kinds of event a mail follows from. New kinds make every `match` on this incomplete, which
/// is the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EventKind {
    /// A login code was made.
    #[serde(rename = "magic_auth.created")]
    MagicAuthCreated,
}

impl EventKind {
    /// The event's name in WorkOS's API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MagicAuthCreated => "magic_auth.created",
        }
    }
}

/// One event on its way to a mail. Made from a verified delivery, from WorkOS's own list of
/// events, or from a queued message, nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueuedEvent {
    /// Claims are kept under this.
    pub event_id: EventId,
    pub kind: EventKind,
    /// The code is fetched under this.
    pub object_id: MagicAuthId,
    /// Whose code it is, if WorkOS said so.
    pub user_id: Option<UserId>,
    /// The application it was asked for at, if WorkOS said so.
    pub client_id: Option<ClientId>,
    /// When the code was made. The person's wait is counted from here.
    pub created_at: Timestamp,
    /// When the code expires. Bounds every retry.
    pub expires_at: Timestamp,
    /// When the webhook reached us.
    pub received_at: Timestamp,
    /// W3C trace context of the delivery, if it had one.
    pub traceparent: Option<String>,
    pub(crate) v: Version,
}

/// Why a message is not an event. Never repeats the message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    /// Larger than any message that we write.
    #[error("a message of {0} bytes, and none of ours is over {MAX_MESSAGE_BYTES}")]
    TooLarge(usize),
    /// Not JSON of the expected form.
    #[error("not a queued event (line {line}, column {column})")]
    Shape {
        /// Line of the first byte that does not fit.
        line: usize,
        /// Column of the first byte that does not fit.
        column: usize,
    },
    /// Written by a newer release, in a version unknown to this one.
    #[error("version {version} of the queued form, and this release reads version {VERSION}")]
    Version {
        /// The version that the message says it has.
        version: u32,
        /// When its code expires, if that can be read.
        expires_at: Option<Timestamp>,
    },
}

/// The fields that every version has.
#[derive(Deserialize)]
struct AnyWire {
    v: u32,
    #[serde(default)]
    expires_at: serde_json::Value,
}

/// The written form. Private, so that nothing else makes events of JSON.
#[derive(Serialize, Deserialize)]
#[serde(remote = "QueuedEvent")]
struct Wire {
    v: Version,
    event_id: EventId,
    kind: EventKind,
    object_id: MagicAuthId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_id: Option<UserId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_id: Option<ClientId>,
    created_at: Timestamp,
    expires_at: Timestamp,
    received_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
}

/// The version that this release writes, and the only one that it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version;

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(VERSION)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            VERSION => Ok(Self),
            _ => Err(D::Error::custom("another version")),
        }
    }
}

impl QueuedEvent {
    /// Writes the message body, as JSON.
    pub fn encode(&self) -> Vec<u8> {
        let mut message = Vec::with_capacity(USUAL_BYTES);
        // Strings, numbers and times only: there is no value of this type that JSON cannot hold.
        Wire::serialize(self, &mut serde_json::Serializer::new(&mut message)).unwrap_or_default();
        message
    }

    /// Reads a message body of any known version.
    pub fn decode(message: &[u8]) -> Result<Self, Undecodable> {
        if message.len() > MAX_MESSAGE_BYTES {
            return Err(Undecodable::TooLarge(message.len()));
        }
        let mut reader = serde_json::Deserializer::from_slice(message);
        Wire::deserialize(&mut reader)
            .and_then(|event| reader.end().map(|()| event))
            .map_err(|error| undecodable(message, &error))
    }

    /// The id of the trace that it belongs to.
    pub fn trace_id(&self) -> Option<&str> {
        self.traceparent.as_deref().and_then(|context| context.split('-').nth(1))
    }

    /// The same event with the sender's trace context, if that is well formed
    /// (<https://www.w3.org/TR/trace-context/>).
    #[must_use]
    pub fn with_traceparent(mut self, header: Option<&str>) -> Self {
        let well_formed = |text: &&str| {
            text.len() == 55 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
        };
        self.traceparent = header.filter(well_formed).map(str::to_owned);
        self
    }
}

/// Why a message cannot be read: its version, or the error in reading it as one of this version.
fn undecodable(message: &[u8], error: &serde_json::Error) -> Undecodable {
    let shape = |error: &serde_json::Error| Undecodable::Shape {
        line: error.line(),
        column: error.column(),
    };
    match serde_json::from_slice(message) {
        Err(broken) => shape(&broken),
        Ok(AnyWire { v: VERSION, .. }) => shape(error),
        Ok(AnyWire { v: version, expires_at }) => Undecodable::Version {
            version,
            expires_at: expires_at.as_str().and_then(|text| text.parse().ok()),
        },
    }
}

#[cfg(test)]
mod tests;
