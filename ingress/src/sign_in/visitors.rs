//! The client address behind trusted proxies, and its rate limit.

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    time::Duration,
};

use domain::sign_in::provider::Visitor;
use governor::{Quota, RateLimiter, clock::Clock as _};
use hyper::{
    HeaderMap, StatusCode,
    header::{HeaderValue, RETRY_AFTER, USER_AGENT},
    http::request::Parts,
};
use ipnet::IpNet;
use runtime::http::{Answer, Peer, problem};

/// Most addresses tracked at once, in about 20 MiB. When more are busy, new ones are asked to wait.
const MOST_ADDRESSES: usize = 100_000;

/// How long new addresses are asked to wait then.
const CROWDED_WAIT: Duration = Duration::from_secs(10);

/// Longest `User-Agent` passed on, in bytes.
const MAX_USER_AGENT: usize = 512;

/// The networks of trusted proxies. Only their `X-Forwarded-For` is used.
#[derive(Debug, Clone, Default)]
pub struct Proxies(Vec<IpNet>);

impl Proxies {
    /// A limit that takes `X-Forwarded-For` from these networks only.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    fn trust(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The address of the client: read from the end, the first address in `X-Forwarded-For` that is
    /// no trusted proxy. Anything before it was written by the client.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let forwarded = headers
            .get_all("x-forwarded-for")
            .iter()
            .flat_map(|line| line.to_str().unwrap_or("").split(','));
        let mut client = peer.to_canonical();
        for hop in forwarded.collect::<Vec<_>>().into_iter().rev() {
            if !self.trust(client) {
                break;
            }
            match address(hop.trim()) {
                Some(before) => client = before,
                // What is before an invalid entry cannot be trusted.
                None => break,
            }
        }
        client
    }

    /// The visitor behind a request.
    pub(super) fn visitor(&self, head: &Parts) -> Visitor {
        let Peer(peer) =
            head.extensions.get().copied().unwrap_or(Peer(IpAddr::V6(Ipv6Addr::UNSPECIFIED)));
        let user_agent = head.headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
        let user_agent = user_agent.filter(|text| text.len() <= MAX_USER_AGENT).map(str::to_owned);
        Visitor { address: Some(self.client(peer, &head.headers)), user_agent }
    }
}

/// Parses `192.0.2.1`, `192.0.2.1:443`, `2001:db8::1`, `[2001:db8::1]:443`: proxies write all of
/// them.
fn address(text: &str) -> Option<IpAddr> {
    let alone = text.parse().ok();
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    alone.or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

/// How often one address may use one endpoint.
pub(super) struct RateLimit(
    RateLimiter<
        IpAddr,
        governor::state::keyed::HashMapStateStore<IpAddr>,
        governor::clock::DefaultClock,
    >,
);

impl RateLimit {
    pub(super) fn new(a_minute: NonZeroU32) -> Self {
        Self(RateLimiter::hashmap(Quota::per_minute(a_minute)))
    }

    /// `Err` with the time to wait when there were too many requests.
    pub(super) fn check(&self, visitor: &Visitor) -> Result<(), Duration> {
        let address = visitor.address.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), rate_limit_key);
        if self.0.len() >= MOST_ADDRESSES {
            return Err(CROWDED_WAIT);
        }
        self.0.check_key(&address).map_err(|until| until.wait_time_from(self.0.clock().now()))
    }

    /// Drops the state of idle addresses.
    pub(super) fn forget_idle(&self) {
        self.0.retain_recent();
    }
}

/// One customer has a whole IPv6 /64, which counts as one address.
fn rate_limit_key(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(long) => IpAddr::V6(Ipv6Addr::from_bits(long.to_bits() & (u128::MAX << 64))),
    }
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
