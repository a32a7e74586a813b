//! Deletes what has expired, in small pieces between the jobs of people who wait.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use domain::fault::Fault;
use rusqlite::params;
use tokio::time::sleep;

use crate::sqlite::Store;

/// Rows that are deleted at once. Takes the writer a few milliseconds.
const PIECE: usize = 200;

/// Pause between two pieces, in which others get their turn.
const PAUSE: Duration = Duration::from_millis(20);

/// What expires by a time of its own.
const EXPIRED: [&str; 3] = [
    "DELETE FROM claims WHERE event_id IN \
     (SELECT event_id FROM claims WHERE gone_ms < ?1 ORDER BY gone_ms LIMIT ?2)",
    "DELETE FROM users WHERE user_id IN \
     (SELECT user_id FROM users WHERE gone_ms < ?1 ORDER BY gone_ms LIMIT ?2)",
    "DELETE FROM languages WHERE user_id IN \
     (SELECT user_id FROM languages WHERE gone_ms < ?1 ORDER BY gone_ms LIMIT ?2)",
];

/// Dead letters that are too old.
const OLD: &str = "DELETE FROM dead WHERE id IN \
                   (SELECT id FROM dead WHERE died_ms < ?1 ORDER BY died_ms LIMIT ?2)";

/// Sweeps one file, one sweep at a time.
#[derive(Clone, Default)]
pub(super) struct Sweeper(Arc<AtomicBool>);

impl Sweeper {
    /// Starts a sweep of what had expired at `now`, and of dead letters from before `dead_before`,
    /// unless there is one. It ends early if the store goes.
    pub(super) fn start(&self, store: &Arc<Store>, now: i64, dead_before: i64) {
        if self.0.swap(true, Ordering::Relaxed) {
            return;
        }
        let (running, store) = (Arc::clone(&self.0), Arc::downgrade(store));
        tokio::spawn(async move {
            let jobs = EXPIRED.map(|sql| (sql, now)).into_iter().chain([(OLD, dead_before)]);
            for (sql, before) in jobs {
                if let Err(fault) = sweep(&store, sql, before).await {
                    tracing::debug!(%fault, "cannot delete what has expired");
                }
            }
            running.store(false, Ordering::Relaxed);
        });
    }
}

/// Deletes piece by piece until nothing is left. Returns how many rows there were.
async fn sweep(store: &Weak<Store>, sql: &'static str, before: i64) -> Result<usize, Fault> {
    let mut swept = 0;
    while let Some(store) = store.upgrade() {
        let piece = i64::try_from(PIECE).unwrap_or(i64::MAX);
        let deleted = store
            .run(move |connection| connection.prepare_cached(sql)?.execute(params![before, piece]))
            .await?;
        drop(store);
        swept += deleted;
        if deleted < PIECE {
            break;
        }
        sleep(PAUSE).await;
    }
    Ok(swept)
}

#[cfg(test)]
mod tests;
