//! One history: what happens, from a seed, and what must be true in the end.

use std::{fmt, sync::Arc};

use domain::{
    address::EmailAddress,
    claims::{Owners, Terms},
    event::QueuedEvent,
    ids::{EventId, MagicAuthId, UserId},
};
use engine::{
    local_sent_cache::{LocalSentCache, OnStoreOutage},
    memory::MemoryClaims,
};
use jiff::{SignedDuration, Timestamp};
use runtime::{
    health::Health,
    live::Live,
    metrics::{Metrics, labels::ClaimResult},
};
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    ports::{Ports, ProcessClock},
    queue::{Consumer, Queue},
    store::DistantStore,
    world::{Asked, LIFE, Relay, Settling, Store, Workos, World},
    *,
};
use crate::{
    LanguageSources,
    breaker::CircuitBreaker,
    mail::{
        Mailer,
        message::Sender,
        render::{TemplateOptions, Templates},
    },
    state::{OnAmbiguity, Worker, WorkerConfig},
};

const PEOPLE: u64 = 2;
const PROCESSES: usize = 2;
const STEPS: u64 = 24;

/// The defaults of the product.
const TERMS: Terms = Terms {
    lease: Duration::from_secs(35),
    sending: Duration::from_secs(85),
    done: Duration::from_secs(3 * 24 * 3600),
    user_limit: None,
    mail_limit: None,
};

/// What all histories of a thread use.
pub(super) struct Shared {
    templates: Live<Templates>,
    metrics: Arc<Metrics>,
}

impl Shared {
    /// Templates that cost next to nothing: the mail itself is not what is tried.
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["login_code.txt", "login_code.html", "login_code.subject.txt"] {
            std::fs::write(folder.path().join(name), "code={{ code }}").expect("written");
        }
        let address = EmailAddress::parse("login@acme.example").expect("valid");
        let sender = Sender { name: None, address };
        let directory = Some(folder.path());
        let options = TemplateOptions { directory, ..TemplateOptions::plain("Acme", sender) };
        let templates = Live::new(Templates::load(options).expect("usable"));
        Self { templates, metrics: Arc::new(Metrics::new("test").expect("declared rightly")) }
    }

    /// How many second mails the workers counted as possible.
    fn doubts(&self) -> u64 {
        [ClaimResult::Doubtful, ClaimResult::Late, ClaimResult::Already, ClaimResult::Unrecorded]
            .into_iter()
            .map(|result| self.metrics.claims(result))
            .sum()
    }
}

/// A history that breaks an invariant.
pub(super) struct Broken {
    seed: u64,
    invariant: String,
    story: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, invariant, story } = self;
        write!(
            f,
            "seed {seed}: {invariant}\n{story}\n(./scripts/simulate --histories 1 --seed {seed})"
        )
    }
}

/// Runs one history, in time that passes only when nothing else can happen.
pub(super) fn run(
    shared: &Shared,
    seed: u64,
    planted: Option<Planted>,
    is_told: bool,
) -> Result<(), Broken> {
    in_virtual_time(async {
        let history = History::start(shared, World::new(seed, planted, is_told));
        let before = shared.doubts();
        let invariant = history.live(before).await;
        invariant.map_err(|invariant| Broken { seed, invariant, story: history.world.story() })
    })
}

/// What happens in a history.
pub(super) fn story(shared: &Shared, seed: u64) -> String {
    in_virtual_time(async {
        let history = History::start(shared, World::new(seed, None, true));
        drop(history.live(shared.doubts()).await);
        history.world.story()
    })
}

fn in_virtual_time<T>(history: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(history)
}

struct History<'a> {
    shared: &'a Shared,
    world: Arc<World>,
    queue: Arc<Queue>,
    store: Arc<DistantStore>,
    processes: parking_lot::Mutex<Vec<JoinHandle<()>>>,
}

impl<'a> History<'a> {
    fn start(shared: &'a Shared, world: Arc<World>) -> Self {
        let clock = Arc::new(TrueClock(Arc::clone(&world)));
        let store =
            DistantStore { world: Arc::clone(&world), store: MemoryClaims::new(clock, TERMS) };
        let queue = Queue::new(&world);
        let history = Self {
            shared,
            world,
            queue,
            store: Arc::new(store),
            processes: parking_lot::Mutex::default(),
        };
        for number in 0..PROCESSES {
            let process = history.process(number);
            history.processes.lock().push(process);
        }
        history
    }

