//! Senders who take their time: connections that say a byte a second, in the head or in the body, and come back when they
//! are cut off.

use std::{net::SocketAddr, time::Duration};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::interval,
};

/// How often each says a byte.
const PACE: Duration = Duration::from_secs(1);

/// Running slow senders. They stop when dropped.
pub struct SlowSenders(#[expect(dead_code, reason = "held, so that they go on")] JoinSet<()>);

impl SlowSenders {
    /// Half of them slow in the head, half in a large body. Returns when each has connected.
    pub async fn start(address: SocketAddr, count: usize) -> Self {
        raise_open_files();
        let (connected, mut connections) = tokio::sync::mpsc::channel(count);
        let mut senders = JoinSet::new();
        for n in 0..count {
            senders.spawn(send_slowly(address, n % 2 == 0, connected.clone()));
        }
        for _ in 0..count {
            super::in_time("a slow sender connects", connections.recv()).await.expect("it goes on");
        }
        Self(senders)
    }
}

/// Systems begin with 1,024 open files; this is about more connections than that.
fn raise_open_files() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("up to the hard one");
}

async fn send_slowly(address: SocketAddr, in_head: bool, connected: tokio::sync::mpsc::Sender<()>) {
    let beginning: &[u8] = if in_head {
        b"POST /v1/workos_webhook/ HTTP/1.1\r\nHost: slow\r\nX-Slow: "
    } else {
        b"POST /v1/workos_webhook/ HTTP/1.1\r\nHost: slow\r\nContent-Length: 250000\r\n\r\n"
    };
    loop {
        let Ok(mut stream) = TcpStream::connect(address).await else { continue };
        // Whoever is cut off, however early, comes back.
        drop(stream.write_all(beginning).await);
        if connected.try_send(()).is_err() {
            // They have all been counted.
        }
        say_slowly(&mut stream).await;
    }
}

/// Until the other side has had enough.
async fn say_slowly(stream: &mut TcpStream) {
    let mut pace = interval(PACE);
    let mut answer = [0; 512];
    loop {
        tokio::select! {
            _ = pace.tick() => if stream.write_all(b"x").await.is_err() { return },
            read = stream.read(&mut answer) => if !matches!(read, Ok(1..)) { return },
        }
    }
}
