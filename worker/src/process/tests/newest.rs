//! The newest code wins, whatever happens in between: random interleavings of people who ask again,
//! relays that fail, and workers that crash.

use std::{collections::BTreeMap, pin::Pin};

use domain::retry::Stage;

use self::world::{Mood, World, templates};
use super::*;

mod world;

const INTERLEAVINGS: u64 = 10_000;
const PEOPLE: u64 = 2;
const WORKERS: usize = 3;
const STEPS: usize = 60;

/// An event that is being processed.
type Story<'a> = Pin<Box<dyn Future<Output = Outcome> + 'a>>;

/// One run: events wait until they are due, and workers hold some.
struct Run<'a> {
    world: Arc<World>,
    worker: &'a Worker,
    waiting: Vec<(Timestamp, QueuedEvent, u32)>,
    working: Vec<(QueuedEvent, u32, Story<'a>)>,
    asked: Vec<QueuedEvent>,
    ended: BTreeMap<String, Outcome>,
}

impl Run<'_> {
    fn now(&self) -> Timestamp {
        self.world.clock.now()
    }

    fn advance(&self, seconds: u64) {
        *self.world.clock.now.lock() +=
            SignedDuration::from_secs(i64::try_from(seconds).expect("small"));
    }

    /// Somebody asks for a code, one time a second at most.
    fn ask(&mut self) {
        self.advance(1);
        let seconds = self.now().duration_since(now()).as_secs();
        let mut event = event();
        event.event_id = EventId::parse(format!("event_{seconds:06}")).expect("valid");
        event.object_id = MagicAuthId::parse(format!("magic_auth_{seconds:06}")).expect("valid");
        let person = self.world.chance.below(PEOPLE);
        event.user_id = Some(domain::ids::UserId::parse(format!("user_{person}")).expect("valid"));
        event.created_at = self.now();
        event.expires_at = self.now() + SignedDuration::from_mins(10);
        self.asked.push(event.clone());
        self.waiting.push((self.now(), event, 1));
    }

    fn start(&mut self) {
        let (now, worker) = (self.now(), self.worker);
        let due: Vec<usize> =
            (0..self.waiting.len()).filter(|index| self.waiting[*index].0 <= now).collect();
        if due.is_empty() || self.working.len() >= WORKERS {
            return;
        }
        let chosen = self.world.chance.below(due.len() as u64);
        let (_, event, attempt) =
            self.waiting.swap_remove(due[usize::try_from(chosen).expect("small")]);
        let story = Arc::new(event.clone());
        let story = Box::pin(async move { process(worker, &story, attempt).await });
        self.working.push((event, attempt, story));
    }

    /// Lets one of the workers go one step further.
    async fn step(&mut self) {
        if self.working.is_empty() {
            return;
        }
        let chosen = self.world.chance.below(self.working.len() as u64);
        let chosen = usize::try_from(chosen).expect("small");
        if let std::task::Poll::Ready(outcome) = futures_util::poll!(&mut self.working[chosen].2) {
            let (event, attempt, _) = self.working.swap_remove(chosen);
            self.settle(event, attempt, outcome).await;
        }
    }

    /// A worker dies, and the queue delivers its event again.
    fn crash(&mut self) {
        if let Some((event, attempt, story)) = self.working.pop() {
            drop(story);
            self.waiting.push((self.now(), event, attempt));
        }
    }

    async fn settle(&mut self, event: QueuedEvent, attempt: u32, outcome: Outcome) {
        match outcome {
            Outcome::Retry { stage, attempt, .. } => {
                let delay = SignedDuration::try_from(Stage::delay(stage)).expect("short");
                self.waiting.push((self.now() + delay, event, attempt));
            }
            outcome => {
                if matches!(outcome, Outcome::Superseded) {
                    self.assert_a_newer_one_was_accepted(&event);
                }
                if matches!(outcome, Outcome::Dead { .. }) {
                    let subject = Subject::of(&Arc::new(event.clone()), attempt, self.now());
                    self.worker.claims.withdraw(&subject).await.expect("answers");
                }
                let before = self.ended.insert(event.event_id.to_string(), outcome);
                assert!(before.is_none(), "{} ended twice, at attempt {attempt}", event.event_id);
            }
        }
    }

    fn codes_of(&self, event: &QueuedEvent) -> Vec<String> {
        let theirs = |code: &&String| {
            let id = format!("magic_auth_{code}");
            self.asked
                .iter()
                .any(|asked| asked.object_id.as_str() == id && asked.user_id == event.user_id)
        };
        self.world.accepted.lock().iter().filter(theirs).cloned().collect()
    }

    fn assert_a_newer_one_was_accepted(&self, event: &QueuedEvent) {
        let code = event.object_id.as_str().trim_start_matches("magic_auth_");
        let accepted = self.codes_of(event);
        assert!(accepted.iter().any(|newer| newer.as_str() > code), "{code}: {accepted:?}");
    }

    /// The relay works again, and everything is delivered as often as it is due.
    async fn finish(&mut self) {
        *self.world.mood.lock() = Mood::Up;
        while !self.waiting.is_empty() || !self.working.is_empty() {
            if !self.waiting.iter().any(|(due, ..)| *due <= self.now()) && self.working.is_empty() {
                self.advance(1);
            }
            self.start();
            self.step().await;
        }
    }

    /// Everybody who asked holds their newest code, and every event has one ending.
    fn check(&self, seed: u64) {
        assert_eq!(self.ended.len(), self.asked.len(), "seed {seed}");
        for person in 0..PEOPLE {
            let theirs = |event: &&QueuedEvent| {
                event.user_id.as_ref().is_some_and(|user| user.as_str() == format!("user_{person}"))
            };
            let Some(newest) = self.asked.iter().rev().find(theirs) else { continue };
            let accepted = self.codes_of(newest);
            let code = newest.object_id.as_str().trim_start_matches("magic_auth_");
            let outcome = &self.ended[newest.event_id.as_str()];
            assert!(
                accepted.iter().any(|held| held == code),
                "seed {seed}: {code} was not mailed, but {accepted:?}: {outcome:?}"
            );
        }
    }
}

#[tokio::test]
async fn the_newest_code_wins_in_every_interleaving() {
    let templates = templates();
    let metrics = Arc::new(Metrics::new("test").expect("declared rightly"));
    let (mut mails, mut superseded) = (0, 0);
    for seed in 0..INTERLEAVINGS {
        let world = World::new(seed);
        let worker = world.worker(&templates, &metrics);
        let (asked, ended) = (Vec::new(), BTreeMap::new());
        let (waiting, working) = (Vec::new(), Vec::new());
        let mut run =
            Run { world: Arc::clone(&world), worker: &worker, waiting, working, asked, ended };
        for _ in 0..STEPS {
            match world.chance.below(20) {
                0..=1 => run.ask(),
                2 => *world.mood.lock() = Mood::Down,
                3 => *world.mood.lock() = Mood::Up,
                4 => *world.mood.lock() = Mood::Silent,
                5 => run.crash(),
                6 => run.advance(world.chance.below(12)),
                7..=9 => run.start(),
                _ => run.step().await,
            }
        }
        run.finish().await;
        run.check(seed);
        mails += world.accepted.lock().len();
        superseded +=
            run.ended.values().filter(|ending| matches!(ending, Outcome::Superseded)).count();
    }
    assert!(mails > 10_000 && superseded > 1000, "{mails} mails, {superseded} superseded");
}
