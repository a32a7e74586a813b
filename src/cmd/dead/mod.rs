//! `authpost dead`: lists, shows, redrives and purges dead letters. Works beside a running service,
//! on both engines.

mod describe;
mod printer;
mod selection;

use std::{process::ExitCode, sync::Arc};

use clap::{Args, Subcommand};
use domain::{
    clock::Clock as _,
    fault::Reason,
    queue::dead_letters::{Action, Choose, DeadLetter},
};
use jiff::Timestamp;
use runtime::{clock::SystemClock, telemetry::LogFormat};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use self::{
    describe::{describe, line, objection},
    printer::{Format, Printer},
    selection::Selection,
};
use super::{block_on, print, print_json, start_logging, usage_error};
use crate::{
    config::{Inspection, args::OperatorOptions, read_operator},
    deps::Deps,
    engines::{self, Access, OpenEngine},
};

#[derive(Debug, Args)]
pub(super) struct DeadArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List dead letters, oldest first, one per line
    List(ListArgs),
    /// Show everything known about each letter
    Show(ListArgs),
    /// Put letters back into the queue; safe to repeat: a mailed event is not mailed again
    Redrive(RedriveArgs),
    /// Delete dead letters for good
    Purge(ChangeArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    selection: Selection,
    /// Print so many letters at most
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u64>,
    /// Print the letters as a JSON array, one letter a line, while they are read
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    operator: OperatorOptions,
}

