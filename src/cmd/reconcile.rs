//! `authpost reconcile`: one look at what the webhooks have missed. Works beside a running service, on both engines.

use std::{process::ExitCode, sync::Arc};

use clap::Args;
use shared::{clock::SystemClock, telemetry::LogFormat, workos::WorkosClock};
use tokio_util::sync::CancellationToken;
use worker::reconcile::Found;

use super::{block_on, print, start_logging, wrong_use};
use crate::{
    config::{
        args::{Operator, Workos},
        read_reconcile,
    },
    service, wiring,
};

/// `authpost reconcile`
#[derive(Debug, Args)]
pub(super) struct ReconcileArgs {
    #[command(flatten)]
    workos: Workos,
    #[command(flatten)]
    operator: Operator,
}

pub(super) fn reconcile(args: ReconcileArgs) -> ExitCode {
    let ReconcileArgs { workos, operator } = args;
    if let Err(why) = start_logging(LogFormat::Text, &operator.log_levels) {
        return wrong_use(&why);
    }
    let (engine, extra_ca, workos) = match read_reconcile(operator, workos) {
        Ok(read) => read,
        Err(problems) => return wrong_use(&problems),
    };
    block_on(async move {
        let around = service::surroundings(Arc::new(SystemClock), CancellationToken::new())?;
        let records = wiring::records(&engine, extra_ca.as_deref(), &around)?;
        records.connected().await?;
        let clock = Arc::new(WorkosClock::new(Arc::new(SystemClock), Arc::clone(&around.metrics)));
        let reconciler = wiring::reconciler(&workos, records.inner, extra_ca.as_deref(), clock, around.metrics)?;
        let Found { fed, known, left } = reconciler.look().await?;
        print(&format!("{fed} put into the queue, {known} known, {left} too young or too old"));
        Ok(ExitCode::SUCCESS)
    })
}
