//! Random faults of two relays, one after the other, under load: nobody is lost, second mails are
//! explained, and hardly anybody waits.
//!
//! `./scripts/chaos --relays --seed N --minutes M`.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use domain::clock::Clock as _;
use fastrand::Rng;
use jiff::Timestamp;
use runtime::clock::SystemClock;
use tokio::time::{Instant, timeout};

use super::{
    number,
    relay_fault::{Fault, Relay},
};
use crate::{
    crash::World,
    harness::{
        eventually, figure,
        load::{Asked, Load, Sender},
        program::Program,
    },
};

/// People a second who ask for a code.
pub const RATE: u32 = 20;

/// A service with two relays, and people who ask.
struct Stage {
    world: World,
    relays: [Relay; 2],
    program: Program,
}

impl Stage {
    async fn set() -> Self {
        let world = World::new().await;
        let relays = [Relay::start().await, Relay::start().await];
        let urls = relays.each_ref().map(Relay::url);
        let mut env = world.env();
        env.retain(|(name, _)| {
            !["SMTP_URL", "AUTHPOST_SMTP_CONNECT_TIMEOUT", "AUTHPOST_CONCURRENCY"].contains(name)
        });
        env.push(("SMTP_URL", urls.join(" ")));
        let program = Program::start("serve", &env, &world.log()).await;
        Self { world, relays, program }
    }

    fn load(&self) -> Load {
        let (workos, clock) = (Arc::clone(&self.world.workos), Arc::new(SystemClock));
        Load::start(Sender { workos, urls: vec![self.program.webhook_url()], clock }, RATE)
    }

    /// Waits until both relays are in use again.
    async fn is_well(&self) {
        let names = self.relays.each_ref().map(|relay| relay.way.address().to_string());
        eventually("both relays are used", async || {
            let exposition = self.program.exposition().await;
            let closed = |name: &String| {
                let series = format!("authpost_relay_state{{relay=\"{name}\",state=\"closed\"}}");
                exposition.count(&series) == 1
            };
            names.iter().all(closed).then_some(())
        })
        .await;
    }
}

/// When each person had the first mail, and how many mails more there were.
pub fn mails(relays: &[Relay; 2]) -> (BTreeMap<String, Timestamp>, u64) {
    let (mut first, mut extra) = (BTreeMap::new(), 0);
    for mail in relays.iter().flat_map(|relay| relay.inbox.mails()) {
        match first.get_mut(&mail.to) {
            None => drop(first.insert(mail.to, mail.at)),
            Some(at) => {
                extra += 1;
                *at = mail.at.min(*at);
            }
        }
    }
    (first, extra)
}

/// The account of a run.
struct Account {
    people: usize,
    without: usize,
    extra: u64,
    doubts: u64,
    dead: u64,
    /// When each person asked, and how long the first mail took, the shortest wait first.
    waits: Vec<(Duration, Timestamp)>,
}

impl Account {
    async fn close(stage: &Stage, asked: &Asked) -> Self {
        let people = asked.made.len();
        eventually("everybody is accounted for", async || {
            let exposition = stage.program.exposition().await;
            let ended = exposition.outcomes("sent") + exposition.outcomes("dead");
            (ended >= people as u64).then_some(())
        })
        .await;
        let (first, extra) = mails(&stage.relays);
        let exposition = stage.program.exposition().await;
        let wait = |email: &String| {
            let id = email.split('@').next().expect("one").to_ascii_uppercase();
            let id = ulid::Ulid::from_string(&id).expect("the address says when");
            let asked = Timestamp::from_millisecond(i64::try_from(id.timestamp_ms()).ok()?).ok()?;
            Some((Duration::try_from(first.get(email)?.duration_since(asked)).ok()?, asked))
        };
        let mut waits: Vec<_> = asked.made.iter().filter_map(|made| wait(&made.email)).collect();
        waits.sort_unstable();
        let without = asked.made.iter().filter(|made| !first.contains_key(&made.email)).count();
        let doubts = exposition.count("authpost_claims_total{result=\"doubtful\"}");
        Self { people, without, extra, doubts, dead: exposition.outcomes("dead"), waits }
    }