#[derive(Debug, Args)]
struct RedriveArgs {
    #[command(flatten)]
    change: ChangeArgs,
    /// Also redrive letters that are kept otherwise: expired codes (which end as expired), mails
    /// that may have been sent (which may arrive twice), and messages that this release cannot
    /// read; and mail those whose user is over the limit
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
struct ChangeArgs {
    #[command(flatten)]
    selection: Selection,
    /// Act on all dead letters
    #[arg(long)]
    all: bool,
    /// Print what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    operator: OperatorOptions,
}

pub(super) fn dead(args: DeadArgs) -> ExitCode {
    match args.command {
        Command::List(args) => {
            let operator = args.operator.clone();
            with_engine(operator, async move |engine| show(engine, args, Format::Line).await)
        }
        Command::Show(args) => {
            let operator = args.operator.clone();
            with_engine(operator, async move |engine| show(engine, args, Format::Full).await)
        }
        Command::Redrive(RedriveArgs { change, force }) => {
            change_letters(change, Action::Redrive, force)
        }
        Command::Purge(change) => change_letters(change, Action::Purge, false),
    }
}

fn change_letters(change: ChangeArgs, action: Action, force: bool) -> ExitCode {
    if change.selection.is_empty() && !change.all {
        return usage_error(
            &"select letters by event id, --reason or --older-than, or all of them with --all",
        );
    }
    let ChangeArgs { selection, all: _, dry_run, json, operator } = change;
    let plan = Plan { action, dry_run, force, json };
    with_engine(operator, async move |engine| carry_out(engine, selection, plan).await)
}

fn with_engine(
    operator: OperatorOptions,
    act: impl AsyncFnOnce(&dyn OpenEngine) -> anyhow::Result<ExitCode>,
) -> ExitCode {
    let levels = operator.log_levels.clone();
    let Inspection { engine, trust } = match read_operator(operator) {
        Ok(read) => read,
        Err(problems) => return usage_error(&problems),
    };
    if let Err(why) = start_logging(LogFormat::Text, &levels) {
        return usage_error(&why);
    }
    block_on(async move {
        let deps = Deps::new(Arc::new(SystemClock), trust, CancellationToken::new())?;
        act(engines::open(&engine, Access::Operator, &deps)?.as_ref()).await
    })
}

async fn show(engine: &dyn OpenEngine, args: ListArgs, format: Format) -> anyhow::Result<ExitCode> {
    let ListArgs { selection, limit, json, operator: _ } = args;
    let now = SystemClock.now();
    let printer = Arc::new(Printer::new(if json { Format::Json } else { format }, now));
    let choose: Choose = {
        let (printer, selection) = (Arc::clone(&printer), selection.clone());
        let most = limit.unwrap_or(u64::MAX);
        Arc::new(move |letter| {
            if printer.printed() >= most {
                return Action::Stop;
            }
            if selection.matches(letter, now) {
                printer.print(letter);
            }
            Action::Keep
        })
    };
    let visited = engine.dead_letters().walk(choose).await?;
    printer.finish();
    Ok(if limit.is_some() { ExitCode::SUCCESS } else { report_missing(&selection, &visited) })
}

fn report_missing(selection: &Selection, all: &[(DeadLetter, Action)]) -> ExitCode {
    let missing = selection.missing(all);
    missing.iter().for_each(|event| {
        super::print_error(&format_args!("{event} is not among the dead letters"));
    });
    if missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What to do with the selected letters.
#[derive(Clone, Copy)]
struct Plan {
    action: Action,
    dry_run: bool,
    force: bool,
    json: bool,
}

async fn carry_out(
    engine: &dyn OpenEngine,
    selection: Selection,
    plan: Plan,
) -> anyhow::Result<ExitCode> {
    let now = SystemClock.now();
    let choose = {
        let selection = selection.clone();
        move |letter: &DeadLetter| {
            let kept =
                plan.action == Action::Redrive && !plan.force && objection(letter, now).is_some();
            if selection.matches(letter, now) && !kept { plan.action } else { Action::Keep }
        }
    };
    let found = engine.dead_letters().walk(Arc::new(|_| Action::Keep)).await?;
    let planned: Vec<_> = found
        .iter()
        .filter(|(letter, _)| selection.matches(letter, now))
        .map(|(letter, _)| (letter.clone(), choose(letter)))
        .collect();
    let done = if plan.dry_run {
        planned
    } else {
        if plan.force {
            lift_what_keeps(engine, &planned).await?;
        }
        let choose: Choose = Arc::new(choose);
        let mut walked = engine.dead_letters().walk(choose).await?;
        walked.retain(|(letter, _)| selection.matches(letter, now));
        record_redriven(engine, &walked).await?;
        walked
    };
    report(&done, plan, now)?;
    Ok(report_missing(&selection, &found))
}

/// Has the records say that these wait in the queue again.
async fn record_redriven(
    engine: &dyn OpenEngine,
    walked: &[(DeadLetter, Action)],
) -> anyhow::Result<()> {
    let redriven = walked.iter().filter(|(_, action)| *action == Action::Redrive);
    let events = redriven.filter_map(|(letter, _)| letter.event.as_ref().ok());
    let events: Vec<_> = events.map(|event| event.event_id.clone()).collect();
    Ok(engine.records().redriven(&events).await?)
}

/// Clears the doubt of letters that were kept because a mail may have been sent, and lifts the limit
/// on the user of those that were over it: otherwise they would become dead letters again.
async fn lift_what_keeps(
    engine: &dyn OpenEngine,
    planned: &[(DeadLetter, Action)],
) -> anyhow::Result<()> {
    for (letter, action) in planned {
        let (Action::Redrive, Ok(event)) = (action, &letter.event) else { continue };
        if letter.reason == Reason::Ambiguous.label() {
            engine.records().clear_doubt(&event.event_id).await?;
        } else if letter.reason == Reason::PersonLimit.label() {
            engine.records().lift_limit(&event.event_id).await?;
        }
    }
    Ok(())
}

fn report(done: &[(DeadLetter, Action)], plan: Plan, now: Timestamp) -> anyhow::Result<()> {
    if plan.json {
        let described = done.iter().map(|(letter, action)| {
            let mut described = describe(letter, now);
            described["action"] = json!(match action {
                Action::Keep | Action::Stop => "kept",
                Action::Redrive => "redriven",
                Action::Purge => "purged",
            });
            described
        });
        return print_json(&described.collect());
    }
    for (letter, action) in done {
        let why = objection(letter, now).filter(|_| *action == Action::Keep);
        print(&format!("{}  {}", why.map_or("ok    ", |_| "kept  "), line(letter, now)));
        if let Some(why) = why {
            print(&format!("        {why}: redrive it with --force"));
        }
    }
    let changed = done.iter().filter(|(_, action)| *action == plan.action).count();
    let verb = if plan.action == Action::Redrive { "redriven" } else { "deleted" };
    let would = if plan.dry_run { " would be" } else { "" };
    print(&format!("{changed}{would} {verb}, {} kept", done.len() - changed));
    Ok(())
}
