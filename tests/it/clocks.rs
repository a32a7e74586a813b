//! Clocks that are wrong by more than a code lives.

use std::sync::Arc;

use authpost::{config::settings::Engine, service};
use jiff::SignedDuration;
use sandbox::{
    clock::ManualClock,
    inbox::{Inbox, Manners},
    workos::{LIFE, StandIn, post},
};
use secrecy::SecretString;
use shared::{
    clock::{Clock as _, SystemClock},
    tls,
};
use tokio_util::sync::CancellationToken;

use crate::harness::{
    App, Setup,
    account::Exposition,
    app::{self, API_KEY, SECRET, free_port, fresh_prefix},
    eventually, in_time,
    queues::delete_queues,
    services::Services,
};

/// A front whose clock is right and a worker whose clock is `ahead` of it. Two codes: one alive, one that died in the
/// queue.
async fn a_worker_that_is(ahead: SignedDuration) {
    tls::install_provider();
    let services = Services::shared();
    let true_time = Arc::new(ManualClock::at(SystemClock.now()));
    let workos = StandIn::start(free_port().await, SecretString::from(API_KEY.to_owned()), true_time.clone()).expect("starts");
    let inbox = Inbox::start(free_port().await, Manners::default(), true_time.clone()).expect("starts");
    let prefix = fresh_prefix();
    let urls = app::Urls { amqp: services.amqp_url().to_owned(), redis: services.redis_url().to_owned() };
    let Engine::Distributed(engine) = app::engine(Some(urls), std::path::Path::new("/nowhere"), prefix.clone(), 1000) else {
        panic!("a distributed engine")
    };
    let stop = CancellationToken::new();
    let front = service::ingress((app::ingress(), engine.clone(), app::process()), true_time.clone(), stop.clone()).await.expect("starts");
    let url = format!("http://{}/v1/workos_webhook/", front.public.expect("a front"));
    let front_metrics = Arc::clone(&front.metrics);
    let front = tokio::spawn(front.run());
    let (dead, alive) = (workos.make_code("dead@example.com"), workos.make_code("alive@example.com"));
    workos.change_end(&dead.id, Some(true_time.now() - SignedDuration::from_secs(1)));
    for made in [&dead, &alive] {
        let accepted = async || {
            let posted = post(&url, &SecretString::from(SECRET.to_owned()), &made.event(), true_time.now()).await.ok()?;
            (posted.status == 200).then_some(())
        };
        eventually("accepted", accepted).await;
    }
    let wrong = Arc::new(ManualClock::at(true_time.now() + ahead));
    let settings = app::worker(&workos.url(), &format!("smtp://{}?tls=none", inbox.address()));
    let back = service::worker((settings, engine, app::process()), wrong, stop.clone()).await.expect("starts");
    let metrics = Arc::clone(&back.metrics);
    let back = tokio::spawn(back.run());
    in_time("the mail", inbox.reached(1)).await;
    let exposition = || Exposition::parse(&metrics.expose());
    eventually("both have ended", async || (exposition().ended() == 2).then_some(())).await;
    assert_eq!((exposition().outcomes("sent"), exposition().outcomes("expired")), (1, 1));
    assert_eq!(inbox.mails()[0].to, "alive@example.com");
    let offset = exposition().value("authpost_clock_offset_seconds");
    assert!((offset + ahead.as_secs_f64()).abs() < 2.0, "{offset}");
    assert_eq!(Exposition::parse(&front_metrics.expose()).webhooks("accepted"), 2);
    stop.cancel();
    for role in [front, back] {
        in_time("it ends", role).await.expect("no panic");
    }
    delete_queues(services.amqp_url(), &prefix).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
async fn a_worker_that_is_ten_minutes_fast_throws_no_live_code_away() {
    a_worker_that_is(SignedDuration::from_mins(10)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
async fn a_worker_that_is_ten_minutes_slow_mails_no_dead_code() {
    a_worker_that_is(SignedDuration::from_mins(-10)).await;
}

/// A front that is off by more than the tolerance believes nothing; nothing is accepted, so nothing is lost, and it counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_front_that_is_ten_minutes_off_refuses_and_recovers() {
    let app = App::embedded().await;
    for off in [-600, 600] {
        let made = app.workos.make_code("alice@example.com");
        let sent_at = app.now() + SignedDuration::from_secs(off);
        let posted = post(&app.webhook_url(), &SecretString::from(SECRET.to_owned()), &made.event(), sent_at).await.expect("an answer");
        assert_eq!(posted.status, 401);
    }
    assert_eq!(app.exposition().webhooks("stale"), 2);
    app.ask("bob@example.com").await;
    app.mails(1).await;
    app.finish().await;
}

/// What rests until a time that the clock has since been set back from must not rest for as long again.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_holds_nothing_up() {
    let app = Setup::embedded().start().await;
    app.advance(LIFE.as_secs());
    let made = app.workos.make_code("alice@example.com");
    app.workos.answer_instead([sandbox::workos::Instead::Answer(500, Vec::new(), String::new())]);
    assert_eq!(app.post(&made).await.status, 200);
    app.outcome("retry", "workos_unavailable", 1).await;
    app.advance(-LIFE.as_secs());
    app.mails(1).await;
    app.finish().await;
}
