//! `authpost serve`, `authpost ingress`, `authpost worker`: read everything, then start, then wait.

use std::{process::ExitCode, sync::Arc};

use shared::{
    clock::SystemClock,
    telemetry::{self, export::Exporting},
    tls,
};
use tokio_util::sync::CancellationToken;

use super::{block_on, wrong_use};
use crate::{
    VERSION,
    config::{
        args::{IngressArgs, ServeArgs, WorkerArgs},
        read_ingress, read_serve, read_worker,
        settings::Process,
    },
    descriptors,
    service::{self, Service},
};

pub(super) fn serve(args: ServeArgs) -> ExitCode {
    match read_serve(args) {
        Err(problems) => wrong_use(&problems),
        Ok(settings) => {
            let process = settings.3.clone();
            until_stopped("serve", &process, service::serve(settings, Arc::new(SystemClock), CancellationToken::new()))
        }
    }
}

pub(super) fn ingress(args: IngressArgs) -> ExitCode {
    match read_ingress(args) {
        Err(problems) => wrong_use(&problems),
        Ok(settings) => {
            let process = settings.2.clone();
            until_stopped("ingress", &process, service::ingress(settings, Arc::new(SystemClock), CancellationToken::new()))
        }
    }
}

pub(super) fn worker(args: WorkerArgs) -> ExitCode {
    match read_worker(args) {
        Err(problems) => wrong_use(&problems),
        Ok(settings) => {
            let process = settings.2.clone();
            until_stopped("worker", &process, service::worker(settings, Arc::new(SystemClock), CancellationToken::new()))
        }
    }
}

fn until_stopped(role: &'static str, process: &Process, starting: impl Future<Output = anyhow::Result<Service>>) -> ExitCode {
    block_on(async {
        let exporting = match start_telemetry(process) {
            Ok(exporting) => exporting,
            Err(why) => return Ok(wrong_use(&why)),
        };
        descriptors::raise();
        tracing::info!(version = VERSION, role, traces = exporting.is_some(), "starting");
        let service = starting.await?;
        tracing::info!(admin = %service.admin, "started");
        let code = service.run().await;
        if let Some(exporting) = exporting {
            exporting.finish().await;
        }
        Ok(code)
    })
}

/// Log lines, and spans if a collector is named.
fn start_telemetry(process: &Process) -> anyhow::Result<Option<Exporting>> {
    let Process { log, log_levels, extra_ca, traces, .. } = process;
    match traces {
        None => telemetry::start(*log, log_levels).map(|()| None),
        Some(collector) => {
            let tls = tls::client(extra_ca.as_deref())?;
            telemetry::start_with_traces((*log, log_levels), collector.clone(), VERSION, &tls).map(Some)
        }
    }
    .map_err(Into::into)
}
