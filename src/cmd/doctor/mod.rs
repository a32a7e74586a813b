//! `authpost doctor`: checks the configuration and everything it depends on. Prints one line for
//! each fact, with advice where something must be fixed.
//!
//! Takes the options of `authpost serve`, or of one role alone. Stores no event, and sends no mail
//! unless asked to. Creates a missing data directory and missing queues, as a service would.

mod metrics;
mod relay;
mod request;
mod role;
mod sign_in;
mod traces;
mod webhook;
mod workos;

use std::{process::ExitCode, sync::Arc};

use ::workos::ApiConfig;
use clap::Args;
use domain::address::EmailAddress;
use runtime::{clock::SystemClock, telemetry::LogFormat, tls::Trust};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{block_on, print, start_logging, usage_error};
use crate::{
    config::{
        args::ServeArgs,
        settings::{Settings, WorkerSettings},
    },
    deps::Deps,
    engines::{self, Access},
    finding::Finding,
};

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Public URL of the webhook, as WorkOS knows it: post a signed probe there, which is
    /// recognized and ignored
    #[arg(long, env = "AUTHPOST_WEBHOOK_URL", value_name = "URL")]
    webhook_url: Option<Url>,
    /// Send a test mail, with a code that is not valid anywhere, to this address
    #[arg(long, value_name = "ADDRESS")]
    mail_to: Option<String>,
    #[command(flatten)]
    serve: ServeArgs,
}

pub(super) fn doctor(args: DoctorArgs) -> ExitCode {
    let DoctorArgs { webhook_url, mail_to, serve } = args;
    let mail_to = match mail_to.map(|text| EmailAddress::parse(&text)).transpose() {
        Ok(address) => address,
        Err(why) => return usage_error(&format_args!("--mail-to is not an address: {why}")),
    };
    // The findings are the output; of the log only warnings matter.
    let levels = if serve.process.log_levels == "info" {
        "warn".to_owned()
    } else {
        serve.process.log_levels.clone()
    };
    if let Err(why) = start_logging(LogFormat::Text, &levels) {
        return usage_error(&why);
    }
    let api_url = serve.workos.workos_api_url.clone();
    let settings = match role::read(serve) {
        Ok(settings) => settings,
        Err(problems) => {
            let advice = "fix it; nothing else was checked";
            print(&Finding::wrong("configuration", "invalid", advice).line());
            print(&problems.to_string());
            return ExitCode::FAILURE;
        }
    };
    block_on(examine(settings, api_url, webhook_url, mail_to))
}

async fn examine(
    settings: Settings,
    api_url: String,
    webhook_url: Option<Url>,
    mail_to: Option<EmailAddress>,
) -> anyhow::Result<ExitCode> {
    let trust = &settings.process.trust;
    let deps = Deps::new(Arc::new(SystemClock), trust.clone(), CancellationToken::new())?;
    let mut sound = true;
    let mut report = |findings: Vec<Finding>| {
        findings.iter().for_each(|finding| print(&finding.line()));
        sound &= !findings.iter().any(Finding::is_wrong);
    };
    report(vec![Finding::good("configuration", role::fact(&settings))]);
    report(match engines::open(&settings.engine, Access::Operator, &deps) {
        Ok(engine) => engine.examine().await,
        Err(error) => vec![engines::examine_unopened(&error)],
    });
    report(vec![way(&api_url, trust)]);
    if let Some(worker) = settings.roles.worker() {
        report(workos::examine(&worker.api, &deps).await?);
        report(relay::examine(worker, &deps, mail_to).await?);
    } else {
        report(workos::examine_clock(&api_url, trust).await);
        let elsewhere = |subject| {
            Finding::note(subject, "not checked", "run this with the settings of a worker, too")
        };
        report(vec![elsewhere("API key"), elsewhere("relay")]);
    }
    if let Some(settings) = settings.roles.ingress().and_then(|ingress| ingress.sign_in.as_ref()) {
        report(sign_in::examine(settings, trust).await);
    }
    if let Some(collector) = &settings.process.traces {
        report(vec![traces::examine(collector, trust).await?]);
    }
    if let Some(url) = webhook_url {
        let keys = settings.roles.ingress().map(|ingress| ingress.keys.get());
        report(vec![webhook::examine(keys.as_deref(), &url, trust).await?]);
    }
    let webhooks = settings.roles.ingress().is_some();
    report(metrics::examine(settings.process.admin_listen, webhooks, trust).await);
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Examines the relays without sending a mail.
pub(super) async fn relay(worker: &WorkerSettings, deps: &Deps) -> anyhow::Result<Vec<Finding>> {
    relay::examine(worker, deps, None).await
}

/// Examines the API key and the clock.
pub(super) async fn workos(api: &ApiConfig, deps: &Deps) -> anyhow::Result<Vec<Finding>> {
    workos::examine(api, deps).await
}

/// Which way requests to WorkOS go.
fn way(api_url: &str, trust: &Trust) -> Finding {
    const SUBJECT: &str = "way out";
    let proxy = trust.proxy().and_then(|proxy| proxy.for_url(api_url));
    Finding::good(
        SUBJECT,
        proxy.map_or_else(
            || "WorkOS is reached directly".to_owned(),
            |proxy| format!("WorkOS is reached through the proxy {proxy}"),
        ),
    )
}
