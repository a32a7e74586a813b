//! `authpost serve`, `authpost ingress`, `authpost worker`: read everything, then start, then wait.

use std::{process::ExitCode, sync::Arc};

use shared::clock::SystemClock;
use tokio_util::sync::CancellationToken;

use super::{block_on, start_logging, wrong_use};
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
    if let Err(why) = start_logging(process.log, &process.log_levels) {
        return wrong_use(&why);
    }
    descriptors::raise();
    block_on(async {
        tracing::info!(version = VERSION, role, "starting");
        let service = starting.await?;
        tracing::info!(admin = %service.admin, "started");
        Ok(service.run().await)
    })
}
