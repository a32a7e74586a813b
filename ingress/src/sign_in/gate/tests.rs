//! Unit tests of the parent module.

use std::sync::Arc;

use super::*;

fn gate(a_second: u32) -> Arc<Gate> {
    Arc::new(Gate::new(NonZeroU32::new(a_second).expect("not zero")))
}

#[tokio::test(start_paused = true)]
async fn calls_are_spaced_and_those_without_a_turn_in_time_are_told() {
    let gate = gate(10);
    let began = Instant::now();
    let mut passed = 0_u32;
    for _ in 0..1000 {
        passed += u32::from(gate.enter(1).await.is_ok());
    }
    let seconds = u32::try_from(began.elapsed().as_secs()).expect("a few");
    assert!(passed <= BURST + 10 * (seconds + 1), "{passed} within {seconds} s");
    let waiting: Vec<_> = (0..100)
        .map(|_| {
            tokio::spawn({
                let gate = Arc::clone(&gate);
                async move { gate.enter(1).await.is_ok() }
            })
        })
        .collect();
    let mut refused = 0;
    for entered in waiting {
        refused += u32::from(!entered.await.expect("no panic"));
    }
    assert!(refused >= 70, "{refused} of 100 were told to come back");
}

#[tokio::test(start_paused = true)]
async fn no_more_calls_at_once_than_there_are_places() {
    let gate = gate(1_000_000);
    let mut held = Vec::new();
    for _ in 0..MOST_CALLS {
        held.push(gate.enter(1).await.expect("a place"));
    }
    assert!(gate.enter(1).await.is_err());
    held.pop();
    assert!(gate.enter(1).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_remembered_for_a_minute() {
    let gate = gate(1);
    let token = |text: &str| SecretString::from(text.to_owned());
    gate.remember_refused(&token("a"));
    assert!(gate.was_refused(&token("a")) && !gate.was_refused(&token("b")));
    for n in 0..2 * MOST_REMEMBERED {
        gate.remember_refused(&token(&n.to_string()));
        assert!(gate.was_refused(&token(&n.to_string())));
    }
    assert!(gate.refused.lock().order.len() <= MOST_REMEMBERED);
    tokio::time::advance(REMEMBERED).await;
    assert!(!gate.was_refused(&token("a")));
    assert!(gate.refused.lock().tokens.is_empty());
}
