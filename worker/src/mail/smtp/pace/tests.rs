//! Unit tests of the parent module.

use super::*;

/// How long this many mails take, in seconds.
async fn takes(pace: &Pace, mails: u32) -> f64 {
    let begun = Instant::now();
    for _ in 0..mails {
        pace.turn().await;
    }
    begun.elapsed().as_secs_f64()
}

fn about(found: f64, expected: f64) {
    assert!((found - expected).abs() < 0.15 * expected, "{found} s, not {expected} s");
}

#[tokio::test(start_paused = true)]
async fn a_configured_rate_spaces_mails() {
    about(takes(&Pace::new(Some(14.0)), 141).await, 10.0);
    assert!(takes(&Pace::new(None), 1000).await < 0.001);
}

#[tokio::test(start_paused = true)]
async fn throttling_halves_the_rate_and_a_clean_time_brings_it_back() {
    let pace = Pace::new(Some(20.0));
    takes(&pace, 200).await;
    for _ in 0..32 {
        pace.throttled();
    }
    about(takes(&pace, 100).await, 10.0);
    pace.throttled();
    about(takes(&pace, 50).await, 10.0);
    tokio::time::advance(Duration::from_secs(31)).await;
    about(takes(&pace, 55).await, 10.0);
    tokio::time::advance(Duration::from_secs(600)).await;
    about(takes(&pace, 200).await, 10.0);
}

#[tokio::test(start_paused = true)]
async fn without_a_rate_half_of_what_was_sent_is_the_limit_for_a_while() {
    let pace = Pace::new(None);
    for _ in 0..100 {
        pace.turn().await;
        tokio::time::advance(Duration::from_millis(50)).await;
    }
    pace.throttled();
    about(takes(&pace, 100).await, 10.0);
    for _ in 0..100 {
        tokio::time::advance(Duration::from_secs(2)).await;
        pace.throttled();
    }
    about(takes(&pace, 10).await, 9.0 / SLOWEST);
    tokio::time::advance(Duration::from_secs(600)).await;
    assert!(takes(&pace, 1000).await < 0.1);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_turn_costs_the_others_nothing() {
    let pace = Pace::new(Some(1.0));
    pace.turn().await;
    for _ in 0..50 {
        let waiting = pace.turn();
        assert!(tokio::time::timeout(Duration::from_millis(1), waiting).await.is_err());
    }
    about(takes(&pace, 10).await, 10.0);
}
