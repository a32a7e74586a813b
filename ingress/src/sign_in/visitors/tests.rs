//! Unit tests of the parent module.

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn forwarded(lines: &[&'static str]) -> HeaderMap {
    lines
        .iter()
        .map(|line| ("x-forwarded-for".parse().expect("a name"), HeaderValue::from_static(line)))
        .collect()
}

#[test]
fn only_trusted_proxies_are_believed() {
    let proxies = Proxies::new(vec![
        "10.0.0.0/8".parse().expect("a network"),
        "::1/128".parse().expect("a network"),
    ]);
    for (peer, lines, client) in [
        ("192.0.2.1", &["203.0.113.5"][..], "192.0.2.1"),
        ("10.0.0.1", &[], "10.0.0.1"),
        ("10.0.0.1", &["203.0.113.5"], "203.0.113.5"),
        ("::ffff:10.0.0.1", &["203.0.113.5"], "203.0.113.5"),
        ("::1", &["203.0.113.5:4711"], "203.0.113.5"),
        ("10.0.0.1", &["1.1.1.1, 203.0.113.5, 10.0.0.9"], "203.0.113.5"),
        ("10.0.0.1", &["1.1.1.1", "203.0.113.5", "10.0.0.9"], "203.0.113.5"),
        ("10.0.0.1", &["[2001:db8::1]:443"], "2001:db8::1"),
        ("10.0.0.1", &["203.0.113.5, unknown"], "10.0.0.1"),
        ("10.0.0.1", &["unknown, 10.0.0.3"], "10.0.0.3"),
    ] {
        assert_eq!(proxies.client(ip(peer), &forwarded(lines)), ip(client), "{peer} {lines:?}");
    }
}

#[test]
fn each_address_has_a_limit_of_its_own() {
    let limit = RateLimit::new(NonZeroU32::new(3).expect("not zero"));
    let visitor = |text: &str| Visitor { address: Some(ip(text)), user_agent: None };
    for _ in 0..3 {
        assert!(limit.check(&visitor("192.0.2.1")).is_ok());
    }
    let wait = limit.check(&visitor("192.0.2.1")).expect_err("the fourth");
    assert!(wait <= Duration::from_secs(20), "{wait:?}");
    assert!(limit.check(&visitor("192.0.2.2")).is_ok());
    for host in ["2001:db8::1", "2001:db8::2", "2001:db8::3:1:1:1"] {
        assert!(limit.check(&visitor(host)).is_ok());
    }
    assert!(limit.check(&visitor("2001:db8::4")).is_err(), "one /64 is one client");
    assert!(limit.check(&visitor("2001:db8:0:1::1")).is_ok());
}
