//! Codes, keys, secrets and addresses are in no log line, metric or file, whatever happens and
//! however much is logged.

use std::sync::Arc;

use domain::{queue::Capacity, retry::Stage};
use engine::rabbitmq::Names;
use jiff::SignedDuration;
use lapin::{
    options::{BasicGetOptions, BasicNackOptions},
    types::AMQPValue,
};
use runtime::clock::SystemClock;
use sandbox::{
    inbox::{Inbox, InboxConfig, Misbehavior, Step, base64},
    workos::{MagicAuth, Override},
};

use crate::{
    crash::World,
    harness::{
        app::{API_KEY, SECRET, free_port, fresh_prefix},
        collector::Collector,
        eventually, in_time,
        program::Program,
        queues::{self, delete_queues},
        raw_http,
        services::Services,
    },
    relay::authority,
};

/// The most verbose log levels, by crate and by module.
pub const LOUD: &str = "trace,hyper=trace,hyper::proto::h1=trace,hyper_util::client=trace,\
                        lapin=trace,lapin::channel=trace,amq_protocol=trace,redis=trace,\
                        redis::aio=trace,rustls=trace,rustls::client::hs=trace,lettre=trace,\
                        tokio=trace";

/// The password that the relay requires.
const PASSWORD: &str = "relay-pa55word";

/// A relay with TLS and a password, and what a program needs for it.
async fn behind_tls(world: &mut World) -> Vec<(&'static str, String)> {
    let (ca, acceptor) = authority();
    let login = Some(("relay-user".to_owned(), PASSWORD.to_owned()));
    let config = InboxConfig { implicit_tls: Some(acceptor), login, ..InboxConfig::default() };
    world.inbox = Inbox::start(free_port().await, config, Arc::new(SystemClock)).expect("starts");
    let file = world.folder.path().join("ca.pem");
    std::fs::write(&file, ca).expect("written");
    let url = format!("smtps://relay-user:{PASSWORD}@localhost:{}", world.inbox.address().port());
    vec![
        ("SMTP_URL", url),
        ("AUTHPOST_EXTRA_CA", file.display().to_string()),
        ("RUST_LOG", LOUD.to_owned()),
    ]
}

/// Takes events through every outcome; returns the text that must not be found anywhere.
async fn every_outcome(
    world: &World,
    program: &Program,
    resting: impl AsyncFnOnce(),
) -> (MagicAuth, Vec<String>) {
    let ended = async |outcome: &str, count: u64| {
        eventually(outcome, async || {
            (program.exposition().await.outcomes(outcome) >= count).then_some(())
        })
        .await;
    };
    let sent = world.ask(program, "alice.secretly@example.com").await;
    in_time("sent", world.inbox.reached(1)).await;
    ended("sent", 1).await;
    assert!(world.post(program, &sent).await);
    ended("duplicate", 1).await;
    world.inbox.order(Step::Rcpt, Misbehavior::Say("550 5.1.1 <bob.secretly@example.com> unknown"));
    let refused = world.ask(program, "bob.secretly@example.com").await;
    ended("dead", 1).await;
    world.workos.answer_instead([Override::Answer(500, Vec::new(), format!("oops {}", sent.code))]);
    let retried = world.ask(program, "carol.secretly@example.com").await;
    ended("retry", 1).await;
    resting().await;
    ended("sent", 2).await;
    world.inbox.order(Step::Dot, Misbehavior::KeepAndHangUp);
    let ambiguous = world.ask(program, "dave.secretly@example.com").await;
    ended("sent", 3).await;
    let unmailable = world.ask(program, "erin.secretly@example.com\u{7f}").await;
    ended("dead", 2).await;
    let late =
        world.workos.make_code_for("frank.secretly@example.com", SignedDuration::from_secs(-1));
    assert!(world.post(program, &late).await);
    ended("expired", 1).await;
    let forged = b"POST /v1/workos_webhook/ HTTP/1.1\r\nHost: t\r\nConnection: \
                   close\r\nWorkOS-Signature: t=1, v1=00\r\nContent-Length: \
                   23\r\n\r\n{\"email\":\"eve@evil.tld\"}";
    raw_http::send(program.public.expect("an ingress"), forged).await;
    let codes =
        [&sent, &refused, &retried, &ambiguous, &unmailable, &late].map(|made| made.code.clone());
    (sent, secrets(codes))
}

/// Text that must not be found in logs, metrics or stores.
fn secrets(codes: [String; 6]) -> Vec<String> {
    let plain = format!("\0relay-user\0{PASSWORD}");
    let words = [
        API_KEY,
        SECRET,
        PASSWORD,
        "secretly@",
        "alice.secretly",
        "eve@evil",
        "guest:guest",
        "and works once",
        "multipart/alternative",
        "c0llector",
    ];
    codes.into_iter().chain(words.map(str::to_owned)).chain([base64(plain.as_bytes())]).collect()
}

/// The log and the metrics of a program that has been through everything.
async fn log_and_metrics(world: &World, program: Program, sent: &MagicAuth) -> (String, String) {
    let metrics = raw_http::get(program.admin, "/metrics").await.1;
    program.stop().await;
    let log = std::fs::read_to_string(world.log()).expect("a log");
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "the log was not turned up");
    assert!(log.contains(&sent.event_id), "the log does not say what happened to which event");
    check_form(&log, &sent.event_id);
    (log, metrics)
}

