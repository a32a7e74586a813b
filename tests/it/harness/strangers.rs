//! Strangers at one address who hold connections, each in one way, and come back when they lose one.

use std::{net::SocketAddr, thread::JoinHandle, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    runtime::Builder,
    task::JoinSet,
    time::interval,
};
use tokio_util::sync::CancellationToken;

/// How often each does something.
const PACE: Duration = Duration::from_secs(1);

/// Shared: there are thousands of them.
static JUNK: [u8; 16 * 1024] = [b'x'; 16 * 1024];

/// Running strangers. They stop when dropped.
pub struct Strangers {
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Strangers {
    /// So many, each with a connection, in a thread of their own: nobody else's work may wait
    /// behind theirs, as it would not if they were elsewhere.
    pub fn start(to: SocketAddr, way: Way, count: usize) -> Self {
        super::slow::raise_open_files();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let run = move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let mut strangers = JoinSet::new();
                // Evenly over the time between two actions of each.
                let apart = PACE / u32::try_from(count).expect("thousands");
                let mut turn = interval(apart);
                for _ in 0..count {
                    turn.tick().await;
                    strangers.spawn(hold(to, way));
                }
                stopped.cancelled().await;
            });
        };
        Self { stop, thread: Some(std::thread::spawn(run)) }
    }
}

impl Drop for Strangers {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("no panic");
        }
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
    socket.set_send_buffer_size(16 * 1024).ok()?;
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
                // As much as there is room for, until the connection is closed.
                while stream.write_all(&JUNK).await.is_ok() {}
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
