//! Is this process alive, and should it get work? Two questions, two endpoints, and the metrics, on one private
//! listener.
//!
//! `/livez` fails when a role's loop has stopped turning, which only a restart can mend. `/readyz` fails while a
//! dependency is away or the process is stopping, which a restart would not mend.

use std::{
    borrow::Cow,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use hyper::{Method, Request, StatusCode, body::Incoming};
use tokio::{net::TcpListener, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    http::{self, Answer, Limits},
    metrics::Metrics,
};

/// A role that has not turned for this long is stuck: twice the longest step any of its tasks can take.
const STUCK: Duration = Duration::from_secs(180);

/// Longest wait for one readiness check.
const CHECK: Duration = Duration::from_secs(3);

/// The pulse of one role's loop.
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

    /// Says that the loop turned.
    pub fn beat(&self) {
        let ms = u64::try_from(self.0.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.last_ms.store(ms, Ordering::Relaxed);
    }

    fn silent_for(&self) -> Duration {
        self.0.born.elapsed().saturating_sub(Duration::from_millis(self.0.last_ms.load(Ordering::Relaxed)))
    }
}

type Checked = Pin<Box<dyn Future<Output = Result<(), Cow<'static, str>>> + Send>>;
type Check = Box<dyn Fn() -> Checked + Send + Sync>;

/// What the two endpoints ask.
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

    /// Turns `/readyz` red for good.
    pub fn stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// The roles whose loops have stopped turning.
    pub fn stuck(&self) -> Vec<&'static str> {
        self.pulses.iter().filter(|(_, pulse)| pulse.silent_for() > STUCK).map(|(role, _)| *role).collect()
    }

    /// What is not ready, each with its reason.
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

/// Serves `/metrics`, `/livez` and `/readyz` until `stop`.
pub async fn serve(listener: TcpListener, health: Arc<Health>, metrics: Arc<Metrics>, stop: CancellationToken) {
    let limits = Limits { connections: 64, drain: Duration::from_secs(1) };
    let answer = move |request: Request<Incoming>| {
        let (health, metrics) = (Arc::clone(&health), Arc::clone(&metrics));
        async move { respond(&request, &health, &metrics).await }
    };
    http::serve(listener, limits, stop, Arc::new(|_| {}), answer).await;
}

async fn respond(request: &Request<Incoming>, health: &Health, metrics: &Metrics) -> Answer {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return http::problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Only GET.");
    }
    match request.uri().path() {
        "/metrics" => http::answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", metrics.expose()),
        "/livez" => match health.stuck() {
            stuck if stuck.is_empty() => http::json(StatusCode::OK, &serde_json::json!({ "status": "alive" })),
            stuck => http::json(StatusCode::SERVICE_UNAVAILABLE, &serde_json::json!({ "status": "stuck", "roles": stuck })),
        },
        "/readyz" => match health.not_ready().await {
            problems if problems.is_empty() => http::json(StatusCode::OK, &serde_json::json!({ "status": "ready" })),
            problems => {
                let problems: serde_json::Map<_, _> =
                    problems.into_iter().map(|(name, why)| (name.to_owned(), why.into_owned().into())).collect();
                http::json(StatusCode::SERVICE_UNAVAILABLE, &serde_json::json!({ "status": "not_ready", "not_ready": problems }))
            }
        },
        _ => http::problem(StatusCode::NOT_FOUND, "not_found", "There are /metrics, /livez and /readyz here."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_role_that_stops_turning_is_named() {
        let mut health = Health::default();
        let (ingress, worker) = (health.heartbeat("ingress"), health.heartbeat("worker"));
        tokio::time::advance(STUCK).await;
        ingress.beat();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(health.stuck(), ["worker"]);
        worker.beat();
        assert!(health.stuck().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_ready_is_named_and_a_hanging_check_counts() {
        let mut health = Health::default();
        health.check("queue", || async { Ok(()) });
        health.check("relay", || async { Err(Cow::Borrowed("refused")) });
        health.check("dedupe", std::future::pending);
        assert_eq!(health.not_ready().await, [("relay", Cow::Borrowed("refused")), ("dedupe", Cow::Borrowed("no answer in time"))]);
        health.stopping();
        assert_eq!(health.not_ready().await[0].0, "process");
    }
}
