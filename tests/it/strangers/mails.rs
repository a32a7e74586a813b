//! However many events there are, a user is mailed so many codes, and so many dead letters are kept.

use crate::{
    crash::World,
    harness::{
        app::fresh_prefix,
        eventually,
        program::{ENGINE, Program, beside, only},
        queues::delete_queues,
        services::Services,
    },
};

type Env = Vec<(&'static str, String)>;

/// Output of `authpost dead` with these arguments.
async fn dead(env: &Env, args: &[&str]) -> String {
    let said = beside(&[&["dead"], args].concat(), &only(env, &ENGINE)).await;
    assert_eq!(said.code, 0, "{}", said.err);
    said.out
}

async fn ended(program: &Program, outcome: &str, reason: &str, count: u64) {
    eventually(reason, async || {
        (program.exposition().await.outcome(outcome, reason) == count).then_some(())
    })
    .await;
}

async fn nobody_is_bombed(world: &World, mut env: Env) {
    env.push(("AUTHPOST_PERSON_LIMIT", "3/10 min".to_owned()));
    let program = Program::start("serve", &env, &world.log()).await;
    for mailed in 1..=3 {
        world.ask(&program, "victim@example.com").await;
        ended(&program, "sent", "none", mailed).await;
    }
    for _ in 0..9 {
        world.ask(&program, "victim@example.com").await;
    }
    world.ask(&program, "bob@example.com").await;
    ended(&program, "dead", "person_limit", 9).await;
    ended(&program, "sent", "none", 4).await;
    assert_eq!(world.inbox.count(), 4);

    // Within the period a redriven letter meets the limit again; --force lifts it.
    assert!(dead(&env, &["redrive", "--all"]).await.contains("9 redriven, 0 kept"));
    ended(&program, "dead", "person_limit", 18).await;
    let letters = dead(&env, &["list", "--json"]).await;
    let letters: Vec<serde_json::Value> = serde_json::from_str(&letters).expect("JSON");
    assert_eq!(letters.len(), 9);
    let event = letters[0]["event_id"].as_str().expect("an id");
    dead(&env, &["redrive", "--force", event]).await;
    ended(&program, "sent", "none", 5).await;
    assert_eq!(world.inbox.count(), 5);
    program.stop().await;
}

async fn the_oldest_dead_letters_go(world: &World, mut env: Env) {
    env.push(("AUTHPOST_DEAD_MAX", "5".to_owned()));
    let program = Program::start("serve", &env, &world.log()).await;
    let mut events = Vec::new();
    for n in 1..=12 {
        let age = jiff::SignedDuration::from_mins(2);
        let made = world.workos.make_old_code(&format!("p{n}@example.com"), age);
        world.workos.change_end(&made.id, None);
        assert!(world.post(&program, &made).await);
        ended(&program, "dead", "not_found", n).await;
        events.push(made.event_id);
    }
    let kept = eventually("the oldest are gone", async || {
        let list = dead(&env, &["list"]).await;
        (list.lines().count() == 5).then_some(list)
    })
    .await;
    assert!(events[7..].iter().all(|event| kept.contains(event)), "{kept}");
    // A broker tells nobody what it drops: there, the count is made from the depth last seen.
    if !env.iter().any(|(name, _)| *name == "AMQP_URL") {
        assert_eq!(program.exposition().await.count("authpost_dead_letters_dropped_total"), 7);
    }
    program.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_nobody_is_bombed() {
    let world = World::new().await;
    nobody_is_bombed(&world, world.env()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_the_oldest_dead_letters_go() {
    let world = World::new().await;
    the_oldest_dead_letters_go(&world, world.env()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
async fn distributed_nobody_is_bombed() {
    let (world, services, prefix) = (World::new().await, Services::shared(), fresh_prefix());
    nobody_is_bombed(&world, world.on_brokers(services, &prefix)).await;
    delete_queues(services.amqp_url(), &prefix).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
async fn distributed_the_oldest_dead_letters_go() {
    let (world, services, prefix) = (World::new().await, Services::shared(), fresh_prefix());
    the_oldest_dead_letters_go(&world, world.on_brokers(services, &prefix)).await;
    delete_queues(services.amqp_url(), &prefix).await;
}
