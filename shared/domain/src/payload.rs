//! What a WorkOS event looks like, and which of them we mail (<https://workos.com/docs/events>).
//!
//! Read leniently: what a mail needs is the event's id and the object's. Everything else is taken if
//! it is there in a form that can be read: dates in either of the two forms WorkOS's own documents
//! show, or as numbers. The code is never read from the event,
//! even where a test double of WorkOS puts it there.

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    event::{EventKind, QueuedEvent, Version},
    ids::{ClientId, EventId, InvalidId, MagicAuthId, UserId},
};

use self::data::Data;
pub use self::loose::Loose;

mod data;
mod loose;

/// How long a code lives when the event does not say
/// (<https://workos.com/docs/authkit/magic-auth>).
const USUAL_LIFE: SignedDuration = SignedDuration::from_mins(10);

/// Longest event name repeated in a log line.
const MAX_SHOWN_KIND: usize = 64;

/// Why a genuine delivery cannot be used. Says where, never what stood there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Not JSON, or not an event object.
    #[error("the body is not a WorkOS event (line {line}, column {column})")]
    Json {
        /// Line of the first byte that does not fit.
        line: usize,
        /// Column of the first byte that does not fit.
        column: usize,
    },
    /// A field that should be an identifier is not.
    #[error("{field}: {why}")]
    Id {
        /// The name of the field.
        field: &'static str,
        /// What is wrong with the identifier.
        why: InvalidId,
    },
    /// A `magic_auth.created` event without a required field.
    #[error("a magic_auth.created event without {0}")]
    Incomplete(&'static str),
}

/// A WorkOS event that was read from an [`crate::webhook::AuthenticBody`] or from the events that
/// its API lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerifiedEvent {
    /// An event that needs a mail, in the form that is queued.
    Mailable(QueuedEvent),
    /// An event of a kind that needs no mail.
    NotMailed {
        /// Its name, shortened and reduced to characters that are safe in a log line.
        kind: String,
    },
}

/// What every event has, and what those of ours have in it.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow, default)]
    created_at: Loose<'a>,
    #[serde(borrow, default)]
    data: Data<'a>,
    #[serde(borrow, default)]
    context: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Context<'a> {
    #[serde(borrow, default)]
    client_id: Loose<'a>,
}

/// Reads an event. Only for bodies that are known to come from WorkOS: a verified webhook, or an
/// answer of its API.
pub fn parse_event(body: &[u8], received_at: Timestamp) -> Result<VerifiedEvent, Unreadable> {
    // Text that was checked once as a whole is read faster than bytes.
    let envelope: Result<Envelope<'_>, _> = match std::str::from_utf8(body) {
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_slice(body),
    };
    let envelope = envelope.map_err(|error| at_fault(&error))?;
    let event_id =
        EventId::parse(envelope.id).map_err(|why| Unreadable::Id { field: "id", why })?;
    if envelope.event != EventKind::MagicAuthCreated.name() {
        return Ok(VerifiedEvent::NotMailed { kind: shown(&envelope.event) });
    }
    let object = match envelope.data {
        Data::Missing => return Err(Unreadable::Incomplete("data")),
        Data::Other => return Err(Unreadable::Incomplete("a magic_auth object")),
        Data::Object(object) => object,
    };
    let object_id = object.id.as_str().ok_or(Unreadable::Incomplete("data.id"))?;
    let object_id =
        MagicAuthId::parse(object_id).map_err(|why| Unreadable::Id { field: "data.id", why })?;
    let user_id = object.user_id.as_str().and_then(|text| UserId::parse(text).ok());
    let client_id = envelope.context.and_then(client_id);
    let created_at =
        time(&object.created_at).or_else(|| time(&envelope.created_at)).unwrap_or(received_at);
    let expires_at = time(&object.expires_at)
        .unwrap_or_else(|| created_at.saturating_add(USUAL_LIFE).unwrap_or(Timestamp::MAX));
    Ok(VerifiedEvent::Mailable(QueuedEvent {
        event_id,
        kind: EventKind::MagicAuthCreated,
        object_id,
        user_id,
        client_id,
        created_at,
        expires_at,
        received_at,
        traceparent: None,
        v: Version,
    }))
}

fn client_id(context: &RawValue) -> Option<ClientId> {
    let Context { client_id } = serde_json::from_str(context.get()).ok()?;
    ClientId::parse(client_id.as_str()?).ok()
}

/// The position only: serde's message may quote the payload.
fn at_fault(error: &serde_json::Error) -> Unreadable {
    Unreadable::Json { line: error.line(), column: error.column() }
}

fn shown(kind: &str) -> String {
    kind.chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_'))
        .take(MAX_SHOWN_KIND)
        .collect()
}

/// Numbers from here on are milliseconds: as seconds this is the year 5138, as milliseconds 1973.
const LEAST_MILLISECONDS: f64 = 1e11;

/// A time as text, or as a number of seconds or milliseconds since the epoch.
pub fn time(value: &Loose<'_>) -> Option<Timestamp> {
    let number = match value {
        Loose::Text(text) => return parse_time(text),
        Loose::Number(number) if *number > 0.0 => *number,
        Loose::Number(_) | Loose::Other => return None,
    };
    let milliseconds = if number < LEAST_MILLISECONDS { number * 1000.0 } else { number };
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and a time has bounds")]
    Timestamp::from_millisecond(milliseconds as i64).ok()
}

/// RFC 3339, or the `2023-04-28 20:05:31.093` of an older document, which is UTC.
fn parse_time(text: &str) -> Option<Timestamp> {
    text.parse::<Timestamp>().ok().or_else(|| {
        let civil: DateTime = text.parse().ok()?;
        civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    })
}

#[cfg(test)]
mod tests;
