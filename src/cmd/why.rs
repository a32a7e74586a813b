//! `authpost why`: what became of an event, or of a person's. Works beside a running service, on both engines.

use std::{collections::BTreeMap, process::ExitCode, sync::Arc};

use clap::Args;
use jiff::SignedDuration;
use serde_json::{Value, json};
use shared::{
    clock::{Clock as _, SystemClock},
    dedupe::records::{Progress, Record},
    event::QueuedEvent,
    ids::EventId,
    queue::{
        dead::{DeadLetter, Fate},
        search::Waiting,
    },
    telemetry::LogFormat,
    tls,
    workos::events::{Events as _, WorkosEvents},
};
use tokio_util::sync::CancellationToken;

use super::{block_on, print, start_logging, wrong_use};
use crate::{
    config::{
        args::{Operator, Workos},
        read_operator, read_reconcile, settings,
    },
    service,
    wiring::{self, Records},
};

/// How far back WorkOS is asked.
const BACK: SignedDuration = SignedDuration::from_hours(24);

/// `authpost why`
#[derive(Debug, Args)]
pub(super) struct WhyArgs {
    /// An event (event_…) or a code (magic_auth_…)
    #[arg(value_name = "ID", required_unless_present = "user", conflicts_with = "user")]
    id: Option<String>,
    /// All events of this user (user_…)
    #[arg(long, value_name = "USER_ID")]
    user: Option<String>,
    /// Ask WorkOS too what happened in the last day: tells what never arrived here
    #[arg(long)]
    workos: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: Workos,
    #[command(flatten)]
    operator: Operator,
}

pub(super) fn why(args: WhyArgs) -> ExitCode {
    let WhyArgs { id, user, workos, json, api, operator } = args;
    if let Err(why) = start_logging(LogFormat::Text, &operator.log_levels) {
        return wrong_use(&why);
    }
    let read = if workos {
        read_reconcile(operator, api).map(|(engine, extra_ca, workos)| (engine, extra_ca, Some(workos)))
    } else {
        read_operator(operator).map(|(engine, extra_ca)| (engine, extra_ca, None))
    };
    let (engine, extra_ca, workos) = match read {
        Ok(read) => read,
        Err(problems) => return wrong_use(&problems),
    };
    let about = About { id, user };
    block_on(async move {
        let around = service::surroundings(Arc::new(SystemClock), CancellationToken::new())?;
        let records = wiring::records(&engine, extra_ca.as_deref(), &around)?;
        let mut lives = look_here(&records, &about).await?;
        if let Some(workos) = workos {
            ask_workos(&workos, extra_ca.as_deref(), &about, &mut lives).await?;
        }
        for (id, life) in &mut lives {
            // Ids of events that were found are ids; one that was typed may be anything.
            if let Ok(id) = EventId::parse(id) {
                life.record = records.inner.claims.find(&id).await?;
            }
        }
        Ok(tell(&lives, json))
    })
}

/// Which events are meant.
#[derive(Clone)]
struct About {
    id: Option<String>,
    user: Option<String>,
}

impl About {
    fn means(&self, event: &QueuedEvent) -> bool {
        let id = self.id.as_deref().is_some_and(|id| id == event.event_id.as_str() || id == event.object_id.as_str());
        id || self.user.as_deref().is_some_and(|user| event.user_id.as_ref().is_some_and(|known| known.as_str() == user))
    }
}

/// All that is known of one event.
#[derive(Default)]
struct Life {
    event: Option<QueuedEvent>,
    in_workos: bool,
    waiting: Option<Waiting>,
    dead: Option<DeadLetter>,
    record: Option<Record>,
}

type Lives = BTreeMap<String, Life>;

async fn look_here(records: &Records, about: &About) -> anyhow::Result<Lives> {
    let mut lives = Lives::new();
    if let Some(id) = about.id.as_ref().filter(|id| id.starts_with("event_")) {
        lives.insert(id.clone(), Life::default());
    }
    let wanted = about.clone();
    for waiting in records.search.search(Arc::new(move |event| wanted.means(event))).await? {
        let life = lives.entry(waiting.event.event_id.to_string()).or_default();
        life.event = Some(waiting.event.clone());
        life.waiting = Some(waiting);
    }
    for (letter, _) in records.dead.walk(Arc::new(|_| Fate::Keep)).await? {
        let Some(event) = letter.event.as_ref().ok().filter(|event| about.means(event)) else { continue };
        let life = lives.entry(event.event_id.to_string()).or_default();
        life.event = Some(event.clone());
        life.dead = Some(letter);
    }
    Ok(lives)
}

