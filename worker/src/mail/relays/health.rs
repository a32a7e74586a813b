//! How one relay fares: its circuit breaker, with log lines and metrics.

use std::sync::Arc;

use domain::{
    fault::{Fault, Reason, Severity},
    retry::{Chance, Policy},
};
use parking_lot::Mutex;
use runtime::metrics::{RelayMetrics, labels::RelayState};
use tokio::time::Instant;

use crate::{
    circuit::{Circuit, Pauses, Phase},
    mail::SendError,
};

const PAUSES: Pauses = Pauses { down: Policy::REFUSED, misconfigured: Policy::RELAY_MISCONFIGURED };

/// When a relay has its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Test,
    Usable,
    Last,
}

/// The circuit breaker of one relay.
pub(super) struct Health {
    circuit: Mutex<Circuit>,
    name: Arc<str>,
    metrics: RelayMetrics,
    chance: Chance,
}

impl Health {
    pub(super) fn new(name: Arc<str>, metrics: RelayMetrics, chance: Chance) -> Self {
        Self { circuit: Mutex::new(Circuit::new(PAUSES)), name, metrics, chance }
    }

    /// Its place among the relays, the first one lowest: one that is due for a test, so that it is
    /// tested even if others are preferred; one that works; one that fails.
    pub(super) fn place(&self) -> Place {
        match self.circuit.lock().phase(Instant::now()) {
            Phase::HalfOpen(_) => Place::Test,
            Phase::Closed => Place::Usable,
            Phase::Open(_) => Place::Last,
        }
    }

    /// A mail begins here. If the pause of the relay is over, it is the test.
    pub(super) fn begins(&self) {
        self.circuit.lock().begin_test(Instant::now());
    }

    /// Another relay was ready sooner.
    pub(super) fn was_slow(&self) {
        self.failed("another relay was ready sooner");
    }

    /// Takes note of how a step ended. What concerns one person or one mail does not count.
    pub(super) fn note(&self, ended: Result<(), &SendError>) {
        match ended {
            Ok(()) => self.works(self.circuit.lock().succeeded(Instant::now())),
            Err(SendError::Ambiguous(detail)) => self.failed(detail),
            Err(SendError::NotSent(fault)) if fault.severity == Severity::Misconfigured => {
                self.refused(fault);
            }
            Err(SendError::NotSent(fault)) if fault.reason == Reason::RelayUnavailable => {
                self.failed(&fault.detail);
            }
            Err(SendError::NotSent(_) | SendError::NoSuchAddress(_)) => {
                self.works(self.circuit.lock().answered(Instant::now()));
            }
        }
    }

    fn works(&self, again: bool) {
        if again {
            self.metrics.state(RelayState::Closed);
            tracing::info!(relay = &*self.name, "a relay takes mails again");
        }
    }

    fn failed(&self, detail: &str) {
        let pause = self.circuit.lock().failed(Instant::now(), (self.chance)());
        if let Some(pause) = pause {
            self.metrics.state(RelayState::Open);
            tracing::warn!(
                relay = &*self.name,
                detail,
                pause_s = pause.as_secs_f64(),
                "a relay fails: others come before it"
            );
        }
    }

    fn refused(&self, fault: &Fault) {
        let pause = self.circuit.lock().refused(Instant::now(), (self.chance)());
        if let Some(pause) = pause {
            self.metrics.state(RelayState::Misconfigured);
            tracing::error!(
                relay = &*self.name,
                detail = &*fault.detail,
                pause_s = pause.as_secs_f64(),
                "a relay refuses our configuration: others come before it"
            );
        }
    }
}
