//! The indexes of the records: which events there are of an object or a user.
//!
//! Lists of event ids, of which each serves many objects and users: a list for each would take
//! several times the memory of a record. Whoever reads one looks into the records.

use domain::{claims::Subject, event::QueuedEvent};
use jiff::Timestamp;

/// How many lists there are for each day.
const LISTS: u32 = 1024;

/// Days after which a record is gone for certain, and that of a dead letter.
const DAYS: i64 = 4;
const DEAD_DAYS: i64 = 15;

/// The lists that an event is entered into by its object and its user. Without a user they are the
/// same, and the second is not used.
pub(super) fn of(prefix: &str, event: &QueuedEvent) -> [String; 2] {
    pair(event, |id| list(prefix, "index", day(event.created_at), id))
}

/// The same for a dead letter.
pub(super) fn of_dead(prefix: &str, subject: &Subject) -> [String; 2] {
    let event = &subject.event;
    pair(event, |id| list(prefix, "index:dead", day(event.created_at), id))
}

fn pair(event: &QueuedEvent, list: impl Fn(&str) -> String) -> [String; 2] {
    let object = event.object_id.as_str();
    [list(object), list(event.user_id.as_ref().map_or(object, |user| user.as_str()))]
}

/// Every list that may have events of this object or user.
pub(super) fn all(prefix: &str, id: &str, now: Timestamp) -> Vec<String> {
    let today = day(now);
    let live = (-1..=DAYS).map(|ago| list(prefix, "index", today - ago, id));
    let dead = (-1..=DEAD_DAYS).map(|ago| list(prefix, "index:dead", today - ago, id));
    live.chain(dead).collect()
}

fn day(time: Timestamp) -> i64 {
    time.as_second().div_euclid(24 * 3600)
}

fn list(prefix: &str, kind: &str, day: i64, id: &str) -> String {
    let number = hash(id) % LISTS;
    let digit = |shift: u32| char::from_digit((number >> shift) & 15, 16).unwrap_or('0');
    // Twice for every event: `format!` takes three times as long, and growing costs a copy.
    let day = day.to_string();
    let parts = [prefix, ":", kind, ":", &day, ":"];
    let mut list = String::with_capacity(parts.iter().map(|part| part.len()).sum::<usize>() + 3);
    list.extend(parts);
    list.extend([digit(8), digit(4), digit(0)]);
    list
}

/// FNV-1a: every replica and every release must find the same list.
fn hash(id: &str) -> u32 {
    id.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// An id without the beginning that all of its kind have, which would be a fifth of a record. Other
/// ids get a mark, which no id has.
pub(super) fn short(id: &str, beginning: &str) -> String {
    id.strip_prefix(beginning).map_or_else(|| format!("={id}"), str::to_owned)
}

/// The id that was made shorter.
pub(super) fn long(short: &str, beginning: &str) -> String {
    short.strip_prefix('=').map_or_else(|| format!("{beginning}{short}"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_comes_back() {
        for id in ["event_01", "evt_01", "event_", "01", "event_event_01"] {
            assert_eq!(long(&short(id, "event_"), "event_"), id);
        }
        assert_eq!(
            (short("event_01", "event_"), short("01", "event_")),
            ("01".into(), "=01".into())
        );
    }

    #[test]
    fn a_list_stays_where_it_is_and_is_looked_for_as_long_as_it_lasts() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let made = list("authpost", "index", day(at("2026-01-15T23:59:59Z")), "user_01");
        assert_eq!(made, "authpost:index:20468:37c");
        for now in ["2026-01-15T00:00:00Z", "2026-01-19T10:00:00Z"] {
            assert!(all("authpost", "user_01", at(now)).contains(&made), "{now}");
        }
        assert!(!all("authpost", "user_01", at("2026-01-21T00:00:00Z")).contains(&made));
    }
}
