//! Describes dead letters: as one line, in full, and as JSON.

use domain::{fault::Reason, queue::dead_letters::DeadLetter};
use jiff::Timestamp;
use runtime::terminal::escape;
use serde_json::{Value, json};

/// Why a letter is not redriven without `--force`, if so.
pub(super) fn objection(letter: &DeadLetter, now: Timestamp) -> Option<&'static str> {
    match &letter.event {
        Err(_) => Some("this release cannot read it"),
        Ok(event) if event.expires_at <= now => Some("its code has expired"),
        Ok(_) if letter.reason == Reason::Ambiguous.label() => {
            Some("a mail may have been sent already")
        }
        Ok(_) => None,
    }
}

pub(super) fn describe(letter: &DeadLetter, now: Timestamp) -> Value {
    let mut described = json!({
        "reason": letter.reason, "detail": letter.detail, "attempt": letter.attempt,
        "dead_lettered_at": letter.dead_lettered_at,
        "objection": objection(letter, now),
    });
    match &letter.event {
        Ok(event) => {
            described["event_id"] = json!(event.event_id.as_str());
            described["magic_auth_id"] = json!(event.object_id.as_str());
            described["user_id"] = json!(event.user_id.as_ref().map(ToString::to_string));
            described["created_at"] = json!(event.created_at);
            described["expires_at"] = json!(event.expires_at);
        }
        Err(undecodable) => described["undecodable"] = json!(undecodable.to_string()),
    }
    described
}

pub(super) fn line(letter: &DeadLetter, now: Timestamp) -> String {
    let id = letter.event.as_ref().map_or("(unreadable)", |event| event.event_id.as_str());
    let dead_lettered_at =
        letter.dead_lettered_at.map_or_else(|| "?".to_owned(), |at| format!("{at:.0}"));
    let end = match &letter.event {
        Ok(event) if event.expires_at <= now => "expired",
        Ok(_) => "valid",
        Err(_) => "-",
    };
    format!("{dead_lettered_at}  {:<20} {end:<8} {id}", escape(&letter.reason))
}

pub(super) fn full(letter: &DeadLetter, now: Timestamp) -> String {
    let described = describe(letter, now);
    let field = |(name, value): (&String, &Value)| {
        (!value.is_null()).then(|| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!("{name:<16} {}", escape(&text))
        })
    };
    let lines: Vec<String> =
        described.as_object().into_iter().flatten().filter_map(field).collect();
    format!("{}\n", lines.join("\n"))
}
