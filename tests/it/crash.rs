//! kill -9 at the worst moments: nothing accepted is lost, and mails that may have been sent twice
//! have one Message-ID.

use std::{path::Path, sync::Arc};

use domain::clock::Clock as _;
use nix::sys::signal::Signal;
use runtime::clock::SystemClock;
use sandbox::{
    inbox::{Inbox, InboxConfig, Misbehavior, Step},
    readable,
    workos::{MagicAuth, StandIn, post},
};
use secrecy::SecretString;

use crate::harness::{
    app::{API_KEY, SECRET, free_port, fresh_prefix},
    eventually, in_time,
    program::Program,
    queues::{delete_queues, ready_in, waiting_queues},
    services::Services,
};

/// The world around a program.
pub struct World {
    pub workos: Arc<StandIn>,
    pub inbox: Inbox,
    pub folder: tempfile::TempDir,
}

impl World {
    pub async fn new() -> Self {
        let clock = Arc::new(SystemClock);
        Self {
            workos: Arc::new(
                StandIn::start(
                    free_port().await,
                    SecretString::from(API_KEY.to_owned()),
                    clock.clone(),
                )
                .expect("starts"),
            ),
            inbox: Inbox::start(free_port().await, InboxConfig::default(), clock).expect("starts"),
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    /// The environment of a program in this world, with timeouts of seconds: short enough to wait
    /// for, long enough that a busy machine does not look like a silent relay.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("WORKOS_WEBHOOK_SECRET", SECRET.to_owned()),
            ("WORKOS_API_KEY", API_KEY.to_owned()),
            ("WORKOS_API_URL", self.workos.url()),
            ("AUTHPOST_WORKOS_RATE", "0".to_owned()),
            ("AUTHPOST_WORKOS_TIMEOUT", "2 s".to_owned()),
            ("SMTP_URL", format!("smtp://{}?tls=none", self.inbox.address())),
            ("AUTHPOST_SMTP_CONNECT_TIMEOUT", "500 ms".to_owned()),
            ("AUTHPOST_SMTP_COMMAND_TIMEOUT", "2 s".to_owned()),
            ("AUTHPOST_SMTP_TIMEOUT", "6 s".to_owned()),
            ("MAIL_FROM", "Acme <login@acme.example>".to_owned()),
            ("AUTHPOST_CONCURRENCY", "8".to_owned()),
            ("AUTHPOST_DATA_DIR", self.folder.path().join("data").display().to_string()),
        ]
    }

    pub fn on_brokers(&self, services: &Services, prefix: &str) -> Vec<(&'static str, String)> {
        let mut env = self.env();
        env.push(("AMQP_URL", services.amqp_url().to_owned()));
        env.push(("REDIS_URL", services.redis_url().to_owned()));
        env.push(("AUTHPOST_QUEUE_PREFIX", prefix.to_owned()));
        env
    }

    pub fn log(&self) -> std::path::PathBuf {
        self.folder.path().join("log")
    }

    /// Posts a fresh code's event; `None` if it was not accepted.
    pub async fn try_ask(&self, program: &Program, email: &str) -> Option<MagicAuth> {
        let made = self.workos.make_code(email);
        self.post(program, &made).await.then_some(made)
    }

    /// Posts a code's event; whether it was accepted.
    pub async fn post(&self, program: &Program, made: &MagicAuth) -> bool {
        let secret = SecretString::from(SECRET.to_owned());
        post(&program.webhook_url(), &secret, &made.event(), SystemClock.now())
            .await
            .is_ok_and(|posted| posted.status == 200)
    }

    pub async fn ask(&self, program: &Program, email: &str) -> MagicAuth {
        self.try_ask(program, email).await.expect("accepted")
    }

    /// How many mails hold this code.
    pub fn copies(&self, made: &MagicAuth) -> usize {
        let mails = self.inbox.mails();
        mails
            .iter()
            .filter(|mail| {
                readable::read(&mail.raw)
                    .is_some_and(|mail| mail.code() == Some(made.code.as_str()))
                    && mail.to == made.email
            })
            .count()
    }
}