    /// Starts a process and returns its task.
    fn process(&self, number: usize) -> JoinHandle<()> {
        let clock = ProcessClock::new(&self.world);
        let ports = Ports { world: Arc::clone(&self.world), clock: clock.clone() };
        let store = LocalSentCache::new(self.store.clone(), OnStoreOutage::Hold);
        let metrics = Arc::clone(&self.shared.metrics);
        let owners = self.world.below(u64::MAX - 8) + number as u64;
        let worker = Worker {
            claims: Arc::new(store),
            owners: Owners::new(owners),
            codes: Arc::new(ports.clone()),
            languages: LanguageSources::default(),
            mailer: Live::new(Arc::new(ports) as Arc<dyn Mailer>),
            templates: self.shared.templates.clone(),
            clock,
            chance: Arc::new(|| 0.5),
            breaker: Arc::new(CircuitBreaker::new(Arc::clone(&metrics), Arc::new(|| 0.5))),
            metrics,
            config: WorkerConfig {
                concurrency: 3,
                on_ambiguity: OnAmbiguity::Resend,
                record_for: Duration::from_secs(10),
            },
            heartbeat: Health::default().heartbeat("worker"),
            stop: CancellationToken::new(),
        };
        tokio::spawn(crate::run(Arc::new(worker), Box::new(Consumer(Arc::clone(&self.queue)))))
    }

    /// Somebody asks for a code.
    fn ask(&self) {
        let (world, now) = (&self.world, self.world.now());
        let number = world.asked.lock().len();
        let message = include_str!("../../../shared/domain/tests/data/queued_event_v1.json").trim();
        let mut event = QueuedEvent::decode(message.as_bytes()).expect("the golden file");
        event.event_id = EventId::parse(format!("event_{number}")).expect("valid");
        event.object_id = MagicAuthId::parse(format!("magic_auth_{number}")).expect("valid");
        let person = world.below(PEOPLE);
        event.user_id = Some(UserId::parse(format!("user_{person}")).expect("valid"));
        // Two events of one person are never of the same millisecond.
        event.created_at = now + SignedDuration::from_millis(i64::try_from(number).expect("few"));
        let is_too_late = world.planted == Some(Planted::WallTooLate);
        event.expires_at = event.created_at + LIFE * if is_too_late { 2 } else { 1 };
        world.tell(|| format!("person {person} asks: {number}"));
        let event = Arc::new(event);
        world.asked.lock().push(Asked {
            event: Arc::clone(&event),
            kept: Vec::new(),
            silences: 0,
            is_refused: false,
            endings: Vec::new(),
        });
        self.queue.publish(&event);
    }

    /// WorkOS posts a webhook again.
    fn double(&self) {
        let asked = self.world.asked.lock();
        if !asked.is_empty() {
            let chosen = self.world.below(asked.len() as u64);
            let event = Arc::clone(&asked[usize::try_from(chosen).expect("small")].event);
            drop(asked);
            self.world.tell(|| format!("{} comes again", event.event_id));
            self.queue.publish(&event);
        }
    }

    /// A process dies where it is, and another takes its place.
    async fn crash(&self) {
        let chosen = usize::try_from(self.world.below(PROCESSES as u64)).expect("small");
        self.world.tell(|| format!("process {chosen} crashes"));
        let process = self.process(chosen);
        let dead = std::mem::replace(&mut self.processes.lock()[chosen], process);
        dead.abort();
        drop(dead.await);
    }

