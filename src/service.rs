//! A running process: listeners bound, roles started, health and metrics served, one stop for all.

use std::{net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use ingress::Front;
use shared::{
    clock::Clock,
    health::{self, Health},
    http::{self, Limits},
    metrics::Metrics,
    queue::Inspect,
    retry::system_chance,
    tasks::Tasks,
};
use tokio::{net::TcpListener, time::interval};
use tokio_util::sync::CancellationToken;
use worker::Back;

use crate::{
    VERSION,
    config::settings::{Distributed, Engine, Ingress, Process, Worker},
    descriptors,
    wiring::{self, BackEnd, FrontEnd, Surroundings},
};

/// How often the queue's depths are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// A process that has bound and started everything.
pub struct Service {
    /// The public listener, if there is a front.
    pub public: Option<SocketAddr>,
    /// The private listener.
    pub admin: SocketAddr,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    tasks: Tasks,
    grace: Duration,
}

impl Service {
    /// Waits for a signal, the stop, or a task that ends unasked; then ends within the grace period.
    pub async fn run(self) -> ExitCode {
        self.tasks.run_until_stopped(self.grace).await
    }
}

/// Both roles in one process.
pub async fn serve(
    (ingress, worker, engine, process): (Ingress, Worker, Engine, Process),
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) -> anyhow::Result<Service> {
    let around = surroundings(clock, stop)?;
    let (front_end, back_end) = wiring::engine(&engine, &worker, &process, &around)?;
    start(Some((&ingress, front_end)), Some((&worker, back_end)), &process, &around).await
}

/// The front alone.
pub async fn ingress(
    (ingress, engine, process): (Ingress, Distributed, Process),
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) -> anyhow::Result<Service> {
    let around = surroundings(clock, stop)?;
    let front_end = wiring::distributed_front(&engine, &process, &around)?;
    start(Some((&ingress, front_end)), None, &process, &around).await
}

/// The back alone.
pub async fn worker(
    (worker, engine, process): (Worker, Distributed, Process),
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) -> anyhow::Result<Service> {
    let around = surroundings(clock, stop)?;
    let publisher = wiring::publisher(&engine, process.extra_ca.as_deref(), &around)?;
    let back_end = wiring::distributed_back(
        &engine,
        publisher,
        wiring::redis_link(&engine, process.extra_ca.as_deref())?,
        &worker,
        &process,
        &around,
    )?;
    start(None, Some((&worker, back_end)), &process, &around).await
}

/// A clock, chance, metrics and a stop.
pub fn surroundings(clock: Arc<dyn Clock>, stop: CancellationToken) -> anyhow::Result<Surroundings> {
    Ok(Surroundings { clock, chance: system_chance(), metrics: Arc::new(Metrics::new(VERSION)?), stop })
}

#[expect(clippy::unused_async, reason = "sockets and tasks need a runtime around them, and a future is where there is one")]
async fn start(
    front: Option<(&Ingress, FrontEnd)>,
    back: Option<(&Worker, BackEnd)>,
    process: &Process,
    around: &Surroundings,
) -> anyhow::Result<Service> {
    let mut tasks = Tasks::new(around.stop.clone());
    let mut health = Health::default();
    let admin_listener = bind(process.admin_listen, "AUTHPOST_ADMIN_LISTEN")?;
    let admin = admin_listener.local_addr()?;
    let public = match front {
        Some((settings, front_end)) => {
            let tasks_beside = back.as_ref().map_or(0, |(worker, _)| usize::from(worker.concurrency));
            let connections = descriptors::connections(settings.max_connections, tasks_beside);
            let limits = Limits { connections, drain: process.grace };
            Some(start_front((settings, front_end), limits, process, around, &mut health, &mut tasks)?)
        }
        None => None,
    };
    if let Some((settings, back_end)) = back {
        let back = wiring::back(settings, Arc::clone(&back_end.dedupe), process, around, health.heartbeat("worker"))?;
        if settings.reconcile {
            let (clock, metrics) = (Arc::clone(&back.clock), Arc::clone(&around.metrics));
            let reconciler = wiring::reconciler(&settings.workos, back_end.inner.clone(), process.extra_ca.as_deref(), clock, metrics)?;
            tasks.spawn("reconcile", reconciler.run(around.stop.clone()));
        }
        start_back(back, back_end, around, &mut health, &mut tasks);
    }
    let health = Arc::new(health);
    // The private listener outlives the roles: readiness must be seen red, and the last counts be scraped.
    let roles_ended = tasks.all_ended();
    let closed = CancellationToken::new();
    tasks.spawn("admin", health::serve(admin_listener, Arc::clone(&health), Arc::clone(&around.metrics), closed.clone()));
    let stop = around.stop.clone();
    tasks.spawn("readiness", async move {
        stop.cancelled().await;
        health.stopping();
        roles_ended.await;
        closed.cancel();
    });
    Ok(Service { public, admin, metrics: Arc::clone(&around.metrics), tasks, grace: process.grace })
}

fn bind(address: SocketAddr, variable: &str) -> anyhow::Result<TcpListener> {
    http::listen(address).with_context(|| format!("{variable}: {address} cannot be listened on"))
}

fn start_front(
    (settings, front_end): (&Ingress, FrontEnd),
    limits: Limits,
    process: &Process,
    around: &Surroundings,
    health: &mut Health,
    tasks: &mut Tasks,
) -> anyhow::Result<SocketAddr> {
    let listener = bind(settings.listen, "AUTHPOST_LISTEN")?;
    let address = listener.local_addr()?;
    let FrontEnd { publish, once } = front_end;
    let queue = Arc::clone(&publish);
    health.check("queue", move || {
        let ready = queue.ready();
        async move { ready }
    });
    let front = Front::new(publish, settings.keys.clone(), Arc::clone(&around.clock), Arc::clone(&around.metrics));
    let front = match &settings.sign_in {
        None => front,
        Some(sign_in) => {
            let mut sign_in = sign_in.clone();
            if sign_in.page && address.ip().is_loopback() {
                sign_in.rules.origins = sign_in.rules.origins.and_here(address.port());
            }
            let half = wiring::sign_in(&sign_in, once, process, around)?;
            tracing::info!(client_id = sign_in.rules.client_id, enabled = sign_in.rules.enabled, "people can sign in");
            front.with_sign_in(half, sign_in.page)
        }
    };
    let heartbeat = health.heartbeat("ingress");
    tasks.spawn("ingress", ingress::run(listener, Arc::new(front), limits, heartbeat, around.stop.clone()));
    tracing::info!(%address, "webhooks are taken at /v1/workos_webhook/");
    Ok(address)
}

fn start_back(back: Back, back_end: BackEnd, around: &Surroundings, health: &mut Health, tasks: &mut Tasks) {
    let BackEnd { consume, inspect, dedupe, inner: _ } = back_end;
    let (queue, mailer, pause) = (Arc::clone(&inspect), Arc::clone(&back.mailer), Arc::clone(&back.pause));
    health.check("consumer", move || {
        let ready = queue.ready();
        async move { ready }
    });
    health.check("dedupe", move || {
        let dedupe = Arc::clone(&dedupe);
        async move { dedupe.ready().await }
    });
    health.check("relay", move || {
        let mailer = Arc::clone(&mailer);
        async move { mailer.ready().await }
    });
    health.check("credentials", move || {
        let ready = pause.ready();
        async move { ready }
    });
    tracing::info!(concurrency = back.manner.concurrency, "events are mailed");
    tasks.spawn("worker", worker::run(Arc::new(back), consume));
    tasks.spawn("depths", look_at_depths(inspect, Arc::clone(&around.metrics), around.stop.clone()));
}

/// Keeps the depth metrics current. A look that fails leaves the last one standing; `authpost_engine_connected` says why.
async fn look_at_depths(inspect: Arc<dyn Inspect>, metrics: Arc<Metrics>, stop: CancellationToken) {
    let mut due = interval(LOOK);
    loop {
        tokio::select! {
            _ = due.tick() => {}
            () = stop.cancelled() => return,
        }
        if let Ok(depths) = inspect.depths().await {
            metrics.depths(depths);
        }
    }
}
