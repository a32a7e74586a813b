//! Every metric there is: a closed set, typed labels, base units, each series present from the
//! start.
//!
//! No label ever holds an id, an address, a path or anything else a sender can choose.

mod declare;
pub mod labels;
mod process;
mod record;
mod relays;
mod sign_in;

use std::sync::Arc;

use domain::{fault::Reason, retry::STAGES};
use prometheus::{
    Gauge, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
    TextEncoder,
};

pub use self::{declare::Misdeclared, relays::RelayMetrics};
use self::{
    declare::{ATTEMPTS, Declare, LIFE, QUICK, RELAY},
    labels::{
        ClaimResult, ClaimStep, ConnectionName, Ending, HttpClosed, Part, Reconciled, Success,
        Webhook, WorkosResult,
    },
    relays::Relays,
    sign_in::SignIns,
};

/// The metrics of one process, shared by everything in it.
pub struct Metrics {
    registry: Registry,
    webhooks: IntCounterVec,
    webhook_seconds: Histogram,
    http_connections: IntGauge,
    http_closed: IntCounterVec,
    untrusted_forwarded: IntCounter,
    publish_seconds: HistogramVec,
    deliveries: IntCounter,
    outcomes: IntCounterVec,
    attempts: Histogram,
    in_flight: IntGauge,
    retries: IntCounterVec,
    claims: IntCounterVec,
    dedupe_seconds: HistogramVec,
    workos_seconds: HistogramVec,
    relays: Arc<Relays>,
    queue_age_seconds: Histogram,
    delivery_seconds: Histogram,
    clock_skew: IntCounter,
    clock_offset: Gauge,
    settle_failures: IntCounter,
    dead_letters_dropped: IntCounter,
    records_dropped: IntCounter,
    queue_depth: IntGaugeVec,
    connected: IntGaugeVec,
    blocked: IntGauge,
    reconnects: IntCounterVec,
    paused: IntGauge,
    mail_limit: IntGauge,
    last_sent: IntGauge,
    reconciled: IntCounterVec,
    pub sign_in: SignIns,
}

