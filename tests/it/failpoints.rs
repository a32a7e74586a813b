//! A crash at every point of an event's journey, on both engines: every accepted event gets a mail,
//! and a second copy only where nobody can know whether there was a first.

use runtime::failpoint::Point;
use sandbox::{
    inbox::{Misbehavior, Step},
    workos::{MagicAuth, Override},
};

use crate::{
    crash::World,
    harness::{
        app::fresh_prefix,
        eventually, in_time,
        load::Asked,
        program::Program,
        queues::{delete_queues, ready_in, waiting_queues},
        services::Services,
    },
};

/// People, one after the other; the process crashes in the middle of the third one's journey.
const PEOPLE: usize = 5;

/// Every point, in the order in which an event passes them.
const POINTS: [Point; 7] = [
    Point::AfterStore,
    Point::AfterClaim,
    Point::AfterFetch,
    Point::BeforeMail,
    Point::AfterRelay,
    Point::AfterRecord,
    Point::AfterCopy,
];

type Env = Vec<(&'static str, String)>;

/// What a crash at a point may cost.
struct Cost {
    /// Mails sent beyond the first of each event.
    extra: u64,
    /// Claims that find that a mail may have been sent.
    doubtful: u64,
}

fn cost(point: Point) -> Cost {
    match point {
        Point::AfterStore
        | Point::AfterClaim
        | Point::AfterFetch
        | Point::AfterRecord
        | Point::AfterCopy => Cost { extra: 0, doubtful: 0 },
        // The relay was not contacted, but the next owner of the claim cannot know that.
        Point::BeforeMail => Cost { extra: 0, doubtful: 1 },
        Point::AfterRelay => Cost { extra: 1, doubtful: 1 },
    }
}

async fn crashes_at(point: Point, env: Env, world: &World) {
    let program = Program::start("serve", &crashing(point, &env, world), &world.log()).await;
    if point == Point::AfterCopy {
        (0..PEOPLE).for_each(|_| {
            world.inbox.order(Step::Rcpt, Misbehavior::Say("450 4.2.1 mailbox busy"));
        });
    }
    let made: Vec<_> =
        (0..PEOPLE).map(|n| world.workos.make_code(&format!("p{n}@example.com"))).collect();
    let mut unanswered = Vec::new();
    for made in &made {
        if !world.post(&program, made).await {
            unanswered.push(made);
        } else if point == Point::AfterStore {
            in_time("the worker is held", world.workos.reached(1)).await;
        }
    }
    assert!(!program.ended().await.success(), "it crashed");
    let program = Program::start("serve", &env, &world.log()).await;
    for made in unanswered {
        assert!(world.post(&program, made).await);
    }
    costs_no_more(point, &env, world, &program, made).await;
    program.stop().await;
}

/// The environment of the process that crashes, at the third pass.
fn crashing(point: Point, env: &Env, world: &World) -> Env {
    let mut mortal = env.clone();
    mortal.push(("AUTHPOST_FAILPOINT", format!("{}:3", point.name())));
    mortal.push(("AUTHPOST_CONCURRENCY", "1".to_owned()));
    if point == Point::AfterStore {
        // The ingress crashes whatever the worker does: so the only worker task is held at WorkOS,
        // and nothing depends on its speed.
        mortal.push(("AUTHPOST_WORKOS_TIMEOUT", "10 s".to_owned()));
        world.workos.answer_instead([Override::Stall]);
    }
    mortal
}

async fn costs_no_more(
    point: Point,
    env: &Env,
    world: &World,
    program: &Program,
    made: Vec<MagicAuth>,
) {
    let asked = Asked { made, in_doubt: 0 };
    eventually("everybody has a mail", async || {
        (asked.account(&world.inbox).without == 0).then_some(())
    })
    .await;
    let Cost { extra, doubtful } = cost(point);
    eventually("the last copy is out", async || {
        (asked.account(&world.inbox).extra >= extra).then_some(())
    })
    .await;
    eventually("nothing is in flight", async || {
        (program.exposition().await.count("authpost_in_flight") == 0).then_some(())
    })
    .await;
    if let Some((_, prefix)) = env.iter().find(|(name, _)| *name == "AUTHPOST_QUEUE_PREFIX") {
        let empty =
            async || ready_in(Services::shared().amqp_url(), waiting_queues(prefix)).await == 0;
        let idle = async || {
            empty().await
                && program.exposition().await.count("authpost_in_flight") == 0
                && empty().await
        };
        eventually("nothing waits", async || idle().await.then_some(())).await;
    }
    assert_eq!(
        asked.account(&world.inbox).extra,
        extra,
        "extra mails after a crash at {}",
        point.name()
    );
    assert_eq!(
        program.exposition().await.claims("doubtful"),
        doubtful,
        "doubts after a crash at {}",
        point.name()
    );
}

async fn on_files(point: Point) {
    // A retry is one transaction here: there is no moment between its copy and the end of the
    // original.
    if point != Point::AfterCopy {
        let world = World::new().await;
        crashes_at(point, world.env(), &world).await;
    }
}

async fn on_brokers(point: Point) {
    let (world, prefix) = (World::new().await, fresh_prefix());
    crashes_at(point, world.on_brokers(Services::shared(), &prefix), &world).await;
    delete_queues(Services::shared().amqp_url(), &prefix).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded() {
    futures_util::future::join_all(POINTS.map(on_files)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
async fn distributed() {
    futures_util::future::join_all(POINTS.map(on_brokers)).await;
}
