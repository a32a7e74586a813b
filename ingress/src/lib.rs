//! Authpost's front: what the public internet talks to.
//!
//! A webhook's whole path is [`webhook::accept`]: read, verify, publish, answer. This crate can publish and nothing
//! else: it has no way to consume, to fetch a code or to send a mail.

mod routes;
mod webhook;

use std::{sync::Arc, time::Duration};

use shared::{
    clock::Clock,
    health::Heartbeat,
    http::{self, Bodies, Limits},
    metrics::Metrics,
    queue::Publish,
    telemetry::Seldom,
    webhook::WebhookKeys,
};
use tokio::{net::TcpListener, time::interval};
use tokio_util::sync::CancellationToken;

/// How often the accept loop's task shows that the runtime still turns.
const PULSE: Duration = Duration::from_secs(5);

/// All that the front uses.
pub struct Front {
    publish: Arc<dyn Publish>,
    keys: WebhookKeys,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    bodies: Bodies,
    refusals: Seldom,
    outages: Seldom,
}

impl Front {
    /// A front for deliveries signed with one of `keys`.
    pub fn new(publish: Arc<dyn Publish>, keys: WebhookKeys, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Self {
        Self { publish, keys, clock, metrics, bodies: webhook::bodies(), refusals: Seldom::default(), outages: Seldom::default() }
    }
}

/// Serves on `listener` until `stop`, then finishes open requests.
pub async fn run(listener: TcpListener, front: Arc<Front>, limits: Limits, heartbeat: Heartbeat, stop: CancellationToken) {
    let metrics = Arc::clone(&front.metrics);
    let on_connection = Arc::new(move |opened| metrics.http_connection(opened));
    let handler = move |request| routes::route(Arc::clone(&front), request);
    let serving = http::serve(listener, limits, stop, on_connection, handler);
    let beating = async {
        let mut pulse = interval(PULSE);
        loop {
            pulse.tick().await;
            heartbeat.beat();
        }
    };
    tokio::select! {
        () = serving => {}
        () = beating => {}
    }
}
