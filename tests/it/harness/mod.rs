//! The test harness: apps, programs, services, traffic, and waiting.

pub mod account;
pub mod app;
pub mod certificates;
pub mod collector;
pub mod finish;
pub mod installed;
pub mod load;
pub mod networks;
pub mod postfix;
pub mod program;
pub mod queues;
pub mod raw_http;
pub mod redis;
pub mod services;
pub mod settings;
pub mod setup;
pub mod slow;
pub mod strangers;
pub mod terminal;

use std::time::Duration;

pub use app::{App, Setup};

/// Longest wait for anything that should happen. Generous: a test that meets it has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Shows something that was measured: under `--nocapture`, which is how the figures in the
/// documents were taken.
#[expect(clippy::print_stdout, reason = "a figure is there to be read")]
pub fn figure(text: &str) {
    println!("figure: {text}");
}

/// Looks until `seen` gives a value. For what has no event to wait on: a metric, a row in somebody
/// else's store.
pub async fn eventually<T>(what: &str, mut seen: impl AsyncFnMut() -> Option<T>) -> T {
    let mut looks = tokio::time::interval(Duration::from_millis(10));
    let looking = async {
        loop {
            looks.tick().await;
            if let Some(value) = seen().await {
                return value;
            }
        }
    };
    tokio::time::timeout(PATIENCE, looking)
        .await
        .unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

/// Waits for an event, at most [`PATIENCE`].
pub async fn in_time<T>(what: &str, event: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, event)
        .await
        .unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}
