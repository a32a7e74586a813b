//! `authpost doctor`: is everything as it must be? One line a fact, and what to do where it is not.
//!
//! Takes the options of `authpost serve` and changes nothing that counts: no event is stored, no mail is sent unless
//! one is asked for. What is missing of the data folder or the queues is made, as the service would.

mod finding;
mod outside;
mod stores;

use std::{process::ExitCode, sync::Arc};

use clap::Args;
use shared::{address::EmailAddress, clock::SystemClock, telemetry::LogFormat};
use tokio_util::sync::CancellationToken;
use url::Url;

use self::finding::Finding;
use super::{block_on, print, start_logging, wrong_use};
use crate::{
    config::{
        args::ServeArgs,
        read_serve,
        settings::{Engine, Ingress, Process, Worker},
    },
    service,
};

/// `authpost doctor`
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// The webhook's public address, as WorkOS knows it: a signed probe is posted there, recognised and ignored
    #[arg(long, value_name = "URL")]
    webhook_url: Option<Url>,
    /// Send a mail with a code that opens nothing to this address
    #[arg(long, value_name = "ADDRESS")]
    mail_to: Option<String>,
    #[command(flatten)]
    serve: ServeArgs,
}

pub(super) fn doctor(args: DoctorArgs) -> ExitCode {
    let DoctorArgs { webhook_url, mail_to, serve } = args;
    let mail_to = match mail_to.map(|text| EmailAddress::parse(&text)).transpose() {
        Ok(address) => address,
        Err(why) => return wrong_use(&format_args!("--mail-to is not an address: {why}")),
    };
    // Of the log only what is worse than expected: the findings are the output.
    let levels = if serve.process.log_levels == "info" { "warn".to_owned() } else { serve.process.log_levels.clone() };
    if let Err(why) = start_logging(LogFormat::Text, &levels) {
        return wrong_use(&why);
    }
    let settings = match read_serve(serve) {
        Ok(settings) => settings,
        Err(problems) => {
            print(&Finding::wrong("configuration", problems.to_string(), "mend it; nothing else was looked at").line());
            return ExitCode::FAILURE;
        }
    };
    block_on(async move { examine(settings, webhook_url, mail_to).await })
}

async fn examine(
    (ingress, worker, engine, process): (Ingress, Worker, Engine, Process),
    webhook_url: Option<Url>,
    mail_to: Option<EmailAddress>,
) -> anyhow::Result<ExitCode> {
    let around = service::surroundings(Arc::new(SystemClock), CancellationToken::new())?;
    let mut sound = true;
    let mut tell = |findings: Vec<Finding>| {
        findings.iter().for_each(|finding| print(&finding.line()));
        sound &= !findings.iter().any(Finding::is_wrong);
    };
    tell(vec![Finding::good("configuration", "complete")]);
    match &engine {
        Engine::Embedded(embedded) => tell(stores::embedded(embedded).await),
        Engine::Distributed(distributed) => {
            tell(stores::broker(distributed, process.extra_ca.as_deref(), &around).await?);
            tell(stores::redis(distributed, process.extra_ca.as_deref()).await?);
        }
    }
    tell(outside::workos(&worker, &process, &around).await?);
    tell(outside::relay(&worker, &process, &around, mail_to).await?);
    if let Some(collector) = &process.traces {
        tell(outside::collector(collector, &process).await?);
    }
    if let Some(url) = webhook_url {
        tell(outside::webhook(&ingress.keys, &process, &url).await?);
    }
    tell(outside::service(&process).await);
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
