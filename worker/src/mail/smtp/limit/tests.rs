//! Unit tests of the parent module.

use futures_util::FutureExt as _;
use proptest::prelude::*;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_burst_learns_how_many_the_relay_takes() {
    let limit = ConnectionLimit::new(32);
    let mut taken = Vec::new();
    for _ in 0..32 {
        taken.push(limit.permit().await);
    }
    // All are being opened; the relay takes three.
    for others in (3..32).rev() {
        limit.turned_away(others);
        drop(taken.pop());
    }
    assert_eq!(limit.current(), 3);
    assert!(limit.permit().now_or_never().is_none(), "three are in use");
    drop(taken.pop());
    let again = limit.permit().now_or_never().expect("one is free");
    assert!(limit.is_exhausted());
    tokio::time::advance(GROW_AFTER).await;
    let fourth = limit.permit().now_or_never().expect("one more is tried");
    limit.turned_away(3);
    drop(fourth);
    assert!(limit.permit().now_or_never().is_none(), "in vain");
    drop((again, taken));
}

proptest! {
    /// No permit is lost or made up: never fewer than one, never more than the limit.
    #[test]
    fn permits_add_up(steps in prop::collection::vec((0..4_u8, 0..12_usize), 0..200)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(async {
            let limit = ConnectionLimit::new(8);
            let mut taken = Vec::new();
            for (step, number) in steps {
                match step {
                    0 => taken.extend(limit.permit().now_or_never()),
                    1 => limit.turned_away(number),
                    2 => tokio::time::advance(GROW_AFTER).await,
                    _ if taken.is_empty() => {}
                    _ => drop(taken.swap_remove(number % taken.len())),
                }
            }
            drop(taken);
            assert_eq!(limit.permits.available_permits(), limit.current());
            assert!((1..=8).contains(&limit.current()));
        });
    }
}
