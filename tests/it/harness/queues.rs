//! Inspects queues beside the app, and cleans up after it.

use std::path::Path;

use domain::{queue::Capacity, retry::STAGES};
use engine::rabbitmq::Names;
use lapin::{
    Channel, Connection, ConnectionProperties,
    options::{ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::FieldTable,
};

/// A way to a broker of one's own.
pub async fn connect(url: &str) -> (Connection, Channel) {
    let connection =
        Connection::connect(url, ConnectionProperties::default()).await.expect("connects");
    let channel = connection.create_channel().await.expect("a channel");
    (connection, channel)
}

/// How many messages wait in an embedded engine's file.
pub fn rows_left(folder: &Path) -> i64 {
    let file = rusqlite::Connection::open(folder.join("authpost.db")).expect("opens");
    file.query_row("SELECT count(*) FROM queue", [], |row| row.get(0)).expect("a count")
}

/// How many messages are ready in these queues together, asked of the broker itself.
pub async fn ready_in(url: &str, queues: impl IntoIterator<Item = String>) -> u32 {
    let (connection, channel) = connect(url).await;
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
    let mut ready = 0;
    for queue in queues {
        ready += channel
            .queue_declare(queue.into(), options, FieldTable::default())
            .await
            .expect("declared")
            .message_count();
    }
    connection.close(200, "bye".into()).await.expect("closed");
    ready
}

/// All queues under a prefix but the dead letters'.
pub fn waiting_queues(prefix: &str) -> Vec<String> {
    let names = Names::new(prefix, Capacity::default());
    let retries = STAGES.into_iter().map(|stage| names.retry(stage));
    [names.work(), names.late(), names.unrouted()].into_iter().chain(retries).collect()
}

/// Takes a test's queues off the broker; messages left in any but the dead letters' fail the test.
pub async fn delete_queues(url: &str, prefix: &str) {
    let names = Names::new(prefix, Capacity::default());
    let (connection, channel) = connect(url).await;
    for queue in waiting_queues(prefix) {
        let left = channel
            .queue_delete(queue.clone().into(), QueueDeleteOptions::default())
            .await
            .expect("deleted");
        assert_eq!(left, 0, "messages were left in {queue}");
    }
    channel
        .queue_delete(names.dead().into(), QueueDeleteOptions::default())
        .await
        .expect("deleted");
    channel
        .exchange_delete(names.events().into(), ExchangeDeleteOptions::default())
        .await
        .expect("deleted");
    connection.close(200, "bye".into()).await.expect("closed");
}
