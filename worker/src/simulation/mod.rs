//! Whole histories of workers, from seeds: people who ask again, processes that crash between any
//! two steps, deliveries that come twice, stores that lose their answers, relays that refuse or fall
//! silent, clocks that are wrong. After each, the account closes.
//!
//! `./scripts/simulate --histories N --seed S` runs as many as one likes.

mod history;
mod ports;
mod queue;
mod store;
mod world;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use self::history::{Broken, Shared, run};

/// A fault that is planted into the world of the workers, to prove that the invariants find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Planted {
    /// A mail is on record as sent before the relay has answered.
    CompleteEarly,
    /// A claim is granted whoever holds it.
    NoFence,
    /// Codes are taken to be valid for ten minutes longer than they are.
    WallTooLate,
}

/// Longest virtual time that a history may take after everything works again.
const LONGEST: Duration = Duration::from_secs(2000);

/// Histories in the test run.
const HISTORIES: u64 = 20_000;

/// Runs histories on all cores. Returns the first that breaks an invariant.
fn first_broken(seeds: std::ops::Range<u64>, planted: Option<Planted>) -> Option<Broken> {
    let (next, first) = (AtomicU64::new(seeds.start), AtomicU64::new(u64::MAX));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let shared = Shared::new();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end.min(first.load(Ordering::Relaxed)) {
                        return;
                    }
                    if run(&shared, seed, planted, false).is_err() {
                        first.fetch_min(seed, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    // Once more, this time with its story.
    let seed = first.into_inner();
    (seed != u64::MAX).then(|| {
        run(&Shared::new(), seed, planted, true).expect_err("a history depends on its seed alone")
    })
}

#[expect(clippy::disallowed_methods, reason = "how ./scripts/simulate says what it wants")]
fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().map_or(otherwise, |text| text.parse().expect("a number"))
}

#[test]
fn every_history_closes_its_account() {
    let seed = from_environment("AUTHPOST_SEED", 1);
    let histories = from_environment("AUTHPOST_HISTORIES", HISTORIES);
    if let Some(broken) = first_broken(seed..seed + histories, None) {
        panic!("{broken}");
    }
}

#[test]
fn planted_faults_are_found() {
    for planted in [Planted::CompleteEarly, Planted::NoFence, Planted::WallTooLate] {
        let broken = first_broken(1..10_001, Some(planted));
        assert!(broken.is_some(), "{planted:?} was not found");
    }
}

#[test]
fn a_history_depends_on_its_seed_alone() {
    for seed in 1..20 {
        let story = || history::story(&Shared::new(), seed);
        assert_eq!(story(), story(), "seed {seed}");
    }
}
