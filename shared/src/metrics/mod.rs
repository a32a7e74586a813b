//! Every metric there is: a closed set, typed labels, base units, each series present from the start.
//!
//! No label ever holds an id, an address, a path or anything else a sender can choose.

pub mod labels;
mod sign_in;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
    core::Collector,
};

use self::{
    labels::{ClaimResult, ClaimStep, Ending, LinkName, Part, Reconciled, SmtpResult, Success, Webhook, WorkosResult},
    sign_in::SignIns,
};
use crate::{fault::Reason, queue::Depths, retry::STAGES};

/// Up to a second: what a healthy machine needs for a request, a confirm or a claim.
const QUICK: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
/// Up to a minute: what a relay may take.
const RELAY: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// Up to a code's life, finest around the objective of 30 s.
const LIFE: &[f64] = &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0];
/// Attempts until a final ending.
const ATTEMPTS: &[f64] = &[1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0];

/// The handles. One for a process, shared.
pub struct Metrics {
    registry: Registry,
    webhooks: IntCounterVec,
    webhook_seconds: Histogram,
    http_connections: IntGauge,
    publish_seconds: HistogramVec,
    deliveries: IntCounter,
    outcomes: IntCounterVec,
    attempts: Histogram,
    in_flight: IntGauge,
    retries: IntCounterVec,
    claims: IntCounterVec,
    dedupe_seconds: HistogramVec,
    workos_seconds: HistogramVec,
    smtp_seconds: HistogramVec,
    smtp_connections: IntCounterVec,
    queue_age_seconds: Histogram,
    delivery_seconds: Histogram,
    clock_skew: IntCounter,
    clock_offset: Gauge,
    settle_failures: IntCounter,
    queue_depth: IntGaugeVec,
    connected: IntGaugeVec,
    blocked: IntGauge,
    reconnects: IntCounterVec,
    paused: IntGauge,
    last_sent: IntGauge,
    reconciled: IntCounterVec,
    /// Signing in.
    pub sign_in: SignIns,
}

/// Two metrics of one name, or a name Prometheus does not allow: a mistake in this module, found by its tests.
#[derive(Debug, thiserror::Error)]
#[error("a metric is declared wrongly: {0}")]
pub struct Misdeclared(#[from] prometheus::Error);

/// Registers what it makes.
struct Declare<'a>(&'a Registry);

impl Declare<'_> {
    fn add<C: Collector + Clone + 'static>(&self, collector: C) -> Result<C, Misdeclared> {
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }
    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, Misdeclared> {
        self.add(IntCounter::new(name, help)?)
    }
    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, Misdeclared> {
        self.add(IntCounterVec::new(Opts::new(name, help), labels)?)
    }
    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, Misdeclared> {
        self.add(IntGauge::new(name, help)?)
    }
    fn number(&self, name: &str, help: &str) -> Result<Gauge, Misdeclared> {
        self.add(Gauge::new(name, help)?)
    }
    fn gauges(&self, name: &str, help: &str, label: &str) -> Result<IntGaugeVec, Misdeclared> {
        self.add(IntGaugeVec::new(Opts::new(name, help), &[label])?)
    }
    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram, Misdeclared> {
        self.add(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?)
    }
    fn histograms(&self, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> Result<HistogramVec, Misdeclared> {
        self.add(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)?)
    }
}

