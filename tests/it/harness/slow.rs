//! Senders who take their time: connections that say a byte a second, in the head or in the body,
//! and come back a second after they are cut off.

use std::{net::SocketAddr, time::Duration};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{Interval, interval},
};

/// How often each says a byte.
const PACE: Duration = Duration::from_secs(1);

/// Running slow senders. They stop when dropped.
pub struct SlowSenders(#[expect(dead_code, reason = "held, so that they go on")] JoinSet<()>);

impl SlowSenders {
    /// Half of them slow in the head, half in a body, every tenth of those in a large one. Returns
    /// when each has connected.
    pub async fn start(address: SocketAddr, count: usize) -> Self {
        raise_open_files();
        let (connected, mut connections) = tokio::sync::mpsc::channel(count);
        let mut senders = JoinSet::new();
        for n in 0..count {
            let beginning = match n % 20 {
                0 => LARGE,
                odd if odd % 2 == 1 => HEAD,
                _ => BODY,
            };
            senders.spawn(send_slowly(address, beginning, connected.clone()));
        }
        for _ in 0..count {
            super::in_time("a slow sender connects", connections.recv()).await.expect("it goes on");
        }
        Self(senders)
    }
}

/// Systems begin with 1,024 open files; this is about more connections than that.
pub(super) fn raise_open_files() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("up to the hard one");
}

const HEAD: &str = "POST /v1/workos_webhook/ HTTP/1.1\r\nHost: slow\r\nX-Slow: ";
const BODY: &str =
    "POST /v1/workos_webhook/ HTTP/1.1\r\nHost: slow\r\nContent-Length: 15000\r\n\r\n";
const LARGE: &str =
    "POST /v1/workos_webhook/ HTTP/1.1\r\nHost: slow\r\nContent-Length: 250000\r\n\r\n";

async fn send_slowly(
    address: SocketAddr,
    beginning: &'static str,
    connected: tokio::sync::mpsc::Sender<()>,
) {
    let mut pace = interval(PACE);
    loop {
        pace.tick().await;
        let Ok(mut stream) = TcpStream::connect(address).await else { continue };
        // Whoever is cut off, however early, comes back.
        drop(stream.write_all(beginning.as_bytes()).await);
        if connected.try_send(()).is_err() {
            // They have all been counted.
        }
        say_slowly(&mut stream, &mut pace).await;
    }
}

/// Until the other side has had enough.
async fn say_slowly(stream: &mut TcpStream, pace: &mut Interval) {
    let mut answer = [0; 512];
    loop {
        tokio::select! {
            _ = pace.tick() => if stream.write_all(b"x").await.is_err() { return },
            read = stream.read(&mut answer) => if !matches!(read, Ok(1..)) { return },
        }
    }
}
