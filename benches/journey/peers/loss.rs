//! What is lost, and what is mailed twice, when worker and broker are killed under way.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::TcpStream,
    time::{Instant, interval, sleep, timeout},
};

use super::{Environment, Rival, Running, Services, World, fresh_prefix, rival};
use crate::load;

/// Events a second, and how many.
const PACE: u32 = 50;
const EVENTS: u32 = 600;

/// The worker is killed at this event and started again at once, the broker at that one.
const WORKER_DIES: u32 = 150;
const BROKER_DIES: u32 = 300;

/// WorkOS repeats for days; here a webhook is repeated for so long.
const REPEATED_FOR: Duration = Duration::from_secs(120);

/// Longest wait for a mail, which every claim outlives that nobody holds any more.
const PATIENCE: Duration = Duration::from_secs(180);

pub struct Loss {
    pub accepted: usize,
    /// Events that were accepted and never mailed.
    pub lost: usize,
    /// People who got more than one mail.
    pub repeated: usize,
}

pub async fn measure(rival: Rival, services: &Arc<Services>) -> Loss {
    let world = World::new(false).await;
    let environment = Environment { world: &world, services, prefix: fresh_prefix() };
    let ingress = rival.ingress(&environment).await;
    let mut worker = rival.worker(&environment).await;
    let (mut posting, mut people) = (tokio::task::JoinSet::new(), Vec::new());
    let (mut due, mut restarting) = (interval(Duration::from_secs(1) / PACE), None);
    for event in 0..EVENTS {
        due.tick().await;
        let person = format!("loss-{event}@example.com");
        posting.spawn(until_accepted(
            ingress.address(),
            load::request(&world.workos.make_code(&person)),
        ));
        people.push(person);
        if event == WORKER_DIES {
            worker = killed_and_started(rival, worker, &environment).await;
        }
        if event == BROKER_DIES {
            let services = Arc::clone(services);
            restarting = Some(tokio::spawn(async move {
                services.carry_out("kill rabbitmq").await;
                services.carry_out("start rabbitmq").await;
            }));
        }
    }
    restarting.expect("begun").await.expect("no panic");
    let accepted = posting.join_all().await.into_iter().filter(|accepted| *accepted).count();
    let loss = settle(&world, &people, accepted).await;
    drop((ingress, worker));
    rival::forget(services.amqp_url(), &environment.prefix).await;
    loss
}

async fn killed_and_started(
    rival: Rival,
    mut worker: Running,
    environment: &Environment<'_>,
) -> Running {
    worker.kill();
    rival.worker(environment).await
}

/// Repeats a webhook as WorkOS does, only sooner. Whether it was accepted in the end.
async fn until_accepted(public: SocketAddr, request: Vec<u8>) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < REPEATED_FOR {
        let answered = timeout(Duration::from_secs(10), async {
            let mut stream = TcpStream::connect(public).await.ok()?;
            load::try_exchange(&mut stream, &request).await
        });
        if let Ok(Some(200)) = answered.await {
            return true;
        }
        sleep(Duration::from_millis(500)).await;
    }
    false
}

/// Waits until everybody has a mail, or nobody gets one any more.
async fn settle(world: &World, people: &[String], accepted: usize) -> Loss {
    let begun = Instant::now();
    loop {
        let mut mails: HashMap<String, usize> = HashMap::new();
        for mail in world.inbox.mails() {
            *mails.entry(mail.to).or_default() += 1;
        }
        let without = people.iter().filter(|person| !mails.contains_key(*person)).count();
        if without == 0 || begun.elapsed() > PATIENCE {
            let repeated = mails.values().filter(|count| **count > 1).count();
            let never_accepted = people.len() - accepted;
            return Loss { accepted, lost: without.saturating_sub(never_accepted), repeated };
        }
        sleep(Duration::from_millis(200)).await;
    }
}