impl Metrics {
    /// All of them, at zero. `version` goes into `authpost_build_info`.
    #[expect(clippy::too_many_lines, reason = "a table: one metric a line, and splitting it would hide one")]
    pub fn new(version: &str) -> Result<Self, Misdeclared> {
        let registry = Registry::new();
        let new = Declare(&registry);
        let info = new.gauges("authpost_build_info", "Which release this is; always 1.", "version")?;
        info.with_label_values(&[version]).set(1);
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let metrics = Self {
            webhooks: new.counters("authpost_webhooks_total", "Webhook requests by what became of them.", &["result"])?,
            webhook_seconds: new.histogram(
                "authpost_webhook_seconds",
                "From a webhook's head to its answer, without bodies that never came whole.",
                QUICK,
            )?,
            http_connections: new.gauge("authpost_http_connections", "Open connections on the public listener.")?,
            publish_seconds: new.histograms(
                "authpost_publish_seconds",
                "From publishing an event to the broker's confirm or the fsync.",
                &["result"],
                QUICK,
            )?,
            deliveries: new.counter("authpost_deliveries_total", "Messages taken from the queue, retries included.")?,
            outcomes: new.counters(
                "authpost_outcomes_total",
                "How deliveries ended, counted once the queue has taken note; every outcome but retry is final.",
                &["outcome", "reason"],
            )?,
            attempts: new.histogram("authpost_attempts", "Attempts an event took until its final outcome.", ATTEMPTS)?,
            in_flight: new.gauge("authpost_in_flight", "Deliveries being worked on.")?,
            retries: new.counters("authpost_retries_total", "Retries by the rest before them.", &["stage"])?,
            claims: new.counters(
                "authpost_claims_total",
                "Answers of the dedupe store; late, already and unrecorded allow a second mail.",
                &["result"],
            )?,
            dedupe_seconds: new.histograms("authpost_dedupe_seconds", "Calls of the dedupe store.", &["step", "result"], QUICK)?,
            workos_seconds: new.histograms(
                "authpost_workos_seconds",
                "Reads of a code from WorkOS, without the wait for our own rate limit.",
                &["result"],
                RELAY,
            )?,
            smtp_seconds: new.histograms(
                "authpost_smtp_seconds",
                "SMTP transactions, from the wait for a connection to the relay's last answer.",
                &["result"],
                RELAY,
            )?,
            smtp_connections: new.counters("authpost_smtp_connections_total", "Connections opened to the relay.", &["result"])?,
            queue_age_seconds: new.histogram("authpost_queue_age_seconds", "How long a message had waited when it was taken.", LIFE)?,
            delivery_seconds: new.histogram(
                "authpost_delivery_seconds",
                "From WorkOS making the code to the relay accepting the mail: the wait a person feels.",
                LIFE,
            )?,
            clock_skew: new
                .counter("authpost_clock_skew_total", "Events that seemed to come from the future; their ages count as zero.")?,
            clock_offset: new.number("authpost_clock_offset_seconds", "WorkOS's clock minus ours, as of its last answer.")?,
            settle_failures: new
                .counter("authpost_settle_failures_total", "Outcomes the queue could not take note of; it hands the message out again.")?,
            queue_depth: new.gauges("authpost_queue_depth", "Messages by where they are, as the engine last said.", "queue")?,
            connected: new.gauges("authpost_engine_connected", "Whether a connection to the broker is up.", "link")?,
            blocked: new.gauge("authpost_engine_blocked", "Whether the broker has stopped taking messages (memory or disk alarm).")?,
            reconnects: new.counters("authpost_engine_reconnects_total", "Connections to the broker made after the first.", &["link"])?,
            paused: new
                .gauge("authpost_paused", "Whether events are left in the queue because WorkOS or the relay refuses our configuration.")?,
            last_sent: new.gauge("authpost_last_sent_timestamp_seconds", "When the relay last accepted a mail.")?,
            reconciled: new.counters("authpost_reconciled_total", "Events in WorkOS's list by what became of them.", &["result"])?,
            sign_in: SignIns::declare(&new)?,
            registry,
        };
        metrics.create_every_series();
        Ok(metrics)
    }

