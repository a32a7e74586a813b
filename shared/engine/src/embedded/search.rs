//! Searching for queued events in the embedded engine's file.

use async_trait::async_trait;
use domain::{
    event::QueuedEvent,
    fault::{Fault, Reason},
    queue::search::{MAX_MESSAGES, Search, Waiting, Wanted},
};
use jiff::Timestamp;
use rusqlite::Connection;

use super::EmbeddedOperator;

#[async_trait]
impl Search for EmbeddedOperator {
    async fn search(&self, wanted: Wanted) -> Result<Vec<Waiting>, Fault> {
        let now = self.clock.now().as_millisecond();
        self.store.run(move |connection| find(connection, &wanted, now)).await
    }
}

fn find(connection: &Connection, wanted: &Wanted, now: i64) -> rusqlite::Result<Vec<Waiting>> {
    let sql =
        "SELECT due_ms, taken, attempt, reason, queued_ms, payload FROM queue ORDER BY id LIMIT ?1";
    let read = |row: &rusqlite::Row<'_>| {
        let (due, taken, payload): (i64, bool, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(5)?);
        let place = match (taken, due > now) {
            (true, _) => "worker",
            (false, true) => "retry",
            (false, false) => "work",
        };
        let reason: String = row.get(3)?;
        let reason = Some(reason).filter(|reason| reason != Reason::None.label());
        let since = Timestamp::from_millisecond(row.get(4)?).ok();
        let attempt = row.get(2)?;
        Ok(QueuedEvent::decode(&payload).ok().map(|event| Waiting {
            place: place.to_owned(),
            event,
            attempt,
            reason,
            since,
        }))
    };
    let most = i64::try_from(MAX_MESSAGES).unwrap_or(i64::MAX);
    let rows: Vec<Option<Waiting>> =
        connection.prepare_cached(sql)?.query_map([most], read)?.collect::<Result<_, _>>()?;
    Ok(rows.into_iter().flatten().filter(|waiting| wanted(&waiting.event)).collect())
}
