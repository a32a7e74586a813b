//! Connects to a server by its name: every address of it is tried, one shortly after the other, and
//! the first that answers is used (RFC 8305). An address that drops every packet, such as one of a
//! broken IPv6 network or of a cluster's dead node, costs a quarter of a second and not the whole
//! wait.

use std::{collections::VecDeque, io, net::SocketAddr, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    net::{TcpStream, lookup_host},
    time::sleep,
};

/// How long an address is waited for before the next one is tried beside it (RFC 8305, 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// Most addresses that are tried.
const MOST_ADDRESSES: usize = 16;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The name has no address, or nobody answers for it.
    #[error("its name cannot be resolved ({})", .0.kind())]
    Name(io::Error),
    /// No address was reached; this is what the last one said.
    #[error("{address} could not be reached ({})", error.kind())]
    Address {
        /// The address that failed last.
        address: SocketAddr,
        /// What the system says about it.
        error: io::Error,
    },
}

impl From<DialError> for io::Error {
    fn from(error: DialError) -> Self {
        let kind = match &error {
            DialError::Name(inner) | DialError::Address { error: inner, .. } => inner.kind(),
        };
        Self::new(kind, error.to_string())
    }
}

/// Connects to a host, with Nagle's algorithm off: all our peers are sent small writes that wait for
/// an answer. Has no deadline of its own.
pub async fn dial(host: &str, port: u16) -> Result<TcpStream, DialError> {
    let addresses = lookup_host((host, port)).await.map_err(DialError::Name)?;
    let stream = race(alternating(addresses.take(MOST_ADDRESSES)), TcpStream::connect).await?;
    // Costs speed only.
    stream.set_nodelay(true).unwrap_or_default();
    Ok(stream)
}

/// The families by turns, beginning with that of the first address, which the system prefers.
fn alternating(addresses: impl Iterator<Item = SocketAddr>) -> VecDeque<SocketAddr> {
    let all: Vec<SocketAddr> = addresses.collect();
    let first_is_v6 = all.first().is_some_and(SocketAddr::is_ipv6);
    let (mut first, mut other): (VecDeque<_>, VecDeque<_>) =
        all.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let mut order = VecDeque::new();
    while let Some(address) = first.pop_front().or_else(|| other.pop_front()) {
        order.push_back(address);
        order.extend(other.pop_front());
    }
    order
}

async fn race<T, F>(
    mut addresses: VecDeque<SocketAddr>,
    connect: impl Fn(SocketAddr) -> F,
) -> Result<T, DialError>
where
    F: Future<Output = io::Result<T>>,
{
    let mut attempts = FuturesUnordered::new();
    let nowhere = io::Error::new(io::ErrorKind::NotFound, "no address");
    let mut failed = DialError::Name(nowhere);
    loop {
        if let Some(address) = addresses.pop_front() {
            let attempt = connect(address);
            attempts.push(async move { (address, attempt.await) });
        }
        tokio::select! {
            Some((address, result)) = attempts.next() => match result {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = DialError::Address { address, error },
            },
            () = sleep(HEAD_START), if !addresses.is_empty() => {}
            else => return Err(failed),
        }
        if attempts.is_empty() && addresses.is_empty() {
            return Err(failed);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn addresses(texts: &[&str]) -> VecDeque<SocketAddr> {
        texts.iter().map(|text| text.parse().expect("an address")).collect()
    }

    /// Addresses end in what they do: 1 answers nothing, 2 refuses, 3 answers at once.
    async fn reach(address: SocketAddr) -> io::Result<SocketAddr> {
        match address.port() {
            1 => std::future::pending().await,
            2 => Err(io::ErrorKind::ConnectionRefused.into()),
            _ => Ok(address),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_answers_is_found_behind_dead_ones() {
        for (all, found, after) in [
            (&["10.0.0.1:3"][..], Some("10.0.0.1:3"), 0),
            (&["10.0.0.1:1", "10.0.0.2:3"], Some("10.0.0.2:3"), 250),
            (&["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:3"], Some("10.0.0.3:3"), 500),
            (&["10.0.0.1:2", "10.0.0.2:3"], Some("10.0.0.2:3"), 0),
            (&["10.0.0.1:2", "10.0.0.2:2"], None, 0),
            (&[], None, 0),
        ] {
            let begun = Instant::now();
            let reached = race(addresses(all), reach).await;
            assert_eq!(
                reached.ok(),
                found.map(|text| text.parse().expect("an address")),
                "{all:?}"
            );
            assert_eq!(begun.elapsed(), Duration::from_millis(after), "{all:?}");
        }
    }

    #[test]
    fn families_take_turns() {
        let all = ["[2001:db8::1]:25", "[2001:db8::2]:25", "10.0.0.1:25"];
        let order = alternating(addresses(&all).into_iter());
        assert_eq!(order, addresses(&[all[0], all[2], all[1]]));
        let all = ["10.0.0.1:25", "10.0.0.2:25", "[2001:db8::1]:25", "[2001:db8::2]:25"];
        let order = alternating(addresses(&all).into_iter());
        assert_eq!(order, addresses(&[all[0], all[2], all[1], all[3]]));
    }

    #[tokio::test]
    async fn what_failed_is_said() {
        let unknown = dial("nobody.invalid", 25).await.expect_err("no such name");
        assert!(unknown.to_string().contains("its name cannot be resolved"), "{unknown}");
        let refused = dial("127.0.0.1", 1).await.expect_err("nobody listens");
        assert_eq!(refused.to_string(), "127.0.0.1:1 could not be reached (connection refused)");
    }
}