    fn percentile(&self, hundredths: usize) -> Duration {
        percentile(&self.waits, hundredths)
    }

    /// Shows the waits of those who asked after each kind of fault had begun, up to the next fault.
    fn show_by_fault(&self, faults: &[(Timestamp, &'static str)]) {
        let mut times = BTreeMap::<&str, usize>::new();
        faults.iter().for_each(|(_, class)| *times.entry(class).or_default() += 1);
        for (class, times) in times {
            let during = |asked: Timestamp| {
                let fault = faults.iter().rev().find(|(begun, _)| *begun <= asked);
                fault.is_some_and(|(_, of)| *of == class)
            };
            let waits: Vec<_> =
                self.waits.iter().filter(|(_, asked)| during(*asked)).copied().collect();
            figure(&format!(
                "| {class} | {times} | {} | {:.2?} | {:.2?} | {:.2?} |",
                waits.len(),
                percentile(&waits, 50),
                percentile(&waits, 99),
                percentile(&waits, 100)
            ));
        }
    }
}

/// A percentile of sorted waits.
fn percentile(waits: &[(Duration, Timestamp)], hundredths: usize) -> Duration {
    let last = waits.len().saturating_sub(1);
    waits.get(last * hundredths / 100).map(|(wait, _)| *wait).unwrap_or_default()
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { people, without, extra, doubts, dead, .. } = self;
        write!(
            f,
            "{people} people, {without} without a mail, {extra} second mails ({doubts} doubts \
             counted), {dead} dead letters; waits p50 {:?}, p99 {:?}, longest {:?}",
            self.percentile(50),
            self.percentile(99),
            self.percentile(100)
        )
    }
}

/// People who ask while nothing is wrong: what a wait is without a fault.
async fn in_peace() -> Account {
    let stage = Stage::set().await;
    let load = stage.load();
    eventually("ten seconds' worth of people", async || {
        (load.accepted() >= u64::from(RATE) * 10).then_some(())
    })
    .await;
    let account = Account::close(&stage, &load.end().await).await;
    stage.program.stop().await;
    account
}

/// Has one of the relays suffer for a while; returns the class of the fault.
pub async fn one_fault(chance: &mut Rng, relays: &[Relay; 2]) -> &'static str {
    let (fault, relay) = (Fault::draw(chance), chance.choice(relays).expect("two"));
    fault.begin(relay);
    let lasting = Duration::from_millis(chance.u64(300..1500));
    // The fault's own length, not a wait for anything.
    drop(timeout(lasting, std::future::pending::<()>()).await);
    Fault::end(relay);
    fault.class()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: ./scripts/chaos --relays"]
async fn random_faults_of_two_relays() {
    let (seed, minutes) = (number("AUTHPOST_CHAOS_SEED", 1), number("AUTHPOST_CHAOS_MINUTES", 1));
    let peace = in_peace().await;
    figure(&format!("without faults: {peace}"));
    let (mut chance, stage) = (Rng::with_seed(seed), Stage::set().await);
    let (load, begun) = (stage.load(), Instant::now());
    let mut faults = Vec::new();
    while begun.elapsed() < Duration::from_secs(60 * minutes) {
        let at = SystemClock.now();
        faults.push((at, one_fault(&mut chance, &stage.relays).await));
        stage.is_well().await;
    }
    let account = Account::close(&stage, &load.end().await).await;
    account.show_by_fault(&faults);
    let faults = faults.len();
    figure(&format!("seed {seed}, {minutes} min, {faults} faults: {account}"));
    let added =
        |hundredths| account.percentile(hundredths).saturating_sub(peace.percentile(hundredths));
    figure(&format!("added wait: p50 {:?}, p99 {:?}", added(50), added(99)));
    stage.program.stop().await;
    assert_eq!((account.without, account.dead), (0, 0), "{account}");
    assert!(account.extra <= account.doubts, "{account}");
}
