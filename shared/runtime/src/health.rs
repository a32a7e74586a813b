//! Liveness, readiness and metrics, on one private listener.
//!
//! `/livez` fails when a role's loop is stuck, which only a restart can fix. `/readyz` fails while
//! a dependency is unavailable or the process is stopping, which a restart would not fix.

mod host;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use hyper::{Method, StatusCode};
use serde_json::json;
use tokio::{net::TcpListener, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    http::{self, Answer, Limits, Received},
    metrics::Metrics,
};

/// A role whose loop has not completed a round for this long is stuck: twice the longest step any
/// of its tasks can take.
const STUCK: Duration = Duration::from_secs(180);

/// Connections to the private listener. A quarter of them is for those who ask at once, such as
/// probes: they take the places of connections on which nothing is asked.
const CONNECTIONS: usize = 64;

/// Longest wait for one readiness check.
const CHECK: Duration = Duration::from_secs(3);

/// Records that one role's loop is running.
#[derive(Clone)]
pub struct Heartbeat(Arc<Pulse>);

struct Pulse {
    born: Instant,
    last_ms: AtomicU64,
}

impl Heartbeat {
    fn new() -> Self {
        Self(Arc::new(Pulse { born: Instant::now(), last_ms: AtomicU64::new(0) }))
    }

    /// Records that the loop completed a round.
    pub fn beat(&self) {
        let ms = u64::try_from(self.0.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.last_ms.store(ms, Ordering::Relaxed);
    }

    fn silent_for(&self) -> Duration {
        self.0
            .born
            .elapsed()
            .saturating_sub(Duration::from_millis(self.0.last_ms.load(Ordering::Relaxed)))
    }
}

type Checked = Pin<Box<dyn Future<Output = Result<(), Cow<'static, str>>> + Send>>;
type Check = Box<dyn Fn() -> Checked + Send + Sync>;

/// The checks behind the two endpoints.
#[derive(Default)]
pub struct Health {
    checks: Vec<(&'static str, Check)>,
    pulses: Vec<(&'static str, Heartbeat)>,
    stopping: AtomicBool,
}

impl Health {
    /// Adds a dependency to `/readyz`. The check has three seconds.
    pub fn check<F, R>(&mut self, name: &'static str, check: F)
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), Cow<'static, str>>> + Send + 'static,
    {
        self.checks.push((name, Box::new(move || Box::pin(check()))));
    }

    /// Adds a role to `/livez`.
    pub fn heartbeat(&mut self, role: &'static str) -> Heartbeat {
        let pulse = Heartbeat::new();
        self.pulses.push((role, pulse.clone()));
        pulse
    }

    /// Makes `/readyz` fail from now on: the process is stopping.
    pub fn stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether the process is not stopping, and no loop is stuck.
    pub fn is_well(&self) -> bool {
        !self.stopping.load(Ordering::Relaxed) && self.stuck().is_empty()
    }

    /// The roles whose loops are stuck.
    pub fn stuck(&self) -> Vec<&'static str> {
        self.pulses
            .iter()
            .filter(|(_, pulse)| pulse.silent_for() > STUCK)
            .map(|(role, _)| *role)
            .collect()
    }

    /// The dependencies that are not ready, each with its reason.
    pub async fn not_ready(&self) -> Vec<(&'static str, Cow<'static, str>)> {
        let mut problems = Vec::new();
        if self.stopping.load(Ordering::Relaxed) {
            problems.push(("process", Cow::Borrowed("stopping")));
        }
        for (name, check) in &self.checks {
            let checked = tokio::time::timeout(CHECK, check()).await;
            if let Err(problem) = checked.unwrap_or(Err(Cow::Borrowed("no answer in time"))) {
                problems.push((name, problem));
            }
        }
        problems
    }
}

/// Serves `/metrics`, `/livez` and `/readyz` until `stop`, also under the names in `hosts`.
pub async fn serve(
    listener: TcpListener,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    hosts: Vec<String>,
    stop: CancellationToken,
) {
    let limits = Limits::new(CONNECTIONS, Duration::from_secs(1));
    let hosts: Arc<[String]> = hosts.into();
    let answer = move |request: Received| {
        let (health, metrics, hosts) =
            (Arc::clone(&health), Arc::clone(&metrics), Arc::clone(&hosts));
        async move {
            match host::refusal(&request, &hosts) {
                None => respond(&request, &health, &metrics).await,
                Some(refusal) => refusal,
            }
        }
    };
    http::serve(listener, limits, stop, Arc::new(|_| {}), answer).await;
}

/// The media type of Prometheus's text format.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

const PATHS: &str = "There are /metrics, /livez and /readyz here.";

async fn respond(request: &Received, health: &Health, metrics: &Metrics) -> Answer {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return http::problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Only GET.");
    }
    match request.uri().path() {
        "/metrics" => http::answer(StatusCode::OK, EXPOSITION, metrics.expose()),
        "/livez" => match health.stuck() {
            stuck if stuck.is_empty() => http::json(StatusCode::OK, &json!({ "status": "alive" })),
            stuck => {
                let body = json!({ "status": "stuck", "roles": stuck });
                http::json(StatusCode::SERVICE_UNAVAILABLE, &body)
            }
        },
        "/readyz" => match health.not_ready().await {
            problems if problems.is_empty() => {
                http::json(StatusCode::OK, &json!({ "status": "ready" }))
            }
            problems => {
                let problems: BTreeMap<_, _> = problems.into_iter().collect();
                let body = json!({ "status": "not_ready", "not_ready": problems });
                http::json(StatusCode::SERVICE_UNAVAILABLE, &body)
            }
        },
        _ => http::problem(StatusCode::NOT_FOUND, "not_found", PATHS),
    }
}

#[cfg(test)]
mod tests;
