//! The same work done by what a team would write instead: a Node service and a Python one, in
//! `benches/peers`. One run, one machine, one broker, one set of stand-ins.

mod loss;
mod plot;
mod rival;

use std::{io::Write as _, sync::Arc};

use tokio::time::Instant;

use self::rival::{Environment, RIVALS, Rival, Running};
use crate::{Services, World, fresh_prefix, harness, load, report::Usage};

/// Events of the throughput runs, and keep-alive connections.
const EVENTS: usize = 5_000;
const CONNECTIONS: usize = 64;

/// Events a second of the latency run, and how many seconds.
const PACE: (u32, u32) = (100, 15);

/// What one of them achieved.
pub struct Score {
    pub name: &'static str,
    /// Events a second: answered 2xx, and mailed.
    pub accepted: f64,
    pub mailed: f64,
    /// Milliseconds from the webhook to the relay's 250: median and 99th percentile.
    pub latency: (f64, f64),
    /// Highest memory of both roles, in MiB.
    pub memory: f64,
    /// CPU time an event of both roles, in microseconds.
    pub cpu: f64,
    pub loss: loss::Loss,
}

/// Prints a table of these, or of all. Of all it also writes a plot to `docs/peers.svg`.
pub async fn measure(asked_for: impl Fn(&str) -> bool) {
    let services = Arc::new(Services::private(&["rabbitmq", "redis"]));
    let mut scores = Vec::new();
    let named: Vec<_> = RIVALS.into_iter().filter(|rival| asked_for(rival.name())).collect();
    for rival in RIVALS {
        if !named.is_empty() && !named.contains(&rival) {
            continue;
        }
        say(&format!("{}: {}", rival.name(), rival.versions()));
        scores.push(score(rival, &services).await);
    }
    table(&scores);
    if !named.is_empty() {
        return;
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/peers.svg");
    std::fs::write(file, plot::svg(&scores)).expect("written");
}

fn say(text: &str) {
    writeln!(std::io::stdout(), "{text}").expect("somebody reads");
}

async fn score(rival: Rival, services: &Arc<Services>) -> Score {
    let (accepted, mailed, memory, cpu) = throughput(rival, services).await;
    let latency = latency(rival, services).await;
    let loss = loss::measure(rival, services).await;
    Score { name: rival.name(), accepted, mailed, latency, memory, cpu, loss }
}

/// The ingress fills the queue, then the worker empties it.
async fn throughput(rival: Rival, services: &Services) -> (f64, f64, f64, f64) {
    let world = World::new(true).await;
    let environment = Environment { world: &world, services, prefix: fresh_prefix() };
    let codes = world.codes(EVENTS);
    let ingress = rival.ingress(&environment).await;
    let before = ingress.usage();
    let accepted = load::post_all(ingress.address(), &codes, CONNECTIONS).await;
    let used = ingress.usage().since(&before, EVENTS);
    let worker = rival.worker(&environment).await;
    let (begun, already) = (Instant::now(), world.inbox.count());
    let before = worker.usage();
    world.inbox.reached(EVENTS as u64).await;
    let mailed = load::rate(EVENTS - usize::try_from(already).expect("small"), begun.elapsed());
    let mailing = worker.usage().since(&before, EVENTS);
    end(environment, [ingress, worker]).await;
    (accepted, mailed, used.peak_mib + mailing.peak_mib, used.cpu + mailing.cpu)
}

async fn latency(rival: Rival, services: &Services) -> (f64, f64) {
    let world = World::new(false).await;
    let environment = Environment { world: &world, services, prefix: fresh_prefix() };
    let (ingress, worker) = (rival.ingress(&environment).await, rival.worker(&environment).await);
    let (pace, seconds) = PACE;
    // The first seconds warm everything up and are not counted.
    let warm_up = load::post_paced(&world, ingress.address(), pace, 2).await.sent;
    world.inbox.reached(warm_up.len() as u64).await;
    let sent = load::post_paced(&world, ingress.address(), pace, seconds).await.sent;
    world.inbox.reached((warm_up.len() + sent.len()) as u64).await;
    let latency = load::latencies(&world.inbox.mails(), &sent);
    end(environment, [ingress, worker]).await;
    latency
}

/// Stops both, and removes their queues.
async fn end(environment: Environment<'_>, running: [Running; 2]) {
    drop(running);
    rival::forget(environment.services.amqp_url(), &environment.prefix).await;
}

fn table(scores: &[Score]) {
    let ours = scores.first().expect("ours");
    let row = |name: &str, cell: &dyn Fn(&Score) -> String| {
        let cells: Vec<String> = scores.iter().map(cell).collect();
        say(&format!("| {name} | {} |", cells.join(" | ")));
    };
    let ratio = |value: f64, of: f64| format!("{:.2}", value / of);
    row("", &|score| score.name.to_owned());
    say(&format!("| --- |{}", " --: |".repeat(scores.len())));
    row("accepted a second", &|score| {
        format!("{:.0} ({})", score.accepted, ratio(score.accepted, ours.accepted))
    });
    row("mails a second", &|score| {
        format!("{:.0} ({})", score.mailed, ratio(score.mailed, ours.mailed))
    });
    row("webhook to the relay's 250 at 100 a second, median", &|score| {
        format!("{:.1} ms ({})", score.latency.0, ratio(score.latency.0, ours.latency.0))
    });
    row("the same, 99th percentile", &|score| {
        format!("{:.1} ms ({})", score.latency.1, ratio(score.latency.1, ours.latency.1))
    });
    row("memory of both roles, peak", &|score| {
        format!("{:.0} MiB ({})", score.memory, ratio(score.memory, ours.memory))
    });
    row("CPU time an event, both roles", &|score| {
        format!("{:.0} us ({})", score.cpu, ratio(score.cpu, ours.cpu))
    });
    row("worker and broker killed: accepted and never mailed", &|score| {
        format!("{} of {}", score.loss.lost, score.loss.accepted)
    });
    row("the same: mailed more than once", &|score| score.loss.repeated.to_string());
}
