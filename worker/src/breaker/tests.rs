//! Unit tests of the parent module.

use std::time::Duration;

use super::*;

fn breaker() -> CircuitBreaker {
    CircuitBreaker::new(Arc::new(Metrics::new("0").expect("valid declarations")), Arc::new(|| 0.0))
}

#[tokio::test(start_paused = true)]
async fn stays_open_longer_after_each_refusal_and_then_admits_one_at_a_time() {
    let breaker = breaker();
    assert_eq!(breaker.admit().await, Admission::Closed);
    for expected in [2, 4, 8, 16, 30, 30] {
        breaker.refused("401".into());
        breaker.refused("401 again, from an event that was already in progress".into());
        let begun = Instant::now();
        assert_eq!(breaker.admit().await, Admission::HalfOpen);
        assert_eq!(begun.elapsed(), Duration::from_secs(expected));
    }
    assert_eq!(breaker.ready(), Err("401".into()));
    breaker.succeeded();
    assert_eq!(breaker.admit().await, Admission::Closed);
    assert_eq!(breaker.ready(), Ok(()));
}
