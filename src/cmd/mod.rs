//! The commands, one file each, and what they share: exit codes, logging, the runtime.
//!
//! Exit codes: 0 all went well; 1 something failed; 2 the command line or the configuration is wrong, and nothing was
//! bound or sent.

mod dead;
mod demo;
mod doctor;
mod healthcheck;
mod reconcile;
mod run;
mod sign;
mod why;

use std::{io::Write as _, process::ExitCode};

use clap::{Parser, Subcommand};
use shared::{telemetry, telemetry::LogFormat, tls};

use crate::config::args::{IngressArgs, ServeArgs, WorkerArgs};

/// The command line or the configuration is wrong.
const WRONG_USE: u8 = 2;

/// Mails WorkOS login codes from your own SMTP relay.
#[derive(Debug, Parser)]
#[command(name = "authpost", version, propagate_version = true, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take webhooks and send mails, in one process
    Serve(Box<ServeArgs>),
    /// Take webhooks only (RabbitMQ and Redis)
    Ingress(Box<IngressArgs>),
    /// Send mails only (RabbitMQ and Redis)
    Worker(Box<WorkerArgs>),
    /// What became of an event, or of a person's
    Why(Box<why::WhyArgs>),
    /// Look at dead letters, send them back to work, throw them away
    Dead(Box<dead::DeadArgs>),
    /// See it work: a stand-in for WorkOS, an inbox, and the real thing in between
    Demo(demo::DemoArgs),
    /// Is everything as it must be? One line a fact, and what to do
    Doctor(Box<doctor::DoctorArgs>),
    /// Look one time for what the webhooks have missed
    Reconcile(Box<reconcile::ReconcileArgs>),
    /// Sign a webhook body as WorkOS would
    Sign(sign::SignArgs),
    /// Ask a running process whether it is ready (or alive)
    Healthcheck(healthcheck::HealthcheckArgs),
}

/// Runs the command line.
pub fn main() -> ExitCode {
    tls::install_provider();
    match Cli::parse().command {
        Command::Serve(args) => run::serve(*args),
        Command::Ingress(args) => run::ingress(*args),
        Command::Worker(args) => run::worker(*args),
        Command::Why(args) => why::why(*args),
        Command::Dead(args) => dead::dead(*args),
        Command::Demo(args) => demo::demo(args),
        Command::Doctor(args) => doctor::doctor(*args),
        Command::Reconcile(args) => reconcile::reconcile(*args),
        Command::Sign(args) => sign::sign(&args),
        Command::Healthcheck(args) => healthcheck::healthcheck(&args),
    }
}

/// Says on standard error what is wrong with how we were called.
fn wrong_use(problem: &dyn std::fmt::Display) -> ExitCode {
    complain(problem);
    ExitCode::from(WRONG_USE)
}

/// Says on standard error what went wrong.
fn failed(error: &anyhow::Error) -> ExitCode {
    complain(&format_args!("{error:#}"));
    ExitCode::FAILURE
}

fn complain(problem: &dyn std::fmt::Display) {
    // Nobody is left to tell if standard error is closed.
    writeln!(std::io::stderr(), "authpost: {problem}").unwrap_or_default();
}

/// A line on standard output; a closed pipe is the reader's choice.
fn print(text: &str) {
    writeln!(std::io::stdout(), "{text}").unwrap_or_default();
}

fn start_logging(format: LogFormat, levels: &str) -> Result<(), String> {
    telemetry::start(format, levels).map_err(|why| why.to_string())
}

/// Runs a future on a runtime of its own.
fn block_on(future: impl Future<Output = anyhow::Result<ExitCode>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&anyhow::Error::new(error).context("the runtime cannot start")),
    };
    let code = runtime.block_on(future).unwrap_or_else(|error| failed(&error));
    // What was cut off after the grace period must not hold the process up.
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    code
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
