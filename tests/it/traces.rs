//! Traces: one from the webhook to the relay, through queue and retries; none of unauthenticated
//! clients; and no collector that costs a mail.

use std::{collections::BTreeSet, time::Duration};

use domain::{clock::Clock as _, webhook};
use nix::sys::signal::Signal;
use runtime::clock::SystemClock;
use sandbox::workos::Override;
use secrecy::SecretString;

use crate::{
    crash::World,
    harness::{
        app::{SECRET, free_port, fresh_prefix},
        collector::{Collector, Span},
        eventually, figure, in_time,
        program::Program,
        queues::delete_queues,
        raw_http,
        services::Services,
    },
};

/// The trace context that the sender passes on.
const SENDERS: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";

/// Posts an event as a sender that traces: `flags` say whether it keeps its trace.
async fn post_traced(world: &World, program: &Program, email: &str, flags: &str) {
    let body = world.workos.make_code(email).event();
    let signature =
        webhook::sign(&SecretString::from(SECRET.to_owned()), SystemClock.now(), body.as_bytes())
            .expect("a key");
    let head = format!(
        "POST /v1/workos_webhook/ HTTP/1.1\r\nHost: t\r\nConnection: close\r\ntraceparent: \
         {SENDERS}-{flags}\r\nWorkOS-Signature: {signature}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let answer =
        raw_http::send(program.public.expect("an ingress"), format!("{head}{body}").as_bytes())
            .await;
    assert_eq!(raw_http::status(&answer), 200, "{answer}");
}

fn one<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    let [span] = found.as_slice() else { panic!("{} spans {name}", found.len()) };
    span
}

/// The whole of one event's trace whose first attempt failed at WorkOS.
async fn is_one_trace(collector: &Collector, system: &str) {
    let attempts = collector.named("process", 2).await;
    let webhook = collector.named("POST /v1/workos_webhook/", 1).await.remove(0);
    let spans = collector.spans();
    assert_eq!(
        spans.iter().map(|span| span.trace.as_str()).collect::<BTreeSet<_>>(),
        [&SENDERS[3..35]].into()
    );
    assert_eq!((webhook.parent.as_str(), webhook.kind), (&SENDERS[36..], "server"));
    assert_eq!(webhook.attributes["http.response.status_code"], 200);

    let publish = one(&spans, "publish");
    assert_eq!(
        (publish.parent.as_str(), publish.kind, publish.failed),
        (webhook.id.as_str(), "producer", false)
    );
    for (attempt, outcome) in attempts.iter().zip(["retry", "sent"]) {
        is_an_attempt(attempt, outcome, publish, &spans);
        assert_eq!(attempt.attributes["messaging.system"], system);
    }
    assert_eq!(attempts[0].attributes["error.type"], "workos_unavailable");
    assert!(
        attempts[0].attributes["authpost.attempt"] == 1
            && attempts[1].attributes["authpost.attempt"] == 2
    );
    the_relay_and_workos_are_steps_of_it(&spans, &attempts[1]);
    for span in &spans {
        assert_eq!(span.resource["service.name"], "authpost");
        assert_eq!(span.resource["deployment.environment.name"], "the test");
        assert!(
            span.resource["service.instance.id"].is_string()
                && span.resource["service.version"] == authpost::VERSION
        );
    }
}

fn is_an_attempt(attempt: &Span, outcome: &str, publish: &Span, spans: &[Span]) {
    assert_eq!((attempt.parent.as_str(), attempt.kind), (publish.id.as_str(), "consumer"));
    assert_eq!(attempt.attributes["authpost.outcome"], outcome);
    assert_eq!(
        attempt.attributes["messaging.message.id"],
        publish.attributes["messaging.message.id"]
    );
    assert_eq!(attempt.failed, outcome == "retry");
    let steps: Vec<_> = spans
        .iter()
        .filter(|span| span.parent == attempt.id)
        .map(|span| span.name.as_str())
        .collect();
    for step in ["claim", "GET /user_management/magic_auth/{id}", "settle"] {
        assert!(steps.contains(&step), "{step} is not among {steps:?}");
    }
}

fn the_relay_and_workos_are_steps_of_it(spans: &[Span], attempt: &Span) {
    let mail = one(spans, "SMTP mail");
    assert_eq!((mail.parent.as_str(), mail.kind), (attempt.id.as_str(), "client"));
    assert!(
        mail.attributes["authpost.relay.receipt"].is_string()
            && mail.attributes["server.port"].is_number()
            && mail.attributes["server.address"] == "127.0.0.1",
        "{mail:?}"
    );
    assert_eq!(one(spans, "SMTP connect").parent, attempt.id);
    let reads: Vec<_> = spans.iter().filter(|span| span.name.starts_with("GET ")).collect();
    let statuses: Vec<_> = reads
        .iter()
        .map(|read| (read.attributes["http.response.status_code"].as_u64(), read.failed))
        .collect();
    assert_eq!(statuses, [(Some(503), true), (Some(200), false)]);
}

