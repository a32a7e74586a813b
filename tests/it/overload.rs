//! Ten times as many codes as can be mailed, for a minute: the ingress goes on answering, memory
//! stays where it was, those who asked just now are served before those who have waited for long,
//! and no expired code is mailed.

use std::{collections::HashMap, time::Duration};

use domain::{clock::Clock as _, queue::FRESH_FOR};
use jiff::{SignedDuration, Timestamp};
use runtime::clock::SystemClock;
use sandbox::workos::{MagicAuth, Posted, post};
use secrecy::SecretString;
use tokio::{task::JoinSet, time::interval};

use crate::{
    crash::World,
    harness::{
        app::{SECRET, fresh_prefix},
        eventually,
        program::Program,
        queues::delete_queues,
        services::Services,
    },
};

/// Codes the worker can fetch, and so mail, in a second.
const CAPACITY: u32 = 20;
/// Codes asked for in a second.
const RUSH: u32 = 10 * CAPACITY;
const MINUTE: Duration = Duration::from_secs(60);
/// Lifetime of a code in this test: long enough to become late, short enough to expire.
const LIFE: SignedDuration = SignedDuration::from_secs(30);
/// How many may wait, fresh or late: less than the rush brings.
const LONGEST: u32 = RUSH * 15;

/// One minute of overload; returns the codes and how their webhooks were answered.
async fn rush(world: &World, program: &Program) -> Vec<(MagicAuth, Posted)> {
    let mut pace = interval(Duration::from_secs(1) / RUSH);
    let mut asking = JoinSet::new();
    let turns = u64::from(RUSH) * MINUTE.as_secs();
    for n in 0..turns {
        pace.tick().await;
        let made = world.workos.make_code_for(&format!("p{n}@example.com"), LIFE);
        let url = program.webhook_url();
        asking.spawn(async move {
            let posted = post(
                &url,
                &SecretString::from(SECRET.to_owned()),
                &made.event(),
                SystemClock.now(),
            )
            .await;
            (made, posted.expect("the ingress goes on answering"))
        });
    }
    asking.join_all().await
}

/// The median age of codes when the relay received them, of those received after `since`.
fn usual_age(
    world: &World,
    by_email: &HashMap<&str, &MagicAuth>,
    since: Timestamp,
) -> SignedDuration {
    let recent = world.inbox.mails().into_iter().filter(|mail| mail.at >= since);
    let mut ages: Vec<_> =
        recent.map(|mail| mail.at.duration_since(by_email[mail.to.as_str()].created_at)).collect();
    ages.sort();
    assert!(ages.len() > 50, "only {} mails in the last seconds of the rush", ages.len());
    ages[ages.len() / 2]
}

async fn survives_a_rush(world: World, env: Vec<(&'static str, String)>) {
    let mut env = env;
    env.push(("AUTHPOST_WORKOS_RATE", CAPACITY.to_string()));
    env.push(("AUTHPOST_QUEUE_MAX", LONGEST.to_string()));
    let program = Program::start("serve", &env, &world.log()).await;
    let before = program.resident();
    let answered = rush(&world, &program).await;
    let (ended, during) = (SystemClock.now(), program.resident());
    let accepted: Vec<_> =
        answered.iter().filter(|(_, posted)| posted.status == 200).map(|(made, _)| made).collect();
    for (_, posted) in &answered {
        assert!(
            posted.status == 200 || (posted.status == 503 && posted.retry_after.is_some()),
            "{posted:?}"
        );
    }
    let by_email: HashMap<_, _> =
        accepted.iter().map(|made| (made.email.as_str(), *made)).collect();
    let usual = usual_age(&world, &by_email, ended - SignedDuration::from_secs(10));
    let fresh = SignedDuration::try_from(FRESH_FOR).expect("short") + SignedDuration::from_secs(3);
    assert!(usual <= fresh, "those who ask now wait for {usual}, behind those who asked long ago");
    assert!(during < before + 64, "from {before} to {during} MiB");
    let count = accepted.len() as u64;
    eventually("everybody is served or too late", async || {
        (program.exposition().await.ended() >= count).then_some(())
    })
    .await;
    let exposition = program.exposition().await;
    let (sent, expired) = (exposition.outcomes("sent"), exposition.outcomes("expired"));
    assert_eq!((sent + expired, exposition.outcomes("dead")), (count, 0));
    assert_eq!(sent, world.inbox.count());
    for mail in world.inbox.mails() {
        // A transaction that started in time may end a moment later.
        let end = by_email[mail.to.as_str()].expires_at + SignedDuration::from_secs(1);
        assert!(mail.at <= end, "a expired code was mailed to {}", mail.to);
    }
    crate::harness::figure(&format!(
        "{} asked, {count} accepted, {} sent away with 503, {sent} mailed, {expired} too late; \
         usual age at the end of the rush {usual:#}; memory {before} -> {during} MiB",
        answered.len(),
        answered.len() as u64 - count,
    ));
    program.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded() {
    let world = World::new().await;
    let env = world.env();
    survives_a_rush(world, env).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
async fn distributed() {
    let (world, prefix) = (World::new().await, fresh_prefix());
    let env = world.on_brokers(Services::shared(), &prefix);
    survives_a_rush(world, env).await;
    delete_queues(Services::shared().amqp_url(), &prefix).await;
}
