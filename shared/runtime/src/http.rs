//! A small HTTP/1.1 server loop with every bound in place: connections, header size and time,
//! bodies, shutdown.
//!
//! A permit is taken before `accept`, so that a full process leaves connections in the kernel's
//! backlog instead of accepting what it cannot serve. Running out of file descriptors pauses the
//! loop; it never ends it.

mod body;
pub mod client;

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{self, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulConnection, GracefulShutdown},
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::log_throttle::LogThrottle;

pub use crate::http::body::{Bodies, BodyError};

/// Longest pause after an accept error, which means that the process or the machine is out of a
/// resource.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A head must be complete this long after the connection, or after the last answer on it; and a
/// body this long after the head. The next few connections get up to three seconds more.
const USUAL: Patience = Patience(Duration::from_secs(7));

/// The unit of the random addition: a sixteenth of the three seconds.
const SPREAD: Duration = Duration::from_millis(200);

/// Connections that may wait to be accepted: when many come back at once, a short line makes the
/// kernel drop some, and their senders wait a second before they try again. The system's own limit
/// (somaxconn) is often the same.
const BACKLOG: u32 = 4096;

/// The same when most connections are in use: senders need milliseconds, and must not wait behind
/// slow ones.
const CROWDED: Patience = Patience(Duration::from_secs(1));

/// Most bytes of a head.
const HEAD_BYTES: usize = 16 * 1024;

/// Most header lines of a head.
const HEAD_LINES: usize = 64;

/// `Retry-After` of a 503 that will soon pass, in seconds.
pub const RETRY_SOON: HeaderValue = HeaderValue::from_static("5");

/// A response whose body is in memory.
pub type Answer = Response<Full<Bytes>>;

/// The limits of one listener.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most connections served at the same time.
    pub connections: usize,
    /// Longest wait for open requests after a stop.
    pub drain: Duration,
}

/// Is told about connections that open (`true`) and close (`false`).
pub type OnConnection = Arc<dyn Fn(bool) + Send + Sync>;

/// Makes a listener with a long backlog.
pub fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until `stop`, then finishes open requests within `limits.drain`. `handler` answers
/// everything, errors included; if its task is dropped because the client hung up, it stops at its
/// next await.
pub async fn serve<H, F>(
    listener: TcpListener,
    limits: Limits,
    stop: CancellationToken,
    on_connection: OnConnection,
    handler: H,
) where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let free = Arc::new(Semaphore::new(limits.connections));
    let room = Arc::new(Room { all: limits.connections, free, turn: AtomicU32::new(0) });
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let refusals = LogThrottle::default();
    while let Some((stream, peer, permit)) = accept(&listener, &room, &stop, &refusals).await {
        while connections.try_join_next().is_some() {}
        let stream = (stream, Peer(peer.ip()));
        let connection = graceful.watch(connection(stream, Arc::clone(&room), handler.clone()));
        let on_connection = Arc::clone(&on_connection);
        connections.spawn(async move {
            on_connection(true);
            let closed = OnDrop(move || on_connection(false));
            // A connection error concerns the client only; its requests have been answered and
            // counted.
            drop(connection.await);
            drop((closed, permit));
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.drain, graceful.shutdown()).await.is_err() {
        tracing::warn!(open = connections.len(), "connections were cut off after the grace period");
    }
}

/// The next connection, and its permit; `None` after `stop`. Pauses after an error.
async fn accept(
    listener: &TcpListener,
    room: &Room,
    stop: &CancellationToken,
    refusals: &LogThrottle,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    // Only `close` fails an acquire, and nobody closes this semaphore.
    let permit = tokio::select! {
        () = stop.cancelled() => return None,
        Ok(permit) = Arc::clone(&room.free).acquire_owned() => permit,
    };
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return None,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            // An answer is one small write: Nagle's algorithm could only delay it.
            Ok((stream, peer)) if stream.set_nodelay(true).is_ok() => {
                return Some((stream, peer, permit));
            }
            Ok(_) => {}
            Err(error) => {
                if let Some(suppressed) = refusals.allow() {
                    tracing::warn!(%error, suppressed, "cannot accept a connection");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// When a part of a request must be complete. Each request carries the one for its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience(Duration);

/// The address of the client. Each request carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// How many connections a listener has left.
struct Room {
    all: usize,
    free: Arc<Semaphore>,
    turn: AtomicU32,
}

impl Room {
    /// Different for each connection: senders that are cut off together would come back together.
    fn patience(&self) -> Patience {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % 16;
        if self.free.available_permits() < self.all / 4 {
            CROWDED
        } else {
            Patience(USUAL.0 + SPREAD * turn)
        }
    }
}

/// One connection with its bounds, ready to be driven.
fn connection<H, F>(
    (stream, peer): (TcpStream, Peer),
    room: Arc<Room>,
    handler: H,
) -> impl GracefulConnection<Error = hyper::Error> + Send
where
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let head = room.patience();
    let service = service_fn(move |mut request: Request<Incoming>| {
        // A proxy in front that reads such a body differently from us would take a part of it for
        // the next request (request smuggling; RFC 9112, 11.2). WorkOS sends a length; without one
        // the connection is closed after the answer, and with it what might have been smuggled.
        let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
        request.extensions_mut().insert(room.patience());
        request.extensions_mut().insert(peer);
        let answer = handler(request);
        async move {
            let answer = answer.await;
            Ok::<_, Infallible>(if chunked { closing(answer) } else { answer })
        }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head.0)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEAD_LINES)
        .serve_connection(TokioIo::new(stream), service)
}

/// The same answer, and closes its connection afterwards.
pub fn closing(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// An answer with a body of the given type, which must not be cached, sniffed or framed.
pub fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// A response with a JSON body.
pub fn json(status: StatusCode, body: &serde_json::Value) -> Answer {
    answer(status, "application/json", body.to_string())
}

/// An error as problem details (RFC 9457). `kind` is stable and machine-readable; `detail` is for a
/// person and says nothing about internals.
pub fn problem(status: StatusCode, kind: &str, detail: &str) -> Answer {
    problem_with(status, kind, detail, &serde_json::Value::Null)
}

/// The same with extension members (RFC 9457, 3.2): the fields of an object.
pub fn problem_with(
    status: StatusCode,
    kind: &str,
    detail: &str,
    more: &serde_json::Value,
) -> Answer {
    let title = status.canonical_reason().unwrap_or("Error");
    let mut body = serde_json::json!({
        "type": format!("urn:authpost:{kind}"), "title": title, "status": status.as_u16(),
        "detail": detail,
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    answer(status, "application/problem+json", body.to_string())
}