    fn create_every_series(&self) {
        Webhook::ALL.iter().for_each(|label| self.webhooks.with_label_values(&[label.label()]).reset());
        ClaimResult::ALL.iter().for_each(|label| self.claims.with_label_values(&[label.label()]).reset());
        STAGES.iter().for_each(|stage| self.retries.with_label_values(&[stage.label()]).reset());
        Part::ALL.iter().for_each(|part| self.queue_depth.with_label_values(&[part.label()]).set(0));
        for link in LinkName::ALL {
            self.connected.with_label_values(&[link.label()]).set(0);
            self.reconnects.with_label_values(&[link.label()]).reset();
        }
        for success in Success::ALL {
            drop(self.publish_seconds.with_label_values(&[success.label()]));
            self.smtp_connections.with_label_values(&[success.label()]).reset();
            ClaimStep::ALL.iter().for_each(|step| drop(self.dedupe_seconds.with_label_values(&[step.label(), success.label()])));
        }
        self.sign_in.create_every_series();
        Reconciled::ALL.iter().for_each(|result| self.reconciled.with_label_values(&[result.label()]).reset());
        WorkosResult::ALL.iter().for_each(|result| drop(self.workos_seconds.with_label_values(&[result.label()])));
        SmtpResult::ALL.iter().for_each(|result| drop(self.smtp_seconds.with_label_values(&[result.label()])));
        for ending in Ending::ALL {
            let plain = matches!(ending, Ending::Sent | Ending::Duplicate);
            let reasons = Reason::ALL.iter().filter(|reason| !plain || **reason == Reason::None);
            reasons.for_each(|reason| self.outcomes.with_label_values(&[ending.label(), reason.label()]).reset());
        }
    }

    /// The exposition (<https://prometheus.io/docs/instrumenting/exposition_formats/>, text format 0.0.4).
    pub fn expose(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }

    /// One webhook request, answered.
    pub fn webhook(&self, result: Webhook, took: Duration) {
        self.webhooks.with_label_values(&[result.label()]).inc();
        // How long strangers take over a body says nothing about us.
        if !matches!(result, Webhook::Incomplete | Webhook::TooLarge) {
            self.webhook_seconds.observe(took.as_secs_f64());
        }
    }

    /// One connection more (`true`) or fewer on the public listener.
    pub fn http_connection(&self, opened: bool) {
        if opened { self.http_connections.inc() } else { self.http_connections.dec() }
    }

    /// One publish.
    pub fn published(&self, result: Success, took: Duration) {
        self.publish_seconds.with_label_values(&[result.label()]).observe(took.as_secs_f64());
    }

    /// One message taken from the queue, after waiting there for `age` if that is known.
    pub fn delivery(&self, age: Option<Duration>) {
        self.deliveries.inc();
        if let Some(age) = age {
            self.queue_age_seconds.observe(age.as_secs_f64());
        }
    }

    /// One delivery settled. `attempt` is counted when the outcome is final.
    pub fn outcome(&self, ending: Ending, reason: Reason, attempt: u32) {
        self.outcomes.with_label_values(&[ending.label(), reason.label()]).inc();
        if ending != Ending::Retry {
            self.attempts.observe(f64::from(attempt));
        }
    }

    /// One retry scheduled.
    pub fn retry(&self, stage: crate::retry::Stage) {
        self.retries.with_label_values(&[stage.label()]).inc();
    }

    /// One mail accepted by the relay at `now`, for an event of `created_at`.
    pub fn sent(&self, created_at: Timestamp, now: Timestamp) {
        self.last_sent.set(now.as_second());
        self.delivery_seconds.observe(self.age(created_at, now).as_secs_f64());
    }

    /// `now - then`, or zero and a count when that is negative.
    pub fn age(&self, then: Timestamp, now: Timestamp) -> Duration {
        Duration::try_from(now.duration_since(then)).unwrap_or_else(|_| {
            self.clock_skew.inc();
            Duration::ZERO
        })
    }

    /// How far WorkOS's clock is ahead of ours.
    pub fn clock_offset(&self, ahead: SignedDuration) {
        self.clock_offset.set(ahead.as_secs_f64());
    }

    /// Work begun (`true`) or ended on a delivery.
    pub fn in_flight(&self, begun: bool) {
        if begun { self.in_flight.inc() } else { self.in_flight.dec() }
    }

