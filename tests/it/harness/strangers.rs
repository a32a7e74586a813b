//! Strangers at one address who hold connections, each in one way, and come back when they lose one.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::interval,
};

/// How often each does something.
const PACE: Duration = Duration::from_secs(1);

/// Running strangers. They stop when dropped.
pub struct Strangers(#[expect(dead_code, reason = "held, so that they go on")] JoinSet<()>);

impl Strangers {
    /// So many, each with a connection.
    pub fn start(to: SocketAddr, way: Way, count: usize) -> Self {
        super::slow::raise_open_files();
        let mut strangers = JoinSet::new();
        for _ in 0..count {
            strangers.spawn(hold(to, way));
        }
        Self(strangers)
    }
}

/// How a stranger holds a place.
#[derive(Debug, Clone, Copy)]
pub enum Way {
    /// Connects and never sends a byte.
    Silent,
    /// Sends many requests and reads no answer.
    Unread,
    /// Sends a small request now and then.
    Trickle,
    /// Sends a body byte by byte.
    SlowBody,
}

/// A connection from an address that is not that of the honest ones.
async fn connect(to: SocketAddr) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.set_recv_buffer_size(2048).ok()?;
    socket.bind(([127, 0, 0, 66], 0).into()).ok()?;
    socket.connect(to).await.ok()
}

/// Holds a place for ever, and comes back when it is lost.
async fn hold(to: SocketAddr, way: Way) {
    let mut pace = interval(PACE);
    loop {
        pace.tick().await;
        let Some(mut stream) = connect(to).await else { continue };
        let request = "GET /openapi.json HTTP/1.1\r\nHost: t\r\n\r\n";
        match way {
            Way::Silent => drop(stream.read(&mut [0; 64]).await),
            Way::Unread => {
                drop(stream.write_all(request.repeat(300).as_bytes()).await);
                drop(stream.write_all(&vec![b'x'; 1 << 20]).await);
            }
            Way::Trickle => {
                let small = b"GET / HTTP/1.1\r\nHost: t\r\n\r\n";
                while stream.write_all(small).await.is_ok()
                    && matches!(stream.read(&mut [0; 1024]).await, Ok(1..))
                {
                    pace.tick().await;
                }
            }
            Way::SlowBody => {
                let head = b"POST /v1/workos_webhook/ HTTP/1.1\r\nHost: t\r\nContent-Length: 15000\r\n\r\n";
                drop(stream.write_all(head).await);
                while stream.write_all(b"x").await.is_ok() {
                    pace.tick().await;
                }
            }
        }
    }
}
