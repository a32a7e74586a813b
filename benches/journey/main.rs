//! How fast, next to what the broker and the relay themselves can do in the same run on the same
//! machine.
//!
//! Run it with `./scripts/bench`. Everything is real: the release binary as child processes, a
//! private RabbitMQ and Redis, TCP in between. The WorkOS stand-in and the SMTP sink live in this
//! process and answer at once, and so take their share of the same cores. One figure a line, and
//! next to it what it should reach.

mod claims;
mod growth;
#[path = "../../tests/it/harness/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests use more of it")]
mod harness;
mod instructions;
mod language;
mod limits;
mod load;
mod peers;
mod report;

use std::sync::Arc;

use domain::clock::Clock as _;
use harness::{
    app::{free_port, fresh_prefix},
    collector::Collector,
    program::Program,
    services::Services,
    strangers::{Strangers, Way},
};
use nix::sys::signal::Signal;
use report::{Report, Shares, Usage};
use runtime::clock::SystemClock;
use sandbox::{
    inbox::{Inbox, InboxConfig},
    workos::{MagicAuth, StandIn},
};
use secrecy::SecretString;
use tokio::time::Instant;

/// Events of the throughput runs.
const EVENTS: usize = 20_000;
/// Keep-alive connections to the ingress.
const CONNECTIONS: usize = 64;
/// Events a second of the latency run, and how many seconds.
const PACE: (u32, u32) = (100, 20);

/// Slow senders of the siege.
const STRANGERS: usize = 2000;

/// Connections from one address, as many as an ingress serves by default, and how they are held.
const HELD: usize = 4096;
const WAYS: [Way; 4] = [Way::Silent, Way::Unread, Way::Trickle, Way::SlowBody];

/// Seconds of deliveries beside each of them.
const BESIDE: u32 = 10;

/// The stand-ins for WorkOS and the relay.
pub struct World {
    workos: StandIn,
    inbox: Inbox,
    folder: tempfile::TempDir,
}

impl World {
    async fn new(only_counts: bool) -> Self {
        let clock = Arc::new(SystemClock);
        let config = InboxConfig { only_counts, ..InboxConfig::default() };
        Self {
            workos: StandIn::start(
                free_port().await,
                SecretString::from(harness::app::API_KEY.to_owned()),
                clock.clone(),
            )
            .expect("starts"),
            inbox: Inbox::start(free_port().await, config, clock).expect("starts"),
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    fn env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("WORKOS_WEBHOOK_SECRET", harness::app::SECRET.to_owned()),
            ("WORKOS_API_KEY", harness::app::API_KEY.to_owned()),
            ("WORKOS_API_URL", self.workos.url()),
            ("AUTHPOST_WORKOS_RATE", "0".to_owned()),
            ("SMTP_URL", format!("smtp://{}?tls=none", self.inbox.address())),
            ("MAIL_FROM", "Acme <login@acme.example>".to_owned()),
            ("AUTHPOST_DATA_DIR", self.folder.path().join("data").display().to_string()),
            ("RUST_LOG", "warn".to_owned()),
        ]
    }

    fn on_brokers(&self, services: &Services, prefix: &str) -> Vec<(&'static str, String)> {
        let mut env = self.env();
        env.push(("AMQP_URL", services.amqp_url().to_owned()));
        env.push(("REDIS_URL", services.redis_url().to_owned()));
        env.push(("AUTHPOST_QUEUE_PREFIX", prefix.to_owned()));
        env
    }

    fn codes(&self, count: usize) -> Vec<MagicAuth> {
        // Of a user each: one user's are limited.
        let user = || format!("{}@example.com", runtime::random::ulid(SystemClock.now()));
        (0..count).map(|_| self.workos.make_code(&user())).collect()
    }

    fn log(&self) -> std::path::PathBuf {
        self.folder.path().join("log")
    }
}

fn main() {
    runtime::tls::install_provider();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let asked_for = |what: &str| std::env::args().any(|argument| argument == what);
    let profiles = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/profiles");
    if asked_for("--instructions") {
        let roles: Vec<_> =
            instructions::ROLES.into_iter().filter(|role| asked_for(role)).collect();
        runtime.block_on(instructions::measure(&profiles, &roles));
    } else if asked_for("--stacks") {
        runtime.block_on(instructions::sample(&profiles));
    } else if asked_for("--peers") {
        runtime.block_on(peers::measure(asked_for));
    } else if asked_for("held") {
        let services = Services::private(&["rabbitmq", "redis"]);
        let mut report = Report::default();
        runtime.block_on(hold(&mut report, &services));
        report.print_held();
    } else if asked_for("claims") {
        let services = Services::private(&["redis"]);
        runtime.block_on(claims::measure(&services));
    } else if asked_for("language") {
        runtime.block_on(language::measure());
    } else if asked_for("growth") {
        runtime.block_on(growth::measure());
    } else {
        runtime.block_on(measure()).print();
    }
}

