//! The commands, one file each, and what they share: exit codes, logging, the runtime.
//!
//! Exit codes: 0 success; 1 failure; 2 the command line or the configuration is invalid, and
//! nothing was bound or sent.

mod dead;
mod demo;
mod doctor;
mod healthcheck;
mod init;
mod mail;
mod manual;
mod reconcile;
mod run;
mod sign;
mod why;

use std::{io::Write as _, process::ExitCode};

use anyhow::Context as _;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use runtime::{
    telemetry::{self, LogFormat},
    terminal, tls,
};
use serde_json::Value;
use tokio::runtime::Builder;

use crate::{
    LONG_VERSION,
    config::{
        args::{IngressArgs, ServeArgs, WorkerArgs},
        read_ingress, read_serve, read_worker,
    },
};

/// Exit code when the command line or the configuration is invalid.
const USAGE_ERROR: u8 = 2;

const EXAMPLES: &str = "\
Examples:
  authpost demo                        Try it: no account, no configuration
  authpost init                        Write a configuration, checked on the way
  authpost doctor                      Check the configuration and what it depends on
  authpost serve                       Take webhooks and send mails in one process
  authpost why --user user_01…         Show what became of the codes of a user
  authpost dead list                   Show the mails that were given up";

/// Mails WorkOS login codes from your own SMTP relay.
#[derive(Debug, Parser)]
#[command(
    name = "authpost",
    version = LONG_VERSION,
    propagate_version = true,
    about,
    after_help = EXAMPLES,
    max_term_width = 100
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Accept webhooks and send mails in one process
    Serve(Box<ServeArgs>),
    /// Accept webhooks only; needs RabbitMQ and Redis
    Ingress(Box<IngressArgs>),
    /// Send mails only; needs RabbitMQ and Redis
    Worker(Box<WorkerArgs>),
    /// Show what became of an event, or of a user's events
    Why(Box<why::WhyArgs>),
    /// List, redrive and purge dead letters
    Dead(Box<dead::DeadArgs>),
    /// Try Authpost between a stand-in for WorkOS and an inbox, with no account and no
    /// configuration
    Demo(demo::DemoArgs),
    /// Write a configuration: ask for what it needs, and check each answer
    Init(Box<init::InitArgs>),
    /// Preview, check and send sample mails
    Mail(mail::MailArgs),
    /// Check the configuration and everything it depends on
    Doctor(Box<doctor::DoctorArgs>),
    /// Check once for events that the webhooks missed
    Reconcile(Box<reconcile::ReconcileArgs>),
    /// Sign a webhook body as WorkOS does
    Sign(sign::SignArgs),
    /// Check whether a running process is ready or alive
    Healthcheck(healthcheck::HealthcheckArgs),
    /// Print a completion script for a shell
    Completions(manual::CompletionsArgs),
    /// Print or write the manual pages
    Man(manual::ManArgs),
}

/// Parses the command line, runs the command and returns its exit code.
pub fn main() -> ExitCode {
    tls::install_provider();
    match parse().command {
        Command::Serve(args) => run::run(Box::new(move || read_serve((*args).clone()))),
        Command::Ingress(args) => run::run(Box::new(move || read_ingress((*args).clone()))),
        Command::Worker(args) => run::run(Box::new(move || read_worker((*args).clone()))),
        Command::Why(args) => why::why(*args),
        Command::Dead(args) => dead::dead(*args),
        Command::Init(args) => init::init(*args),
        Command::Demo(args) => demo::demo(args),
        Command::Mail(args) => mail::mail(args),
        Command::Doctor(args) => doctor::doctor(*args),
        Command::Reconcile(args) => reconcile::reconcile(*args),
        Command::Sign(args) => sign::sign(&args),
        Command::Healthcheck(args) => healthcheck::healthcheck(&args),
        Command::Completions(args) => manual::completions(&args),
        Command::Man(args) => manual::man(&args),
    }
}

fn parse() -> Cli {
    let matches = without_empty_variables(Cli::command()).get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// A variable that is set to nothing counts as one that is not set: compose files and charts pass on
/// those that nobody has given.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let unset = |option: clap::Arg| {
        let value = option.get_env().and_then(std::env::var_os);
        if value.is_some_and(|value| value.is_empty()) { option.env(None::<&str>) } else { option }
    };
    command.mut_args(unset).mut_subcommands(without_empty_variables)
}

/// A listener on this machine alone; port 0 for any free one.
async fn loopback(port: u16) -> anyhow::Result<tokio::net::TcpListener> {
    tokio::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, port))
        .await
        .with_context(|| format!("cannot use port {port} on 127.0.0.1; name another with --port"))
}

/// Reports an invalid command line or configuration on standard error.
fn usage_error(problem: &dyn std::fmt::Display) -> ExitCode {
    print_error(problem);
    ExitCode::from(USAGE_ERROR)
}

/// Reports a failure on standard error.
fn failed(error: &anyhow::Error) -> ExitCode {
    print_error(&terminal::escape(&format!("{error:#}")));
    ExitCode::FAILURE
}

fn print_error(problem: &dyn std::fmt::Display) {
    // Nothing can be reported if standard error is closed.
    let problem = problem.to_string();
    writeln!(std::io::stderr(), "authpost: {}", terminal::escape_lines(&problem))
        .unwrap_or_default();
}

/// Prints lines on standard output. Escape text of others before composing lines of it.
fn print(text: &str) {
    print_unchanged(&terminal::escape_lines(text));
}

/// Prints a JSON document on standard output.
fn print_json(document: &Value) -> anyhow::Result<()> {
    print_unchanged(&terminal::escape_json(&serde_json::to_string_pretty(document)?));
    Ok(())
}

/// Prints text on standard output whose every byte counts. A closed pipe is no error.
fn print_unchanged(text: &str) {
    writeln!(std::io::stdout(), "{text}").unwrap_or_default();
}

fn start_logging(format: LogFormat, levels: &str) -> Result<(), String> {
    telemetry::start(format, levels).map_err(|why| why.to_string())
}

/// Runs a future on a runtime of its own, with a thread for each core.
fn block_on(future: impl Future<Output = anyhow::Result<ExitCode>>) -> ExitCode {
    block_on_threads(None, future)
}

/// Runs a future on a runtime with so many threads, or with one for each core. With one, it is this
/// one, and nothing is handed from thread to thread.
fn block_on_threads(
    threads: Option<usize>,
    future: impl Future<Output = anyhow::Result<ExitCode>>,
) -> ExitCode {
    let mut builder = match threads {
        Some(1) => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    if let Some(threads) = threads.filter(|threads| *threads > 1) {
        builder.worker_threads(threads);
    }
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return failed(&anyhow::Error::new(error).context("cannot start the runtime"));
        }
    };
    let code = runtime.block_on(future).unwrap_or_else(|error| failed(&error));
    // Tasks that were cut off after the grace period must not delay the exit.
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    code
}

#[cfg(test)]
mod tests;
