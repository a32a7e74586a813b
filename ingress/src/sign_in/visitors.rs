//! Who is asking: the address behind trusted proxies, and how often it may ask.

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    time::Duration,
};

use governor::{Quota, RateLimiter, clock::Clock as _};
use hyper::{
    HeaderMap, StatusCode,
    header::{HeaderValue, RETRY_AFTER, USER_AGENT},
    http::request::Parts,
};
use ipnet::IpNet;
use shared::{
    http::{Answer, Peer, problem},
    workos::sign_in::Visitor,
};

/// Addresses remembered at once: some 20 MiB. When more are busy, newcomers are asked to wait.
const MOST_ADDRESSES: usize = 100_000;

/// How long that is.
const WHEN_CROWDED: Duration = Duration::from_secs(10);

/// Longest user agent that is handed on.
const MAX_USER_AGENT: usize = 512;

/// The networks of our own proxies. Only what they say about a client's address is believed.
#[derive(Debug, Clone, Default)]
pub struct Proxies(Vec<IpNet>);

impl Proxies {
    /// These networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    fn trust(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client's address: the last in `X-Forwarded-For` that no proxy of ours has, read from our end. What stands
    /// before it was written by the client.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let forwarded = headers.get_all("x-forwarded-for").iter().flat_map(|line| line.to_str().unwrap_or("").split(','));
        let mut client = peer.to_canonical();
        for hop in forwarded.collect::<Vec<_>>().into_iter().rev() {
            if !self.trust(client) {
                break;
            }
            match address(hop.trim()) {
                Some(before) => client = before,
                // Whoever wrote this cannot be believed any further.
                None => break,
            }
        }
        client
    }

    /// The person behind a request.
    pub(super) fn visitor(&self, head: &Parts) -> Visitor {
        let Peer(peer) = head.extensions.get().copied().unwrap_or(Peer(IpAddr::V6(Ipv6Addr::UNSPECIFIED)));
        let user_agent = head.headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
        let user_agent = user_agent.filter(|text| text.len() <= MAX_USER_AGENT).map(str::to_owned);
        Visitor { address: Some(self.client(peer, &head.headers)), user_agent }
    }
}

/// `192.0.2.1`, `192.0.2.1:443`, `2001:db8::1`, `[2001:db8::1]:443`: proxies write all of them.
fn address(text: &str) -> Option<IpAddr> {
    let alone = text.parse().ok();
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    alone.or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

/// How often one address may ask for one thing.
pub(super) struct Limit(RateLimiter<IpAddr, governor::state::keyed::HashMapStateStore<IpAddr>, governor::clock::DefaultClock>);

impl Limit {
    pub(super) fn new(a_minute: NonZeroU32) -> Self {
        Self(RateLimiter::hashmap(Quota::per_minute(a_minute)))
    }

    /// `Err` with how long to wait when there were too many.
    pub(super) fn admit(&self, visitor: &Visitor) -> Result<(), Duration> {
        let address = visitor.address.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), household);
        if self.0.len() >= MOST_ADDRESSES {
            return Err(WHEN_CROWDED);
        }
        self.0.check_key(&address).map_err(|until| until.wait_time_from(self.0.clock().now()))
    }

    /// Forgets addresses that have been quiet.
    pub(super) fn tidy(&self) {
        self.0.retain_recent();
    }
}

/// An IPv6 customer has a whole /64 to ask from.
fn household(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(long) => IpAddr::V6(Ipv6Addr::from_bits(long.to_bits() & (u128::MAX << 64))),
    }
}

/// The refusal of those.
pub(super) fn too_many(wait: Duration) -> Answer {
    let mut answer = problem(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", "Too many requests from this address. Try again later.");
    let seconds = wait.as_secs() + 1;
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn forwarded(lines: &[&'static str]) -> HeaderMap {
        lines.iter().map(|line| ("x-forwarded-for".parse().expect("a name"), HeaderValue::from_static(line))).collect()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let proxies = Proxies::new(vec!["10.0.0.0/8".parse().expect("a network"), "::1/128".parse().expect("a network")]);
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
        let limit = Limit::new(NonZeroU32::new(3).expect("not zero"));
        let visitor = |text: &str| Visitor { address: Some(ip(text)), user_agent: None };
        for _ in 0..3 {
            assert!(limit.admit(&visitor("192.0.2.1")).is_ok());
        }
        let wait = limit.admit(&visitor("192.0.2.1")).expect_err("the fourth");
        assert!(wait <= Duration::from_secs(20), "{wait:?}");
        assert!(limit.admit(&visitor("192.0.2.2")).is_ok());
        for host in ["2001:db8::1", "2001:db8::2", "2001:db8::3:1:1:1"] {
            assert!(limit.admit(&visitor(host)).is_ok());
        }
        assert!(limit.admit(&visitor("2001:db8::4")).is_err(), "one /64 is one household");
        assert!(limit.admit(&visitor("2001:db8:0:1::1")).is_ok());
    }
}
