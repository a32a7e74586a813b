//! What a WorkOS event looks like, and which of them we mail (<https://workos.com/docs/events>).
//!
//! Read leniently: fields we do not use are not required, unknown ones are ignored, dates may come in either of the
//! two forms WorkOS's own documents show. The code is never read from the event, even where a test double of WorkOS
//! puts it there.

use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};
use serde::Deserialize;

use crate::{
    event::{EventKind, QueuedEvent},
    ids::{EventId, InvalidId, MagicAuthId, UserId},
};

/// How long a code lives when the event does not say (<https://workos.com/docs/authkit/magic-auth>).
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
        /// Column of it.
        column: usize,
    },
    /// An identifier that is none.
    #[error("{field}: {why}")]
    Id {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        why: InvalidId,
    },
    /// `magic_auth.created` without what makes it one.
    #[error("a magic_auth.created event without {0}")]
    Incomplete(&'static str),
}

/// An event of WorkOS's, read: from an [`crate::webhook::AuthenticBody`], or from what its API lists ([`crate::workos::events`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerifiedEvent {
    /// One that a mail follows from, in the form that is queued.
    Mailable(QueuedEvent),
    /// A kind this integration has nothing to do for.
    NotMailed {
        /// Its name, shortened and stripped of anything that could upset a log line.
        kind: String,
    },
}

#[derive(Deserialize)]
struct Envelope {
    id: String,
    event: String,
    #[serde(default)]
    created_at: Option<String>,
    #[serde(default)]
    data: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct MagicAuth {
    id: Option<String>,
    user_id: Option<String>,
    expires_at: Option<String>,
    created_at: Option<String>,
}

pub(crate) fn read(body: &[u8], received_at: Timestamp) -> Result<VerifiedEvent, Unreadable> {
    let envelope: Envelope = serde_json::from_slice(body).map_err(|error| at_fault(&error))?;
    let event_id = EventId::parse(envelope.id).map_err(|why| Unreadable::Id { field: "id", why })?;
    if envelope.event != EventKind::MagicAuthCreated.name() {
        return Ok(VerifiedEvent::NotMailed { kind: shown(&envelope.event) });
    }
    let data = envelope.data.ok_or(Unreadable::Incomplete("data"))?;
    let object = MagicAuth::deserialize(data).map_err(|_| Unreadable::Incomplete("a magic_auth object"))?;
    let object_id = object.id.ok_or(Unreadable::Incomplete("data.id"))?;
    let object_id = MagicAuthId::parse(object_id).map_err(|why| Unreadable::Id { field: "data.id", why })?;
    let user_id = object.user_id.map(UserId::parse).transpose().map_err(|why| Unreadable::Id { field: "data.user_id", why })?;
    let time = |text: Option<String>| text.as_deref().and_then(parse_time);
    let created_at = time(object.created_at).or_else(|| time(envelope.created_at)).unwrap_or(received_at);
    let expires_at = time(object.expires_at).unwrap_or_else(|| created_at.saturating_add(USUAL_LIFE).unwrap_or(Timestamp::MAX));
    Ok(VerifiedEvent::Mailable(QueuedEvent {
        event_id,
        kind: EventKind::MagicAuthCreated,
        object_id,
        user_id,
        created_at,
        expires_at,
        received_at,
        traceparent: None,
    }))
}

/// The position only: serde's message may quote the payload.
fn at_fault(error: &serde_json::Error) -> Unreadable {
    Unreadable::Json { line: error.line(), column: error.column() }
}

fn shown(kind: &str) -> String {
    kind.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_')).take(MAX_SHOWN_KIND).collect()
}

/// RFC 3339, or the `2023-04-28 20:05:31.093` of an older document, which is UTC.
pub(crate) fn parse_time(text: &str) -> Option<Timestamp> {
    text.parse::<Timestamp>().ok().or_else(|| {
        let civil: DateTime = text.parse().ok()?;
        civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-01-15T12:00:01Z".parse().expect("valid")
    }

    fn mailable(body: &str) -> QueuedEvent {
        match read(body.as_bytes(), now()).expect("readable") {
            VerifiedEvent::Mailable(event) => event,
            VerifiedEvent::NotMailed { kind } => panic!("{kind} is not mailed"),
        }
    }

    #[test]
    fn reads_the_documented_event() {
        let event = mailable(include_str!("../tests/data/magic_auth_created.json"));
        assert_eq!(event.event_id.as_str(), "event_01HYM0Z0000000000000000001");
        assert_eq!(event.object_id.as_str(), "magic_auth_01HYM0Z0000000000000000002");
        assert_eq!(event.user_id.as_ref().map(UserId::as_str), Some("user_01HYM0Z0000000000000000003"));
        assert_eq!(event.created_at.to_string(), "2026-01-15T12:00:00Z");
        assert_eq!(event.expires_at.to_string(), "2026-01-15T12:10:00Z");
        assert_eq!(event.received_at, now());
    }

    #[test]
    fn reads_the_shortest_event_and_assumes_ten_minutes() {
        let event = mailable(r#"{"id":"evt_1","event":"magic_auth.created","data":{"id":"magic_auth_1"}}"#);
        assert_eq!(event.created_at, now());
        assert_eq!(event.expires_at.duration_since(now()), USUAL_LIFE);
    }

    #[test]
    fn reads_dates_in_both_forms() {
        for text in ["2023-04-28T20:05:31.093Z", "2023-04-28 20:05:31.093", "2023-04-28T20:05:31.093+00:00"] {
            assert_eq!(parse_time(text).map(Timestamp::as_millisecond), Some(1_682_712_331_093), "{text}");
        }
        assert_eq!(parse_time("yesterday"), None);
    }

    #[test]
    fn takes_no_code_from_the_event() {
        let event = mailable(
            r#"{"id":"evt_1","event":"magic_auth.created","data":{"id":"magic_auth_1","code":"123456","email":"alice@example.com"}}"#,
        );
        let queued = String::from_utf8(event.encode()).expect("JSON is UTF-8");
        assert!(!queued.contains("123456") && !queued.contains("alice"), "{queued}");
    }

    #[test]
    fn other_kinds_are_not_mailed() {
        for kind in ["user.created", "email_verification.created", "magic_auth.created.v2", ""] {
            let body = format!(r#"{{"id":"event_1","event":"{kind}","data":{{}}}}"#);
            assert_eq!(read(body.as_bytes(), now()), Ok(VerifiedEvent::NotMailed { kind: kind.to_owned() }));
        }
    }

    #[test]
    fn says_what_is_wrong_without_repeating_it() {
        for (body, says) in [
            ("", "not a WorkOS event (line 1, column 0)"),
            ("{\"id\":\"secret", "not a WorkOS event"),
            ("[]", "not a WorkOS event"),
            (r#"{"event":"magic_auth.created"}"#, "not a WorkOS event"),
            (r#"{"id":"../secret","event":"x"}"#, "id: an id is"),
            (r#"{"id":"e","event":"magic_auth.created"}"#, "without data"),
            (r#"{"id":"e","event":"magic_auth.created","data":[1]}"#, "without a magic_auth object"),
            (r#"{"id":"e","event":"magic_auth.created","data":{}}"#, "without data.id"),
            (r#"{"id":"e","event":"magic_auth.created","data":{"id":"a/secret"}}"#, "data.id: an id is"),
        ] {
            let error = read(body.as_bytes(), now()).expect_err(body).to_string();
            assert!(error.contains(says), "{body}: {error}");
            assert!(!error.contains("secret"), "{body}: {error}");
        }
    }
}
