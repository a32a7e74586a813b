//! The two engines behind one interface. [`open`] is the one place that matches on which of them is
//! configured.

mod distributed;
mod embedded;

use std::sync::Arc;

use async_trait::async_trait;
use domain::{
    claims::ClaimStore,
    language::SeenLanguages,
    nonces::NonceStore,
    queue::{Consume, Inspect, Publish, dead_letters::DeadLetters},
    records::Records,
};
use engine::sqlite::OpenError;

use crate::{
    config::settings::{EngineSettings, WorkerSettings},
    deps::Deps,
    finding::Finding,
};

/// How the embedded engine's file is opened. The other engine knows no difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// As the one service that uses it.
    Service,
    /// Beside a service that may be using it.
    Operator,
}

/// Opens the engine that is configured: the only place that chooses.
pub fn open(
    settings: &EngineSettings,
    access: Access,
    deps: &Deps,
) -> Result<Box<dyn OpenEngine>, OpenError> {
    match settings {
        EngineSettings::Embedded(embedded) => {
            Ok(Box::new(embedded::EmbeddedEngine::open(embedded, access, deps)?))
        }
        EngineSettings::Distributed(distributed) => {
            Ok(Box::new(distributed::DistributedEngine::new(distributed, deps)))
        }
    }
}

/// An open engine: makes the ports.
#[async_trait]
pub trait OpenEngine: Send + Sync {
    /// The queue, for an ingress.
    fn publish(&self) -> Arc<dyn Publish>;

    /// The nonces, for signing in and for reconciling.
    fn nonces(&self) -> Arc<dyn NonceStore>;

    /// The languages of people's browsers.
    fn languages(&self) -> Arc<dyn SeenLanguages>;

    fn records(&self) -> Arc<dyn Records>;

    fn dead_letters(&self) -> Arc<dyn DeadLetters>;

    /// The ports of a worker.
    fn worker(&self, settings: &WorkerSettings) -> WorkerPorts;

    /// Examines the engine, without changing anything that a service would not change at its start.
    async fn examine(&self) -> Vec<Finding>;
}

/// What a worker needs of an engine.
pub struct WorkerPorts {
    pub consume: Box<dyn Consume>,
    /// Depths of the queues, and readiness.
    pub inspect: Arc<dyn Inspect>,
    pub claims: Arc<dyn ClaimStore>,
}

/// The finding about an engine that cannot be opened.
pub fn examine_unopened(error: &OpenError) -> Finding {
    embedded::examine_unopened(error)
}