fn message_ids(world: &World) -> Vec<String> {
    world
        .inbox
        .mails()
        .iter()
        .map(|mail| readable::read(&mail.raw).expect("a mail").message_id)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_everything_accepted_before_a_kill_is_mailed_after_it() {
    let world = World::new().await;
    // All eight hands of the worker are held fast until the kill; the rest waits behind them.
    for _ in 0..8 {
        world.inbox.order(Step::Mail, Misbehavior::Stall);
    }
    let mut patient = world.env();
    patient.push(("AUTHPOST_SMTP_COMMAND_TIMEOUT", "60 s".to_owned()));
    let program = Program::start("serve", &patient, &world.log()).await;
    let mut accepted = Vec::new();
    for n in 0..40 {
        accepted.push(world.ask(&program, &format!("p{n}@example.com")).await);
    }
    eventually("the relay holds eight", async || (world.inbox.open_orders() == 0).then_some(()))
        .await;
    program.signal(Signal::SIGKILL);
    program.ended().await;
    assert_eq!(world.inbox.count(), 0);
    let program = Program::start("serve", &world.env(), &world.log()).await;
    in_time("all mails", world.inbox.reached(40)).await;
    eventually("all have ended", async || {
        (program.exposition().await.outcomes("sent") >= 40).then_some(())
    })
    .await;
    for made in &accepted {
        assert_eq!(
            world.copies(made),
            1,
            "{}: one mail each, no relay had kept one before",
            made.email
        );
    }
    program.signal(Signal::SIGTERM);
    assert!(program.ended().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_a_kill_after_the_dot_sends_a_second_copy_of_the_same_mail() {
    let world = World::new().await;
    world.inbox.order(Step::Dot, Misbehavior::KeepAndStall);
    let program = Program::start("serve", &world.env(), &world.log()).await;
    let made = world.ask(&program, "alice@example.com").await;
    in_time("the relay has it", world.inbox.reached(1)).await;
    program.signal(Signal::SIGKILL);
    program.ended().await;
    let program = Program::start("serve", &world.env(), &world.log()).await;
    in_time("the copy", world.inbox.reached(2)).await;
    assert_eq!(world.copies(&made), 2);
    let ids = message_ids(&world);
    assert_eq!(ids[0], ids[1]);
    eventually("it is counted as doubtful", async || {
        (program.exposition().await.claims("doubtful") == 1).then_some(())
    })
    .await;
    program.signal(Signal::SIGTERM);
    assert!(program.ended().await.success());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
async fn distributed_another_worker_takes_over_what_a_killed_one_held() {
    let world = World::new().await;
    let services = Services::shared();
    let prefix = fresh_prefix();
    let env = world.on_brokers(services, &prefix);
    let ingress = Program::start("ingress", &env, &world.log()).await;
    world.inbox.order(Step::Dot, Misbehavior::KeepAndStall);
    for _ in 0..3 {
        world.inbox.order(Step::Mail, Misbehavior::Stall);
    }
    let worker = Program::start("worker", &env, &world.log()).await;
    let mut accepted = Vec::new();
    for n in 0..20 {
        accepted.push(world.ask(&ingress, &format!("p{n}@example.com")).await);
    }
    eventually("the relay stalls", async || (world.inbox.open_orders() == 0).then_some(())).await;
    worker.signal(Signal::SIGKILL);
    worker.ended().await;
    let worker = Program::start("worker", &env, &world.log()).await;
    eventually("everybody has a mail", async || {
        accepted.iter().all(|made| world.copies(made) >= 1).then_some(())
    })
    .await;
    eventually("all have ended", async || {
        all_have_ended(&worker, services.amqp_url(), &prefix).await.then_some(())
    })
    .await;
    let copies: usize = accepted.iter().map(|made| world.copies(made)).sum();
    let distinct: std::collections::BTreeSet<_> = message_ids(&world).into_iter().collect();
    assert_eq!(distinct.len(), 20, "a second copy bears the first one's Message-ID");
    assert!(
        copies <= 20 + 8,
        "more copies than the killed worker can have had in its hands: {copies}"
    );
    for program in [ingress, worker] {
        program.signal(Signal::SIGTERM);
        assert!(program.ended().await.success());
    }
    delete_queues(services.amqp_url(), &prefix).await;
}

/// Whether nothing is ready at the broker and nothing in the worker's hands, looked at from both
/// sides: a message on its way from one to the other is seen by one of the three looks.
async fn all_have_ended(worker: &Program, url: &str, prefix: &str) -> bool {
    let empty = async || ready_in(url, waiting_queues(prefix)).await == 0;
    empty().await && worker.exposition().await.count("authpost_in_flight") == 0 && empty().await
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_kills_in_a_row_lose_nothing() {
    let world = World::new().await;
    let mut accepted = Vec::new();
    for round in 0..5 {
        let program = Program::start("serve", &world.env(), &world.log()).await;
        let asks = (0..20).map(|n| {
            let email = format!("r{round}p{n}@example.com");
            let (world, program) = (&world, &program);
            async move { world.try_ask(program, &email).await }
        });
        accepted.extend(futures_util::future::join_all(asks).await.into_iter().flatten());
        program.signal(Signal::SIGKILL);
        program.ended().await;
    }
    assert_eq!(accepted.len(), 100);
    let program = Program::start("serve", &world.env(), &world.log()).await;
    eventually("everybody has a mail", async || {
        accepted.iter().all(|made| world.copies(made) >= 1).then_some(())
    })
    .await;
    let copies: usize = accepted.iter().map(|made| world.copies(made)).sum();
    assert!(copies <= 100 + 5 * 8, "more copies than the kills can explain: {copies}");
    program.signal(Signal::SIGTERM);
    assert!(program.ended().await.success());
    check_log(&world.log());
}

/// A killed process is no excuse for a panic in the next one.
fn check_log(log: &Path) {
    let text = std::fs::read_to_string(log).expect("a log");
    assert!(!text.contains("panicked"), "{text}");
}