async fn measure() -> Report {
    let mut report = Report::default();
    let services = Services::private(&["rabbitmq", "redis"]);
    report.broker = limits::broker(services.amqp_url(), EVENTS, 256).await;
    report.broker_at_64 = limits::broker(services.amqp_url(), EVENTS, CONNECTIONS).await;
    report.relay = limits::relay(EVENTS).await;
    distributed(&mut report, &services).await;
    embedded(&mut report).await;
    traced(&mut report).await;
    paced(&mut report, &services).await;
    besieged(&mut report, &services).await;
    hold(&mut report, &services).await;
    report
}

async fn hold(report: &mut Report, services: &Services) {
    for way in WAYS {
        report.held.push(held(services, way).await);
    }
}

/// (b), (d), (g), (h), (k): the ingress fills the queue, then the worker empties it.
async fn distributed(report: &mut Report, services: &Services) {
    let world = World::new(true).await;
    let prefix = fresh_prefix();
    let env = world.on_brokers(services, &prefix);
    let codes = world.codes(EVENTS);
    let redis_before = redis_memory(services).await;
    let ingress = Program::start("ingress", &env, &world.log()).await;
    let (before, around) = (Usage::of(ingress.pid()), Shares::now(&services.pids));
    report.ingress = load::post_all(ingress.public.expect("an ingress"), &codes, CONNECTIONS).await;
    report.ingress_usage = Usage::of(ingress.pid()).since(&before, EVENTS);
    report.ingress_around = Shares::now(&services.pids).since(&around, EVENTS);
    ingress.signal(Signal::SIGTERM);
    ingress.ended().await;

    let worker = Program::start("worker", &env, &world.log()).await;
    let (before, around) = (Usage::of(worker.pid()), Shares::now(&services.pids));
    let (first, already) = (Instant::now(), world.inbox.count());
    world.inbox.reached(EVENTS as u64).await;
    report.worker = load::rate(EVENTS - usize::try_from(already).expect("small"), first.elapsed());
    let settled =
        async || (worker.exposition().await.outcomes("sent") >= EVENTS as u64).then_some(());
    harness::eventually("all are settled", settled).await;
    report.redis_kept = load::share(redis_memory(services).await - redis_before, EVENTS);
    report.worker_usage = Usage::of(worker.pid()).since(&before, EVENTS);
    report.worker_around = Shares::now(&services.pids).since(&around, EVENTS);
    worker.signal(Signal::SIGTERM);
    worker.ended().await;
    harness::queues::delete_queues(services.amqp_url(), &prefix).await;
}

/// What Redis holds in memory, in bytes.
async fn redis_memory(services: &Services) -> u64 {
    let client = redis::Client::open(services.redis_url()).expect("a URL");
    let mut redis = client.get_multiplexed_async_connection().await.expect("connects");
    let info: String =
        redis::cmd("INFO").arg("memory").query_async(&mut redis).await.expect("answers");
    info.lines()
        .find_map(|line| line.strip_prefix("used_memory:"))
        .expect("a figure")
        .trim()
        .parse()
        .expect("a number")
}

/// (e), (k): both roles in one process, from the first webhook to the last mail, and what is kept
/// of it.
async fn embedded(report: &mut Report) {
    let world = World::new(true).await;
    let env = world.env();
    (report.embedded_ingress, report.embedded, report.embedded_usage) =
        in_one_process(&world, &env).await;
    let files = std::fs::read_dir(world.folder.path().join("data")).expect("a folder");
    let bytes = files.map(|file| file.expect("a file").metadata().expect("its size").len()).sum();
    report.embedded_kept = load::share(bytes, EVENTS);
}

/// (j): the same with every event's trace sent to a collector.
async fn traced(report: &mut Report) {
    let (world, collector) = (World::new(true).await, Collector::start().await);
    let mut env = world.env();
    env.extend(collector.env());
    // The SDK's own pace and queue, and not the tests'.
    env.retain(|(name, _)| !name.starts_with("OTEL_BSP"));
    (_, report.traced, report.traced_usage) = in_one_process(&world, &env).await;
    report.spans_kept = load::share(collector.spans().len() as u64, EVENTS);
}

