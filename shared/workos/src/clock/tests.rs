//! Unit tests of the parent module.

use super::*;

struct Stopped(Timestamp);

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        self.0
    }
}

#[test]
fn a_clock_that_is_off_is_corrected_and_one_that_is_not_is_left_alone() {
    let local = Timestamp::from_second(1_700_000_000).expect("in range");
    let metrics = Arc::new(Metrics::new("0").expect("declared rightly"));
    let clock = WorkosClock::new(Arc::new(Stopped(local)), metrics);
    assert!(!clock.is_synced() && clock.now() == local);
    for (ahead, corrected) in [(0, 0), (9, 0), (-9, 0), (600, 600), (-600, -600), (2, 0)] {
        clock.compare(local + SignedDuration::from_secs(ahead));
        assert_eq!(clock.now(), local + SignedDuration::from_secs(corrected), "{ahead} s ahead");
        assert!(clock.is_synced());
    }
}
