//! The dependencies and the configuration of a worker.

use std::{sync::Arc, time::Duration};

use domain::{
    claims::{ClaimStore, Owners},
    clock::SyncedClock,
    codes::CodeSource,
    retry::Chance,
};
use runtime::{health::Heartbeat, live::Live, metrics::Metrics};
use tokio_util::sync::CancellationToken;

use crate::{
    breaker::CircuitBreaker,
    languages::LanguageSources,
    mail::{Mailer, render::Templates},
};

/// What to do with an event whose mail may have been sent: a worker crashed, or a relay did not
/// answer, at the one moment when that cannot be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnAmbiguity {
    /// Send again, with the same Message-ID: after a crash as often as needed, after unanswered
    /// sends up to four times in all. A second copy of a code does no harm; a missing one locks a person out.
    Resend,
    /// Keep the event as a dead letter for an operator.
    DeadLetter,
}

/// The choices an operator has for a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerConfig {
    /// Most events processed at once.
    pub concurrency: usize,
    pub on_ambiguity: OnAmbiguity,
    /// How long to retry telling the claim store that a mail is about to be sent, or was sent.
    pub record_for: Duration,
}

/// A worker: the dependencies of processing events.
pub struct Worker {
    pub claims: Arc<dyn ClaimStore>,
    /// Makes an owner for each claim.
    pub owners: Owners,
    pub codes: Arc<dyn CodeSource>,
    /// Where the language of a person is looked up.
    pub languages: LanguageSources,
    pub mailer: Live<Arc<dyn Mailer>>,
    pub templates: Live<Templates>,
    /// The time of day at WorkOS.
    pub clock: Arc<dyn SyncedClock>,
    pub chance: Chance,
    pub metrics: Arc<Metrics>,
    /// Stops taking events while WorkOS or the relay refuses our configuration.
    pub breaker: Arc<CircuitBreaker>,
    pub config: WorkerConfig,
    /// Reports that the loop makes progress.
    pub heartbeat: Heartbeat,
    /// Ends the loop, and the wait for a store that is unavailable.
    pub stop: CancellationToken,
}
