//! What people notice of what is stored: answers, mails and starts beside millions of records and
//! beside hundreds of thousands of events that wait, on both engines.

mod fill;
mod plot;

use std::{fmt::Write as _, io::Write as _};

use tokio::time::Instant;

use crate::{
    Program, Services, Signal, World, fresh_prefix,
    harness::{self, queues::delete_queues},
    load,
};

/// Records that are there before, and events that wait beside the measured ones.
const RECORDS: [u64; 4] = [0, 100_000, 1_000_000, 5_000_000];
const WAITING: [u64; 2] = [10_000, 200_000];

/// Events a second, and how many seconds.
const PACE: (u32, u32) = (100, 15);

/// What was measured beside so many records and waiting events.
pub struct Point {
    pub engine: &'static str,
    pub records: u64,
    pub waiting: u64,
    /// Milliseconds until the process takes webhooks.
    pub start: f64,
    /// Milliseconds until the answer, and until the relay's 250: median and 99th percentile.
    pub answer: (f64, f64),
    pub mail: (f64, f64),
}

/// Prints a table, and writes a plot of it to `docs/growth.svg`.
pub async fn measure() {
    let mut points = Vec::new();
    embedded(&mut points).await;
    distributed(&mut points).await;
    let mut table = "| engine | records | waiting | start | answer p50 / p99 | mail p50 / p99 |\n\
                     | --- | --- | --- | --- | --- | --- |"
        .to_owned();
    for Point { engine, records, waiting, start, answer, mail } in &points {
        write!(
            table,
            "\n| {engine} | {records} | {waiting} | {start:.0} ms | {:.1} / {:.1} ms | {:.1} / {:.1} ms |",
            answer.0, answer.1, mail.0, mail.1
        )
        .expect("a string takes everything");
    }
    say(&table);
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/growth.svg");
    std::fs::write(file, plot::svg(&points)).expect("written");
}

fn say(text: &str) {
    writeln!(std::io::stdout(), "{text}").expect("somebody reads");
}

async fn embedded(points: &mut Vec<Point>) {
    let mut before = 0;
    let world = World::new(false).await;
    let file = world.folder.path().join("data/authpost.db");
    for records in RECORDS {
        // The first start makes the file.
        if records > before {
            let size = |path: &std::path::Path| path.metadata().expect("there").len();
            let empty = size(&file);
            fill::records_in_file(&file, before, records);
            let each =
                load::share(size(&file) - empty, usize::try_from(records - before).expect("fits"));
            say(&format!("embedded: {records} records, {each:.0} bytes each on disk"));
            before = records;
        }
        points.push(point("embedded", &world, &world.env(), (records, 0)).await);
    }
    for waiting in WAITING {
        let world = World::new(false).await;
        Program::start("serve", &world.env(), &world.log()).await.stop().await;
        fill::waiting_in_file(&world.folder.path().join("data/authpost.db"), waiting);
        points.push(point("embedded", &world, &world.env(), (0, waiting)).await);
    }
}

async fn distributed(points: &mut Vec<Point>) {
    let services = Services::private(&["rabbitmq", "redis"]);
    let (world, prefix) = (World::new(false).await, fresh_prefix());
    let env = world.on_brokers(&services, &prefix);
    let mut before = 0;
    for records in RECORDS {
        if records > before {
            let empty = crate::redis_memory(&services).await;
            fill::records_in_redis(services.redis_url(), before, records).await;
            let grown = crate::redis_memory(&services).await - empty;
            let each = load::share(grown, usize::try_from(records - before).expect("fits"));
            say(&format!("distributed: {records} records, {each:.0} bytes each in Redis"));
            before = records;
        }
        points.push(point("distributed", &world, &env, (records, 0)).await);
    }
    for waiting in WAITING {
        fill::waiting_at_broker(services.amqp_url(), &prefix, waiting).await;
        points.push(point("distributed", &world, &env, (before, waiting)).await);
        fill::purge(services.amqp_url(), &prefix).await;
    }
    delete_queues(services.amqp_url(), &prefix).await;
}

/// Starts both roles, and measures deliveries at an even pace.
async fn point(
    engine: &'static str,
    world: &World,
    env: &[(&'static str, String)],
    (records, waiting): (u64, u64),
) -> Point {
    let mut env = env.to_vec();
    env.push(("AUTHPOST_QUEUE_MAX", "1000000".to_owned()));
    let begun = Instant::now();
    let program = Program::start("serve", &env, &world.log()).await;
    let start = begun.elapsed().as_secs_f64() * 1000.0;
    let (public, already) = (program.public.expect("an ingress"), world.inbox.count());
    // The first seconds warm connections up and are not counted.
    let warm_up = load::post_paced(world, public, PACE.0, 2).await.sent.len();
    let load::Paced { sent, acks } = load::post_paced(world, public, PACE.0, PACE.1).await;
    let all = already + u64::try_from(warm_up + sent.len()).expect("small");
    harness::in_time("all mails", world.inbox.reached(all)).await;
    program.signal(Signal::SIGTERM);
    program.ended().await;
    let answer = (acks[acks.len() / 2], acks[acks.len() * 99 / 100]);
    let mail = load::latencies(&world.inbox.mails(), &sent);
    say(&format!("{engine}: {records} records, {waiting} waiting: measured"));
    Point { engine, records, waiting, start, answer, mail }
}
