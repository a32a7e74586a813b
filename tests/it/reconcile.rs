//! Events that the webhooks missed: found in WorkOS's list, and mailed while their codes are valid.

use jiff::SignedDuration;

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

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// Runs `authpost reconcile`, and returns its output.
async fn look(env: &Env) -> String {
    let known = [&ENGINE[..], &["WORKOS_API_KEY", "WORKOS_API_URL"]].concat();
    let Said { code, out, err } = beside(&["reconcile"], &only(env, &known)).await;
    assert_eq!(code, 0, "{err}");
    out
}

/// The command, beside a running service.
async fn a_look(world: &World, env: &Env) {
    let program = Program::start("serve", env, &world.log()).await;
    let brought = world.ask(&program, "alice@example.com").await;
    in_time("the mail", world.inbox.reached(1)).await;
    // The webhook of a new code may still arrive.
    let young = world.workos.make_code("young@example.com");
    assert!(look(env).await.starts_with("0 queued, "));
    assert!(world.post(&program, &young).await);
    // More than a page of missed events, and one whose code is about to expire.
    let missed: Vec<_> = (0..120)
        .map(|n| world.workos.make_old_code(&format!("m{n}@example.com"), MINUTE))
        .collect();
    world.workos.make_old_code("old@example.com", SignedDuration::from_secs(9 * 60 + 50));
    assert!(look(env).await.starts_with("120 queued, "));
    in_time("the mails", world.inbox.reached(122)).await;
    for made in &missed {
        assert_eq!(world.copies(made), 1, "{}", made.email);
    }
    assert!(look(env).await.starts_with("0 queued, "));
    assert_eq!(world.copies(&brought), 1);
    eventually("all have ended", async || {
        (program.exposition().await.outcomes("sent") == 122).then_some(())
    })
    .await;
    assert_eq!(program.exposition().await.outcomes("duplicate"), 0);
    program.stop().await;
}

/// Two replicas with AUTHPOST_RECONCILE=on: they take turns, and nobody gets two mails.
async fn by_themselves(world: &World, env: &Env, role: &str, replicas: usize) {
    let missed = world.workos.make_old_code("bob@example.com", MINUTE);
    let mut env = env.clone();
    env.push(("AUTHPOST_RECONCILE", "on".to_owned()));
    let mut programs = Vec::new();
    for _ in 0..replicas {
        programs.push(Program::start(role, &env, &world.log()).await);
    }
    eventually("the mail", async || (world.copies(&missed) == 1).then_some(())).await;
    let fed = async |program: &Program| {
        program.exposition().await.count("authpost_reconciled_total{result=\"fed\"}")
    };
    let mut all = 0;
    for program in &programs {
        all += fed(program).await;
    }
    assert_eq!(all, 1);
    for program in programs {
        program.stop().await;
    }
    assert_eq!(world.copies(&missed), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded() {
    let world = World::new().await;
    let env = world.env();
    a_look(&world, &env).await;
    let world = World::new().await;
    let env = world.env();
    by_themselves(&world, &env, "serve", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
async fn distributed() {
    let services = Services::shared();
    for twice in [false, true] {
        let (world, prefix) = (World::new().await, fresh_prefix());
        let env = world.on_brokers(services, &prefix);
        if twice {
            by_themselves(&world, &env, "worker", 2).await;
        } else {
            a_look(&world, &env).await;
        }
        delete_queues(services.amqp_url(), &prefix).await;
    }
}
