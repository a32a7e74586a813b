//! How often one client address may do something.
//!
//! The table is bounded, and a full one keeps out nobody: a newcomer takes the entry of whoever is
//! nearest to having none. That is O(log n), and there is nothing to tidy up.

use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    time::Duration,
};

use hyper::{
    StatusCode,
    header::{HeaderValue, RETRY_AFTER},
};
use parking_lot::Mutex;
use runtime::http::{Answer, problem};
use tokio::time::Instant;

/// Most addresses and sites tracked at once, in about 10 MiB.
const MOST_ENTRIES: usize = 100_000;

/// How many addresses' worth an IPv6 /48 may ask: one site may have many customers.
const SITE: u32 = 16;

/// Whose requests are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Client {
    /// A client: one IPv4 address.
    V4(u32),
    /// An IPv6 /64: one customer.
    V6(u64),
    /// An IPv6 /48: one site, which can have 65,536 of those.
    Site(u64),
}

/// A generic cell rate algorithm for each client: `burst` at once, then evenly spaced.
pub(super) struct RateLimit {
    began: Instant,
    /// Between two requests in the long run.
    interval: Duration,
    burst: u32,
    most: usize,
    table: Mutex<Table>,
}

/// When the next request of each client would be due if they were evenly spaced, in nanoseconds; a
/// time in the past is no entry.
#[derive(Default)]
struct Table {
    due: HashMap<Client, u64>,
    order: BTreeSet<(u64, Client)>,
}

impl Table {
    fn set(&mut self, client: Client, due: u64, most: usize) {
        if let Some(before) = self.due.insert(client, due) {
            self.order.remove(&(before, client));
        } else if self.due.len() > most
            && let Some((_, least)) = self.order.pop_first()
        {
            self.due.remove(&least);
        }
        self.order.insert((due, client));
    }
}

impl RateLimit {
    /// As many `a_minute` for each IPv4 address and IPv6 /64, and all of a minute's at once.
    pub(super) fn new(a_minute: NonZeroU32) -> Self {
        Self::with_entries(a_minute, MOST_ENTRIES)
    }

    fn with_entries(a_minute: NonZeroU32, most: usize) -> Self {
        Self {
            began: Instant::now(),
            interval: Duration::from_mins(1) / a_minute.get(),
            burst: a_minute.get(),
            most,
            table: Mutex::default(),
        }
    }

    /// Counts a request; `Err` with the time to wait when there were too many.
    pub(super) fn check(&self, address: IpAddr) -> Result<(), Duration> {
        let now = nanos(self.began.elapsed());
        let mut table = self.table.lock();
        let clients = self.clients(address);
        for (client, interval, burst) in &clients {
            let due = table.due.get(client).copied().unwrap_or(0).max(now);
            let tolerated = now.saturating_add(interval.saturating_mul(u64::from(burst - 1)));
            if due > tolerated {
                return Err(Duration::from_nanos(due - tolerated));
            }
        }
        for (client, interval, _) in clients {
            let due = table.due.get(&client).copied().unwrap_or(0).max(now);
            table.set(client, due.saturating_add(interval), self.most);
        }
        Ok(())
    }

    /// Takes back one request that was counted.
    pub(super) fn forgive(&self, address: IpAddr) {
        let mut table = self.table.lock();
        for (client, interval, _) in self.clients(address) {
            if let Some(due) = table.due.get(&client).copied() {
                table.set(client, due.saturating_sub(interval), self.most);
            }
        }
    }

    /// Those that a request of this address is counted for, each with its interval in nanoseconds
    /// and its burst.
    fn clients(&self, address: IpAddr) -> Vec<(Client, u64, u32)> {
        let (interval, burst) = (nanos(self.interval), self.burst);
        match address.to_canonical() {
            IpAddr::V4(short) => vec![(Client::V4(short.to_bits()), interval, burst)],
            IpAddr::V6(long) => vec![
                (Client::V6(top(long)), interval, burst),
                (
                    Client::Site(top(long) & !0xffff),
                    interval / u64::from(SITE),
                    burst.saturating_mul(SITE),
                ),
            ],
        }
    }
}

/// The upper half of an IPv6 address: its /64.
fn top(address: Ipv6Addr) -> u64 {
    u64::try_from(address.to_bits() >> 64).unwrap_or(0)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The answer to a request over the limit.
pub(super) fn too_many_requests(wait: Duration) -> Answer {
    let mut answer = problem(
        StatusCode::TOO_MANY_REQUESTS,
        "too_many_requests",
        "Too many requests from this address. Try again later.",
    );
    let seconds = wait.as_secs() + 1;
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    answer
}

#[cfg(test)]
mod tests;
