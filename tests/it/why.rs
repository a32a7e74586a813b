//! `authpost why` beside a running service, on both engines.

use jiff::SignedDuration;
use sandbox::{
    inbox::{Misbehavior, Step},
    workos::{MagicAuth, Override},
};

use crate::{
    crash::World,
    harness::{
        app::fresh_prefix,
        eventually, in_time,
        program::{ENGINE, Program, Said, beside, only},
        queues::delete_queues,
        services::Services,
    },
};

type Env = Vec<(&'static str, String)>;

/// The output of the command, and whether the event is known.
async fn why(env: &Env, args: &[&str]) -> (bool, String) {
    let known = [&ENGINE[..], &["WORKOS_API_KEY", "WORKOS_API_URL"]].concat();
    let Said { code, out, err } = beside(&[&["why"], args].concat(), &only(env, &known)).await;
    (code == 0, out + &err)
}

/// Its events have ids of another form.
async fn an_event_of_the_emulator_is_found(world: &World, program: &Program, env: &Env) {
    let mut made = world.workos.make_code("erin@example.com");
    made.event_id = made.event_id.replace("event_", "evt_");
    assert!(world.post(program, &made).await);
    eventually("it is mailed", async || {
        (program.exposition().await.outcomes("sent") >= 2).then_some(())
    })
    .await;
    let (known, said) = why(env, &[&made.event_id]).await;
    assert!(known && said.contains("sent; accepted as SANDBOX at 127.0.0.1:"), "{said}");
}

async fn the_life_of_an_event(world: &World, env: &Env) {
    let program = Program::start("serve", env, &world.log()).await;
    let ended = async |outcome: &str, count: u64| {
        eventually(outcome, async || {
            (program.exposition().await.outcomes(outcome) >= count).then_some(())
        })
        .await;
    };
    let sent = world.ask(&program, "alice@example.com").await;
    in_time("the mail", world.inbox.reached(1)).await;
    ended("sent", 1).await;
    world.inbox.order(Step::Rcpt, Misbehavior::Say("550 5.1.1 no such user"));
    let refused = world.ask(&program, "bob@example.com").await;
    ended("dead", 1).await;
    let missed = world.workos.make_old_code("carol@example.com", SignedDuration::from_mins(1));

    let (known, said) = why(env, &[&sent.event_id]).await;
    assert!(known && said.contains("sent; accepted as SANDBOX at 127.0.0.1:"), "{said}");
    is_found_by_each_name(env, &refused).await;
    an_event_of_the_emulator_is_found(world, &program, env).await;
    for args in [vec![sent.id.as_str()], vec!["--user", &sent.user_id], vec!["--workos", &sent.id]]
    {
        let (known, said) = why(env, &args).await;
        let told =
            ["sent; accepted as SANDBOX at 127.0.0.1:", "mailed by attempt 1 (+", &sent.event_id];
        assert!(known && told.iter().all(|part| said.contains(part)), "{args:?}: {said}");
    }
    let (known, said) = why(env, &["--workos", &missed.id]).await;
    assert!(
        known && said.contains("never arrived here") && said.contains(&missed.event_id),
        "{said}"
    );
    let (known, said) = why(env, &["event_unknown"]).await;
    assert!(!known && said.contains("unknown here; ask WorkOS too with --workos"), "{said}");
    assert!(!why(env, &["--json", "event_unknown"]).await.0);
    assert!(!why(env, &["x"]).await.0);

    a_retry_is_seen(world, env, &program).await;
    eventually("all is settled", async || {
        (program.exposition().await.count("authpost_in_flight") == 0).then_some(())
    })
    .await;
    program.stop().await;
}

async fn is_found_by_each_name(env: &Env, refused: &MagicAuth) {
    for args in [
        vec![refused.event_id.as_str()],
        vec![refused.id.as_str()],
        vec!["--user", refused.user_id.as_str()],
    ] {
        let (known, said) = why(env, &args).await;
        assert!(
            known
                && said.contains("dead letter after 1 attempts: recipient_refused")
                && said.contains(&refused.event_id),
            "{args:?}: {said}"
        );
    }
}

async fn a_retry_is_seen(world: &World, env: &Env, program: &Program) {
    world.workos.answer_instead((0..3).map(|_| Override::Answer(500, Vec::new(), String::new())));
    let resting = world.ask(program, "dave@example.com").await;
    let waiting = async || {
        why(env, &[&resting.event_id])
            .await
            .1
            .contains("waiting for attempt 2, after workos_unavailable")
    };
    eventually("it is seen resting", async || waiting().await.then_some(())).await;
    in_time("the mail", world.inbox.reached(3)).await;
    assert_eq!(world.copies(&resting), 1, "a look has cost nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded() {
    let world = World::new().await;
    let env = world.env();
    the_life_of_an_event(&world, &env).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
async fn distributed() {
    let (world, services, prefix) = (World::new().await, Services::shared(), fresh_prefix());
    let env = world.on_brokers(services, &prefix);
    the_life_of_an_event(&world, &env).await;
    delete_queues(services.amqp_url(), &prefix).await;
}

/// A queue counts how often it has delivered a message, and gives up after twenty times.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
async fn looking_takes_nothing_from_the_queues() {
    let (world, services, prefix) = (World::new().await, Services::shared(), fresh_prefix());
    let env = world.on_brokers(services, &prefix);
    let ingress = Program::start("ingress", &env, &world.log()).await;
    let asked = world.ask(&ingress, "alice@example.com").await;
    for _ in 0..25 {
        eventually("it is on record", async || why(&env, &[&asked.event_id]).await.0.then_some(()))
            .await;
        assert!(beside(&["dead", "list"], &only(&env, &ENGINE)).await.out.is_empty());
    }
    let worker = Program::start("worker", &env, &world.log()).await;
    in_time("the mail", world.inbox.reached(1)).await;
    eventually("it is settled", async || {
        (worker.exposition().await.outcomes("sent") == 1).then_some(())
    })
    .await;
    ingress.stop().await;
    worker.stop().await;
    delete_queues(services.amqp_url(), &prefix).await;
}
