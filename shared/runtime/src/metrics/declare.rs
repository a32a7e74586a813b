//! Declares metrics and registers them: one line for each, and the buckets of histograms.

use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, core::Collector,
};

/// Buckets for requests, confirms and claims, in seconds: finest below one second.
pub(super) const QUICK: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
/// Buckets for WorkOS and the relay, in seconds: up to a minute.
pub(super) const RELAY: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// Buckets for waits, in seconds: up to the lifetime of a code, finest around the objective of 30
/// s.
pub(super) const LIFE: &[f64] = &[
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 20.0, 30.0, 60.0, 120.0,
    300.0, 600.0,
];
/// Buckets for the number of attempts.
pub(super) const ATTEMPTS: &[f64] = &[1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0];

/// A metric is declared twice, or under a name that Prometheus does not allow: a mistake in this
/// module, found by its tests.
#[derive(Debug, thiserror::Error)]
#[error("a metric is declared wrongly: {0}")]
pub struct Misdeclared(#[from] prometheus::Error);

/// Registers each metric that it makes.
pub(super) struct Declare<'a>(pub(super) &'a Registry);

impl Declare<'_> {
    fn add<C: Collector + Clone + 'static>(&self, collector: C) -> Result<C, Misdeclared> {
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    pub(super) fn counter(&self, name: &str, help: &str) -> Result<IntCounter, Misdeclared> {
        self.add(IntCounter::new(name, help)?)
    }

    pub(super) fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, Misdeclared> {
        self.add(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, Misdeclared> {
        self.add(IntGauge::new(name, help)?)
    }

    pub(super) fn number(&self, name: &str, help: &str) -> Result<Gauge, Misdeclared> {
        self.add(Gauge::new(name, help)?)
    }

    pub(super) fn gauges(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntGaugeVec, Misdeclared> {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    pub(super) fn histogram(
        &self,
        name: &str,
        help: &str,
        buckets: &[f64],
    ) -> Result<Histogram, Misdeclared> {
        self.add(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?)
    }

    pub(super) fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> Result<HistogramVec, Misdeclared> {
        self.add(HistogramVec::new(
            HistogramOpts::new(name, help).buckets(buckets.to_vec()),
            labels,
        )?)
    }
}
