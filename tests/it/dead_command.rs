//! `authpost dead` beside a running service, on both engines.

use domain::clock::Clock as _;
use jiff::SignedDuration;
use runtime::clock::SystemClock;
use sandbox::{
    inbox::{Misbehavior, Step},
    workos::{LIFE, MagicAuth},
};
use serde_json::Value;

use crate::{
    crash::World,
    harness::{
        app::fresh_prefix,
        eventually,
        program::{ENGINE, Program, Said, beside, only, run},
        queues::delete_queues,
        services::Services,
    },
};

type Env = Vec<(&'static str, String)>;

/// A running service and the command beside it.
struct Installation {
    world: World,
    env: Env,
    program: Program,
}

impl Installation {
    async fn start(world: World, mut env: Env) -> Self {
        env.push(("AUTHPOST_ON_AMBIGUITY", "dead-letter".to_owned()));
        let program = Program::start("serve", &env, &world.log()).await;
        Self { world, env, program }
    }

    /// What the command says, and whether it was content. An operator has no business with the
    /// relay's password or the API key.
    async fn say(&self, args: &[&str]) -> (i32, String, String) {
        let Said { code, out, err } =
            beside(&[&["dead"], args].concat(), &only(&self.env, &ENGINE)).await;
        (code, out, err)
    }

    /// The letters, as `list --json` has them.
    async fn letters(&self) -> Vec<Value> {
        let (code, said, complaint) = self.say(&["list", "--json"]).await;
        assert_eq!(code, 0, "{complaint}");
        serde_json::from_str(&said).expect("JSON")
    }

    /// Takes somebody's event to its death, of the given reason.
    async fn dead_letter(
        &self,
        email: &str,
        reason: &str,
        life: SignedDuration,
        prepare: impl FnOnce(&World, &MagicAuth),
    ) -> MagicAuth {
        // WorkOS does not know a young code at once: one that ends soon is an old one.
        let made = self.world.workos.make_old_code(email, LIFE - life);
        prepare(&self.world, &made);
        let before = self.program.exposition().await.outcome("dead", reason);
        assert!(self.world.post(&self.program, &made).await);
        eventually(reason, async || {
            (self.program.exposition().await.outcome("dead", reason) > before).then_some(())
        })
        .await;
        made
    }
}

fn reasons(letters: &[Value]) -> Vec<&str> {
    letters.iter().map(|letter| letter["reason"].as_str().expect("a reason")).collect()
}

const LONG: SignedDuration = SignedDuration::from_mins(10);

async fn the_whole_command(installation: Installation) -> Program {
    let Installation { program, .. } = &installation;
    assert_eq!(installation.letters().await, [] as [Value; 0]);
    let refuse = |world: &World, _: &MagicAuth| {
        world.inbox.order(Step::Rcpt, Misbehavior::Say("550 5.1.1 no such user"));
    };
    let refused =
        installation.dead_letter("alice@example.com", "recipient_refused", LONG, refuse).await;
    let silent =
        |world: &World, _: &MagicAuth| world.inbox.order(Step::Dot, Misbehavior::KeepAndHangUp);
    let ambiguous = installation.dead_letter("bob@example.com", "ambiguous", LONG, silent).await;
    let unknown = |world: &World, made: &MagicAuth| world.workos.change_end(&made.id, None);
    let short = installation
        .dead_letter("carol@example.com", "not_found", SignedDuration::from_secs(2), unknown)
        .await;

    let letters = installation.letters().await;
    assert_eq!(reasons(&letters), ["recipient_refused", "ambiguous", "not_found"]);
    assert_eq!(
        (&letters[0]["event_id"], &letters[0]["magic_auth_id"]),
        (&refused.event_id.clone().into(), &refused.id.clone().into())
    );
    let (_, shown, _) = installation.say(&["show", &ambiguous.event_id]).await;
    assert!(
        shown.contains("objection        a mail may have been sent already")
            && !shown.contains(&refused.event_id),
        "{shown}"
    );
    let (code, _, complaint) = installation.say(&["show", "event_unknown"]).await;
    assert!(
        code == 1 && complaint.contains("event_unknown is not among the dead letters"),
        "{complaint}"
    );

    // Nothing named is nothing changed.
    assert_eq!(installation.say(&["purge"]).await.0, 2);
    let (code, said, _) = installation.say(&["redrive", "--all", "--dry-run"]).await;
    assert!(code == 0 && said.contains("would be redriven"), "{said}");
    assert_eq!(installation.letters().await.len(), 3);

    redrives(&installation, [&refused, &ambiguous], &short).await;
    purges(&installation).await;
    eventually("all is settled", async || {
        (program.exposition().await.count("authpost_in_flight") == 0).then_some(())
    })
    .await;
    installation.program
}

async fn redrives(
    installation: &Installation,
    [refused, ambiguous]: [&MagicAuth; 2],
    short: &MagicAuth,
) {
    let world = &installation.world;
    // The address works now: its letters are redriven, and repeating that changes nothing.
    for expected in [1, 0] {
        let (code, said, _) = installation.say(&["redrive", "--reason", "recipient_refused"]).await;
        assert!(code == 0 && said.contains(&format!("{expected} redriven, 0 kept")), "{said}");
    }
    eventually("the mail", async || (world.copies(refused) == 1).then_some(())).await;

    // A mail that may have been sent is redriven only with --force.
    eventually("the code has expired", async || {
        (SystemClock.now() >= short.expires_at).then_some(())
    })
    .await;
    let (_, said, _) = installation.say(&["redrive", "--all"]).await;
    assert!(said.contains("0 redriven, 2 kept") && said.contains("its code has expired"), "{said}");
    assert_eq!(world.copies(ambiguous), 1);
    let (_, said, _) = installation.say(&["redrive", "--force", &ambiguous.event_id]).await;
    assert!(said.contains("1 redriven"), "{said}");
    eventually("the second copy", async || (world.copies(ambiguous) == 2).then_some(())).await;
}

async fn purges(installation: &Installation) {
    assert_eq!(reasons(&installation.letters().await), ["not_found"]);
    assert_eq!(installation.say(&["purge", "--all", "--older-than", "1 hour"]).await.0, 0);
    let (_, said, _) = installation.say(&["purge", "--all"]).await;
    assert!(said.contains("1 deleted, 0 kept"), "{said}");
    assert_eq!(installation.letters().await, [] as [Value; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded() {
    let world = World::new().await;
    let env = world.env();
    the_whole_command(Installation::start(world, env).await).await.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
async fn distributed() {
    let (world, services, prefix) = (World::new().await, Services::shared(), fresh_prefix());
    let env = world.on_brokers(services, &prefix);
    the_whole_command(Installation::start(world, env).await).await.stop().await;
    delete_queues(services.amqp_url(), &prefix).await;
}

#[test]
fn a_directory_without_an_engine_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("text");
    let output = run(&["dead", "list"], &[("AUTHPOST_DATA_DIR", path)]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(1) && said.contains("AUTHPOST_DATA_DIR or --data-dir"),
        "{said}"
    );
    assert_eq!(
        std::fs::read_dir(folder.path()).expect("readable").count(),
        0,
        "a look leaves nothing behind"
    );
}
