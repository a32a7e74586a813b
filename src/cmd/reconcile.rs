//! `authpost reconcile`: one check for events that the webhooks missed. Works beside a running
//! service, on both engines.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::Args;
use domain::queue::Publish;
use runtime::{clock::SystemClock, telemetry::LogFormat};
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;
use worker::reconcile::Found;

use super::{block_on, print, start_logging, usage_error};
use crate::{
    config::{
        Inspection,
        args::{OperatorOptions, WorkosOptions},
        read_reconcile,
    },
    deps::Deps,
    engines::{self, Access},
    wiring,
};

/// Longest wait for the broker.
const CONNECT: Duration = Duration::from_secs(10);

/// Time between two checks whether the queue accepts events.
const POLL: Duration = Duration::from_millis(50);

#[derive(Debug, Args)]
pub(super) struct ReconcileArgs {
    #[command(flatten)]
    workos: WorkosOptions,
    #[command(flatten)]
    operator: OperatorOptions,
}

pub(super) fn reconcile(args: ReconcileArgs) -> ExitCode {
    let ReconcileArgs { workos, operator } = args;
    if let Err(why) = start_logging(LogFormat::Text, &operator.log_levels) {
        return usage_error(&why);
    }
    let (Inspection { engine, trust }, api) = match read_reconcile(operator, workos) {
        Ok(read) => read,
        Err(problems) => return usage_error(&problems),
    };
    block_on(async move {
        let deps = Deps::new(Arc::new(SystemClock), trust, CancellationToken::new())?;
        let engine = engines::open(&engine, Access::Operator, &deps)?;
        wait_until_ready(engine.publish().as_ref()).await?;
        let reconciler =
            wiring::reconciler(&api, engine.as_ref(), wiring::workos_clock(&deps), &deps);
        let Found { queued, known, skipped } = reconciler.run_once().await?;
        print(&format!("{queued} queued, {known} known, {skipped} too recent or expired"));
        Ok(ExitCode::SUCCESS)
    })
}

async fn wait_until_ready(queue: &dyn Publish) -> anyhow::Result<()> {
    let ready = async {
        let mut polls = interval(POLL);
        while queue.ready().is_err() {
            polls.tick().await;
        }
    };
    timeout(CONNECT, ready).await.context("cannot reach the queue")
}
