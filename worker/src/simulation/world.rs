//! What is true in a history, whatever the workers believe: who asked, what the relay kept, and how
//! the things around the workers behave at the moment.

use std::{cell::Cell, sync::Arc, time::Duration};

use domain::event::QueuedEvent;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::*;

/// How long a code works after it was made.
pub(super) const LIFE: SignedDuration = SignedDuration::from_mins(10);

/// How WorkOS behaves at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Workos {
    Up,
    Down,
    RateLimited,
    /// What it reads from is behind: it knows no code.
    Behind,
}

/// How the relay behaves at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relay {
    Up,
    Down,
    Defers,
    RefusesUs,
    /// It refuses the address for good.
    RefusesAddress,
    /// It has the whole mail, keeps it, and does not answer.
    SilentAndKeeps,
    /// The same, and keeps nothing.
    SilentAndLoses,
}

/// How the store of the claims behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Store {
    Up,
    /// It does nothing and says so.
    Fails,
    /// It does what is asked, and its answers are lost.
    LosesReplies,
}

/// How the queue behaves when an event is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settling {
    Works,
    /// The event is delivered again.
    Fails,
    /// It is carried out, and the event is delivered again all the same.
    Doubles,
}

/// A small generator of pseudorandom numbers (SplitMix64): what it draws depends on the seed alone.
pub(super) struct Dice(Cell<u64>);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    pub(super) fn below(&self, end: u64) -> u64 {
        self.0.set(self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        let mut z = self.0.get();
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

/// One person's request for a code.
pub(super) struct Asked {
    pub(super) event: Arc<QueuedEvent>,
    /// When the relay was told about each mail with its code that it kept.
    pub(super) kept: Vec<Timestamp>,
    /// Sends that the relay did not answer.
    pub(super) silences: u32,
    /// The relay refused the address, or WorkOS did not know the code when it was asked.
    pub(super) is_refused: bool,
    /// Each ending that the queue took note of.
    pub(super) endings: Vec<&'static str>,
}

/// The truth about one history.
pub(super) struct World {
    pub(super) dice: Mutex<Dice>,
    pub(super) workos: Mutex<Workos>,
    pub(super) relay: Mutex<Relay>,
    pub(super) store: Mutex<Store>,
    pub(super) settling: Mutex<Settling>,
    /// Longest that a step of WorkOS or the relay takes, in milliseconds.
    pub(super) slowness: Mutex<u64>,
    pub(super) asked: Mutex<Vec<Asked>>,
    /// What is wrong on purpose.
    pub(super) planted: Option<Planted>,
    start: Instant,
    story: Option<Mutex<Vec<String>>>,
}

impl World {
    pub(super) fn new(seed: u64, planted: Option<Planted>, is_told: bool) -> Arc<Self> {
        Arc::new(Self {
            dice: Mutex::new(Dice::new(seed)),
            workos: Mutex::new(Workos::Up),
            relay: Mutex::new(Relay::Up),
            store: Mutex::new(Store::Up),
            settling: Mutex::new(Settling::Works),
            slowness: Mutex::new(200),
            asked: Mutex::default(),
            planted,
            start: Instant::now(),
            story: is_told.then(Mutex::default),
        })
    }

    pub(super) fn below(&self, end: u64) -> u64 {
        self.dice.lock().below(end)
    }

    /// The time of day at WorkOS.
    pub(super) fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.start.elapsed()).expect("short");
        START + passed
    }

    /// A step of somebody else takes a while.
    pub(super) async fn wait(&self) {
        let longest = *self.slowness.lock();
        let wait = Duration::from_millis(self.below(longest + 1));
        tokio::time::sleep(wait).await;
    }

    /// Adds a line to the story, if there is one.
    pub(super) fn tell(&self, line: impl FnOnce() -> String) {
        if let Some(story) = &self.story {
            let seconds = self.start.elapsed().as_secs_f64();
            story.lock().push(format!("{seconds:>8.2} s  {}", line()));
        }
    }

    pub(super) fn story(&self) -> String {
        self.story.as_ref().map(|story| story.lock().join("\n")).unwrap_or_default()
    }

    /// Changes what is known of the request with this number.
    pub(super) fn change(&self, number: usize, change: impl FnOnce(&mut Asked)) {
        change(&mut self.asked.lock()[number]);
    }
}

/// The time at which every history begins.
const START: Timestamp = Timestamp::constant(1_768_478_400, 0);

/// The number of a request, from the id of its code or event.
pub(super) fn number_of(id: &str) -> usize {
    id.rsplit('_').next().and_then(|number| number.parse().ok()).expect("ours")
}