impl Metrics {
    /// Declares all metrics, at zero. `version` goes into `authpost_build_info`.
    #[expect(
        clippy::too_many_lines,
        reason = "a table: one metric a line, and splitting it would hide one"
    )]
    pub fn new(version: &str) -> Result<Self, Misdeclared> {
        let registry = Registry::new();
        let new = Declare(&registry);
        let info =
            new.gauges("authpost_build_info", "Release of this process; always 1.", &["version"])?;
        info.with_label_values(&[version]).set(1);
        registry.register(Box::new(process::ProcessCollector::new()?))?;
        let metrics = Self {
            webhooks: new.counters(
                "authpost_webhooks_total",
                "Webhook requests by result.",
                &["result"],
            )?,
            webhook_seconds: new.histogram(
                "authpost_webhook_seconds",
                "Time from the head of a webhook request to its answer, without broken bodies.",
                QUICK,
            )?,
            http_connections: new
                .gauge("authpost_http_connections", "Open connections on the public listener.")?,
            http_closed: new.counters(
                "authpost_http_closed_total",
                "Closed connections of the public listener by reason.",
                &["reason"],
            )?,
            untrusted_forwarded: new.counter(
                "authpost_http_untrusted_forwarded_total",
                "Requests with X-Forwarded-For from outside AUTHPOST_TRUSTED_PROXIES.",
            )?,
            publish_seconds: new.histograms(
                "authpost_publish_seconds",
                "Time from publishing an event to the confirm of the broker or the fsync.",
                &["result"],
                QUICK,
            )?,
            deliveries: new.counter(
                "authpost_deliveries_total",
                "Messages taken from the queue, including retries.",
            )?,
            outcomes: new.counters(
                "authpost_outcomes_total",
                "Settled deliveries by outcome and reason; every outcome except retry is final.",
                &["outcome", "reason"],
            )?,
            attempts: new.histogram(
                "authpost_attempts",
                "Attempts that an event took until its final outcome.",
                ATTEMPTS,
            )?,
            in_flight: new.gauge("authpost_in_flight", "Deliveries being processed.")?,
            retries: new.counters(
                "authpost_retries_total",
                "Scheduled retries by the delay before them.",
                &["stage"],
            )?,
            claims: new.counters(
                "authpost_claims_total",
                "Claim store answers; late, already, unrecorded: a second mail is possible.",
                &["result"],
            )?,
            dedupe_seconds: new.histograms(
                "authpost_dedupe_seconds",
                "Duration of calls to the claim store.",
                &["step", "result"],
                QUICK,
            )?,
            workos_seconds: new.histograms(
                "authpost_workos_seconds",
                "Duration of reading a code from WorkOS, without the wait at the rate gate.",
                &["result"],
                RELAY,
            )?,
            relays: Arc::new(Relays::declare(&new)?),
            queue_age_seconds: new.histogram(
                "authpost_queue_age_seconds",
                "Time that a message waited in the queue until it was taken.",
                LIFE,
            )?,
            delivery_seconds: new.histogram(
                "authpost_delivery_seconds",
                "Time from the creation of the code at WorkOS to the relay accepting the mail.",
                LIFE,
            )?,
            clock_skew: new.counter(
                "authpost_clock_skew_total",
                "Events with a creation time in the future; their age counts as zero.",
            )?,
            clock_offset: new.number(
                "authpost_clock_offset_seconds",
                "Clock of WorkOS minus the clock of this machine, as of its last answer.",
            )?,
            settle_failures: new.counter(
                "authpost_settle_failures_total",
                "Outcomes that could not be settled; the queue delivers the message again.",
            )?,
            records_dropped: new.counter(
                "authpost_records_dropped_total",
                "Accepted events that could not be recorded before a worker took them.",
            )?,
            dead_letters_dropped: new.counter(
                "authpost_dead_letters_dropped_total",
                "Dead letters deleted, oldest first, because there were AUTHPOST_DEAD_MAX of them.",
            )?,
            queue_depth: new.gauges(
                "authpost_queue_depth",
                "Messages by queue, as last reported by the engine.",
                &["queue"],
            )?,
            connected: new.gauges(
                "authpost_engine_connected",
                "Whether a connection to the broker is up.",
                &["link"],
            )?,
            blocked: new.gauge(
                "authpost_engine_blocked",
                "Whether the broker blocks publishing (memory or disk alarm).",
            )?,
            reconnects: new.counters(
                "authpost_engine_reconnects_total",
                "Reconnects to the broker.",
                &["link"],
            )?,
            paused: new.gauge(
                "authpost_paused",
                "Whether processing is paused because the configuration is refused.",
            )?,
            mail_limit: new.gauge(
                "authpost_mail_limit_per_hour",
                "Most mails an hour by AUTHPOST_MAIL_LIMIT; 0 for any number.",
            )?,
            last_sent: new.gauge(
                "authpost_last_sent_timestamp_seconds",
                "When the relay last accepted a mail.",
            )?,
            reconciled: new.counters(
                "authpost_reconciled_total",
                "Events in the event list of WorkOS by result of the comparison.",
                &["result"],
            )?,
            sign_in: SignIns::declare(&new)?,
            registry,
        };
        metrics.create_every_series();
        Ok(metrics)
    }

    fn create_every_series(&self) {
        Webhook::ALL
            .iter()
            .for_each(|label| self.webhooks.with_label_values(&[label.label()]).reset());
        HttpClosed::ALL
            .iter()
            .for_each(|label| self.http_closed.with_label_values(&[label.label()]).reset());
        ClaimResult::ALL
            .iter()
            .for_each(|label| self.claims.with_label_values(&[label.label()]).reset());
        STAGES.iter().for_each(|stage| self.retries.with_label_values(&[stage.label()]).reset());
        Part::ALL
            .iter()
            .for_each(|part| self.queue_depth.with_label_values(&[part.label()]).set(0));
        for name in ConnectionName::ALL {
            self.connected.with_label_values(&[name.label()]).set(0);
            self.reconnects.with_label_values(&[name.label()]).reset();
        }
        for success in Success::ALL {
            drop(self.publish_seconds.with_label_values(&[success.label()]));
            ClaimStep::ALL.iter().for_each(|step| {
                drop(self.dedupe_seconds.with_label_values(&[step.label(), success.label()]));
            });
        }
        self.sign_in.create_every_series();
        Reconciled::ALL
            .iter()
            .for_each(|result| self.reconciled.with_label_values(&[result.label()]).reset());
        WorkosResult::ALL
            .iter()
            .for_each(|result| drop(self.workos_seconds.with_label_values(&[result.label()])));
        for ending in Ending::ALL {
            let plain = matches!(ending, Ending::Sent | Ending::Duplicate);
            let reasons = Reason::ALL.iter().filter(|reason| !plain || **reason == Reason::None);
            reasons.for_each(|reason| {
                self.outcomes.with_label_values(&[ending.label(), reason.label()]).reset();
            });
        }
    }

    /// The metrics as text (<https://prometheus.io/docs/instrumenting/exposition_formats/>, text
    /// format 0.0.4).
    pub fn expose(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
