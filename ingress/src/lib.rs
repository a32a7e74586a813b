//! Authpost's front: what the public internet talks to.
//!
//! A webhook's whole path is [`webhook::accept`]: read, verify, publish, answer. This crate can publish and nothing
//! else: it has no way to consume, to fetch a code or to send a mail.

mod page;
pub mod routes;
pub mod sign_in;
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

use self::sign_in::SignInFront;

pub use self::webhook::PROBE;

/// How often the accept loop's task shows that the runtime still turns.
const PULSE: Duration = Duration::from_secs(5);

/// All that the front uses.
pub struct Front {
    publish: Arc<dyn Publish>,
    keys: WebhookKeys,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    bodies: Bodies,
    sign_in: Option<Arc<SignInFront>>,
    login_page: bool,
    refusals: Seldom,
    outages: Seldom,
}

impl Front {
    /// A front for deliveries signed with one of `keys`.
    pub fn new(publish: Arc<dyn Publish>, keys: WebhookKeys, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Self {
        let (refusals, outages) = (Seldom::default(), Seldom::default());
        Self { publish, keys, clock, metrics, bodies: webhook::bodies(), sign_in: None, login_page: false, refusals, outages }
    }

    /// The same with the sign-in half, and with the login page if `page`.
    #[must_use]
    pub fn with_sign_in(self, sign_in: SignInFront, page: bool) -> Self {
        Self { sign_in: Some(Arc::new(sign_in)), login_page: page, ..self }
    }
}

/// Serves on `listener` until `stop`, then finishes open requests.
pub async fn run(listener: TcpListener, front: Arc<Front>, limits: Limits, heartbeat: Heartbeat, stop: CancellationToken) {
    let metrics = Arc::clone(&front.metrics);
    let on_connection = Arc::new(move |opened| metrics.http_connection(opened));
    let sign_in = front.sign_in.clone();
    let handler = move |request| routes::route(Arc::clone(&front), request);
    let serving = http::serve(listener, limits, stop, on_connection, handler);
    let beating = async {
        let mut pulse = interval(PULSE);
        loop {
            pulse.tick().await;
            heartbeat.beat();
            sign_in.iter().for_each(|sign_in| sign_in.tidy());
        }
    };
    tokio::select! {
        () = serving => {}
        () = beating => {}
    }
}
