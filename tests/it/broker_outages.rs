//! Private RabbitMQ and Redis instances, killed, frozen and emptied under load.

use std::{sync::Arc, time::Duration};

use domain::queue::Capacity;
use engine::rabbitmq::Names;
use lapin::{options::QueueDeleteOptions, types::FieldTable};

use crate::harness::{App, Setup, eventually, in_time, load::Load, queues, services::Services};

const RATE: u32 = 20;

async fn refused(load: &Load) {
    let before = load.refused();
    eventually("the ingress refuses", async || (load.refused() > before).then_some(())).await;
}

async fn well_again(app: &App) {
    app.is_ready().await;
    let now = app.inbox.count();
    in_time("more mails", app.inbox.reached(now + 10)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
async fn the_broker_is_killed_frozen_and_blocked() {
    let services = Arc::new(Services::private(&["rabbitmq"]));
    let mut app = Setup::on(services.amqp_url(), Services::shared().redis_url()).start().await;
    let load = app.load(RATE);
    well_again(&app).await;
    for _ in 0..2 {
        services.carry_out("kill rabbitmq").await;
        app.redelivered += 16;
        refused(&load).await;
        services.carry_out("start rabbitmq").await;
        well_again(&app).await;
    }
    services.carry_out("freeze rabbitmq").await;
    refused(&load).await;
    services.carry_out("thaw rabbitmq").await;
    well_again(&app).await;
    services.carry_out("block rabbitmq").await;
    refused(&load).await;
    // Half a minute of a disk alarm, with people asking all the time; nobody hears 200.
    let accepted = load.accepted();
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    for _ in 0..=30 {
        seconds.tick().await;
    }
    assert_eq!(load.accepted(), accepted, "accepted while the broker took nothing");
    assert_eq!(app.exposition().count("authpost_engine_blocked"), 1);
    services.carry_out("unblock rabbitmq").await;
    well_again(&app).await;
    let asked = load.end().await;
    app.finish_after_faults(asked).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
async fn redis_is_killed_frozen_emptied_and_made_a_replica() {
    let services = Arc::new(Services::private(&["redis"]));
    let app = Setup::on(Services::shared().amqp_url(), services.redis_url()).start().await;
    let load = app.load(RATE);
    well_again(&app).await;
    for (hurt, heal) in [("kill redis", "start redis"), ("freeze redis", "thaw redis")] {
        services.carry_out(hurt).await;
        app.not_ready("dedupe").await;
        services.carry_out(heal).await;
        well_again(&app).await;
    }
    let redis = redis::Client::open(services.redis_url()).expect("a URL");
    let mut redis = redis.get_multiplexed_async_connection().await.expect("connects");
    let mut tell = async |words: &[&str]| {
        let (first, rest) = words.split_first().expect("a command");
        redis::cmd(first).arg(rest).query_async::<()>(&mut redis).await.expect("done");
    };
    for _ in 0..5 {
        tell(&["FLUSHALL"]).await;
        tell(&["SCRIPT", "FLUSH"]).await;
        well_again(&app).await;
    }
    // A failover that went to the wrong server: reads work, writes are refused, the connection
    // stays.
    tell(&["REPLICAOF", "127.0.0.1", "1"]).await;
    app.not_ready("read-only").await;
    tell(&["REPLICAOF", "NO", "ONE"]).await;
    well_again(&app).await;
    assert_eq!(load.refused(), 0, "the ingress does not need Redis");
    let asked = load.end().await;
    app.finish_after_faults(asked).await;
}

/// Who deletes a queue deletes what is in it. Everything else is mailed, and the queue is there
/// again.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
async fn the_work_queue_is_deleted() {
    let mut app = App::distributed().await;
    let prefix = app.prefix().expect("at a broker").to_owned();
    let work = Names::new(&prefix, Capacity::default()).work();
    let (connection, channel) = queues::connect(Services::shared().amqp_url()).await;
    let load = app.load(RATE);
    well_again(&app).await;
    let mut deleted = 0;
    for _ in 0..3 {
        // The broker counts what waits, and deletes after that: what it confirms in between is gone
        // and not in its count.
        let accepted = load.accepted();
        let counted = channel
            .queue_delete(work.clone().into(), QueueDeleteOptions::default())
            .await
            .expect("deleted");
        deleted += u64::from(counted) + load.asked() - accepted;
        // Its consumer is cancelled by the broker; the next session declares the queue and consumes
        // it again.
        let consumed = async || {
            let (connection, channel) = queues::connect(Services::shared().amqp_url()).await;
            let options = lapin::options::QueueDeclareOptions {
                passive: true,
                ..lapin::options::QueueDeclareOptions::durable()
            };
            let queue =
                channel.queue_declare(work.clone().into(), options, FieldTable::default()).await;
            let consumers = queue.map_or(0, |queue| queue.consumer_count());
            drop(connection.close(200, "bye".into()).await);
            (consumers == 1).then_some(())
        };
        eventually("the queue is consumed again", consumed).await;
        well_again(&app).await;
    }
    let asked = load.end().await;
    let enough = async || {
        (asked.account(&app.inbox).without <= usize::try_from(deleted).expect("few")).then_some(())
    };
    eventually("everybody but those whose message was deleted has a mail", enough).await;
    eventually("nothing is in hand", async || {
        (app.exposition().count("authpost_in_flight") == 0).then_some(())
    })
    .await;
    connection.close(200, "bye".into()).await.expect("closed");
    app.stop().await;
}

/// The broker blocks the connection that publishes; losing the other one must not hide that.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
async fn a_lost_consumer_does_not_hide_that_the_broker_blocks() {
    let services = Arc::new(Services::private(&["rabbitmq"]));
    let app = Setup::on(services.amqp_url(), Services::shared().redis_url()).start().await;
    services.carry_out("block rabbitmq").await;
    let made = app.workos.make_code("alice@example.com");
    assert_eq!(app.post(&made).await.status, 503);
    app.not_ready("the broker blocks publishing").await;
    let work = Names::new(app.prefix().expect("at a broker"), Capacity::default()).work();
    let (connection, channel) = queues::connect(services.amqp_url()).await;
    channel.queue_delete(work.into(), QueueDeleteOptions::default()).await.expect("deleted");
    connection.close(200, "bye".into()).await.expect("closed");
    eventually("the consumer connects again", async || {
        let reconnects = "authpost_engine_reconnects_total{link=\"consumer\"}";
        (app.exposition().count(reconnects) == 1).then_some(())
    })
    .await;
    assert_eq!(app.exposition().count("authpost_engine_blocked"), 1);
    services.carry_out("unblock rabbitmq").await;
    app.is_ready().await;
    eventually("the ingress accepts again", async || {
        (app.post(&made).await.status == 200).then_some(())
    })
    .await;
    app.mails(1).await;
    // The broker reads the refused message after it is unblocked: a second copy of the event.
    app.finish_with(2).await;
}
