//! Networks that fail under load, between the app and each thing it uses: nobody is left without a
//! mail, nobody gets more than was counted as possible, and nothing has to be restarted.

use std::time::Duration;

use sandbox::{
    inbox::{Misbehavior, Step},
    proxy::{FaultProxy, Network},
};

use tokio::time::Instant;

use crate::harness::{
    App, Setup, eventually, in_time,
    load::{Asked, Load},
};

const RATE: u32 = 20;

/// Slow, but within every deadline.
const SLOW: [Network; 2] = [Network::Delay(Duration::from_millis(100)), Network::Throttle(40_000)];

/// Broken in every way a network can be. 40 bytes are less than any of the servers says before it
/// is useful: what is cut off is a beginning, but for the connections that were open before.
const BROKEN: [Network; 4] =
    [Network::CutAfter(40), Network::HalfClosed, Network::Refused, Network::BlackHole];

/// Waits until so many more mails have gone out.
async fn more_mails(app: &App, count: u64) {
    let now = app.inbox.count();
    in_time("more mails", app.inbox.reached(now + count)).await;
}

/// Injects one network fault after the other: waits until `felt`, ends it, and waits until the app
/// is ready and mails are sent again.
async fn endure(app: &App, network: &FaultProxy, states: &[Network], felt: impl AsyncFn(Network)) {
    for state in states {
        network.set(*state);
        felt(*state).await;
        network.set(Network::Fine);
        app.is_ready().await;
        more_mails(app, 5).await;
    }
}

async fn more_refusals(load: &Load) {
    let before = load.refused();
    eventually("the ingress refuses", async || (load.refused() > before).then_some(())).await;
}

async fn more_retries(app: &App, reason: &str) {
    let before = app.exposition().outcome("retry", reason);
    let what = format!("a retry because of {reason}");
    eventually(&what, async || (app.exposition().outcome("retry", reason) > before).then_some(()))
        .await;
}

async fn more_failed_claims(app: &App) {
    let failed = || {
        app.exposition().count("authpost_dedupe_seconds_count{result=\"failed\",step=\"claim\"}")
    };
    let before = failed();
    eventually("a claim fails", async || (failed() > before).then_some(())).await;
}

/// Advances the app's clock until everybody has a mail.
async fn finish(app: App, asked: Asked) {
    eventually("everybody has a mail", async || {
        app.advance(1);
        (asked.account(&app.inbox).without == 0).then_some(())
    })
    .await;
    app.finish_after_faults(asked).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
async fn the_way_to_the_broker() {
    let app = Setup::distributed().faulty().start().await;
    let load = app.load(RATE);
    endure(&app, app.networks().broker(), &SLOW, async |_| more_mails(&app, 20).await).await;
    // A stalled network shows first as a missing confirm.
    endure(&app, app.networks().broker(), &BROKEN, async |_| more_refusals(&load).await).await;
    finish(app, load.end().await).await;
}

/// A connection with all its declarations takes five round trips.
async fn over_a_long_way_to_the_broker(each_way: Duration, ready_within: Duration) {
    let app = Setup::distributed().faulty().start().await;
    let load = app.load(5);
    app.networks().broker().set(Network::Refused);
    app.not_ready("queue").await;
    app.networks().broker().set(Network::Delay(each_way));
    let begun = Instant::now();
    app.is_ready().await;
    assert!(begun.elapsed() < ready_within, "ready after {:?}", begun.elapsed());
    more_mails(&app, 10).await;
    app.networks().broker().set(Network::Fine);
    finish(app, load.end().await).await;
}

/// Another region, or a VPN.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
async fn a_broker_behind_a_slow_network_is_reached() {
    over_a_long_way_to_the_broker(Duration::from_millis(150), Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
async fn a_broker_a_second_away_is_reached() {
    over_a_long_way_to_the_broker(Duration::from_secs(1), Duration::from_secs(20)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
async fn a_redis_a_second_away_is_used() {
    let app = Setup::distributed().faulty().start().await;
    let load = app.load(5);
    app.networks().redis().set(Network::Delay(Duration::from_secs(1)));
    more_mails(&app, 20).await;
    app.is_ready().await;
    app.networks().redis().set(Network::Fine);
    finish(app, load.end().await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
async fn the_way_to_redis() {
    let app = Setup::distributed().faulty().start().await;
    let load = app.load(RATE);
    endure(&app, app.networks().redis(), &SLOW, async |_| more_mails(&app, 20).await).await;
    endure(&app, app.networks().redis(), &BROKEN, async |state| match state {
        // Each connection lasts for an answer or two, and the question for readiness may be one of
        // them.
        Network::CutAfter(_) => more_failed_claims(&app).await,
        _ => app.not_ready("dedupe").await,
    })
    .await;
    assert_eq!(load.refused(), 0, "the ingress does not need Redis");
    finish(app, load.end().await).await;
}

async fn over_the_way_to_the_relay(app: App) {
    let load = app.load(RATE);
    endure(&app, &app.networks().relay, &SLOW, async |_| more_mails(&app, 20).await).await;
    endure(&app, &app.networks().relay, &BROKEN, async |_| {
        more_retries(&app, "relay_unavailable").await;
    })
    .await;
    finish(app, load.end().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_to_the_relay() {
    over_the_way_to_the_relay(Setup::embedded().faulty().start().await).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
async fn the_way_to_the_relay_on_a_broker() {
    over_the_way_to_the_relay(Setup::distributed().faulty().start().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_to_workos() {
    let app = Setup::embedded().faulty().start().await;
    let load = app.load(RATE);
    endure(&app, &app.networks().workos, &SLOW, async |_| more_mails(&app, 20).await).await;
    endure(&app, &app.networks().workos, &BROKEN, async |_| {
        more_retries(&app, "workos_unavailable").await;
    })
    .await;
    finish(app, load.end().await).await;
}

/// A relay that is unavailable for eight of the ten minutes of every code.
#[tokio::test(flavor = "multi_thread")]
async fn the_relay_is_away_for_minutes() {
    let app = Setup::embedded().faulty().start().await;
    app.networks().relay.set(Network::Refused);
    app.inbox.hang_up().await;
    let load = app.load(RATE);
    eventually("a crowd waits", async || (load.accepted() >= 60).then_some(())).await;
    let asked = load.end().await;
    for _ in 0..8 {
        app.advance(60);
        more_retries(&app, "relay_unavailable").await;
    }
    assert_eq!((app.inbox.count(), app.exposition().outcomes("expired")), (0, 0));
    app.networks().relay.set(Network::Fine);
    finish(app, asked).await;
}

/// All refusals of a relay, at random, among good replies.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_defers_at_random_places() {
    let app = Setup::embedded().start().await;
    let load = app.load(RATE);
    for (step, line) in [
        (Step::Mail, "421 4.3.0 try later"),
        (Step::Rcpt, "450 4.2.1 mailbox busy"),
        (Step::Data, "451 4.3.0 local error"),
        (Step::Dot, "452 4.3.1 no space"),
        (Step::Dot, "421 4.4.2 closing"),
        (Step::Ehlo, "421 4.3.2 shutting down"),
    ] {
        app.inbox.order(step, Misbehavior::Say(line));
        if step == Step::Ehlo {
            app.inbox.hang_up().await;
        }
        eventually("it has said so", async || (app.inbox.open_orders() == 0).then_some(())).await;
        more_mails(&app, 5).await;
    }
    finish(app, load.end().await).await;
}
