//! Clocks that are wrong by more than a code lives.

use std::{process::ExitCode, sync::Arc};

use authpost::{
    config::settings::{Roles, Settings},
    service,
};
use domain::{clock::Clock as _, queue::Capacity};
use jiff::SignedDuration;
use runtime::{clock::SystemClock, metrics::Metrics, tls};
use sandbox::{
    clock::ManualClock,
    inbox::{Inbox, InboxConfig},
    workos::{LIFE, MagicAuth, StandIn, post},
};
use secrecy::SecretString;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::harness::{
    App, Setup,
    account::Exposition,
    app::{self, API_KEY, SECRET, free_port, fresh_prefix},
    eventually, in_time,
    queues::delete_queues,
    services::Services,
};

/// An ingress whose clock is right and a worker whose clock is `ahead` of it. Two codes: one valid,
/// one that expired in the queue.
async fn a_worker_that_is(ahead: SignedDuration) {
    tls::install_provider();
    let services = Services::shared();
    let true_time = Arc::new(ManualClock::at(SystemClock.now()));
    let key = SecretString::from(API_KEY.to_owned());
    let workos = StandIn::start(free_port().await, key, true_time.clone()).expect("starts");
    let inbox =
        Inbox::start(free_port().await, InboxConfig::default(), true_time.clone()).expect("starts");
    let prefix = fresh_prefix();
    let urls =
        app::Urls { amqp: services.amqp_url().to_owned(), redis: services.redis_url().to_owned() };
    let process = app::process();
    let nowhere = std::path::Path::new("/nowhere");
    let engine =
        app::engine(Some(urls), nowhere, prefix.clone(), Capacity::default(), &process.trust);
    let stop = CancellationToken::new();
    let roles = Roles::Ingress(app::ingress());
    let ingress = Settings { roles, engine: engine.clone(), process };
    let (ingress, url, ingress_metrics) = spawn(&ingress, &true_time, &stop).await;
    let (expired, valid) =
        (workos.make_code("expired@example.com"), workos.make_code("valid@example.com"));
    workos.change_end(&expired.id, Some(true_time.now() - SignedDuration::from_secs(1)));
    for made in [&expired, &valid] {
        is_accepted(&url, made, &true_time).await;
    }
    let wrong = Arc::new(ManualClock::at(true_time.now() + ahead));
    let roles =
        Roles::Worker(app::worker(&workos.url(), &format!("smtp://{}?tls=none", inbox.address())));
    let worker = Settings { roles, engine, process: app::process() };
    let (worker, _, metrics) = spawn(&worker, &wrong, &stop).await;
    in_time("the mail", inbox.reached(1)).await;
    one_sent_and_one_expired(&metrics, ahead).await;
    assert_eq!(inbox.mails()[0].to, "valid@example.com");
    assert_eq!(Exposition::parse(&ingress_metrics.expose()).webhooks("accepted"), 2);
    stop.cancel();
    for role in [ingress, worker] {
        in_time("it ends", role).await.expect("no panic");
    }
    delete_queues(services.amqp_url(), &prefix).await;
}

/// Starts a process; returns it with the URL of its webhook, if it has one, and its metrics.
async fn spawn(
    settings: &Settings,
    clock: &Arc<ManualClock>,
    stop: &CancellationToken,
) -> (JoinHandle<ExitCode>, String, Arc<Metrics>) {
    let service = service::start(settings, clock.clone(), stop.clone()).await.expect("starts");
    let url = service.public.map(|public| format!("http://{public}/v1/workos_webhook/"));
    let metrics = Arc::clone(&service.metrics);
    (tokio::spawn(service.run()), url.unwrap_or_default(), metrics)
}

async fn is_accepted(url: &str, made: &MagicAuth, clock: &ManualClock) {
    let secret = SecretString::from(SECRET.to_owned());
    let accepted = async || {
        let posted = post(url, &secret, &made.event(), clock.now()).await.ok()?;
        (posted.status == 200).then_some(())
    };
    eventually("accepted", accepted).await;
}

async fn one_sent_and_one_expired(metrics: &Metrics, ahead: SignedDuration) {
    let exposition = || Exposition::parse(&metrics.expose());
    eventually("both have ended", async || (exposition().ended() == 2).then_some(())).await;
    assert_eq!((exposition().outcomes("sent"), exposition().outcomes("expired")), (1, 1));
    let offset = exposition().value("authpost_clock_offset_seconds");
    assert!((offset + ahead.as_secs_f64()).abs() < 2.0, "{offset}");
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

/// An ingress that is off by more than the tolerance believes nothing; nothing is accepted, so
/// nothing is lost, and it counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_front_that_is_ten_minutes_off_refuses_and_recovers() {
    let app = App::embedded().await;
    for off in [-600, 600] {
        let made = app.workos.make_code("alice@example.com");
        let sent_at = app.now() + SignedDuration::from_secs(off);
        let posted = post(
            &app.webhook_url(),
            &SecretString::from(SECRET.to_owned()),
            &made.event(),
            sent_at,
        )
        .await
        .expect("an answer");
        assert_eq!(posted.status, 401);
    }
    assert_eq!(app.exposition().webhooks("stale"), 2);
    app.ask("bob@example.com").await;
    app.mails(1).await;
    app.finish().await;
}

/// What rests until a time that the clock has since been set back from must not rest for as long
/// again.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_holds_nothing_up() {
    let app = Setup::embedded().start().await;
    app.advance(LIFE.as_secs());
    let made = app.workos.make_code("alice@example.com");
    app.workos.answer_instead([sandbox::workos::Override::Answer(500, Vec::new(), String::new())]);
    assert_eq!(app.post(&made).await.status, 200);
    app.outcome("retry", "workos_unavailable", 1).await;
    app.advance(-LIFE.as_secs());
    app.mails(1).await;
    app.finish().await;
}
