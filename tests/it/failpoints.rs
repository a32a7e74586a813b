//! Death at every point of an event's journey, on both engines: whoever was accepted gets a mail, and a second copy only
//! where nobody can know whether there was a first.

use sandbox::{
    inbox::{Misdeed, Step},
    workos::Instead,
};
use shared::failpoint::{POINTS, Point};

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

/// People, one after the other; the process dies in the middle of the third one's journey.
const PEOPLE: usize = 5;

type Env = Vec<(&'static str, String)>;

/// What death at a point may cost.
struct Cost {
    /// Mails beyond the first.
    extra: u64,
    /// Claims that find that a mail may be out.
    doubtful: u64,
}

fn cost(point: Point) -> Cost {
    match point {
        Point::AfterStore | Point::AfterClaim | Point::AfterFetch | Point::AfterRecord | Point::AfterCopy => Cost { extra: 0, doubtful: 0 },
        // Nothing was said to the relay, and nobody who comes later can know that.
        Point::BeforeMail => Cost { extra: 0, doubtful: 1 },
        Point::AfterRelay => Cost { extra: 1, doubtful: 1 },
    }
}

async fn dies_at(point: Point, env: Env, world: &World) {
    let mut mortal = env.clone();
    mortal.push(("AUTHPOST_FAILPOINT", format!("{}:3", point.name())));
    mortal.push(("AUTHPOST_CONCURRENCY", "1".to_owned()));
    if point == Point::AfterStore {
        // The front dies whatever the worker is at: so the worker's one hand is held at WorkOS, and nothing depends on its speed.
        mortal.push(("AUTHPOST_WORKOS_TIMEOUT", "10 s".to_owned()));
        world.workos.answer_instead([Instead::Stall]);
    }
    let program = Program::start("serve", &mortal, &world.log()).await;
    if point == Point::AfterCopy {
        (0..PEOPLE).for_each(|_| world.inbox.order(Step::Rcpt, Misdeed::Say("450 4.2.1 mailbox busy")));
    }
    let made: Vec<_> = (0..PEOPLE).map(|n| world.workos.make_code(&format!("p{n}@example.com"))).collect();
    let mut unanswered = Vec::new();
    for made in &made {
        if !world.post(&program, made).await {
            unanswered.push(made);
        } else if point == Point::AfterStore {
            in_time("the worker is held", world.workos.reached(1)).await;
        }
    }
    assert!(!program.ended().await.success(), "it died");
    let program = Program::start("serve", &env, &world.log()).await;
    for made in unanswered {
        assert!(world.post(&program, made).await);
    }
    let asked = Asked { made, in_doubt: 0 };
    eventually("everybody has a mail", async || (asked.account(&world.inbox).without == 0).then_some(())).await;
    let Cost { extra, doubtful } = cost(point);
    eventually("the last copy is out", async || (asked.account(&world.inbox).extra >= extra).then_some(())).await;
    eventually("nothing is in hand", async || (program.exposition().await.count("authpost_in_flight") == 0).then_some(())).await;
    if let Some((_, prefix)) = env.iter().find(|(name, _)| *name == "AUTHPOST_QUEUE_PREFIX") {
        let empty = async || ready_in(Services::shared().amqp_url(), waiting_queues(prefix)).await == 0;
        let idle = async || empty().await && program.exposition().await.count("authpost_in_flight") == 0 && empty().await;
        eventually("nothing waits", async || idle().await.then_some(())).await;
    }
    assert_eq!(asked.account(&world.inbox).extra, extra, "mails too many after a death {}", point.name());
    assert_eq!(program.exposition().await.claims("doubtful"), doubtful, "doubts after a death {}", point.name());
    program.stop().await;
}

async fn on_files(point: Point) {
    // A retry is one transaction here: there is no moment between its copy and the end of the original.
    if point != Point::AfterCopy {
        let world = World::new().await;
        dies_at(point, world.env(), &world).await;
    }
}

async fn on_brokers(point: Point) {
    let (world, prefix) = (World::new().await, fresh_prefix());
    dies_at(point, world.on_brokers(Services::shared(), &prefix), &world).await;
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
