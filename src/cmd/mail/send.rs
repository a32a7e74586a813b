//! `authpost mail send`: one mail with a sample code, on the way that the real ones take.

use std::{process::ExitCode, sync::Arc};

use clap::Args;
use domain::{
    address::EmailAddress,
    clock::Clock as _,
    ids::{ClientId, EventId},
    login_code::{Code, LoginCode},
};
use jiff::SignedDuration;
use runtime::{clock::SystemClock, random::ulid, telemetry::LogFormat};
use tokio_util::sync::CancellationToken;
use worker::mail::{SendError, render::Asked};

use crate::{
    cmd::{block_on, print, start_logging, usage_error},
    config::{SampleSettings, args::SampleArgs, read_sample},
    deps::Deps,
    wiring,
};

#[derive(Debug, Args)]
pub(super) struct SendArgs {
    /// Address that the mail is sent to
    #[arg(long, value_name = "ADDRESS")]
    to: String,
    /// Client ID whose brand the mail has
    #[arg(long, value_name = "ID")]
    client: Option<String>,
    #[command(flatten)]
    sample: SampleArgs,
}

pub(super) fn send(args: SendArgs) -> ExitCode {
    let recipient = match EmailAddress::parse(&args.to) {
        Ok(recipient) => recipient,
        Err(why) => return usage_error(&format_args!("--to is {why}")),
    };
    let client = match args.client.map(ClientId::parse).transpose() {
        Ok(client) => client,
        Err(why) => return usage_error(&format_args!("--client: {why}")),
    };
    let settings = match read_sample(&args.sample) {
        Ok(settings) => settings,
        Err(problems) => return usage_error(&problems),
    };
    if let Err(why) = start_logging(LogFormat::Text, "warn") {
        return usage_error(&why);
    }
    block_on(deliver(settings, recipient, client))
}

async fn deliver(
    settings: SampleSettings,
    recipient: EmailAddress,
    client: Option<ClientId>,
) -> anyhow::Result<ExitCode> {
    let SampleSettings { templates, relays, hedge, trust } = settings;
    let now = SystemClock.now();
    let expires_at = now.saturating_add(SignedDuration::from_mins(10))?;
    let code = LoginCode { code: Code::sample(), recipient, expires_at };
    let event_id = EventId::parse(format!("event_sample_{}", ulid(now)))?;
    let asked = Asked { client: client.as_ref(), ..Asked::plain(&event_id, now) };
    let mail = templates.login_code(asked, &code, now)?;
    let deps = Deps::new(Arc::new(SystemClock), trust, CancellationToken::new())?;
    let mailer = wiring::relays(&relays, 1, hedge, &deps)?;
    let connection = mailer.connect(&mail).await?;
    match connection.send(&mail).await {
        Ok(accepted) => {
            print(&format!("the relay accepted the mail: {accepted}"));
            Ok(ExitCode::SUCCESS)
        }
        Err(SendError::NotSent(fault) | SendError::NoSuchAddress(fault)) => Err(fault.into()),
        Err(SendError::Ambiguous(detail)) => {
            anyhow::bail!("{detail}: the mail may arrive all the same")
        }
    }
}
