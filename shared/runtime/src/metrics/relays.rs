//! The metrics of relays: one set of series for each relay in the configuration.

use std::{sync::Arc, time::Duration};

use domain::fault::Reason;
use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec};

use super::{
    declare::{Declare, Misdeclared, RELAY},
    labels::{RelayState, SmtpResult, Success},
};

/// The metrics of all relays.
pub(super) struct Relays {
    seconds: HistogramVec,
    connections: IntCounterVec,
    connection_limit: IntGaugeVec,
    states: IntGaugeVec,
    hops: IntCounterVec,
    hedges: IntCounterVec,
    throttled: IntCounterVec,
}

impl Relays {
    pub(super) fn declare(new: &Declare<'_>) -> Result<Self, Misdeclared> {
        Ok(Self {
            seconds: new.histograms(
                "authpost_smtp_seconds",
                "Duration of SMTP transactions, including the wait for a connection.",
                &["relay", "result"],
                RELAY,
            )?,
            connections: new.counters(
                "authpost_smtp_connections_total",
                "Attempts to connect to a relay by result.",
                &["relay", "result"],
            )?,
            connection_limit: new.gauges(
                "authpost_smtp_connection_limit",
                "Most connections to a relay at once: as configured, or as it turned some away.",
                &["relay"],
            )?,
            states: new.gauges(
                "authpost_relay_state",
                "1 for the state of a relay's circuit breaker.",
                &["relay", "state"],
            )?,
            hops: new.counters(
                "authpost_relay_hops_total",
                "Mails that went on to the next relay, by the relay that failed and the reason.",
                &["relay", "reason"],
            )?,
            hedges: new.counters(
                "authpost_relay_hedges_total",
                "Mails for which the next relay was made ready beside this slow one.",
                &["relay"],
            )?,
            throttled: new.counters(
                "authpost_relay_throttled_total",
                "Answers of a relay that throttle us.",
                &["relay"],
            )?,
        })
    }
}

impl Relays {
    /// Takes back what is said of relays that may not be used any more.
    pub(super) fn forget(&self) {
        self.states.reset();
        self.connection_limit.reset();
    }
}

/// The metrics of one relay. A clone is the same relay.
#[derive(Clone)]
pub struct RelayMetrics {
    relays: Arc<Relays>,
    name: Arc<str>,
}

impl RelayMetrics {
    /// The metrics of the relay with this name, which comes from the configuration.
    pub(super) fn new(relays: &Arc<Relays>, name: &str) -> Self {
        let metrics = Self { relays: Arc::clone(relays), name: name.into() };
        metrics.create_every_series();
        metrics
    }

    fn create_every_series(&self) {
        let relay = &*self.name;
        for result in SmtpResult::ALL {
            drop(self.relays.seconds.with_label_values(&[relay, result.label()]));
        }
        for success in Success::ALL {
            drop(self.relays.connections.with_label_values(&[relay, success.label()]));
        }
        Reason::OF_RELAYS.iter().for_each(|reason| {
            drop(self.relays.hops.with_label_values(&[relay, reason.label()]));
        });
        drop(self.relays.hedges.with_label_values(&[relay]));
        drop(self.relays.throttled.with_label_values(&[relay]));
        self.state(RelayState::Closed);
    }

    /// Counts one SMTP transaction and its time.
    pub fn transaction(&self, result: SmtpResult, took: Duration) {
        let labels = [&*self.name, result.label()];
        self.relays.seconds.with_label_values(&labels).observe(took.as_secs_f64());
    }

    /// Counts one attempt to connect.
    pub fn connection(&self, result: Success) {
        self.relays.connections.with_label_values(&[&*self.name, result.label()]).inc();
    }

    /// Sets how many connections may be in use at once.
    pub fn connection_limit(&self, limit: usize) {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.relays.connection_limit.with_label_values(&[&*self.name]).set(limit);
    }

    /// Sets the state of the circuit breaker.
    pub fn state(&self, state: RelayState) {
        for each in RelayState::ALL {
            let is_it = i64::from(*each == state);
            self.relays.states.with_label_values(&[&*self.name, each.label()]).set(is_it);
        }
    }

    /// Counts one mail that went on to the next relay because of `reason`.
    pub fn hop(&self, reason: Reason) {
        self.relays.hops.with_label_values(&[&*self.name, reason.label()]).inc();
    }

    /// Counts one mail for which the next relay was made ready, too.
    pub fn hedge(&self) {
        self.relays.hedges.with_label_values(&[&*self.name]).inc();
    }

    /// Counts one answer that throttles us.
    pub fn throttled(&self) {
        self.relays.throttled.with_label_values(&[&*self.name]).inc();
    }
}
