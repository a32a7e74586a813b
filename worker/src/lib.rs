//! Authpost's back: from a queued event to a mail at the relay.
//!
//! Read [`process::process`] first: it is the whole journey of one event. [`consume`] takes deliveries, calls it, and
//! settles, counts and logs what it says, in one place.

pub mod consume;
pub mod mail;
pub mod outcome;
mod pause;
pub mod process;
pub mod reconcile;

use std::{sync::Arc, time::Duration};

use shared::{
    dedupe::DedupeStore,
    health::Heartbeat,
    metrics::Metrics,
    retry::Chance,
    workos::{CodeSource, WorkosClock},
};
use tokio_util::sync::CancellationToken;

use crate::mail::{Mailer, render::Templates};
pub use crate::{consume::run, pause::Pause};

/// What to do with an event whose mail may already be out: a worker died, or a relay fell silent, at the one moment
/// when nobody can know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnAmbiguity {
    /// Send again, under the same Message-ID: after a death as often as needed, after a relay's silence one time. A second
    /// copy of a code does no harm; a missing one locks out.
    Resend,
    /// Keep it as a dead letter for a person to look at.
    DeadLetter,
}

/// How the back behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    /// Events worked on at once.
    pub concurrency: usize,
    /// See [`OnAmbiguity`].
    pub on_ambiguity: OnAmbiguity,
    /// How long a store that does not answer is told that a mail is about to go out, or is out, before giving up.
    pub record_for: Duration,
}

/// All that the back uses.
pub struct Back {
    /// Claims.
    pub dedupe: Arc<dyn DedupeStore>,
    /// Codes.
    pub codes: Arc<dyn CodeSource>,
    /// The relay.
    pub mailer: Arc<dyn Mailer>,
    /// What mails look like.
    pub templates: Templates,
    /// The time of day, as WorkOS has it.
    pub clock: Arc<WorkosClock>,
    /// Jitter.
    pub chance: Chance,
    /// Where everything is counted.
    pub metrics: Arc<Metrics>,
    /// Whether events are left in the queue for now.
    pub pause: Arc<Pause>,
    /// Behaviour.
    pub manner: Manner,
    /// Shows that work goes on.
    pub heartbeat: Heartbeat,
    /// Asks the loop to end, and the wait for a store that is away.
    pub stop: CancellationToken,
}
