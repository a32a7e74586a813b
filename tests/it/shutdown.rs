//! SIGTERM: nothing is lost, nothing is sent twice, and the process ends by itself with 0.

use std::sync::Arc;

use nix::sys::signal::Signal;
use sandbox::inbox::{Misbehavior, Step};

use crate::{
    crash::World,
    harness::{
        app::fresh_prefix, eventually, in_time, program::Program, queues::delete_queues, raw_http,
        services::Services,
    },
};

/// Asks for codes without pause until the ingress is gone; returns what was accepted.
async fn load(world: Arc<World>, program: Arc<Program>) -> Vec<sandbox::workos::MagicAuth> {
    let mut accepted = Vec::new();
    for n in 0.. {
        let asks = (0..8).map(|m| {
            let email = format!("p{n}-{m}@example.com");
            let (world, program) = (&world, &program);
            async move { world.try_ask(program, &email).await }
        });
        let answers = futures_util::future::join_all(asks).await;
        let refused = answers.iter().any(Option::is_none);
        accepted.extend(answers.into_iter().flatten());
        if refused {
            break;
        }
    }
    accepted
}

async fn sigterm_under_load(env: Vec<(&'static str, String)>, world: World) {
    let world = Arc::new(world);
    let program = Arc::new(Program::start("serve", &env, &world.log()).await);
    let loading = tokio::spawn(load(Arc::clone(&world), Arc::clone(&program)));
    in_time("some mails", world.inbox.reached(50)).await;
    program.signal(Signal::SIGTERM);
    let accepted = in_time("the ingress is gone", loading).await.expect("no panic");
    let program = Arc::into_inner(program).expect("nobody else holds it");
    assert!(program.ended().await.success(), "exit code 0");
    assert!(accepted.len() >= 50);

    let program = Program::start("serve", &env, &world.log()).await;
    eventually("everybody has a mail", async || {
        (world.inbox.count() >= accepted.len() as u64).then_some(())
    })
    .await;
    for made in &accepted {
        assert_eq!(world.copies(made), 1, "{}", made.email);
    }
    eventually("nothing is left", async || {
        (program.exposition().await.count("authpost_in_flight") == 0).then_some(())
    })
    .await;
    program.signal(Signal::SIGTERM);
    assert!(program.ended().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_under_load() {
    let world = World::new().await;
    sigterm_under_load(world.env(), world).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
async fn distributed_under_load() {
    let world = World::new().await;
    let prefix = fresh_prefix();
    sigterm_under_load(world.on_brokers(Services::shared(), &prefix), world).await;
    delete_queues(Services::shared().amqp_url(), &prefix).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_hand_is_finished_and_readiness_is_red_meanwhile() {
    let world = World::new().await;
    world.inbox.order(Step::Dot, Misbehavior::Stall);
    let program = Program::start("serve", &world.env(), &world.log()).await;
    world.ask(&program, "alice@example.com").await;
    eventually("the relay stalls", async || (world.inbox.open_orders() == 0).then_some(())).await;
    program.signal(Signal::SIGTERM);
    let red = eventually("readiness turns red", async || {
        let (status, body) = raw_http::get(program.admin, "/readyz").await;
        (status == 503).then_some(body)
    })
    .await;
    assert!(red.contains("stopping"), "{red}");
    assert!(
        program.ended().await.success(),
        "it waited for the relay's time-out, and ended by itself"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_cuts_short_and_says_so() {
    let world = World::new().await;
    let mut env = world.env();
    env.retain(|(name, _)| *name != "AUTHPOST_SMTP_TIMEOUT");
    world.inbox.order(Step::Dot, Misbehavior::Stall);
    let program = Program::start("serve", &env, &world.log()).await;
    world.ask(&program, "alice@example.com").await;
    eventually("the relay stalls", async || (world.inbox.open_orders() == 0).then_some(())).await;
    program.signal(Signal::SIGTERM);
    eventually("it is stopping", async || {
        (raw_http::get(program.admin, "/readyz").await.0 == 503).then_some(())
    })
    .await;
    program.signal(Signal::SIGTERM);
    assert_eq!(program.ended().await.code(), Some(1));
    let log = std::fs::read_to_string(world.log()).expect("a log");
    assert!(
        log.contains("stopped before all work was finished") && log.contains("worker"),
        "{log}"
    );
}
