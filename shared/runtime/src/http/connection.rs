//! One open connection: what it waits for and since when, and whether it was asked to close.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

use super::occupancy::Occupancy;

/// Most requests on one connection.
const MOST_REQUESTS: u32 = 10_000;

/// A connection that is older than this is closed after its next answer.
const MOST_AGE: Duration = Duration::from_hours(1);

/// No reason yet: nobody asked the connection to close.
const OPEN: u8 = 0;

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing was received since the last answer.
    Idle,
    /// The head of a request is incomplete. A new connection begins here.
    Head,
    /// The body of a request is incomplete.
    Body,
    /// A request is being answered: it waits for us and not for the client.
    Busy,
}

/// Why a connection was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// By the client, or after an answer that said so.
    Finished = 1,
    /// No further request within the keep-alive time.
    Idle,
    /// The head of a request took too long.
    Slow,
    /// The client did not read its answers.
    Unread,
    /// It gave its place to a newer connection.
    Crowded,
}

/// An open connection. The body of each request carries it.
#[derive(Debug)]
pub struct Connection {
    peer: IpAddr,
    /// Sets apart the patience with connections that came together.
    turn: u8,
    opened_ms: u64,
    /// Milliseconds since the listener began, and the stage that began then in the lowest two bits.
    stage: AtomicU64,
    /// Since when nothing could be written, in milliseconds since the listener began, plus one; 0
    /// when nothing waits to be written.
    stalled: AtomicU64,
    requests: AtomicU32,
    /// Whether the last request had a body that was not read to its end.
    unread_body: AtomicBool,
    closed: AtomicU8,
    close: Notify,
    house: Arc<Occupancy>,
}

impl Connection {
    pub(super) fn new(peer: IpAddr, turn: u8, house: Arc<Occupancy>) -> Self {
        let now = house.now_ms();
        Self {
            peer,
            turn,
            opened_ms: now,
            stage: AtomicU64::new(encode(Stage::Head, now)),
            stalled: AtomicU64::new(0),
            requests: AtomicU32::new(0),
            unread_body: AtomicBool::new(false),
            closed: AtomicU8::new(OPEN),
            close: Notify::new(),
            house,
        }
    }

    /// The address at the other end.
    pub fn peer(&self) -> IpAddr {
        self.peer
    }

    /// Longest wait for the body of a request that begins now.
    pub(super) fn patience(&self) -> Duration {
        self.house.patience(self.turn)
    }

    /// Marks the connection as waiting for a body, until the guard is dropped.
    pub(super) fn reading_body(self: &Arc<Self>) -> ReadingBody {
        self.enter(Stage::Body);
        ReadingBody(Arc::clone(self))
    }

    pub(super) fn enter(&self, stage: Stage) {
        self.stage.store(encode(stage, self.house.now_ms()), Ordering::Relaxed);
    }

    /// The stage, and when it began.
    pub(super) fn stage(&self) -> (Stage, u64) {
        decode(self.stage.load(Ordering::Relaxed))
    }

    /// Notes whether a body has begun that may never be read.
    pub(super) fn set_unread_body(&self, unread: bool) {
        self.unread_body.store(unread, Ordering::Relaxed);
    }

    /// Whether the client may still be sending a body that is not wanted.
    pub(super) fn has_unread_body(&self) -> bool {
        self.unread_body.load(Ordering::Relaxed)
    }

    /// Bytes were received: an idle connection has begun a request.
    pub(super) fn received(&self) {
        if self.stage().0 == Stage::Idle {
            self.enter(Stage::Head);
        }
    }

    /// Nothing can be written at the moment.
    pub(super) fn write_blocked(&self) {
        if self.stalled.load(Ordering::Relaxed) == 0 {
            self.stalled.store(self.house.now_ms() + 1, Ordering::Relaxed);
        }
    }

    /// The peer takes our answers again.
    pub(super) fn written(&self) {
        if self.stalled.load(Ordering::Relaxed) != 0 {
            self.stalled.store(0, Ordering::Relaxed);
        }
    }

    /// Since when nothing could be written, if something waits to be.
    pub(super) fn stalled_since(&self) -> Option<u64> {
        self.stalled.load(Ordering::Relaxed).checked_sub(1)
    }

    /// How long the client has been waited for, in milliseconds; `None` while it waits for us.
    pub(super) fn waited(&self, now: u64) -> Option<u64> {
        let (stage, since) = self.stage();
        let stage_since = (stage != Stage::Busy).then_some(since);
        self.stalled_since().or(stage_since).map(|since| now.saturating_sub(since))
    }

    /// Why it has waited for too long, if it has.
    pub(super) fn overdue(&self, now: u64) -> Option<Closed> {
        let over =
            |since: u64, limit: Duration| u128::from(now.saturating_sub(since)) > limit.as_millis();
        let patience = self.patience();
        if self.stalled_since().is_some_and(|since| over(since, patience)) {
            return Some(Closed::Unread);
        }
        match self.stage() {
            (Stage::Idle, since) if over(since, self.house.keep_alive()) => Some(Closed::Idle),
            (Stage::Head, since) if over(since, patience) => Some(Closed::Slow),
            // A body that is late is answered 408 by its reader.
            _ => None,
        }
    }

    /// Whether the connection is to be closed after the answer to one more request: the listener is
    /// crowded, or it has had its share.
    pub(super) fn is_last_request(&self) -> bool {
        let requests = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let age = Duration::from_millis(self.house.now_ms().saturating_sub(self.opened_ms));
        requests >= MOST_REQUESTS || age > MOST_AGE || self.house.is_crowded()
    }

    /// Asks the connection's task to close it. `false` if that was done before.
    pub(super) fn ask_to_close(&self, why: Closed) -> bool {
        let asked =
            self.closed.compare_exchange(OPEN, why as u8, Ordering::Relaxed, Ordering::Relaxed);
        if asked.is_ok() {
            self.close.notify_one();
        }
        asked.is_ok()
    }

    pub(super) fn was_asked_to_close(&self) -> bool {
        self.closed.load(Ordering::Relaxed) != OPEN
    }

    /// Returns once the connection was asked to close.
    pub(super) async fn asked_to_close(&self) {
        self.close.notified().await;
    }

    pub(super) fn why_closed(&self) -> Closed {
        match self.closed.load(Ordering::Relaxed) {
            2 => Closed::Idle,
            3 => Closed::Slow,
            4 => Closed::Unread,
            5 => Closed::Crowded,
            _ => Closed::Finished,
        }
    }
}

/// The connection waits for a body while this exists.
pub(super) struct ReadingBody(Arc<Connection>);

impl Drop for ReadingBody {
    fn drop(&mut self) {
        self.0.enter(Stage::Busy);
    }
}

fn encode(stage: Stage, ms: u64) -> u64 {
    ms << 2 | stage as u64
}

fn decode(both: u64) -> (Stage, u64) {
    let stage = match both & 3 {
        0 => Stage::Idle,
        1 => Stage::Head,
        2 => Stage::Body,
        _ => Stage::Busy,
    };
    (stage, both >> 2)
}

#[cfg(test)]
mod tests;
