//! Selects dead letters by event, reason and age.

use std::{collections::BTreeSet, time::Duration};

use clap::Args;
use domain::queue::dead_letters::{Action, DeadLetter};
use jiff::{Span, SpanRelativeTo, Timestamp};

/// Selects letters. Without any of these: all.
#[derive(Debug, Clone, Args)]
pub(super) struct Selection {
    /// Event ids to act on (event_…)
    #[arg(value_name = "EVENT_ID")]
    pub(super) events: Vec<String>,
    /// Only letters with this reason, such as "not_found" or "recipient_refused"
    #[arg(long, value_name = "REASON")]
    pub(super) reason: Option<String>,
    /// Only letters that are older than this, such as "10 min" or "2 days"
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    older_than: Option<Duration>,
    /// Only letters that are younger than this
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    younger_than: Option<Duration>,
}

impl Selection {
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
            && self.reason.is_none()
            && self.older_than.is_none()
            && self.younger_than.is_none()
    }

    pub(super) fn matches(&self, letter: &DeadLetter, now: Timestamp) -> bool {
        let id = letter.event.as_ref().ok().map(|event| event.event_id.as_str());
        let named = self.events.is_empty()
            || id.is_some_and(|id| self.events.iter().any(|event| event == id));
        let age = letter
            .dead_lettered_at
            .and_then(|at| Duration::try_from(now.duration_since(at)).ok())
            .unwrap_or_default();
        named
            && self.reason.as_ref().is_none_or(|reason| *reason == letter.reason)
            && self.older_than.is_none_or(|least| age > least)
            && self.younger_than.is_none_or(|most| age < most)
    }

    /// Event ids that were given and are not among the letters.
    pub(super) fn missing(&self, letters: &[(DeadLetter, Action)]) -> Vec<String> {
        let found: BTreeSet<_> = letters
            .iter()
            .filter_map(|(letter, _)| letter.event.as_ref().ok())
            .map(|event| event.event_id.as_str())
            .collect();
        self.events.iter().filter(|event| !found.contains(event.as_str())).cloned().collect()
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let span: Span = text
        .parse()
        .map_err(|_| "must be a duration such as \"10 min\" or \"2 days\"".to_owned())?;
    let signed =
        span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|why| why.to_string())?;
    Duration::try_from(signed).map_err(|_| "must not be negative".to_owned())
}