async fn ask_workos(workos: &settings::Workos, extra_ca: Option<&[u8]>, about: &About, lives: &mut Lives) -> anyhow::Result<()> {
    let now = SystemClock.now();
    let events = WorkosEvents::new(&workos.url, &workos.key, workos.timeout, &*tls::client(extra_ca)?)?;
    for event in events.since(now.saturating_sub(BACK)?, now).await? {
        if about.means(&event) {
            let life = lives.entry(event.event_id.to_string()).or_default();
            life.in_workos = true;
            life.event.get_or_insert(event);
        }
    }
    Ok(())
}

impl Life {
    /// What became of it, in one sentence; and whether anything is known here.
    fn verdict(&self) -> (String, bool) {
        if let Some(Record { progress: Progress::Sent(receipt), .. }) = &self.record {
            return (format!("sent; the relay took it as {receipt:?}: its log knows the rest"), true);
        }
        if let Some(letter) = &self.dead {
            return (format!("dead letter after {} attempts: {} ({})", letter.attempt, letter.reason, letter.detail), true);
        }
        if let Some(Waiting { place, attempt, reason, .. }) = &self.waiting {
            let after = reason.as_ref().map(|reason| format!(", after {reason}")).unwrap_or_default();
            return (format!("waiting in {place} for attempt {attempt}{after}"), true);
        }
        match (&self.record, self.in_workos) {
            (Some(Record { progress: Progress::Leased | Progress::Sending, .. }), _) => ("in a worker's hands".to_owned(), true),
            (Some(_), _) => ("worked on, and not sent: its code has expired, or it comes again".to_owned(), true),
            (None, true) => ("never arrived here, or its code had expired when it did: see `authpost reconcile`".to_owned(), false),
            (None, false) => ("nothing is known of it here; with --workos WorkOS is asked, too".to_owned(), false),
        }
    }

    fn doubts(&self) -> Option<String> {
        let Record { silences, died_sending, .. } = self.record.as_ref()?;
        let died = if *died_sending { ", a worker died while sending" } else { "" };
        (*silences > 0 || *died_sending).then(|| format!("a mail may be out: the relay was silent {silences} times{died}"))
    }

    fn describe(&self, id: &str) -> Value {
        let event = self.event.as_ref();
        json!({
            "event_id": id, "verdict": self.verdict().0, "doubts": self.doubts(), "in_workos": self.in_workos,
            "magic_auth_id": event.map(|event| event.object_id.as_str()), "user_id": event.and_then(|event| event.user_id.as_ref()).map(ToString::to_string),
            "created_at": event.map(|event| event.created_at), "received_at": event.map(|event| event.received_at).filter(|_| self.arrived()),
            "expires_at": event.map(|event| event.expires_at),
        })
    }

    /// Whether what is known of the event comes from here.
    fn arrived(&self) -> bool {
        self.waiting.is_some() || self.dead.is_some()
    }
}

fn tell(lives: &Lives, as_json: bool) -> ExitCode {
    let described: Vec<Value> = lives.iter().map(|(id, life)| life.describe(id)).collect();
    if as_json {
        print(&serde_json::to_string_pretty(&described).unwrap_or_default());
    } else if described.is_empty() {
        print("nothing is known of it here, and no event of it waits; records are kept under the event's id (event_…)");
    } else {
        described.iter().for_each(|life| print(&lines(life)));
    }
    let known = lives.values().any(|life| life.verdict().1 || life.in_workos);
    if known { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn lines(life: &Value) -> String {
    let text = |name: &str| life[name].as_str();
    let mut lines = vec![text("event_id").unwrap_or_default().to_owned(), format!("  {}", text("verdict").unwrap_or_default())];
    lines.extend(text("doubts").map(|doubts| format!("  {doubts}")));
    for (name, word) in
        [("magic_auth_id", "code"), ("user_id", "user"), ("created_at", "made"), ("received_at", "received"), ("expires_at", "expires")]
    {
        lines.extend(text(name).map(|value| format!("  {word:<9} {value}")));
    }
    lines.join("\n")
}
