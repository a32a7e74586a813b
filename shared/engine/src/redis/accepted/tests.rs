//! Unit tests of the parent module.

use runtime::{clock::SystemClock, tls::Trust};
use secrecy::SecretString;

use super::*;
use crate::redis::RedisConfig;

/// A queue that stores everything at once.
struct Stored;

#[async_trait]
impl Publish for Stored {
    async fn publish(&self, _: &QueuedEvent) -> Result<(), Fault> {
        Ok(())
    }

    fn ready(&self) -> Result<(), Cow<'static, str>> {
        Ok(())
    }

    fn system(&self) -> &'static str {
        "test"
    }
}

/// Redis may be away for as long as it likes: notes take a bounded amount of memory, and every one
/// that is not made is counted.
#[tokio::test]
async fn notes_over_the_bound_are_counted_and_not_kept() {
    let message = include_str!("../../../../domain/tests/data/queued_event_v1.json");
    let event = QueuedEvent::decode(message.trim().as_bytes()).expect("the golden file");
    let trust = Trust::load(None).expect("usable");
    let url = SecretString::from("redis://127.0.0.1:1".to_owned());
    let config = RedisConfig::parse(&url, &trust).expect("a URL");
    let metrics = Arc::new(Metrics::new("test").expect("declared rightly"));
    let notes = NotingPublisher::new(
        Arc::new(Stored),
        Arc::new(RedisConnection::new(&config, "test")),
        Arc::new(SystemClock),
        Arc::clone(&metrics),
    );
    let dropped = |count: usize| {
        metrics.expose().contains(&format!("authpost_records_dropped_total {count}\n"))
    };
    // The task that sends them has no turn meanwhile.
    for _ in 0..WAITING {
        notes.publish(&event).await.expect("stored");
    }
    assert!(dropped(0));
    for _ in 0..3 {
        notes.publish(&event).await.expect("stored");
    }
    assert!(dropped(3));
    assert_eq!(notes.waiting.lock().batches.len(), WAITING / BATCH);

    // There is no Redis: all are given up, and there is room again.
    while notes.waiting.lock().notes > 0 {
        tokio::task::yield_now().await;
    }
    assert!(dropped(WAITING + 3));
    notes.publish(&event).await.expect("stored");
    assert_eq!(notes.waiting.lock().notes, 1);
}
