//! Dependencies that fail and return: no restart is needed, and nothing is lost.

use std::{sync::Arc, time::Duration};

use engine::local_sent_cache::OnStoreOutage;
use lapin::types::FieldTable;

use crate::harness::{App, Setup, eventually, queues, services::Services};

/// Posts a code's event until it is accepted; what is not accepted must be a 503 that says when to
/// come back.
async fn ask_until_accepted(app: &App, email: &str) {
    let made = app.workos.make_code(email);
    eventually("the ingress accepts again", async || {
        let posted = app.post(&made).await;
        assert!(
            posted.status == 200 || (posted.status == 503 && posted.retry_after.is_some()),
            "{posted:?}"
        );
        (posted.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
async fn the_broker_and_redis_die_and_come_back() {
    let services = Arc::new(Services::private(&["rabbitmq", "redis"]));
    let app = Setup::on(services.amqp_url(), services.redis_url()).start().await;
    app.ask("before@example.com").await;
    app.mails(1).await;
    app.outcome("sent", "none", 1).await;

    services.carry_out("kill rabbitmq").await;
    app.not_ready("queue").await;
    let refused = app.post(&app.workos.make_code("meanwhile@example.com")).await;
    assert_eq!((refused.status, refused.retry_after.as_deref()), (503, Some("5")));
    services.carry_out("start rabbitmq").await;
    app.is_ready().await;
    ask_until_accepted(&app, "after@example.com").await;
    app.mails(2).await;

    services.carry_out("kill redis").await;
    app.ask("held@example.com").await;
    app.not_ready("dedupe").await;
    assert_eq!(app.inbox.count(), 2, "without a claim nothing is mailed");
    services.carry_out("start redis").await;
    app.mails(3).await;
    app.is_ready().await;

    // A frozen Redis accepts connections and does not answer, unlike a closed port.
    services.carry_out("freeze redis").await;
    app.ask("frozen@example.com").await;
    app.not_ready("dedupe").await;
    services.carry_out("thaw redis").await;
    app.mails(4).await;
    app.is_ready().await;

    // A disk alarm: the broker goes on delivering and reads no publish.
    services.carry_out("block rabbitmq").await;
    let made = app.workos.make_code("blocked@example.com");
    let refused = app.post(&made).await;
    assert_eq!((refused.status, refused.retry_after.as_deref()), (503, Some("5")));
    app.not_ready("the broker blocks publishing").await;
    assert_eq!(app.exposition().count("authpost_engine_blocked"), 1);
    services.carry_out("unblock rabbitmq").await;
    app.is_ready().await;
    eventually("the ingress accepts again", async || {
        (app.post(&made).await.status == 200).then_some(())
    })
    .await;
    app.mails(5).await;

    assert_eq!(app.exposition().webhooks("accepted"), 5);
    // The broker read the refused message after it was unblocked: a second copy of one
    // event.
    app.finish_with(6).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
async fn with_send_an_outage_of_redis_delays_mails_only_so_long() {
    let services = Arc::new(Services::private(&["redis"]));
    let patience = Duration::from_millis(500);
    let setup = Setup::on(Services::shared().amqp_url(), services.redis_url());
    let app = setup
        .worker(move |worker| worker.on_store_outage = OnStoreOutage::SendAfter(patience))
        .start()
        .await;
    services.carry_out("kill redis").await;
    let made = app.ask("alice@example.com").await;
    assert_eq!(app.mails(1).await[0].code(), Some(made.code.as_str()));
    assert_eq!(app.post(&made).await.status, 200);
    app.outcome("duplicate", "none", 1).await;
    services.carry_out("start redis").await;
    app.outcome("sent", "none", 1).await;
    assert_eq!(app.inbox.count(), 1, "this process remembers what it sent");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
async fn what_cannot_be_routed_is_kept_and_mailed() {
    let app = App::distributed().await;
    let prefix = app.prefix().expect("at a broker").to_owned();
    let (connection, channel) = queues::connect(Services::shared().amqp_url()).await;
    let (queue, exchange) = (format!("{prefix}.work"), format!("{prefix}.events"));
    channel
        .queue_unbind(queue.into(), exchange.into(), "work".into(), FieldTable::default())
        .await
        .expect("unbound");
    let made = app.ask("alice@example.com").await;
    assert_eq!(app.mails(1).await[0].code(), Some(made.code.as_str()));
    connection.close(200, "bye".into()).await.expect("closed");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
async fn a_work_queue_that_is_deleted_is_declared_again() {
    let app = App::distributed().await;
    let prefix = app.prefix().expect("at a broker").to_owned();
    let (connection, channel) = queues::connect(Services::shared().amqp_url()).await;
    for queue in ["work", "unrouted"] {
        channel
            .queue_delete(
                format!("{prefix}.{queue}").into(),
                lapin::options::QueueDeleteOptions::default(),
            )
            .await
            .expect("deleted");
    }
    ask_until_accepted(&app, "alice@example.com").await;
    app.mails(1).await;
    connection.close(200, "bye".into()).await.expect("closed");
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
async fn a_dead_letter_whose_queue_is_gone_is_kept_and_not_worked_on_again() {
    let app = App::distributed().await;
    let prefix = app.prefix().expect("at a broker").to_owned();
    let (connection, channel) = queues::connect(Services::shared().amqp_url()).await;
    channel
        .queue_delete(
            format!("{prefix}.dead").into(),
            lapin::options::QueueDeleteOptions::default(),
        )
        .await
        .expect("deleted");
    let made = app.workos.make_old_code("alice@example.com", jiff::SignedDuration::from_mins(2));
    app.workos.change_end(&made.id, None);
    assert_eq!(app.post(&made).await.status, 200);
    app.outcome("dead", "not_found", 1).await;
    // `finish` waits until it is among the dead letters, and checks that it was counted one time.
    connection.close(200, "bye".into()).await.expect("closed");
    assert_eq!(app.workos.reads().len(), 1);
    app.finish().await;
}
