//! Unit tests of the parent module.

use super::*;

const LIMIT: Duration = Duration::from_secs(5);

#[tokio::test(start_paused = true)]
async fn keeps_to_its_rate_after_a_burst() {
    let gate = Gate::new(10);
    let begun = Instant::now();
    for _ in 0..BURST + 21 {
        gate.enter(LIMIT).await.expect("within limit");
    }
    let took = begun.elapsed();
    assert!((Duration::from_millis(1990)..Duration::from_millis(2110)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn is_closed_to_all_while_held() {
    let gate = Gate::new(0);
    gate.close_for(Duration::from_secs(3));
    let begun = Instant::now();
    gate.enter(LIMIT).await.expect("within limit");
    assert_eq!(begun.elapsed().as_secs(), 3);
    gate.close_for(Duration::from_secs(60));
    let fault = gate.enter(LIMIT).await.expect_err("too long");
    assert_eq!(fault.reason, Reason::WorkosRateLimited);
}

#[tokio::test(start_paused = true)]
async fn without_a_rate_nobody_waits() {
    let gate = Gate::new(0);
    let begun = Instant::now();
    for _ in 0..10_000 {
        gate.enter(LIMIT).await.expect("at once");
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
}
