//! `authpost dead`: what became a dead letter, and what is to become of it. Works beside a running service, on both
//! engines.

use std::{collections::BTreeSet, process::ExitCode, sync::Arc, time::Duration};

use clap::{Args, Subcommand};
use jiff::{Span, SpanRelativeTo, Timestamp};
use serde_json::{Value, json};
use shared::{
    clock::{Clock as _, SystemClock},
    fault::Reason,
    queue::dead::{DeadLetter, Fate, Judge},
    telemetry::LogFormat,
};

use super::{block_on, print, start_logging, wrong_use};
use crate::{
    config::{args::Operator, read_operator},
    service,
    wiring::{self, Records},
};

/// `authpost dead`
#[derive(Debug, Args)]
pub(super) struct DeadArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One line a letter, oldest first
    List(Look),
    /// All that is known of each letter
    Show(Look),
    /// Send letters back to work; safe to repeat: what has been mailed is not mailed again
    Redrive(Redrive),
    /// Throw letters away
    Purge(Change),
}

/// Which letters are meant. Without any of these: all.
#[derive(Debug, Clone, Args)]
struct Which {
    /// Ids of events: event_…
    #[arg(value_name = "EVENT_ID")]
    events: Vec<String>,
    /// Only those that died of this: "not_found", "recipient_refused", …
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// Only those that have been dead for longer than this: "10 min", "2 days"
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    older_than: Option<Duration>,
    /// Only those that have been dead for less than this
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    younger_than: Option<Duration>,
}

#[derive(Debug, Args)]
struct Look {
    #[command(flatten)]
    which: Which,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    operator: Operator,
}

#[derive(Debug, Args)]
struct Redrive {
    #[command(flatten)]
    change: Change,
    /// Also what is better left: expired codes (which end as expired), mails that may be out (which may come twice), and
    /// messages this release could not read
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
struct Change {
    #[command(flatten)]
    which: Which,
    /// All letters, where none are named
    #[arg(long)]
    all: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    operator: Operator,
}

fn duration(text: &str) -> Result<Duration, String> {
    let span: Span = text.parse().map_err(|_| "must be a time such as \"10 min\" or \"2 days\"".to_owned())?;
    let signed = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|why| why.to_string())?;
    Duration::try_from(signed).map_err(|_| "must not be negative".to_owned())
}

pub(super) fn dead(args: DeadArgs) -> ExitCode {
    match args.command {
        Command::List(look) => with_records(look.operator, async move |records| show(&records, &look.which, look.json, Form::Line).await),
        Command::Show(look) => with_records(look.operator, async move |records| show(&records, &look.which, look.json, Form::Whole).await),
        Command::Redrive(Redrive { change, force }) => begin_change(change, Fate::Redrive, force),
        Command::Purge(change) => begin_change(change, Fate::Purge, false),
    }
}

fn begin_change(change: Change, fate: Fate, force: bool) -> ExitCode {
    if change.which.names_nothing() && !change.all {
        return wrong_use(&"name events, or a --reason, or an age; or say --all");
    }
    let Change { which, all: _, dry_run, json, operator } = change;
    with_records(operator, async move |records| carry_out(&records, which, fate, Manner { dry_run, force, json }).await)
}

fn with_records(operator: Operator, act: impl AsyncFnOnce(Records) -> anyhow::Result<ExitCode>) -> ExitCode {
    let levels = operator.log_levels.clone();
    let (engine, extra_ca) = match read_operator(operator) {
        Ok(read) => read,
        Err(problems) => return wrong_use(&problems),
    };
    if let Err(why) = start_logging(LogFormat::Text, &levels) {
        return wrong_use(&why);
    }
    block_on(async move {
        let around = service::surroundings(Arc::new(SystemClock), tokio_util::sync::CancellationToken::new())?;
        act(wiring::records(&engine, extra_ca.as_deref(), &around)?).await
    })
}

impl Which {
    fn names_nothing(&self) -> bool {
        self.events.is_empty() && self.reason.is_none() && self.older_than.is_none() && self.younger_than.is_none()
    }

    fn takes(&self, letter: &DeadLetter, now: Timestamp) -> bool {
        let id = letter.event.as_ref().ok().map(|event| event.event_id.as_str());
        let named = self.events.is_empty() || id.is_some_and(|id| self.events.iter().any(|event| event == id));
        let age = letter.died_at.and_then(|at| Duration::try_from(now.duration_since(at)).ok()).unwrap_or_default();
        named
            && self.reason.as_ref().is_none_or(|reason| *reason == letter.reason)
            && self.older_than.is_none_or(|least| age > least)
            && self.younger_than.is_none_or(|most| age < most)
    }

    /// Events that were named and are no dead letters.
    fn missing(&self, letters: &[(DeadLetter, Fate)]) -> Vec<String> {
        let found: BTreeSet<_> =
            letters.iter().filter_map(|(letter, _)| letter.event.as_ref().ok()).map(|event| event.event_id.as_str()).collect();
        self.events.iter().filter(|event| !found.contains(event.as_str())).cloned().collect()
    }
}

/// How a letter is shown.
#[derive(Clone, Copy)]
enum Form {
    Line,
    Whole,
}

