//! What became of one event, in the order in which it happened, and what is expected next.

use domain::{
    claims::History,
    event::QueuedEvent,
    records::{Facts, Progress, Record},
};
use jiff::Timestamp;
use runtime::terminal::escape;
use serde_json::{Value, json};

/// Everything known about one event.
#[derive(Default)]
pub(super) struct Story {
    record: Option<Record>,
    /// The event as WorkOS lists it, if it was asked.
    pub(super) at_workos: Option<QueuedEvent>,
}

impl Story {
    pub(super) fn of(record: Record) -> Self {
        Self { record: Some(record), at_workos: None }
    }

    fn facts(&self) -> Option<Facts> {
        let recorded = self.record.as_ref().and_then(|record| record.facts.clone());
        // What WorkOS lists was not accepted here; its time is not shown then.
        recorded.or_else(|| self.at_workos.as_ref().map(|event| Facts::of(event, event.created_at)))
    }

    /// What became of it, in one sentence.
    fn verdict(&self, now: Timestamp) -> String {
        let Some(Record { progress, attempt, failure, .. }) = &self.record else {
            return "never arrived here, or its code had expired when it did: see `authpost reconcile`"
                .to_owned();
        };
        let after = failure.as_ref().map(|why| format!(", after {why}")).unwrap_or_default();
        let has_expired = self.facts().is_some_and(|facts| facts.expires_at <= now);
        match progress {
            Progress::Sent { receipt, .. } => {
                format!("sent; accepted as {receipt}: see the log of the relay")
            }
            Progress::Superseded => "not sent: a newer code of the same user was".to_owned(),
            Progress::Dead => {
                let why = failure.as_deref().unwrap_or("no reason on record");
                format!("dead letter after {attempt} attempts: {why}")
            }
            Progress::Expired => format!("not sent: its code expired{after}"),
            Progress::Accepted | Progress::Waiting { .. } if has_expired => {
                format!("not sent: its code has expired while it waited{after}")
            }
            Progress::Accepted => format!("waiting for a worker{after}"),
            Progress::Waiting { .. } => {
                format!("waiting for attempt {}{after}", attempt.saturating_add(1))
            }
            Progress::Leased | Progress::Sending if has_expired => {
                "not on record as sent: the worker that processed it stopped; see `authpost dead list`"
                    .to_owned()
            }
            Progress::Leased | Progress::Sending => "being processed by a worker".to_owned(),
        }
    }

    fn doubts(&self) -> Option<String> {
        let history = self.record.as_ref()?.history;
        let History { unanswered_sends, crashed_sending } = history;
        let crashed = if crashed_sending { ", a worker crashed while sending" } else { "" };
        let doubts = || {
            format!(
                "a mail may have been sent: the relay did not answer {unanswered_sends} times{crashed}"
            )
        };
        history.may_have_sent().then(doubts)
    }

    /// What happened and what is expected, with times, in order.
    fn steps(&self, now: Timestamp) -> Vec<(Option<Timestamp>, String)> {
        let Some(facts) = self.facts() else { return Vec::new() };
        let mut steps = vec![(Some(facts.created_at), "code asked for".to_owned())];
        let since = |then: Timestamp| {
            let ms = then.as_millisecond() - facts.created_at.as_millisecond();
            format!("{ms:+} ms")
        };
        let Some(Record { progress, attempt, failure, .. }) = &self.record else { return steps };
        steps.push((Some(facts.accepted_at), format!("accepted ({})", since(facts.accepted_at))));
        if let Some(failure) = failure {
            steps.push((
                None,
                format!("attempt {attempt}: {failure}").replace("attempt 0", "not tried"),
            ));
        }
        match progress {
            Progress::Sent { at: Some(at), .. } => {
                steps.push((Some(*at), format!("mailed by attempt {attempt} ({})", since(*at))));
            }
            Progress::Waiting { next_at: Some(next) } if *next > now => {
                steps.push((Some(*next), format!("attempt {} is due", attempt.saturating_add(1))));
            }
            _ => {}
        }
        let ends = if facts.expires_at <= now { "code expired" } else { "code expires" };
        steps.push((Some(facts.expires_at), ends.to_owned()));
        steps
    }

    /// All of it, as JSON for programs.
    pub(super) fn describe(&self, id: &str, now: Timestamp) -> Value {
        let (record, facts) = (self.record.as_ref(), self.facts());
        let facts = facts.as_ref();
        let (mut next_at, mut sent_at, mut receipt) = (None, None, None);
        match record.map(|record| &record.progress) {
            Some(Progress::Waiting { next_at: next }) => next_at = *next,
            Some(Progress::Sent { at, receipt: id }) => (sent_at, receipt) = (*at, Some(id)),
            _ => {}
        }
        json!({
            "event_id": id, "verdict": self.verdict(now), "doubts": self.doubts(),
            "state": record.map(|record| record.progress.label()),
            "at_workos": self.at_workos.is_some(),
            "kind": facts.map(|facts| facts.kind.name()),
            "magic_auth_id": facts.map(|facts| facts.object_id.as_str()),
            "user_id": facts.and_then(|facts| facts.user_id.as_ref()).map(ToString::to_string),
            "created_at": facts.map(|facts| facts.created_at),
            "accepted_at": facts.filter(|_| record.is_some()).map(|facts| facts.accepted_at),
            "expires_at": facts.map(|facts| facts.expires_at),
            "attempt": record.map(|record| record.attempt),
            "failure": record.and_then(|record| record.failure.as_ref()),
            "next_at": next_at, "sent_at": sent_at, "receipt": receipt,
            "trace_id": facts.and_then(|facts| facts.trace_id.as_ref()),
        })
    }

    /// All of it, as lines for people.
    pub(super) fn lines(&self, id: &str, now: Timestamp) -> String {
        let mut lines = vec![escape(id).into_owned(), format!("  {}", escape(&self.verdict(now)))];
        let mut line =
            |name: &str, text: &str| lines.push(format!("  {name:<24}  {}", escape(text)));
        if let Some(doubts) = self.doubts() {
            line("", &doubts);
        }
        for (at, what) in self.steps(now) {
            line(&at.map(|at| format!("{at:.3}")).unwrap_or_default(), &what);
        }
        if let Some(facts) = self.facts() {
            line("code", facts.object_id.as_str());
            if let Some(user) = &facts.user_id {
                line("user", user.as_str());
            }
            if let Some(trace) = &facts.trace_id {
                line("trace", trace);
            }
        }
        lines.join("\n")
    }
}
