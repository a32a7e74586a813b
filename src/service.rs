//! A running process: listeners bound, roles started, health and metrics served, one stop for all.

use std::{
    net::SocketAddr,
    process::ExitCode,
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::Context as _;
use domain::{clock::Clock, queue::Inspect};
use ingress::{Ingress, sign_in};
use runtime::{
    health::{self, Health},
    http::{self, HangUps, Limits},
    metrics::Metrics,
    tasks::Tasks,
};
use tokio::{net::TcpListener, time::interval};
use tokio_util::sync::CancellationToken;
use worker::Worker;

use crate::{
    config::settings::{IngressSettings, Settings, WorkerSettings},
    deps::Deps,
    descriptors,
    engines::{self, Access, OpenEngine, WorkerPorts},
    reload::{self, Mails, Reload, Reread, Signals},
    wiring,
};

/// How often the depths of the queues are read.
const DEPTHS: Duration = Duration::from_secs(5);

/// A process that has bound and started everything.
pub struct Service {
    /// Address of the public listener, if there is an ingress.
    pub public: Option<SocketAddr>,
    /// Address of the private listener.
    pub admin: SocketAddr,
    pub metrics: Arc<Metrics>,
    tasks: Tasks,
    reload: Reload,
    stop: CancellationToken,
    grace: Duration,
}

impl Service {
    /// Reads secrets and templates again at each SIGHUP.
    #[must_use]
    pub fn reloading(mut self, signals: Signals, reread: Reread) -> Self {
        let reload = std::mem::take(&mut self.reload);
        self.tasks.spawn("reload", reload::run(signals, reread, reload, self.stop.clone()));
        self
    }

    /// Waits for a signal, the stop, or a task that ends by itself; then ends within the grace
    /// period.
    pub async fn run(self) -> ExitCode {
        self.tasks.run_until_stopped(self.grace).await
    }
}

/// The roles of a process that is being started.
struct Starting<'a> {
    settings: &'a Settings,
    engine: Box<dyn OpenEngine>,
    deps: Deps,
    tasks: Tasks,
    health: Health,
    /// What a SIGHUP may replace in this process.
    reload: Reload,
    /// The finished `health`, for the public listener.
    finished: Arc<OnceLock<Arc<Health>>>,
}

/// Starts the roles of one process.
#[expect(
    clippy::unused_async,
    reason = "sockets and tasks need a runtime around them, and a future is where there is one"
)]
pub async fn start(
    settings: &Settings,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) -> anyhow::Result<Service> {
    let deps = Deps::new(clock, settings.process.trust.clone(), stop.clone())?;
    let engine = engines::open(&settings.engine, Access::Service, &deps)?;
    let admin_listener = bind(settings.process.admin_listen, "AUTHPOST_ADMIN_LISTEN")?;
    let admin = admin_listener.local_addr()?;
    let metrics = Arc::clone(&deps.metrics);
    let tasks = Tasks::new(deps.stop.clone());
    let (health, finished) = (Health::default(), Arc::default());
    let reload = Reload::default();
    let mut starting = Starting { settings, engine, deps, tasks, health, reload, finished };
    let public = settings.roles.ingress().map(|ingress| starting.ingress(ingress)).transpose()?;
    if let Some(worker) = settings.roles.worker() {
        starting.worker(worker)?;
    }
    let (tasks, reload) = starting.admin(admin_listener);
    let grace = settings.process.grace;
    Ok(Service { public, admin, metrics, tasks, reload, stop, grace })
}

fn bind(address: SocketAddr, variable: &str) -> anyhow::Result<TcpListener> {
    http::listen(address).with_context(|| format!("{variable}: cannot listen on {address}"))
}