fn nobody_finds(secrets: &[String], places: &[(&str, &String)]) {
    for (place, text) in places {
        assert!(!text.is_empty(), "nothing was looked at in the {place}");
        for secret in secrets {
            assert!(!holds(text, secret), "the {place} holds {secret:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_trace_with_every_outcome() {
    let mut world = World::new().await;
    let collector = Collector::start().await;
    let mut env = world.env();
    env.extend(behind_tls(&mut world).await);
    env.extend(collector.env());
    let program = Program::start("serve", &env, &world.log()).await;
    let (sent, secrets) = every_outcome(&world, &program, async || {}).await;
    let (log, metrics) = log_and_metrics(&world, program, &sent).await;
    let mut kept = String::new();
    for file in std::fs::read_dir(world.folder.path().join("data")).expect("a folder") {
        kept.push_str(&String::from_utf8_lossy(
            &std::fs::read(file.expect("a file").path()).expect("readable"),
        ));
    }
    assert!(kept.contains("recipient_refused"), "the dead letters are not in the file");
    nobody_finds(
        &secrets,
        &[
            ("log", &log),
            ("metrics", &metrics),
            ("database", &kept),
            ("spans", &collector.everything()),
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
async fn at_trace_with_every_outcome_on_a_broker() {
    let mut world = World::new().await;
    let (services, prefix) = (Services::shared(), fresh_prefix());
    let mut env = world.on_brokers(services, &prefix);
    env.extend(behind_tls(&mut world).await);
    let collector = Collector::start().await;
    env.extend(collector.env());
    let program = Program::start("serve", &env, &world.log()).await;
    let names = Names::new(&prefix, Capacity::default());
    let mut queued = String::new();
    let resting = async || {
        let retry = names.retry(Stage::S2);
        queued = eventually("the retry rests", async || peek(&retry).await).await;
    };
    let (sent, secrets) = every_outcome(&world, &program, resting).await;
    let dead = peek(&names.dead()).await.expect("a dead letter");
    assert!(
        queued.contains("workos_unavailable") && dead.contains("recipient_refused"),
        "{queued} {dead}"
    );
    let claims = everything_in_redis(&prefix).await;
    assert!(claims.contains("done"), "{claims}");
    let (log, metrics) = log_and_metrics(&world, program, &sent).await;
    let spans = collector.everything();
    let places = [
        ("log", &log),
        ("metrics", &metrics),
        ("retry queue", &queued),
        ("dead letters", &dead),
        ("claims", &claims),
        ("spans", &spans),
    ];
    nobody_finds(&secrets, &places);
    delete_queues(services.amqp_url(), &prefix).await;
}

/// All of the first message in a queue, which stays there.
async fn peek(queue: &str) -> Option<String> {
    let (connection, channel) = queues::connect(Services::shared().amqp_url()).await;
    let message = channel.basic_get(queue.into(), BasicGetOptions::default()).await.expect("asked");
    let text = match &message {
        Some(message) => {
            let requeue = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
            message.delivery.acker.nack(requeue).await.expect("given back");
            let headers = message.delivery.properties.headers().clone().unwrap_or_default();
            let headers = headers.inner().iter().map(|(name, value)| match value {
                AMQPValue::LongString(text) => format!("{name}: {text}"),
                other => format!("{name}: {other:?}"),
            });
            let properties = format!("{:?}", message.delivery.properties);
            Some(
                headers
                    .chain([
                        properties,
                        String::from_utf8_lossy(&message.delivery.data).into_owned(),
                    ])
                    .collect::<Vec<_>>()
                    .join("\n"),
            )
        }
        None => None,
    };
    connection.close(200, "bye".into()).await.expect("closed");
    text
}

/// Every key under a prefix with all its fields.
async fn everything_in_redis(prefix: &str) -> String {
    let client = redis::Client::open(Services::shared().redis_url()).expect("a URL");
    let mut redis = client.get_multiplexed_async_connection().await.expect("connects");
    let keys: Vec<String> =
        redis::cmd("KEYS").arg(format!("{prefix}:*")).query_async(&mut redis).await.expect("keys");
    let mut text = String::new();
    for key in keys {
        let hash = redis::cmd("HGETALL").arg(&key).query_async(&mut redis).await;
        let fields: Vec<String> = match hash {
            Ok(fields) => fields,
            // When a user's events were claimed is a list.
            Err(_) => redis::cmd("LRANGE")
                .arg((&key, 0, -1))
                .query_async(&mut redis)
                .await
                .expect("a hash or a list"),
        };
        text.extend([key.as_str(), " ", &fields.join(" "), "\n"]);
    }
    text
}

/// Every line is JSON, and the line about an outcome has all fields.
fn check_form(log: &str, event_id: &str) {
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect();
    let ends: Vec<_> = lines
        .iter()
        .filter(|line| line["event_id"] == event_id && line["outcome"] == "sent")
        .collect();
    let [end] = ends.as_slice() else { panic!("one line an outcome, not {}", ends.len()) };
    assert!(end["attempt"] == 1 && end["age_ms"].is_number() && end["level"] == "INFO", "{end}");
}

/// Whether a text holds a secret as a word of its own: six digits also occur inside longer numbers.
fn holds(text: &str, secret: &str) -> bool {
    let digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
    let inside = |at: usize| {
        let bytes = text.as_bytes();
        secret.bytes().all(|byte| byte.is_ascii_digit())
            && (digit(at.checked_sub(1).and_then(|before| bytes.get(before)))
                || digit(bytes.get(at + secret.len())))
    };
    text.match_indices(secret).any(|(at, _)| !inside(at))
}
