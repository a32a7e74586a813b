//! `authpost demo`: the real ingress and worker on the embedded engine, between a stand-in for
//! WorkOS and an inbox, all over loopback sockets, with a page to watch.

mod page;
mod world;

use std::process::ExitCode;

use clap::Args;

use self::world::Demo;
use super::{block_on, print, start_logging, usage_error};

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Do one login, print its steps and the mail, and exit 0 only if the right code arrived
    #[arg(long)]
    once: bool,
    /// Recipient of the code, with --once
    #[arg(long, default_value = "alice@example.com", value_name = "ADDRESS")]
    email: String,
    /// Port of the page on 127.0.0.1; 0 for any free port
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    port: u16,
    /// Log levels, such as "info"
    #[arg(long, env = "RUST_LOG", default_value = "warn", value_name = "LEVELS")]
    log_levels: String,
}

pub(super) fn demo(args: DemoArgs) -> ExitCode {
    if let Err(why) = domain::address::EmailAddress::parse(&args.email) {
        return usage_error(&format_args!("--email is not an address: {why}"));
    }
    if let Err(why) = start_logging(runtime::telemetry::LogFormat::Text, &args.log_levels) {
        return usage_error(&why);
    }
    block_on(async move {
        let demo = Demo::start().await?;
        let code = if args.once {
            once(&demo, &args.email).await?
        } else {
            page::serve(&demo, args.port).await?
        };
        demo.stop().await?;
        Ok(code)
    })
}

/// One login, from the request to the code in the inbox.
async fn once(demo: &Demo, email: &str) -> anyhow::Result<ExitCode> {
    let login = demo.log_in(email, None).await?;
    print(&format!("One login for {email}, over real sockets:\n"));
    for (name, at) in login.stages() {
        print(&format!("  {at:>9.2} ms  {name}"));
    }
    print(&format!(
        "\nThe mail:\n\nSubject: {}\nMessage-ID: <{}>\n",
        login.mail.subject, login.mail.message_id
    ));
    for line in login.mail.text.lines() {
        print(&format!("  | {line}"));
    }
    let right = login.mail.code() == Some(login.made.code.as_str());
    print(if right {
        "\nThe mail contains the code that the stand-in for WorkOS created."
    } else {
        "\nThe mail does not contain the right code."
    });
    Ok(if right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
