//! Unit tests of the parent module.

use hyper::header::HeaderValue;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn proxies() -> Proxies {
    let networks = ["10.0.0.0/8", "::1/128"].map(|text| text.parse().expect("a network"));
    Proxies::new(networks.to_vec()).expect("not everybody")
}

fn client(peer: &str, lines: &[&[u8]]) -> IpAddr {
    let pair = |line: &&[u8]| {
        (FORWARDED.parse().expect("a name"), HeaderValue::from_bytes(line).expect("a value"))
    };
    proxies().client(ip(peer), &lines.iter().map(pair).collect())
}

#[test]
fn only_trusted_proxies_are_believed() {
    for (peer, lines, expected) in [
        ("192.0.2.1", &["203.0.113.5"][..], "192.0.2.1"),
        ("10.0.0.1", &[], "10.0.0.1"),
        ("10.0.0.1", &["203.0.113.5"], "203.0.113.5"),
        ("::ffff:10.0.0.1", &["203.0.113.5"], "203.0.113.5"),
        ("::1", &["203.0.113.5:4711"], "203.0.113.5"),
        ("10.0.0.1", &["1.1.1.1, 203.0.113.5, 10.0.0.9"], "203.0.113.5"),
        ("10.0.0.1", &["1.1.1.1,\t203.0.113.5 \t,10.0.0.9"], "203.0.113.5"),
        ("10.0.0.1", &["1.1.1.1", "203.0.113.5", "10.0.0.9"], "203.0.113.5"),
        ("10.0.0.1", &["[2001:db8::1]:443"], "2001:db8::1"),
        ("10.0.0.1", &["203.0.113.5, unknown"], "10.0.0.1"),
        ("10.0.0.1", &["unknown, 10.0.0.3"], "10.0.0.3"),
        ("10.0.0.1", &[""], "10.0.0.1"),
    ] {
        let bytes: Vec<_> = lines.iter().map(|line| line.as_bytes()).collect();
        assert_eq!(client(peer, &bytes), ip(expected), "{peer} {lines:?}");
    }
}

/// A client can put any bytes before what its proxy adds.
#[test]
fn bytes_of_the_client_do_not_hide_what_the_proxy_added() {
    for line in [
        &b"\xff, 203.0.113.5"[..],
        b"J\xc3\xbcrgen, 203.0.113.5",
        b"\xe2\x80\x80, ,203.0.113.5",
        b"203.0.113.9\xff,203.0.113.5",
    ] {
        assert_eq!(client("10.0.0.1", &[line]), ip("203.0.113.5"), "{line:?}");
    }
    assert_eq!(client("10.0.0.1", &[b"\xff", b"203.0.113.5"]), ip("203.0.113.5"));
    // Only the space and the tab are white space in a header.
    assert_eq!(client("10.0.0.1", &["\u{2000}203.0.113.5".as_bytes()]), ip("10.0.0.1"));
}

#[test]
fn a_network_of_everybody_is_refused() {
    for text in ["0.0.0.0/0", "::/0"] {
        let all = vec![text.parse().expect("a network")];
        assert_eq!(Proxies::new(all).map(|_| ()), Err(TrustsEverybody), "{text}");
    }
}
