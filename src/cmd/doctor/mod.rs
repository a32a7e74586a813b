//! `authpost doctor`: is everything as it must be? One line a fact, and what to do where it is not.
//!
//! Takes the options of `authpost serve`, or of one role alone, and changes nothing that counts: no event is stored, no mail is
//! sent unless one is asked for. What is missing of the data folder or the queues is made, as the service would.

mod finding;
mod outside;
mod role;
mod stores;

use std::{process::ExitCode, sync::Arc};

use clap::Args;
use shared::{address::EmailAddress, clock::SystemClock, telemetry::LogFormat};
use tokio_util::sync::CancellationToken;
use url::Url;

use self::{finding::Finding, role::Settings};
use super::{block_on, print, start_logging, wrong_use};
use crate::{
    config::{
        args::ServeArgs,
        settings::{Engine, Process},
    },
    service,
    wiring::Surroundings,
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
    let api = serve.workos.workos_api_url.clone();
    let settings = match Settings::read(serve) {
        Ok(settings) => settings,
        Err(problems) => {
            print(&Finding::wrong("configuration", problems.to_string(), "mend it; nothing else was looked at").line());
            return ExitCode::FAILURE;
        }
    };
    block_on(async move { examine(settings, &api, webhook_url, mail_to).await })
}

async fn examine(settings: Settings, api: &str, webhook_url: Option<Url>, mail_to: Option<EmailAddress>) -> anyhow::Result<ExitCode> {
    let around = service::surroundings(Arc::new(SystemClock), CancellationToken::new())?;
    let mut sound = true;
    let mut tell = |findings: Vec<Finding>| {
        findings.iter().for_each(|finding| print(&finding.line()));
        sound &= !findings.iter().any(Finding::is_wrong);
    };
    tell(vec![Finding::good("configuration", settings.whose())]);
    let Settings { front, back, engine, process } = settings;
    tell(stores(&engine, &process, &around).await?);
    if let Some(worker) = &back {
        tell(outside::workos(worker, &process, &around).await?);
        tell(outside::relay(worker, &process, &around, mail_to).await?);
    } else {
        tell(outside::clock(api, &process).await);
        let not_here = |subject| Finding::note(subject, "not looked at", "run this where a worker's settings are, too");
        tell(vec![not_here("API key"), not_here("relay")]);
    }
    if let Some(collector) = &process.traces {
        tell(outside::collector(collector, &process).await?);
    }
    match (&front, webhook_url) {
        (Some(front), Some(url)) => tell(outside::webhook(&front.keys, &process, &url).await?),
        (None, Some(_)) => {
            let advice = "run this where a front's settings are";
            tell(vec![Finding::wrong("webhook", "there is no secret here to sign a probe with", advice)]);
        }
        (_, None) => {}
    }
    if front.is_some() {
        tell(outside::service(&process).await);
    }
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn stores(engine: &Engine, process: &Process, around: &Surroundings) -> anyhow::Result<Vec<Finding>> {
    match engine {
        Engine::Embedded(embedded) => Ok(stores::embedded(embedded).await),
        Engine::Distributed(distributed) => {
            let mut findings = stores::broker(distributed, process.extra_ca.as_deref(), around).await?;
            findings.extend(stores::redis(distributed, process.extra_ca.as_deref()).await?);
            Ok(findings)
        }
    }
}
