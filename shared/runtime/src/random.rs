//! Random numbers from the operating system: keys, ids and jitter. Callers take them as arguments,
//! so tests can choose them.

use std::sync::Arc;

use domain::retry::Chance;
use jiff::Timestamp;
use ring::rand::{Random, SystemRandom, generate};
use ulid::Ulid;

/// Yields 32 unpredictable bytes; `None` when the system has none.
pub type Entropy = Arc<dyn Fn() -> Option<[u8; 32]> + Send + Sync>;

/// Entropy from the operating system.
pub fn system_entropy() -> Entropy {
    Arc::new(|| generate(&SystemRandom::new()).ok().map(Random::expose))
}

/// Jitter from the operating system; none (0.0) when the system has no randomness.
pub fn system_chance() -> Chance {
    Arc::new(|| {
        let bits =
            generate(&SystemRandom::new()).map_or(0, |random| u32::from_ne_bytes(random.expose()));
        f64::from(bits) / (f64::from(u32::MAX) + 1.0)
    })
}

/// A random number that tells this process from every other; `None` when the system has no
/// randomness.
pub fn process_number() -> Option<u64> {
    generate(&SystemRandom::new()).ok().map(|random| u64::from_ne_bytes(random.expose()))
}

/// A new ULID for an event or a resource at `now`, in WorkOS's own format.
///
/// # Panics
///
/// If the operating system has no randomness.
pub fn ulid(now: Timestamp) -> Ulid {
    let random = generate(&SystemRandom::new()).map(|random| u128::from_ne_bytes(random.expose()));
    Ulid::from_parts(
        u64::try_from(now.as_millisecond()).unwrap_or(0),
        random.expect("the system has random numbers"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_of_their_time_and_unlike_each_other() {
        let now = Timestamp::from_millisecond(1_768_478_400_000).expect("in range");
        let (one, other) = (ulid(now), ulid(now));
        assert_eq!(
            (one.timestamp_ms(), other.timestamp_ms()),
            (1_768_478_400_000, 1_768_478_400_000)
        );
        assert_ne!(one, other);
        assert_ne!(process_number(), process_number());
    }

    #[test]
    fn chance_stays_below_one() {
        let chance = system_chance();
        assert!((0..1000).all(|_| (0.0..1.0).contains(&chance())));
    }
}