impl Starting<'_> {
    fn ingress(&mut self, settings: &IngressSettings) -> anyhow::Result<SocketAddr> {
        let tasks_beside =
            self.settings.roles.worker().map_or(0, |worker| usize::from(worker.concurrency));
        let calls = settings.sign_in.as_ref().map_or(0, |_| sign_in::MOST_CALLS);
        let connections = descriptors::connections(settings.max_connections, tasks_beside, calls);
        // A call to WorkOS ends with the browser that caused it. A webhook is stored all the same.
        let hang_ups = match settings.sign_in {
            Some(_) => HangUps::EndTheHandler,
            None => HangUps::AreIgnored,
        };
        let limits = Limits {
            connections,
            keep_alive: settings.keep_alive,
            proxies: settings.proxies.networks().to_vec(),
            drain: self.settings.process.grace,
            hang_ups,
        };
        let listener = bind(settings.listen, "AUTHPOST_LISTEN")?;
        let address = listener.local_addr()?;
        let (publish, queue) = (self.engine.publish(), self.engine.publish());
        self.health.check("queue", move || std::future::ready(queue.ready()));
        let ingress = Ingress::new(
            publish,
            settings.keys.clone(),
            Arc::clone(&self.deps.clock),
            Arc::clone(&self.deps.metrics),
            settings.proxies.clone(),
        )
        .with_health(Arc::clone(&self.finished));
        let ingress = self.with_sign_in(ingress, settings, address);
        self.reload.webhook_keys = Some(settings.keys.clone());
        self.reload.api_key = settings.sign_in.as_ref().map(|sign_in| sign_in.api.key.clone());
        let heartbeat = self.health.heartbeat("ingress");
        self.tasks.spawn(
            "ingress",
            ingress::run(listener, Arc::new(ingress), limits, heartbeat, self.deps.stop.clone()),
        );
        tracing::info!(%address, "accepting webhooks at /v1/workos_webhook/");
        Ok(address)
    }

    fn with_sign_in(
        &self,
        ingress: Ingress,
        settings: &IngressSettings,
        address: SocketAddr,
    ) -> Ingress {
        let Some(sign_in) = &settings.sign_in else { return ingress };
        let mut sign_in = sign_in.clone();
        if sign_in.page && address.ip().is_loopback() {
            sign_in.config.origins = sign_in.config.origins.with_loopback(address.port());
        }
        tracing::info!(
            client_id = sign_in.config.client_id,
            enabled = sign_in.config.enabled,
            "serving sign-in"
        );
        ingress
            .with_sign_in(wiring::sign_in(&sign_in, self.engine.as_ref(), &self.deps), sign_in.page)
    }

    fn worker(&mut self, settings: &WorkerSettings) -> anyhow::Result<()> {
        let WorkerPorts { consume, inspect, claims } = self.engine.worker(settings);
        let seen = self.engine.languages();
        let clock = wiring::workos_clock(&self.deps);
        let heartbeat = self.health.heartbeat("worker");
        let worker = wiring::worker(settings, (claims, seen), &clock, heartbeat, &self.deps)?;
        let stop = self.deps.stop.clone();
        if settings.reconcile {
            let reconciler =
                wiring::reconciler(&settings.api, self.engine.as_ref(), clock, &self.deps);
            self.tasks.spawn("reconcile", reconciler.run(stop.clone()));
        }
        self.check_worker(&worker, Arc::clone(&inspect));
        self.reload.api_key = Some(settings.api.key.clone());
        self.reload.mails = Some(Mails {
            mailer: worker.mailer.clone(),
            templates: worker.templates.clone(),
            breaker: Arc::clone(&worker.breaker),
            deps: self.deps.clone(),
        });
        tracing::info!(concurrency = worker.config.concurrency, "mailing codes");
        self.tasks.spawn("worker", worker::run(Arc::new(worker), consume));
        self.tasks.spawn("depths", watch_depths(inspect, Arc::clone(&self.deps.metrics), stop));
        Ok(())
    }

    fn check_worker(&mut self, worker: &Worker, inspect: Arc<dyn Inspect>) {
        let (claims, mailer, breaker) =
            (Arc::clone(&worker.claims), worker.mailer.clone(), Arc::clone(&worker.breaker));
        self.health.check("consumer", move || std::future::ready(inspect.ready()));
        self.health.check("dedupe", move || {
            let claims = Arc::clone(&claims);
            async move { claims.ready().await }
        });
        self.health.check("relay", move || {
            let mailer = mailer.get();
            async move { mailer.ready().await }
        });
        self.health.check("credentials", move || std::future::ready(breaker.ready()));
    }

    /// Starts the private listener. It outlives the roles: readiness must be seen red, and the last
    /// counts be scraped.
    fn admin(mut self, listener: TcpListener) -> (Tasks, Reload) {
        let health = Arc::new(self.health);
        self.finished.get_or_init(|| Arc::clone(&health));
        let roles_ended = self.tasks.all_ended();
        let closed = CancellationToken::new();
        let serving = health::serve(
            listener,
            Arc::clone(&health),
            Arc::clone(&self.deps.metrics),
            self.settings.process.admin_hosts.clone(),
            closed.clone(),
        );
        self.tasks.spawn("admin", serving);
        let stop = self.deps.stop.clone();
        self.tasks.spawn("readiness", async move {
            stop.cancelled().await;
            health.stopping();
            roles_ended.await;
            closed.cancel();
        });
        (self.tasks, self.reload)
    }
}

/// Keeps the depth metrics current. After a failed read the last values stay;
/// `authpost_engine_connected` shows why.
async fn watch_depths(inspect: Arc<dyn Inspect>, metrics: Arc<Metrics>, stop: CancellationToken) {
    let mut ticks = interval(DEPTHS);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        if let Ok(depths) = inspect.depths().await {
            metrics.depths(depths);
        }
    }
}
