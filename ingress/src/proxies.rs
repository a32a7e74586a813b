//! The proxies in front, and the address of the client behind them.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;
use ipnet::IpNet;

/// The header in which a proxy says for whom it asks.
pub(crate) const FORWARDED: &str = "x-forwarded-for";

/// Most entries that are read, from the end. Chains of proxies have a handful.
const MOST_HOPS: usize = 32;

/// The networks of trusted proxies. Only their `X-Forwarded-For` is used.
#[derive(Debug, Clone, Default)]
pub struct Proxies(Vec<IpNet>);

/// A network of proxies that would contain everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must not contain every address: anybody could then choose the address that is limited")]
pub struct TrustsEverybody;

impl Proxies {
    /// Takes `X-Forwarded-For` from these networks only.
    pub fn new(networks: Vec<IpNet>) -> Result<Self, TrustsEverybody> {
        if networks.iter().any(|network| network.prefix_len() == 0) {
            return Err(TrustsEverybody);
        }
        Ok(Self(networks))
    }

    /// The networks of trusted proxies, for the listener.
    pub fn networks(&self) -> &[IpNet] {
        &self.0
    }

    /// Whether the connection of this address is a trusted proxy's.
    pub(crate) fn trust(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The address of the client: read from the end, the first address in `X-Forwarded-For` that is
    /// no trusted proxy. Anything before it was written by the client.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let lines = headers.get_all(FORWARDED).iter().rev();
        let hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        let mut client = peer.to_canonical();
        for hop in hops.take(MOST_HOPS) {
            if !self.trust(client) {
                break;
            }
            match address(hop) {
                Some(before) => client = before,
                // What is before an invalid entry cannot be trusted.
                None => break,
            }
        }
        client
    }
}

/// Parses `192.0.2.1`, `192.0.2.1:443`, `2001:db8::1`, `[2001:db8::1]:443`: proxies write all of
/// them.
fn address(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim_matches([' ', '\t']);
    let alone = text.parse().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    alone.or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests;
