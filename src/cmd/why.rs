//! `authpost why`: shows what became of an event, or of a user's events. Reads records, and nothing
//! else: it takes no message from a queue. Works beside a running service, on both engines.

mod story;

use std::{collections::BTreeMap, process::ExitCode, sync::Arc};

use clap::Args;
use domain::{
    clock::Clock as _,
    event::QueuedEvent,
    event_log::EventLog,
    ids::{EventId, MagicAuthId, UserId},
    records::{Record, RecordKey},
};
use jiff::SignedDuration;
use runtime::{clock::SystemClock, telemetry::LogFormat};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use workos::WorkosEvents;

use self::story::Story;
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
        let mut found = query.records(engine.as_ref()).await?;
        if let Some(api) = api {
            let log = WorkosEvents::new(&api, &deps.trust);
            list_at_workos(&log, engine.as_ref(), &query, &mut found).await?;
        }
        print_found(&query, &found, json)
    })
}

/// The events that the arguments select.
struct Query {
    id: Option<String>,
    user: Option<String>,
}

/// What is known of each event, by its id.
type Found = BTreeMap<String, Story>;

impl Query {
    fn keys(&self) -> Vec<RecordKey> {
        let id = self.id.as_deref().unwrap_or_default();
        let user = self.user.as_deref().unwrap_or_default();
        [
            EventId::parse(id).ok().map(RecordKey::Event),
            MagicAuthId::parse(id).ok().map(RecordKey::Object),
            UserId::parse(user).ok().map(RecordKey::User),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    async fn records(&self, engine: &dyn OpenEngine) -> anyhow::Result<Found> {
        let (mut found, records) = (Found::new(), engine.records());
        for key in self.keys() {
            for record in records.find(&key).await? {
                found.insert(record.event_id.to_string(), Story::of(record));
            }
        }
        Ok(found)
    }

    fn matches(&self, event: &QueuedEvent) -> bool {
        let is = |wanted: &Option<String>, id: &str| wanted.as_deref() == Some(id);
        is(&self.id, event.event_id.as_str())
            || is(&self.id, event.object_id.as_str())
            || event.user_id.as_ref().is_some_and(|user| is(&self.user, user.as_str()))
    }
}

async fn list_at_workos(
    events: &dyn EventLog,
    engine: &dyn OpenEngine,
    query: &Query,
    found: &mut Found,
) -> anyhow::Result<()> {
    let now = SystemClock.now();
    for event in events.since(now.saturating_sub(LOOK_BACK)?, now).await? {
        if !query.matches(&event) {
            continue;
        }
        let id = event.event_id.to_string();
        if !found.contains_key(&id) {
            // A record of an earlier release is found by the id of its event alone.
            let record = engine.records().find(&RecordKey::Event(event.event_id.clone())).await?;
            found.extend(record.into_iter().map(|record: Record| (id.clone(), Story::of(record))));
        }
        found.entry(id).or_default().at_workos = Some(event);
    }
    Ok(())
}

fn print_found(query: &Query, found: &Found, as_json: bool) -> anyhow::Result<ExitCode> {
    let now = SystemClock.now();
    if as_json {
        let described: Vec<Value> =
            found.iter().map(|(id, story)| story.describe(id, now)).collect();
        print_json(&described.into())?;
    } else {
        found.iter().for_each(|(id, story)| print(&story.lines(id, now)));
    }
    if found.is_empty() && !as_json {
        let asked = query.id.as_deref().or(query.user.as_deref()).unwrap_or_default();
        print(&format!(
            "{}: unknown here; ask WorkOS too with --workos (records are kept for 3 days)",
            runtime::terminal::escape(asked)
        ));
    }
    Ok(if found.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
