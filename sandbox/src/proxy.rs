//! A TCP proxy that simulates faults of a network: slow, stalled, cut, unreachable.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::sleep,
};

/// How the proxy treats connections, those that are open included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Passes on everything, unchanged and undelayed.
    Fine,
    /// Each piece arrives this much later.
    Delay(Duration),
    /// So many bytes a second, each way.
    Throttle(u32),
    /// Nothing arrives in either direction, and no connection is closed. Data on its way arrives
    /// once the fault is over.
    BlackHole,
    /// The server's direction is closed: the client reads the end of the stream, and may go on
    /// writing.
    HalfClosed,
    /// Connections are cut after so many bytes from the server.
    CutAfter(usize),
    /// New connections are refused, and open ones are reset.
    Refused,
}

/// The running proxy. Stops, and closes every connection, when dropped.
pub struct FaultProxy {
    address: SocketAddr,
    network: watch::Sender<Network>,
    target: Arc<Mutex<SocketAddr>>,
    server: AbortHandle,
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl FaultProxy {
    /// Listens on `listener` for connections to `target`.
    pub fn start(listener: TcpListener, target: SocketAddr) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let (network, state) = watch::channel(Network::Fine);
        let target = Arc::new(Mutex::new(target));
        let server =
            tokio::spawn(serve(listener, address, Arc::clone(&target), state)).abort_handle();
        Ok(Self { address, network, target, server })
    }

    /// The address that the proxy listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Applies this fault from now on, to open connections too.
    pub fn set(&self, network: Network) {
        self.network.send_replace(network);
    }

    /// Connects new clients to `target` from now on.
    pub fn lead_to(&self, target: SocketAddr) {
        *self.target.lock() = target;
    }
}

async fn serve(
    mut listener: TcpListener,
    address: SocketAddr,
    target: Arc<Mutex<SocketAddr>>,
    mut state: watch::Receiver<Network>,
) {
    let mut connections = JoinSet::new();
    loop {
        if *state.borrow_and_update() == Network::Refused {
            drop(listener);
            connections.shutdown().await;
            while *state.borrow_and_update() == Network::Refused {
                if state.changed().await.is_err() {
                    return;
                }
            }
            listener = bind_again(address).await;
        }
        let client = tokio::select! {
            _ = state.changed() => continue,
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => client,
                Err(_) => continue,
            },
        };
        while connections.try_join_next().is_some() {}
        let target = *target.lock();
        connections.spawn(join(client, target, state.clone()));
    }
}

/// Listens on a port that was chosen outside the system's ephemeral range.
async fn bind_again(address: SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

/// One connection and the one behind it.
async fn join(client: TcpStream, target: SocketAddr, state: watch::Receiver<Network>) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    for stream in [&client, &server] {
        // Fails only on a socket that is closed already.
        drop(stream.set_nodelay(true));
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = upwards(from_client, to_server, state.clone()) => {}
        () = downwards(from_server, to_client, state) => {}
    }
}

async fn upwards(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<Network>,
) {
    let mut piece = [0; 16 * 1024];
    loop {
        match from.read(&mut piece).await {
            Ok(0) | Err(_) => break,
            Ok(length) => {
                hold(&mut state, length).await;
                if to.write_all(&piece[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
    // The client has finished writing; the server's answer is still passed on.
    if to.shutdown().await.is_ok() {
        std::future::pending::<()>().await;
    }
}

async fn downwards(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<Network>,
) {
    let mut piece = [0; 16 * 1024];
    let mut passed = 0;
    loop {
        let read = tokio::select! {
            _ = state.changed() => None,
            read = from.read(&mut piece) => Some(read),
        };
        let now = *state.borrow_and_update();
        match now {
            Network::HalfClosed => {
                drop(to.shutdown().await);
                return std::future::pending().await;
            }
            Network::Refused => return reset(&to),
            _ => {}
        }
        let length = match read {
            None => continue,
            Some(Ok(0) | Err(_)) => return,
            Some(Ok(length)) => length,
        };
        hold(&mut state, length).await;
        let length = if let Network::CutAfter(limit) = now {
            length.min(limit.saturating_sub(passed))
        } else {
            length
        };
        passed += length;
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
        if matches!(now, Network::CutAfter(limit) if passed >= limit) {
            return reset(&to);
        }
    }
}

/// Makes closing this socket send a reset. Fails only on a socket that is closed already.
fn reset(to: &OwnedWriteHalf) {
    drop(to.as_ref().set_zero_linger());
}

/// Delays a piece of data as the current fault demands.
async fn hold(state: &mut watch::Receiver<Network>, length: usize) {
    let now = *state.borrow();
    match now {
        Network::Delay(by) => sleep(by).await,
        Network::Throttle(rate) => {
            let length = u32::try_from(length).unwrap_or(u32::MAX);
            sleep(Duration::from_secs_f64(f64::from(length) / f64::from(rate.max(1)))).await;
        }
        // Fails only when the proxy is gone, and this task with it.
        Network::BlackHole => drop(state.wait_for(|network| *network != Network::BlackHole).await),
        Network::Fine | Network::HalfClosed | Network::CutAfter(_) | Network::Refused => {}
    }
}
