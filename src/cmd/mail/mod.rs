//! `authpost mail`: look at the mails, check them, and send one, before anybody gets them.

mod lint;
mod preview;
mod send;

use std::process::ExitCode;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(super) struct MailArgs {
    #[command(subcommand)]
    command: MailCommand,
}

#[derive(Debug, Subcommand)]
enum MailCommand {
    /// Show the mails in a browser: every language, light and dark, on a phone and a desktop
    Preview(preview::PreviewArgs),
    /// Check the mails of every language and brand; exit 1 if one has an error
    Lint(lint::LintArgs),
    /// Send a mail with a sample code through the relay
    Send(Box<send::SendArgs>),
}

pub(super) fn mail(args: MailArgs) -> ExitCode {
    match args.command {
        MailCommand::Preview(args) => preview::preview(args),
        MailCommand::Lint(args) => lint::lint(args),
        MailCommand::Send(args) => send::send(*args),
    }
}
