//! `authpost why`: shows what became of an event, or of a user's events. Works beside a running
//! service, on both engines.

use std::{collections::BTreeMap, process::ExitCode, sync::Arc};

use clap::Args;
use domain::{
    claims::History,
    clock::Clock as _,
    event::QueuedEvent,
    event_log::EventLog,
    ids::EventId,
    queue::{
        dead_letters::{Action, DeadLetter},
        search::Waiting,
    },
    records::{Progress, Record},
};
use jiff::SignedDuration;
use runtime::{clock::SystemClock, telemetry::LogFormat, terminal::escape};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use workos::WorkosEvents;

use super::{block_on, print, print_json, start_logging, usage_error};
use crate::{
    config::{
        Inspection,
        args::{OperatorOptions, WorkosOptions},
        read_operator, read_reconcile,
    },
    deps::Deps,
    engines::{self, Access, OpenEngine},
};

/// How far back the events of WorkOS are listed.
const LOOK_BACK: SignedDuration = SignedDuration::from_hours(24);

#[derive(Debug, Args)]
pub(super) struct WhyArgs {
    /// Id of an event (event_…, evt_…) or of a code (magic_auth_…)
    #[arg(value_name = "ID", required_unless_present = "user", conflicts_with = "user")]
    id: Option<String>,
    /// All events of this user (user_…)
    #[arg(long, value_name = "USER_ID")]
    user: Option<String>,
    /// Also list the events of the last day at WorkOS, which shows those that never arrived here
    #[arg(long)]
    workos: bool,
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: WorkosOptions,
    #[command(flatten)]
    operator: OperatorOptions,
}

pub(super) fn why(args: WhyArgs) -> ExitCode {
    let WhyArgs { id, user, workos, json, api, operator } = args;
    if let Err(why) = start_logging(LogFormat::Text, &operator.log_levels) {
        return usage_error(&why);
    }
    let read = if workos {
        read_reconcile(operator, api).map(|(inspection, api)| (inspection, Some(api)))
    } else {
        read_operator(operator).map(|inspection| (inspection, None))
    };
    let (Inspection { engine, trust }, api) = match read {
        Ok(read) => read,
        Err(problems) => return usage_error(&problems),
    };
    let query = Query { id, user };
    block_on(async move {
        let deps = Deps::new(Arc::new(SystemClock), trust, CancellationToken::new())?;
        let engine = engines::open(&engine, Access::Operator, &deps)?;
        let mut reports = search(engine.as_ref(), &query).await?;
        if let Some(api) = api {
            list_at_workos(&WorkosEvents::new(&api, &deps.trust), &query, &mut reports).await?;
        }
        add_records(engine.as_ref(), &mut reports).await?;
        print_reports(&reports, json)
    })
}

/// The events that the arguments select.
#[derive(Clone)]
struct Query {
    id: Option<String>,
    user: Option<String>,
}

impl Query {
    fn matches(&self, event: &QueuedEvent) -> bool {
        let id = self
            .id
            .as_deref()
            .is_some_and(|id| id == event.event_id.as_str() || id == event.object_id.as_str());
        id || self
            .user
            .as_deref()
            .is_some_and(|user| event.user_id.as_ref().is_some_and(|known| known.as_str() == user))
    }
}

/// Everything known about one event.
#[derive(Default)]
struct Report {
    event: Option<QueuedEvent>,
    at_workos: bool,
    waiting: Option<Waiting>,
    dead: Option<DeadLetter>,
    record: Option<Record>,
}

type Reports = BTreeMap<String, Report>;

async fn search(engine: &dyn OpenEngine, query: &Query) -> anyhow::Result<Reports> {
    let mut reports = Reports::new();
    // Events of WorkOS's emulator are evt_…, of old webhooks wh_…; of a mailed event there is only
    // the record under its id.
    if let Some(id) = query.id.as_ref().filter(|id| !id.starts_with("magic_auth_")) {
        reports.insert(id.clone(), Report::default());
    }
    let wanted = query.clone();
    for waiting in engine.search().search(Arc::new(move |event| wanted.matches(event))).await? {
        let report = reports.entry(waiting.event.event_id.to_string()).or_default();
        report.event = Some(waiting.event.clone());
        report.waiting = Some(waiting);
    }
    for (letter, _) in engine.dead_letters().walk(Arc::new(|_| Action::Keep)).await? {
        let Some(event) = letter.event.as_ref().ok().filter(|event| query.matches(event)) else {
            continue;
        };
        let report = reports.entry(event.event_id.to_string()).or_default();
        report.event = Some(event.clone());
        report.dead = Some(letter);
    }
    Ok(reports)
}