    async fn step(&self) {
        let world = &self.world;
        match world.below(22) {
            0..=3 => self.ask(),
            4 => self.double(),
            5..=7 => self.crash().await,
            8..=9 => {
                const MOODS: [Workos; 5] =
                    [Workos::Up, Workos::Up, Workos::Down, Workos::RateLimited, Workos::Behind];
                *world.workos.lock() = MOODS[chosen(world, MOODS.len())];
            }
            10..=12 => {
                const MOODS: [Relay; 8] = [
                    Relay::Up,
                    Relay::Up,
                    Relay::Down,
                    Relay::Defers,
                    Relay::RefusesUs,
                    Relay::RefusesAddress,
                    Relay::SilentAndKeeps,
                    Relay::SilentAndLoses,
                ];
                *world.relay.lock() = MOODS[chosen(world, MOODS.len())];
            }
            13..=14 => {
                const MOODS: [Store; 4] = [Store::Up, Store::Up, Store::Fails, Store::LosesReplies];
                *world.store.lock() = MOODS[chosen(world, MOODS.len())];
            }
            15..=16 => {
                const MOODS: [Settling; 4] =
                    [Settling::Works, Settling::Works, Settling::Fails, Settling::Doubles];
                *world.settling.lock() = MOODS[chosen(world, MOODS.len())];
            }
            17 => {
                // Some steps outlast a lease, as those of a machine that stood still.
                const SLOWNESS: [u64; 4] = [20, 200, 3_000, 50_000];
                *world.slowness.lock() = SLOWNESS[chosen(world, SLOWNESS.len())];
            }
            _ => sleep(Duration::from_secs(world.below(20))).await,
        }
    }

    /// Lets things happen, has everything work again, and waits until nothing is left to do. `Err`
    /// names the invariant that does not hold.
    async fn live(&self, doubts_before: u64) -> Result<(), String> {
        let world = &self.world;
        // Some histories last longer than a code.
        let pace = if world.below(4) == 0 { 60_000 } else { 3_000 };
        for _ in 0..STEPS {
            sleep(Duration::from_millis(world.below(pace))).await;
            self.step().await;
        }
        world.tell(|| "everything works again".to_owned());
        (*world.workos.lock(), *world.relay.lock()) = (Workos::Up, Relay::Up);
        (*world.store.lock(), *world.settling.lock()) = (Store::Up, Settling::Works);
        *world.slowness.lock() = 200;
        let healed_at = world.now();
        let ending = async {
            while self.queue.unfinished() > 0 {
                sleep(Duration::from_secs(5)).await;
            }
        };
        let ended = tokio::time::timeout(LONGEST, ending).await;
        self.processes.lock().drain(..).for_each(|process| process.abort());
        if ended.is_err() {
            return Err(format!("{} events have no ending", self.queue.unfinished()));
        }
        check(&world.asked.lock(), healed_at, self.shared.doubts() - doubts_before)
    }
}

fn chosen(world: &World, of: usize) -> usize {
    usize::try_from(world.below(of as u64)).expect("small")
}

/// Life that a code must have left when everything works again for it to be mailed: the longest rest
/// of a retry, a lease that nobody has any more, and the time that an attempt wants at the end.
const NEEDED: SignedDuration = SignedDuration::from_secs(120 + 85 + 35 + 60);

fn check(asked: &[Asked], healed_at: Timestamp, doubts: u64) -> Result<(), String> {
    let mut extra = 0;
    for (number, one) in asked.iter().enumerate() {
        if one.endings.is_empty() {
            return Err(format!("{number} has no ending"));
        }
        if let Some(late) = one.kept.iter().find(|at| **at >= one.event.created_at + LIFE) {
            return Err(format!("the code of {number} was mailed at {late}, after it had expired"));
        }
        extra += one.kept.len().saturating_sub(1) as u64;
        // Four silences are the most that is tried, and a refusal ends an event rightly.
        let is_excused = one.is_refused || one.silences >= 4;
        let had_time = (one.event.created_at + LIFE).duration_since(healed_at) >= NEEDED;
        let is_of_same = |newer: &&Asked| newer.event.user_id == one.event.user_id;
        let mut newer = asked.iter().skip(number + 1).filter(is_of_same);
        let is_superseded = newer.any(|newer| !newer.kept.is_empty());
        if had_time && one.kept.is_empty() && !is_superseded && !is_excused {
            return Err(format!("{number} was not mailed: {:?}", one.endings));
        }
    }
    if extra > doubts {
        return Err(format!("{extra} second mails, and {doubts} counted as possible"));
    }
    Ok(())
}

/// The clock of the store.
struct TrueClock(Arc<World>);

impl domain::clock::Clock for TrueClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
}