/// Each span's place in the trace, in milliseconds.
fn show(spans: &[Span]) {
    let beginning = spans.iter().map(|span| span.time.0).min().expect("spans");
    let milliseconds = |time: u64| Duration::from_nanos(time - beginning).as_secs_f64() * 1000.0;
    let mut spans: Vec<_> = spans.iter().collect();
    spans.sort_by_key(|span| span.time.0);
    for span in spans {
        figure(&format!(
            "{:>9.2} to {:>9.2} ms  {}",
            milliseconds(span.time.0),
            milliseconds(span.time.1),
            span.name
        ));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_makes_one_trace() {
    let (world, collector) = (World::new().await, Collector::start().await);
    let mut env = world.env();
    env.extend(collector.env());
    let program = Program::start("serve", &env, &world.log()).await;
    world.workos.answer_instead([Override::Answer(503, Vec::new(), String::new())]);
    post_traced(&world, &program, "alice@example.com", "01").await;
    is_one_trace(&collector, "sqlite").await;
    // A line can be followed to its trace.
    let log = std::fs::read_to_string(world.log()).expect("a log");
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let ends: Vec<_> = lines.iter().filter(|line| line["outcome"].is_string()).collect();
    assert!(
        ends.len() == 2 && ends.iter().all(|end| end["trace_id"] == SENDERS[3..35]),
        "{ends:?}"
    );
    program.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
async fn two_roles_make_one_trace_through_the_broker() {
    let (world, collector, services, prefix) =
        (World::new().await, Collector::start().await, Services::shared(), fresh_prefix());
    let mut env = world.on_brokers(services, &prefix);
    env.extend(collector.env());
    let ingress = Program::start("ingress", &env, &world.log()).await;
    let worker = Program::start("worker", &env, &world.log()).await;
    world.workos.answer_instead([Override::Answer(503, Vec::new(), String::new())]);
    post_traced(&world, &ingress, "alice@example.com", "01").await;
    is_one_trace(&collector, "rabbitmq").await;
    show(&collector.spans());
    let instances: BTreeSet<_> = collector
        .spans()
        .iter()
        .map(|span| span.resource["service.instance.id"].to_string())
        .collect();
    assert_eq!(instances.len(), 2);
    ingress.stop().await;
    worker.stop().await;
    delete_queues(services.amqp_url(), &prefix).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_make_no_spans_and_a_trace_that_is_not_kept_stays_unseen() {
    let (world, collector) = (World::new().await, Collector::start().await);
    let mut env = world.env();
    env.extend(collector.env());
    let program = Program::start("serve", &env, &world.log()).await;
    let forged = format!(
        "POST /v1/workos_webhook/ HTTP/1.1\r\nHost: t\r\nConnection: close\r\ntraceparent: \
         {SENDERS}-01\r\nWorkOS-Signature: t=1, v1=00\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    assert_eq!(
        raw_http::status(
            &raw_http::send(program.public.expect("an ingress"), forged.as_bytes()).await
        ),
        401
    );
    post_traced(&world, &program, "unseen@example.com", "00").await;
    in_time("the unseen one is mailed", world.inbox.reached(1)).await;
    // A trace that starts here, and is kept.
    world.ask(&program, "alice@example.com").await;
    in_time("mailed", world.inbox.reached(2)).await;
    // Stopping sends what is left.
    program.stop().await;
    let spans = collector.spans();
    assert_eq!(
        spans.iter().map(|span| span.trace.as_str()).collect::<BTreeSet<_>>().len(),
        1,
        "{spans:?}"
    );
    assert_ne!(spans[0].trace, SENDERS[3..35]);
    one(&spans, "POST /v1/workos_webhook/");
}

/// A collector that takes connections and never answers, and one that is not there.
#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_does_not_answer_costs_no_mail_and_no_orderly_end() {
    let silent = free_port().await;
    let absent = free_port().await;
    let nobody = absent.local_addr().expect("an address");
    drop(absent);
    for address in [silent.local_addr().expect("an address"), nobody] {
        let world = World::new().await;
        let mut env = world.env();
        env.push(("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}")));
        env.push(("OTEL_BSP_SCHEDULE_DELAY", "20".to_owned()));
        let program = Program::start("serve", &env, &world.log()).await;
        for n in 1..=20 {
            world.ask(&program, &format!("p{n}@example.com")).await;
            in_time("mailed", world.inbox.reached(n)).await;
        }
        eventually("all are settled", async || {
            (program.exposition().await.outcomes("sent") == 20).then_some(())
        })
        .await;
        let begun = tokio::time::Instant::now();
        program.signal(Signal::SIGTERM);
        assert!(program.ended().await.success());
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }
}
