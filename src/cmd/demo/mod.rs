//! `authpost demo`: the real ingress and worker on the embedded engine, between a stand-in for WorkOS and an inbox,
//! all over loopback sockets, with a page to watch it on.

mod page;
mod stage;

use std::process::ExitCode;

use clap::Args;

use self::stage::Stage;
use super::{block_on, print, start_logging, wrong_use};

/// `authpost demo`
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Do one login, print its stages and the mail, and exit 0 only if the right code arrived
    #[arg(long)]
    once: bool,
    /// Whom the code is for, with --once
    #[arg(long, default_value = "alice@example.com", value_name = "ADDRESS")]
    email: String,
    /// Port of the page on 127.0.0.1; 0 for a free one
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    port: u16,
    /// Log levels, as in "info"
    #[arg(long, env = "RUST_LOG", default_value = "warn", value_name = "LEVELS")]
    log_levels: String,
}

pub(super) fn demo(args: DemoArgs) -> ExitCode {
    if let Err(why) = shared::address::EmailAddress::parse(&args.email) {
        return wrong_use(&format_args!("--email is not an address: {why}"));
    }
    if let Err(why) = start_logging(shared::telemetry::LogFormat::Text, &args.log_levels) {
        return wrong_use(&why);
    }
    block_on(async move {
        let stage = Stage::set().await?;
        let code = if args.once { once(&stage, &args.email).await? } else { page::serve(&stage, args.port).await? };
        stage.clear().await?;
        Ok(code)
    })
}

/// One login, from the request to the code in the inbox.
async fn once(stage: &Stage, email: &str) -> anyhow::Result<ExitCode> {
    let login = stage.log_in(email).await?;
    print(&format!("One login for {email}, over real sockets:\n"));
    for (name, at) in login.stages() {
        print(&format!("  {at:>9.2} ms  {name}"));
    }
    print(&format!("\nThe mail:\n\nSubject: {}\nMessage-ID: <{}>\n", login.mail.subject, login.mail.message_id));
    for line in login.mail.text.lines() {
        print(&format!("  | {line}"));
    }
    let right = login.mail.code() == Some(login.made.code.as_str());
    print(if right { "\nThe code in the mail is the one WorkOS's stand-in made." } else { "\nThe mail does not hold the right code." });
    Ok(if right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
