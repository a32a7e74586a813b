//! The indexes of the records: which events there are of an object or a user.
//!
//! Lists of event ids, of which each serves many objects and users: a list for each would take
//! several times the memory of a record. Whoever reads one looks into the records.

use std::borrow::Cow;

use domain::{claims::Subject, event::QueuedEvent};
use jiff::Timestamp;

use super::call::Key;

/// How many lists there are for each day.
const LISTS: u32 = 1024;

/// Days after which a record is gone for certain, and that of a dead letter.
const DAYS: i64 = 4;
const DEAD_DAYS: i64 = 15;

/// A list, in the parts of its key.
pub(super) struct List<'a> {
    prefix: &'a str,
    kind: &'static str,
    day: i64,
    number: u32,
}

impl<'a> List<'a> {
    fn new(prefix: &'a str, kind: &'static str, day: i64, id: &str) -> Self {
        Self { prefix, kind, day, number: hash(id) % LISTS }
    }
}

impl Key for List<'_> {
    fn append_to(self, text: &mut String) {
        let digit = |shift: u32| char::from_digit((self.number >> shift) & 15, 16).unwrap_or('0');
        let mut day = itoa::Buffer::new();
        text.extend([self.prefix, ":", self.kind, ":", day.format(self.day), ":"]);
        text.extend([digit(8), digit(4), digit(0)]);
    }
}

/// The lists that an event is entered into by its object and its user. Without a user they are the
/// same, and the second is not used.
pub(super) fn of<'a>(prefix: &'a str, event: &QueuedEvent) -> [List<'a>; 2] {
    pair(event, |id| List::new(prefix, "index", day(event.created_at), id))
}

/// The same for a dead letter.
pub(super) fn of_dead<'a>(prefix: &'a str, subject: &Subject) -> [List<'a>; 2] {
    let event = &subject.event;
    pair(event, |id| List::new(prefix, "index:dead", day(event.created_at), id))
}

fn pair<'a>(event: &QueuedEvent, list: impl Fn(&str) -> List<'a>) -> [List<'a>; 2] {
    let object = event.object_id.as_str();
    [list(object), list(event.user_id.as_ref().map_or(object, |user| user.as_str()))]
}

/// Every list that may have events of this object or user.
pub(super) fn all<'a>(prefix: &'a str, id: &str, now: Timestamp) -> Vec<List<'a>> {
    let today = day(now);
    let live = (-1..=DAYS).map(|ago| List::new(prefix, "index", today - ago, id));
    let dead = (-1..=DEAD_DAYS).map(|ago| List::new(prefix, "index:dead", today - ago, id));
    live.chain(dead).collect()
}

fn day(time: Timestamp) -> i64 {
    time.as_second().div_euclid(24 * 3600)
}

/// FNV-1a: every replica and every release must find the same list.
fn hash(id: &str) -> u32 {
    id.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// An id without the beginning that all of its kind have, which would be a fifth of a record. Other
/// ids get a mark, which no id has.
pub(super) fn short<'a>(id: &'a str, beginning: &str) -> Cow<'a, str> {
    id.strip_prefix(beginning).map_or_else(|| format!("={id}").into(), Cow::Borrowed)
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

    fn key(list: List<'_>) -> String {
        let mut key = String::new();
        list.append_to(&mut key);
        key
    }

    #[test]
    fn a_list_stays_where_it_is_and_is_looked_for_as_long_as_it_lasts() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let made = key(List::new("authpost", "index", day(at("2026-01-15T23:59:59Z")), "user_01"));
        assert_eq!(made, "authpost:index:20468:37c");
        let is_among =
            |now| all("authpost", "user_01", at(now)).into_iter().any(|it| key(it) == made);
        for now in ["2026-01-15T00:00:00Z", "2026-01-19T10:00:00Z"] {
            assert!(is_among(now), "{now}");
        }
        assert!(!is_among("2026-01-21T00:00:00Z"));
    }
}
