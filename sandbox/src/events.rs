//! Queued events, for tests and benchmarks.

use domain::event::QueuedEvent;
use jiff::{SignedDuration, Timestamp};

/// The event `event_{name}` about the code `magic_auth_{name}`, created at `created_at` and valid for ten
/// minutes, of no user.
///
/// # Panics
///
/// If `name` cannot be part of an id.
pub fn event(name: &str, created_at: Timestamp) -> QueuedEvent {
    let expires_at = created_at + SignedDuration::from_mins(10);
    let message = serde_json::json!({
        "v": 1, "event_id": format!("event_{name}"), "kind": "magic_auth.created",
        "object_id": format!("magic_auth_{name}"), "created_at": created_at, "expires_at": expires_at,
        "received_at": created_at,
    });
    QueuedEvent::decode(message.to_string().as_bytes()).expect("the names are parts of ids")
}

/// The same of the user `user_{user}`.
///
/// # Panics
///
/// If a name cannot be part of an id.
pub fn event_of(name: &str, user: &str, created_at: Timestamp) -> QueuedEvent {
    let mut event = event(name, created_at);
    let user = format!("user_{user}");
    event.user_id = Some(domain::ids::UserId::parse(user).expect("the name is part of an id"));
    event
}