    /// One answer of the dedupe store.
    pub fn claim(&self, result: ClaimResult) {
        self.claims.with_label_values(&[result.label()]).inc();
    }

    /// One call of the dedupe store.
    pub fn dedupe(&self, step: ClaimStep, result: Success, took: Duration) {
        self.dedupe_seconds.with_label_values(&[step.label(), result.label()]).observe(took.as_secs_f64());
    }

    /// One read from WorkOS.
    pub fn workos(&self, result: WorkosResult, took: Duration) {
        self.workos_seconds.with_label_values(&[result.label()]).observe(took.as_secs_f64());
    }

    /// One SMTP transaction.
    pub fn smtp(&self, result: SmtpResult, took: Duration) {
        self.smtp_seconds.with_label_values(&[result.label()]).observe(took.as_secs_f64());
    }

    /// One connection opened to the relay, or not.
    pub fn smtp_connection(&self, result: Success) {
        self.smtp_connections.with_label_values(&[result.label()]).inc();
    }

    /// One outcome that the queue could not take note of.
    pub fn settle_failed(&self) {
        self.settle_failures.inc();
    }

    /// The depths as the engine says.
    pub fn depths(&self, depths: Depths) {
        for (part, depth) in [(Part::Work, depths.work), (Part::Retry, depths.retry), (Part::Dead, depths.dead)] {
            self.queue_depth.with_label_values(&[part.label()]).set(i64::try_from(depth).unwrap_or(i64::MAX));
        }
    }

    /// A connection to the broker came up for the `generation`th time, or went down.
    pub fn link(&self, link: LinkName, up: bool, generation: u64) {
        self.connected.with_label_values(&[link.label()]).set(i64::from(up));
        if up && generation > 1 {
            self.reconnects.with_label_values(&[link.label()]).inc();
        }
    }

    /// One event in WorkOS's list.
    pub fn reconciled(&self, result: Reconciled) {
        self.reconciled.with_label_values(&[result.label()]).inc();
    }

    /// Whether the broker has stopped taking messages.
    pub fn blocked(&self, blocked: bool) {
        self.blocked.set(i64::from(blocked));
    }

    /// Whether events are left alone because our configuration is refused.
    pub fn paused(&self, paused: bool) {
        self.paused.set(i64::from(paused));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_exists_before_anything_happens() {
        let exposition = Metrics::new("1.2.3").expect("declared rightly").expose();
        for line in [
            "authpost_build_info{version=\"1.2.3\"} 1",
            "authpost_webhooks_total{result=\"forged\"} 0",
            "authpost_outcomes_total{outcome=\"dead\",reason=\"not_found\"} 0",
            "authpost_outcomes_total{outcome=\"sent\",reason=\"none\"} 0",
            "authpost_delivery_seconds_count 0",
            "authpost_queue_depth{queue=\"dead\"} 0",
        ] {
            assert!(exposition.contains(line), "no {line} in\n{exposition}");
        }
    }

    #[test]
    fn names_and_help_follow_the_conventions() {
        let metrics = Metrics::new("1.2.3").expect("declared rightly");
        for family in metrics.registry.gather() {
            let name = family.name();
            assert!(name.starts_with("authpost_") || name.starts_with("process_"), "{name}");
            let counter = family.get_field_type() == prometheus::proto::MetricType::COUNTER;
            assert_eq!(counter, name.ends_with("_total"), "{name}");
            assert!(family.help().ends_with('.') || name.starts_with("process_"), "{name}: {}", family.help());
        }
    }

    #[test]
    fn an_age_is_never_negative() {
        let metrics = Metrics::new("1.2.3").expect("declared rightly");
        let (early, late) = (Timestamp::UNIX_EPOCH, Timestamp::from_second(9).expect("in range"));
        assert_eq!(metrics.age(early, late), Duration::from_secs(9));
        assert_eq!(metrics.age(late, early), Duration::ZERO);
        assert!(metrics.expose().contains("authpost_clock_skew_total 1"));
    }
}
