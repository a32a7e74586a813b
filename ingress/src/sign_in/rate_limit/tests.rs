//! Unit tests of the parent module.

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn three_a_minute() -> RateLimit {
    RateLimit::new(NonZeroU32::new(3).expect("not zero"))
}

#[tokio::test(start_paused = true)]
async fn each_address_has_a_limit_of_its_own() {
    let limit = three_a_minute();
    for _ in 0..3 {
        assert!(limit.check(ip("192.0.2.1")).is_ok());
    }
    assert_eq!(limit.check(ip("192.0.2.1")), Err(Duration::from_secs(20)));
    assert!(limit.check(ip("::ffff:192.0.2.1")).is_err(), "the same address in another form");
    assert!(limit.check(ip("192.0.2.2")).is_ok());
    for host in ["2001:db8::1", "2001:db8::2", "2001:db8::3:1:1:1"] {
        assert!(limit.check(ip(host)).is_ok());
    }
    assert!(limit.check(ip("2001:db8::4")).is_err(), "one /64 is one client");
    assert!(limit.check(ip("2001:db8:0:1::1")).is_ok());
    tokio::time::advance(Duration::from_secs(20)).await;
    assert!(limit.check(ip("192.0.2.1")).is_ok());
    assert!(limit.check(ip("192.0.2.1")).is_err(), "one for each interval");
}

#[tokio::test(start_paused = true)]
async fn a_site_with_many_networks_has_a_limit_too() {
    let limit = three_a_minute();
    let passed =
        (0..200).filter(|n| limit.check(ip(&format!("2001:db8:7:{n:x}::1"))).is_ok()).count();
    assert_eq!(passed, 3 * 16);
    assert!(limit.check(ip("2001:db8:8::1")).is_ok(), "another site");
}

#[tokio::test(start_paused = true)]
async fn what_is_forgiven_does_not_count() {
    let limit = three_a_minute();
    for _ in 0..100 {
        assert!(limit.check(ip("192.0.2.1")).is_ok());
        limit.forgive(ip("192.0.2.1"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_table_keeps_out_nobody_and_forgets_those_who_asked_least() {
    let limit = RateLimit::with_entries(NonZeroU32::new(3).expect("not zero"), 100);
    for _ in 0..3 {
        assert!(limit.check(ip("192.0.2.1")).is_ok());
    }
    for n in 0..10_000_u32 {
        assert!(limit.check(IpAddr::V4((0x0a00_0000 + n).into())).is_ok(), "{n}");
    }
    let table = limit.table.lock();
    assert_eq!((table.due.len(), table.order.len()), (100, 100));
    drop(table);
    assert!(limit.check(ip("192.0.2.1")).is_err(), "who is over the limit stays so");
}
