//! `authpost serve`, `authpost ingress`, `authpost worker`: read the configuration, start, wait for
//! the end.

use std::{process::ExitCode, sync::Arc};

use runtime::{
    clock::SystemClock,
    telemetry::{self, export::Exporting},
};
use tokio_util::sync::CancellationToken;

use super::{block_on_threads, usage_error};
use crate::{
    VERSION,
    config::settings::{ProcessSettings, Settings},
    descriptors,
    reload::{Reread, Signals},
    service,
};

/// Runs the roles of the settings that are read until they are stopped.
pub(super) fn run(read: Reread) -> ExitCode {
    match read() {
        Err(problems) => usage_error(&problems),
        Ok(settings) => {
            block_on_threads(Some(settings.process.threads), run_until_stopped(settings, read))
        }
    }
}

async fn run_until_stopped(settings: Settings, reread: Reread) -> anyhow::Result<ExitCode> {
    let signals = Signals::new()?;
    let exporting = match start_telemetry(&settings.process) {
        Ok(exporting) => exporting,
        Err(why) => return Ok(usage_error(&why)),
    };
    descriptors::raise();
    tracing::info!(
        version = VERSION,
        role = settings.roles.name(),
        traces = exporting.is_some(),
        "starting authpost"
    );
    let service =
        service::start(&settings, Arc::new(SystemClock), CancellationToken::new()).await?;
    tracing::info!(admin = %service.admin, "started authpost");
    let code = service.reloading(signals, reread).run().await;
    if let Some(exporting) = exporting {
        exporting.finish().await;
    }
    Ok(code)
}

/// Starts logging, and traces if a collector is configured.
fn start_telemetry(process: &ProcessSettings) -> anyhow::Result<Option<Exporting>> {
    let ProcessSettings { log, log_levels, trust, traces, .. } = process;
    let started = match traces {
        None => telemetry::start(*log, log_levels).map(|()| None),
        Some(collector) => {
            telemetry::start_with_traces((*log, log_levels), collector.clone(), VERSION, trust)
                .map(Some)
        }
    };
    Ok(started?)
}
