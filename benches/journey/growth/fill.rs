//! Fills engines with records and with events that wait.

use std::path::Path;

use domain::{clock::Clock as _, queue::Capacity, retry::Stage};
use engine::rabbitmq::Names;
use futures_util::{StreamExt as _, stream};
use lapin::{
    BasicProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions, QueuePurgeOptions},
};
use runtime::clock::SystemClock;

use crate::harness::queues::connect;

/// Mailed events, as the embedded engine has them on record.
pub fn records_in_file(file: &Path, from: u64, to: u64) {
    let sql = "
        WITH RECURSIVE n(i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?2)
        INSERT INTO claims (event_id, state, owner, fence, silences, died_sending, until_ms, gone_ms, receipt,
            object_id, user_id, created_ms, expires_ms, accepted_ms, attempt, sent_ms)
        SELECT printf('event_01KA0%021d', i), 'done', '0123456789abcdef-1a2b', 1, 0, 0, 0, ?3 + 259200000,
            '4Zx1Qk3LmnPz at smtp.example.com:587', printf('magic_auth_01KA0%021d', i),
            printf('user_01KA0%021d', i), ?3, ?3 + 600000, ?3 + 40, 1, ?3 + 250
        FROM n";
    let file = rusqlite::Connection::open(file).expect("opens");
    let now = SystemClock.now().as_millisecond();
    let (from, to) = (from.cast_signed(), to.cast_signed());
    file.execute(sql, [from, to, now]).expect("filled");
    file.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").expect("written");
}

/// Events that wait for a retry for two minutes.
pub fn waiting_in_file(file: &Path, count: u64) {
    let mut file = rusqlite::Connection::open(file).expect("opens");
    let due = SystemClock.now().as_millisecond() + 119_000;
    let filling = file.transaction().expect("begun");
    for n in 0..count {
        let sql = "INSERT INTO queue (due_ms, attempt, queued_ms, reason, payload)
                   VALUES (?1, 2, ?1 - 119000, 'relay_unavailable', ?2)";
        let event = sandbox::events::event(&format!("{n:08}"), SystemClock.now()).encode();
        filling.prepare_cached(sql).expect("valid").execute((due, event)).expect("filled");
    }
    filling.commit().expect("filled");
}

/// Mailed events, as Redis has them on record.
pub async fn records_in_redis(url: &str, from: u64, to: u64) {
    let script = redis::Script::new(
        "for i = tonumber(ARGV[1]), tonumber(ARGV[2]) - 1 do
           local id = string.format('01KA0%021d', i)
           local key = 'authpost:event:event_' .. id
           redis.call('HSET', key, 'state', 'done', 'o', id, 'c', ARGV[3], 'e', '600000', 'a', '40', 'u', id,
             'fence', '1', 'n', '1', 'receipt', '4Zx1Qk3LmnPz at smtp.example.com:587', 's', '250')
           redis.call('PEXPIRE', key, 259200000)
           for _, of in ipairs({ 'o', 'u' }) do
             local list = string.format('authpost:index:20000:%s%03x', of, i % 512)
             redis.call('RPUSH', list, id)
           end
         end",
    );
    let client = redis::Client::open(url).expect("a URL");
    let mut redis = client.get_multiplexed_async_connection().await.expect("connects");
    let now = SystemClock.now().as_millisecond();
    for first in (from..to).step_by(5000) {
        let mut call = script.arg(first);
        call.arg((first + 5000).min(to)).arg(now);
        call.invoke_async::<()>(&mut redis).await.expect("filled");
    }
}

/// Events that wait for a retry for two minutes.
pub async fn waiting_at_broker(url: &str, prefix: &str, count: u64) {
    let queue = Names::new(prefix, Capacity::default()).retry(Stage::S120);
    let (connection, channel) = connect(url).await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    stream::iter(0..count)
        .map(|n| {
            let event = sandbox::events::event(&format!("{n:08}"), SystemClock.now()).encode();
            let (channel, queue) = (&channel, queue.clone());
            async move {
                let options = BasicPublishOptions::default();
                let properties = BasicProperties::default().with_delivery_mode(2);
                let sent =
                    channel.basic_publish("".into(), queue.into(), options, &event, properties);
                sent.await.expect("sent").await.expect("confirmed")
            }
        })
        .buffered(256)
        .count()
        .await;
    connection.close(200, "bye".into()).await.expect("closed");
}

/// Takes the waiting events away again.
pub async fn purge(url: &str, prefix: &str) {
    let queue = Names::new(prefix, Capacity::default()).retry(Stage::S120);
    let (connection, channel) = connect(url).await;
    channel.queue_purge(queue.into(), QueuePurgeOptions::default()).await.expect("purged");
    connection.close(200, "bye".into()).await.expect("closed");
}
