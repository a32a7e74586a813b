//! Random faults from one seed, for any number of minutes: two ingresses, two workers, a
//! broker and a Redis of their own, faulty networks in between, and people who ask for codes all
//! the time. In the end everybody is accounted for.
//!
//! `./scripts/chaos --seed N --minutes M`. The same seed draws the same faults in the same order.

mod fault;
mod ledger;
mod relay_fault;
mod relays;
mod stage;
mod symfony;

use std::time::Duration;

use tokio::time::Instant;

use self::{fault::Fault, ledger::Ledger, stage::Stage};
use crate::harness::figure;

/// After an outage of the broker, publishing and consuming work again within this.
const BROKER_BACK: Duration = Duration::from_secs(5);
/// And a Redis within this.
const REDIS_BACK: Duration = Duration::from_secs(2);

fn number(variable: &str, otherwise: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "how ./scripts/chaos says what to do")]
    let text = std::env::var(variable);
    text.ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and Redis: ./scripts/chaos"]
async fn random_faults() {
    let (seed, minutes) = (number("AUTHPOST_CHAOS_SEED", 1), number("AUTHPOST_CHAOS_MINUTES", 2));
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut stage = Stage::set().await;
    let load = stage.load();
    let begun = Instant::now();
    let mut slow = Vec::new();
    while begun.elapsed() < Duration::from_secs(60 * minutes) {
        let (fault, lasting) = Fault::draw(&mut chance);
        let at = begun.elapsed().as_secs();
        let recovery = stage.suffer(&fault, lasting).await;
        figure(&format!(
            "{at:>4} s  {fault:<34} for {:>4.1} s, well again after {:.2} s",
            lasting.as_secs_f64(),
            recovery.as_secs_f64()
        ));
        let limit = if fault.is_the_brokers() {
            Some(BROKER_BACK)
        } else {
            fault.is_redis_s().then_some(REDIS_BACK)
        };
        if limit.is_some_and(|limit| recovery > limit) {
            slow.push(format!("{fault}: {recovery:?}"));
        }
    }
    let asked = load.end().await;
    let ledger = Ledger::close(&stage, &asked).await;
    figure(&format!("seed {seed}, {minutes} min: {ledger}"));
    stage.strike().await;
    assert!(ledger.balances(), "{ledger}");
    assert!(slow.is_empty(), "too slow to recover: {slow:?}");
}
