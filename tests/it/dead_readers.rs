//! Many dead letters at RabbitMQ, and several programs that read them at the same time.

use domain::queue::Capacity;
use engine::rabbitmq::Names;
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use lapin::{
    BasicProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use serde_json::Value;

use crate::{
    crash::World,
    harness::{
        app::fresh_prefix,
        program::{ENGINE, Said, beside, only},
        queues::{connect, delete_queues},
        services::Services,
    },
};

const LETTERS: usize = 5000;

/// Puts events straight into the queue of the dead letters.
async fn fill(services: &Services, prefix: &str) {
    let queue = Names::new(prefix, Capacity::default()).dead();
    let (connection, channel) = connect(services.amqp_url()).await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    let confirmed = stream::iter(0..LETTERS)
        .map(|n| {
            let event = sandbox::events::event(&format!("{n:06}"), Timestamp::UNIX_EPOCH);
            let (channel, queue, body) = (&channel, queue.clone(), event.encode());
            async move {
                let properties = BasicProperties::default().with_delivery_mode(2);
                let options = BasicPublishOptions::default();
                let sent =
                    channel.basic_publish("".into(), queue.into(), options, &body, properties);
                sent.await.expect("sent").await.expect("confirmed")
            }
        })
        .buffered(256)
        .count()
        .await;
    assert_eq!(confirmed, LETTERS);
    connection.close(200, "bye".into()).await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
async fn every_reader_sees_all_of_them_in_order() {
    let (world, services, prefix) = (World::new().await, Services::shared(), fresh_prefix());
    let env = only(&world.on_brokers(services, &prefix), &ENGINE);
    let dead = async |args: &[&str]| -> Said { beside(&[&["dead"], args].concat(), &env).await };
    assert_eq!(dead(&["list", "--json"]).await.out.trim(), "[]", "this declares the queues");
    fill(services, &prefix).await;
    for _ in 0..3 {
        let listed = async || -> Vec<String> {
            let Said { code, out, err } = dead(&["list", "--json"]).await;
            assert_eq!(code, 0, "{err}");
            let letters: Vec<Value> = serde_json::from_str(&out).expect("JSON");
            letters
                .iter()
                .map(|letter| letter["event_id"].as_str().expect("an id").to_owned())
                .collect()
        };
        let (one, other, three) = tokio::join!(listed(), listed(), dead(&["list", "--limit", "3"]));
        let in_order: Vec<String> = (0..LETTERS).map(|n| format!("event_{n:06}")).collect();
        let first = |ids: &[String]| ids.iter().zip(&in_order).position(|(a, b)| a != b);
        assert!(
            one == in_order && other == in_order,
            "{} and {} letters, in order up to {:?} and {:?}: {:?}",
            one.len(),
            other.len(),
            first(&one),
            first(&other),
            &one[..12]
        );
        assert_eq!(three.out.lines().count(), 3, "{}", three.err);
    }
    let purged = dead(&["purge", "event_000001", "event_004999"]).await;
    assert!(purged.out.contains("2 deleted, 0 kept"), "{}{}", purged.out, purged.err);
    let purged = dead(&["purge", "--all"]).await;
    assert!(purged.out.contains("4998 deleted, 0 kept"), "{}", purged.err);
    delete_queues(services.amqp_url(), &prefix).await;
}