async fn show(records: &Records, which: &Which, as_json: bool, form: Form) -> anyhow::Result<ExitCode> {
    let now = SystemClock.now();
    let all = records.dead.walk(Arc::new(|_| Fate::Keep)).await?;
    let letters: Vec<_> = all.iter().map(|(letter, _)| letter).filter(|letter| which.takes(letter, now)).collect();
    if as_json {
        let described: Vec<_> = letters.iter().map(|letter| describe(letter, now)).collect();
        print(&serde_json::to_string_pretty(&described)?);
    } else {
        for letter in &letters {
            print(&match form {
                Form::Line => line(letter, now),
                Form::Whole => whole(letter, now),
            });
        }
    }
    Ok(tell_missing(which, &all))
}

fn tell_missing(which: &Which, all: &[(DeadLetter, Fate)]) -> ExitCode {
    let missing = which.missing(all);
    missing.iter().for_each(|event| super::complain(&format_args!("{event} is not among the dead letters")));
    if missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// How a change is made.
#[derive(Clone, Copy)]
struct Manner {
    dry_run: bool,
    force: bool,
    json: bool,
}

async fn carry_out(records: &Records, which: Which, fate: Fate, manner: Manner) -> anyhow::Result<ExitCode> {
    let now = SystemClock.now();
    let judge = {
        let which = which.clone();
        move |letter: &DeadLetter| {
            let refused = fate == Fate::Redrive && !manner.force && objection(letter, now).is_some();
            if which.takes(letter, now) && !refused { fate } else { Fate::Keep }
        }
    };
    let looked = records.dead.walk(Arc::new(|_| Fate::Keep)).await?;
    let planned: Vec<_> =
        looked.iter().filter(|(letter, _)| which.takes(letter, now)).map(|(letter, _)| (letter.clone(), judge(letter))).collect();
    let done = if manner.dry_run {
        planned
    } else {
        take_responsibility(records, &planned).await?;
        let judge: Judge = Arc::new(judge);
        records.dead.walk(judge).await?.into_iter().filter(|(letter, _)| which.takes(letter, now)).collect()
    };
    report(&done, fate, manner, now)?;
    Ok(tell_missing(&which, &looked))
}

/// A letter that died because a mail may be out goes out only if that is forgotten. Only `--force` gets it this far.
async fn take_responsibility(records: &Records, planned: &[(DeadLetter, Fate)]) -> anyhow::Result<()> {
    let ambiguous = |letter: &DeadLetter| letter.reason == Reason::Ambiguous.label();
    for (letter, fate) in planned {
        if let (Fate::Redrive, true, Ok(event)) = (fate, ambiguous(letter), &letter.event) {
            records.inner.claims.forget_doubt(&event.event_id).await?;
        }
    }
    Ok(())
}

/// Why a letter is better left, if it is.
fn objection(letter: &DeadLetter, now: Timestamp) -> Option<&'static str> {
    match &letter.event {
        Err(_) => Some("this release could not read it"),
        Ok(event) if event.expires_at <= now => Some("its code has expired"),
        Ok(_) if letter.reason == Reason::Ambiguous.label() => Some("a mail may be out already"),
        Ok(_) => None,
    }
}

fn report(done: &[(DeadLetter, Fate)], fate: Fate, manner: Manner, now: Timestamp) -> anyhow::Result<()> {
    if manner.json {
        let described = done.iter().map(|(letter, fate)| {
            let mut described = describe(letter, now);
            described["fate"] = json!(match fate {
                Fate::Keep => "kept",
                Fate::Redrive => "redriven",
                Fate::Purge => "purged",
            });
            described
        });
        print(&serde_json::to_string_pretty(&described.collect::<Vec<_>>())?);
        return Ok(());
    }
    for (letter, became) in done {
        let why = objection(letter, now).filter(|_| *became == Fate::Keep);
        print(&format!("{}  {}", why.map_or("ok    ", |_| "kept  "), line(letter, now)));
        if let Some(why) = why {
            print(&format!("        {why}: --force redrives it all the same"));
        }
    }
    let changed = done.iter().filter(|(_, became)| *became == fate).count();
    let verb = if fate == Fate::Redrive { "sent back to work" } else { "thrown away" };
    let would = if manner.dry_run { " would be" } else { "" };
    print(&format!("{changed}{would} {verb}, {} kept", done.len() - changed));
    Ok(())
}

fn describe(letter: &DeadLetter, now: Timestamp) -> Value {
    let mut described = json!({
        "reason": letter.reason, "detail": letter.detail, "attempt": letter.attempt, "died_at": letter.died_at,
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

fn line(letter: &DeadLetter, now: Timestamp) -> String {
    let id = letter.event.as_ref().map_or("(unreadable)", |event| event.event_id.as_str());
    let died_at = letter.died_at.map_or_else(|| "?".to_owned(), |at| format!("{at:.0}"));
    let end = match &letter.event {
        Ok(event) if event.expires_at <= now => "expired",
        Ok(_) => "alive",
        Err(_) => "-",
    };
    format!("{died_at}  {:<20} {end:<8} {id}", letter.reason)
}

fn whole(letter: &DeadLetter, now: Timestamp) -> String {
    let described = describe(letter, now);
    let field = |(name, value): (&String, &Value)| {
        (!value.is_null()).then(|| format!("{name:<14} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
    };
    let lines: Vec<String> = described.as_object().into_iter().flatten().filter_map(field).collect();
    format!("{}\n", lines.join("\n"))
}
