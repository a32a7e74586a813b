//! Unit tests of the parent module.

use super::{
    super::{connection::Stage, occupancy::USUAL},
    *,
};

fn places(all: usize) -> Arc<Places> {
    Arc::new(Places::new(Occupancy::new(all, Duration::from_secs(75)), Vec::new()))
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

async fn advance(ms: u64) {
    tokio::time::advance(Duration::from_millis(ms)).await;
}

/// The indexes of those that were asked to close.
fn leaving(places: &[Place]) -> Vec<usize> {
    let asked = |(n, place): (usize, &Place)| place.connection.was_asked_to_close().then_some(n);
    places.iter().enumerate().filter_map(asked).collect()
}

#[tokio::test(start_paused = true)]
async fn who_holds_more_than_a_share_gives_way_first_and_the_longest_idle_of_them() {
    let places = places(16);
    let mut held = Vec::new();
    // The honest ones have been idle for longest, and keep their places.
    for n in 0..4 {
        held.push(places.admit(ip(&format!("198.51.{n}.1"))));
        advance(1).await;
    }
    for _ in 4..12 {
        held.push(places.admit(ip("203.0.113.7")));
        advance(1).await;
    }
    held[4].connection.enter(Stage::Busy);
    held[5].connection.enter(Stage::Idle);
    advance(500).await;
    assert_eq!(leaving(&held), Vec::<usize>::new(), "three quarters are taken, and no more");
    held.push(places.admit(ip("192.0.2.1")));
    assert_eq!(leaving(&held), [6], "neither the busy one nor the one that was heard of since");
    held.push(places.admit(ip("192.0.2.1")));
    assert_eq!(leaving(&held), [6, 7]);
}

#[tokio::test(start_paused = true)]
async fn without_such_an_address_those_go_that_were_waited_for_a_second() {
    let places = places(16);
    let mut held: Vec<_> = (0..12).map(|n| places.admit(ip(&format!("198.51.{n}.1")))).collect();
    advance(900).await;
    held[3].connection.enter(Stage::Idle);
    held.push(places.admit(ip("192.0.2.1")));
    assert_eq!(leaving(&held), Vec::<usize>::new());
    advance(200).await;
    held.push(places.admit(ip("192.0.2.2")));
    assert_eq!(leaving(&held).len(), 1);
    assert_ne!(leaving(&held), [3]);
}

#[tokio::test(start_paused = true)]
async fn networks_and_sites_have_shares_and_proxies_have_none() {
    let networks = vec!["10.0.0.0/8".parse().expect("a network")];
    let house = Occupancy::new(64, Duration::from_secs(75));
    let places = Arc::new(Places::new(house, networks));
    let over = |address: &str| places.table.lock().is_over_share(ip(address), 64);
    let one: Vec<_> = (0..17).map(|n| places.admit(ip(&format!("2001:db8::{n:x}")))).collect();
    assert!(over("2001:db8::ffff") && !over("2001:db8:0:1::1"), "a /64 is one address");
    drop(one);
    assert!(!over("2001:db8::ffff"));
    let site: Vec<_> = (0..33).map(|n| places.admit(ip(&format!("2001:db8:0:{n:x}::1")))).collect();
    assert!(over("2001:db8:0:ffff::1") && !over("2001:db8:1::1"), "a /48 is one site");
    drop(site);
    let proxy: Vec<_> = (0..60).map(|_| places.admit(ip("10.1.2.3"))).collect();
    assert!(!over("10.1.2.3"));
    drop(proxy);
    assert_eq!(places.house.taken.load(Ordering::Relaxed), 0);
    assert!(places.table.lock().held.is_empty());
}

#[tokio::test(start_paused = true)]
async fn patience_follows_how_full_the_listener_is_now() {
    let places = places(8);
    let first = places.admit(ip("192.0.2.1"));
    assert!(first.connection.patience() >= USUAL);
    let others: Vec<_> = (0..6).map(|n| places.admit(ip(&format!("198.51.{n}.1")))).collect();
    assert!(places.house.is_crowded() && first.connection.is_last_request());
    assert_eq!((first.connection.patience(), places.house.keep_alive()), (CROWDED, CROWDED));
    drop(others);
    assert!(first.connection.patience() >= USUAL && !first.connection.is_last_request());
}

#[tokio::test(start_paused = true)]
async fn a_full_listener_waits_for_a_place_and_busy_ones_keep_theirs() {
    let places = places(4);
    let peers = ["192.0.2.1", "198.51.100.1", "203.0.113.1", "10.0.0.1"];
    let held: Vec<_> = peers.map(|peer| places.admit(ip(peer))).into();
    held.iter().for_each(|place| place.connection.enter(Stage::Busy));
    let waiting = tokio::spawn({
        let places = Arc::clone(&places);
        async move { places.free().await }
    });
    advance(1000).await;
    assert!(
        !waiting.is_finished() && held.iter().all(|place| !place.connection.was_asked_to_close())
    );
    drop(held);
    waiting.await.expect("a place");
}

#[tokio::test(start_paused = true)]
async fn the_search_is_paid_for_by_many_newcomers() {
    let places = places(4096);
    let held: Vec<_> = (0..3072).map(|_| places.admit(ip("203.0.113.7"))).collect();
    advance(10_000).await;
    let newcomers: Vec<_> = (0..100).map(|_| places.admit(ip("192.0.2.1"))).collect();
    assert_eq!(leaving(&held).len(), 100);
    assert!(places.table.lock().candidates.len() > 50, "one search, and it is not used up");
    drop(newcomers);
}