/// Deliveries accepted a second, events mailed a second, and what the process used.
async fn in_one_process(world: &World, env: &[(&'static str, String)]) -> (f64, f64, Usage) {
    let codes = world.codes(EVENTS);
    let program = Program::start("serve", env, &world.log()).await;
    let (before, begun) = (Usage::of(program.pid()), Instant::now());
    let accepted = load::post_all(program.public.expect("an ingress"), &codes, CONNECTIONS).await;
    world.inbox.reached(EVENTS as u64).await;
    let mailed = load::rate(EVENTS, begun.elapsed());
    let usage = Usage::of(program.pid()).since(&before, EVENTS);
    program.signal(Signal::SIGTERM);
    program.ended().await;
    (accepted, mailed, usage)
}

/// An ingress and a worker, with queues of their own.
struct Pair {
    ingress: Program,
    worker: Program,
    prefix: String,
}

impl Pair {
    async fn start(world: &World, services: &Services) -> Self {
        let prefix = fresh_prefix();
        let env = world.on_brokers(services, &prefix);
        let ingress = Program::start("ingress", &env, &world.log()).await;
        let worker = Program::start("worker", &env, &world.log()).await;
        Self { ingress, worker, prefix }
    }

    async fn end(self, services: &Services) {
        for program in [self.ingress, self.worker] {
            program.signal(Signal::SIGTERM);
            program.ended().await;
        }
        harness::queues::delete_queues(services.amqp_url(), &self.prefix).await;
    }
}

/// (i): the same pace while strangers hold connections and say a byte a second.
async fn besieged(report: &mut Report, services: &Services) {
    let world = World::new(false).await;
    let pair = Pair::start(&world, services).await;
    let ingress = &pair.ingress;
    let public = ingress.public.expect("an ingress");
    let slow = harness::slow::SlowSenders::start(public, STRANGERS).await;
    let (pace, seconds) = PACE;
    let paced = load::post_paced(&world, public, pace, seconds).await;
    report.besieged = (paced.acks[paced.acks.len() / 2], paced.acks[paced.acks.len() * 99 / 100]);
    report.besieged_usage = Usage::of(ingress.pid());
    world.inbox.reached(paced.sent.len() as u64).await;
    drop(slow);
    pair.end(services).await;
}

/// (l): the same pace while one address holds connections in one way. The 99th percentile of the
/// answer, and of the way to the relay's 250, in milliseconds.
async fn held(services: &Services, way: Way) -> (Way, f64, f64) {
    let world = World::new(false).await;
    let pair = Pair::start(&world, services).await;
    let ingress = &pair.ingress;
    let public = ingress.public.expect("an ingress");
    let strangers = Strangers::start(public, way, HELD);
    harness::eventually(&format!("all have been there, {way:?}"), async || {
        let counts = ingress.exposition().await;
        let reasons = ["crowded", "idle", "slow", "unread"];
        let closed =
            |reason| counts.count(&format!("authpost_http_closed_total{{reason=\"{reason}\"}}"));
        let open = counts.count("authpost_http_connections");
        (open + reasons.map(closed).iter().sum::<u64>() >= HELD as u64).then_some(())
    })
    .await;
    let paced = load::post_paced(&world, public, PACE.0, BESIDE).await;
    world.inbox.reached(paced.sent.len() as u64).await;
    let (_, mailed) = load::latencies(&world.inbox.mails(), &paced.sent);
    drop(strangers);
    pair.end(services).await;
    (way, paced.acks[paced.acks.len() * 99 / 100], mailed)
}

/// (f): a steady pace, and how long each person waits.
async fn paced(report: &mut Report, services: &Services) {
    let world = World::new(false).await;
    let pair = Pair::start(&world, services).await;
    let ingress = &pair.ingress;
    let (pace, seconds) = PACE;
    let public = ingress.public.expect("an ingress");
    // The first second warms connections up and is not counted.
    let warm_up = load::post_paced(&world, public, pace, 1).await.sent;
    world.inbox.reached(warm_up.len() as u64).await;
    let sent = load::post_paced(&world, public, pace, seconds).await.sent;
    world.inbox.reached((warm_up.len() + sent.len()) as u64).await;
    report.latency = load::latencies(&world.inbox.mails(), &sent);
    pair.end(services).await;
}