async fn add_records(engine: &dyn OpenEngine, reports: &mut Reports) -> anyhow::Result<()> {
    for (id, report) in reports {
        // Ids of events that were found are valid; one from the command line may be anything.
        if let Ok(id) = EventId::parse(id) {
            report.record = engine.records().find(&id).await?;
        }
    }
    Ok(())
}

async fn list_at_workos(
    events: &dyn EventLog,
    query: &Query,
    reports: &mut Reports,
) -> anyhow::Result<()> {
    let now = SystemClock.now();
    for event in events.since(now.saturating_sub(LOOK_BACK)?, now).await? {
        if query.matches(&event) {
            let report = reports.entry(event.event_id.to_string()).or_default();
            report.at_workos = true;
            report.event.get_or_insert(event);
        }
    }
    Ok(())
}

impl Report {
    /// What became of it, in one sentence; and whether anything is known of it here.
    fn verdict(&self) -> (String, bool) {
        if let Some(Record { progress: Progress::Sent(receipt), .. }) = &self.record {
            let accepted = format!("sent; accepted as {receipt}: see the log of the relay");
            return (accepted, true);
        }
        if let Some(Record { progress: Progress::Superseded, .. }) = &self.record {
            return ("not sent: a newer code of the same user was".to_owned(), true);
        }
        if let Some(letter) = &self.dead {
            return (
                format!(
                    "dead letter after {} attempts: {} ({})",
                    letter.attempt, letter.reason, letter.detail
                ),
                true,
            );
        }
        if let Some(Waiting { place, attempt, reason, .. }) = &self.waiting {
            let after =
                reason.as_ref().map(|reason| format!(", after {reason}")).unwrap_or_default();
            return (format!("waiting in {place} for attempt {attempt}{after}"), true);
        }
        match (&self.record, self.at_workos) {
            (Some(Record { progress: Progress::Leased | Progress::Sending, .. }), _) => {
                ("being processed by a worker".to_owned(), true)
            }
            (Some(_), _) => (
                "processed but not sent: its code has expired, or it will be retried".to_owned(),
                true,
            ),
            (None, true) => (
                "never arrived here, or its code had expired when it did: see `authpost reconcile`"
                    .to_owned(),
                false,
            ),
            (None, false) => ("unknown here; ask WorkOS too with --workos".to_owned(), false),
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

    fn describe(&self, id: &str) -> Value {
        let event = self.event.as_ref();
        json!({
            "event_id": id, "verdict": self.verdict().0, "doubts": self.doubts(), "at_workos": self.at_workos,
            "magic_auth_id": event.map(|event| event.object_id.as_str()),
            "user_id": event.and_then(|event| event.user_id.as_ref()).map(ToString::to_string),
            "created_at": event.map(|event| event.created_at),
            "received_at": event.map(|event| event.received_at).filter(|_| self.arrived()),
            "expires_at": event.map(|event| event.expires_at),
        })
    }

    /// Whether the event was found here.
    fn arrived(&self) -> bool {
        self.waiting.is_some() || self.dead.is_some()
    }
}

fn print_reports(reports: &Reports, as_json: bool) -> anyhow::Result<ExitCode> {
    let described: Vec<Value> = reports.iter().map(|(id, report)| report.describe(id)).collect();
    if as_json {
        print_json(&described.clone().into())?;
    } else if described.is_empty() {
        print("unknown here, and no event of it is queued; records are kept by event id (event_…)");
    } else {
        described.iter().for_each(|report| print(&lines(report)));
    }
    let known = reports.values().any(|report| report.verdict().1 || report.at_workos);
    Ok(if known { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn lines(report: &Value) -> String {
    let text = |name: &str| report[name].as_str().map(escape);
    let mut lines = vec![
        text("event_id").unwrap_or_default().into_owned(),
        format!("  {}", text("verdict").unwrap_or_default()),
    ];
    lines.extend(text("doubts").map(|doubts| format!("  {doubts}")));
    for (name, word) in [
        ("magic_auth_id", "code"),
        ("user_id", "user"),
        ("created_at", "created"),
        ("received_at", "received"),
        ("expires_at", "expires"),
    ] {
        lines.extend(text(name).map(|value| format!("  {word:<9} {value}")));
    }
    lines.join("\n")
}
