//! How many more events fit into the queue, without counting them each time.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use rusqlite::Connection;

/// Milliseconds between two counts of a full queue: counting it takes the writer some of them.
const BETWEEN_COUNTS: i64 = 200;

/// What is left, as of the last count and what went in and out since. What a transaction takes that
/// fails, and what another process puts in, is found by the next count.
#[derive(Default)]
pub(super) struct Room {
    left: AtomicU64,
    counted_at: AtomicI64,
}

impl Room {
    /// Takes a place, unless `longest` rows wait. Counts once no place is left.
    pub(super) fn is_full(
        &self,
        connection: &Connection,
        longest: u64,
        now: i64,
    ) -> rusqlite::Result<bool> {
        if self.take() {
            return Ok(false);
        }
        if now.abs_diff(self.counted_at.load(Ordering::Relaxed)) < BETWEEN_COUNTS.unsigned_abs() {
            return Ok(true);
        }
        self.counted_at.store(now, Ordering::Relaxed);
        // Reads no further than that many rows.
        let sql = "SELECT count(*) FROM (SELECT 1 FROM queue LIMIT ?1)";
        let most = i64::try_from(longest).unwrap_or(i64::MAX);
        let count: i64 = connection.prepare_cached(sql)?.query_row([most], |row| row.get(0))?;
        let count = u64::try_from(count).unwrap_or(0);
        self.left.store(longest.saturating_sub(count), Ordering::Relaxed);
        Ok(!self.take())
    }

    /// A row has left the queue.
    pub(super) fn free(&self) {
        self.left.fetch_add(1, Ordering::Relaxed);
    }

    fn take(&self) -> bool {
        let taken = |left: u64| left.checked_sub(1);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok()
    }
}
