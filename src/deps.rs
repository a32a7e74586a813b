//! The dependencies that everything in a process shares.

use std::sync::Arc;

use anyhow::Context as _;
use domain::{claims::Owners, clock::Clock, retry::Chance};
use runtime::{
    metrics::Metrics,
    random::{process_number, system_chance},
    tls::Trust,
};
use tokio_util::sync::CancellationToken;

use crate::VERSION;

/// What everything in a process shares.
#[derive(Clone)]
pub struct Deps {
    pub clock: Arc<dyn Clock>,
    /// Source of jitter for delays.
    pub chance: Chance,
    pub metrics: Arc<Metrics>,
    /// The certificate authorities to trust.
    pub trust: Trust,
    /// Cancelled when the process is asked to stop.
    pub stop: CancellationToken,
}

impl Deps {
    /// New metrics, and the operating system's randomness.
    pub fn new(
        clock: Arc<dyn Clock>,
        trust: Trust,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            clock,
            chance: system_chance(),
            metrics: Arc::new(Metrics::new(VERSION)?),
            trust,
            stop,
        })
    }

    /// The owners of claims in this process, unlike those of every other process.
    pub fn owners() -> anyhow::Result<Owners> {
        process_number().map(Owners::new).context("the system has no random numbers")
    }
}
