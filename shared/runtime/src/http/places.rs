//! The places of a listener: who holds one, who has to give it up, and when the listener is
//! crowded.
//!
//! A listener is crowded when more than three quarters of its places are taken. Then each newcomer
//! takes the place of the connection that has kept us waiting longest: first among those of an
//! address that holds more than its share, then among all that have been waited for a second.
//! Connections whose request is being answered keep their places.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use ipnet::IpNet;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    connection::{Closed, Connection},
    occupancy::{CROWDED, Occupancy},
};

/// Shortest time between two searches for connections that could give up their places.
const SEARCH_PAUSE_MS: u64 = 5;

/// The open connections of a listener.
pub(super) struct Places {
    pub(super) house: Arc<Occupancy>,
    /// Networks whose connections carry the requests of many people, and have no share.
    proxies: Vec<IpNet>,
    table: Mutex<Table>,
    freed: Notify,
}

#[derive(Default)]
struct Table {
    open: HashMap<u64, Arc<Connection>>,
    next_id: u64,
    held: HashMap<Holder, usize>,
    /// Connections that could give up their places, the next one last, each with how long it had
    /// been waited for.
    candidates: Vec<(Rank, Arc<Connection>)>,
    searched_ms: Option<u64>,
}

/// Whose places are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Holder {
    /// An IPv4 address, or an IPv6 /64: one customer.
    Address(IpAddr),
    /// An IPv4 /24, or an IPv6 /48: one site.
    Site(IpAddr),
}

impl Holder {
    /// Each holder that an address counts for, with the share of the places it may hold: a quarter
    /// for an address, half for a site.
    fn of(address: IpAddr, all: usize) -> [(Self, usize); 2] {
        let prefix = |v4: u32, v6: u32| match address.to_canonical() {
            IpAddr::V4(short) => IpAddr::V4((short.to_bits() & (u32::MAX << (32 - v4))).into()),
            IpAddr::V6(long) => {
                IpAddr::V6(Ipv6Addr::from_bits(long.to_bits() & (u128::MAX << (128 - v6))))
            }
        };
        [(Self::Address(prefix(32, 64)), all / 4), (Self::Site(prefix(24, 48)), all / 2)]
    }
}

impl Table {
    fn is_over_share(&self, address: IpAddr, all: usize) -> bool {
        Holder::of(address, all)
            .iter()
            .any(|(holder, share)| self.held.get(holder).is_some_and(|held| held > share))
    }
}

/// A place that a connection holds until this is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    id: u64,
    pub(super) connection: Arc<Connection>,
}

impl Places {
    pub(super) fn new(house: Occupancy, proxies: Vec<IpNet>) -> Self {
        Self { house: Arc::new(house), proxies, table: Mutex::default(), freed: Notify::new() }
    }

    /// Returns once there is a free place. Nothing may wait for long here: the kernel keeps those
    /// who come meanwhile.
    pub(super) async fn free(&self) {
        loop {
            let freed = self.freed.notified();
            {
                let mut table = self.table.lock();
                if table.open.len() < self.house.all {
                    return;
                }
                self.evict(&mut table);
            }
            // Who could not be evicted a moment ago may be so later.
            drop(tokio::time::timeout(Duration::from_millis(SEARCH_PAUSE_MS), freed).await);
        }
    }

    /// Gives a place to a new connection, and takes one from another when the listener is crowded.
    pub(super) fn admit(self: &Arc<Self>, peer: IpAddr) -> Place {
        let mut table = self.table.lock();
        let id = table.next_id;
        table.next_id += 1;
        let turn = u8::try_from(id % 16).unwrap_or(0);
        let connection = Arc::new(Connection::new(peer, turn, Arc::clone(&self.house)));
        table.open.insert(id, Arc::clone(&connection));
        for (holder, _) in self.holders(peer) {
            *table.held.entry(holder).or_default() += 1;
        }
        self.house.taken.fetch_add(1, Ordering::Relaxed);
        if self.house.is_crowded() {
            self.evict(&mut table);
        }
        Place { places: Arc::clone(self), id, connection }
    }

    /// Asks every connection that is waited for too long to close.
    pub(super) fn close_overdue(&self) {
        let table = self.table.lock();
        let now = self.house.now_ms();
        for connection in table.open.values() {
            if let Some(why) = connection.overdue(now) {
                self.ask_to_close(connection, why);
            }
        }
    }

    fn holders(&self, address: IpAddr) -> impl Iterator<Item = (Holder, usize)> {
        let address = address.to_canonical();
        let shared = self.proxies.iter().any(|network| network.contains(&address));
        Holder::of(address, self.house.all).into_iter().filter(move |_| !shared)
    }

    fn ask_to_close(&self, connection: &Connection, why: Closed) {
        if connection.ask_to_close(why) {
            self.house.taken.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Asks the connection to close that has kept us waiting longest, if any may be asked.
    fn evict(&self, table: &mut Table) {
        let now = self.house.now_ms();
        let due = table.searched_ms.is_none_or(|last| now >= last + SEARCH_PAUSE_MS);
        if table.candidates.is_empty() && due {
            table.searched_ms = Some(now);
            table.candidates = self.candidates(table, now);
        }
        while let Some((before, connection)) = table.candidates.pop() {
            let over = table.is_over_share(connection.peer(), self.house.all);
            // One that was heard of since is not the one that was waited for longest.
            if rank(&connection, over, now).is_some_and(|rank| rank >= before) {
                return self.ask_to_close(&connection, Closed::Crowded);
            }
        }
    }

    /// A sixteenth of the connections, so that the search is paid for by as many newcomers.
    fn candidates(&self, table: &Table, now: u64) -> Vec<(Rank, Arc<Connection>)> {
        let ranked = |connection: &Arc<Connection>| {
            let over = table.is_over_share(connection.peer(), self.house.all);
            Some((rank(connection, over, now)?, Arc::clone(connection)))
        };
        let mut all: Vec<_> = table.open.values().filter_map(ranked).collect();
        let kept = (table.open.len() / 16).max(4);
        if all.len() > kept {
            let from = all.len() - kept;
            all.select_nth_unstable_by_key(from, |(rank, _)| *rank);
            all.drain(..from);
        }
        all.sort_unstable_by_key(|(rank, _)| *rank);
        all
    }
}

/// The order in which connections give up their places, the highest first: whether the address
/// holds more than its share, and for how many milliseconds the client has been waited for.
type Rank = (bool, u64);

/// `None` for a connection that keeps its place.
fn rank(connection: &Connection, over_share: bool, now: u64) -> Option<Rank> {
    let waited = connection.waited(now)?;
    let may_go = over_share || u128::from(waited) >= CROWDED.as_millis();
    (may_go && !connection.was_asked_to_close()).then_some((over_share, waited))
}

impl Drop for Place {
    fn drop(&mut self) {
        // Counts it out if it was not asked to close before.
        self.places.ask_to_close(&self.connection, Closed::Finished);
        let mut table = self.places.table.lock();
        table.open.remove(&self.id);
        for (holder, _) in self.places.holders(self.connection.peer()) {
            if let Some(held) = table.held.get_mut(&holder) {
                *held -= 1;
                if *held == 0 {
                    table.held.remove(&holder);
                }
            }
        }
        drop(table);
        self.places.freed.notify_one();
    }
}

#[cfg(test)]
mod tests;
