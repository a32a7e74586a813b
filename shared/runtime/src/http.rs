//! A small HTTP/1.1 server loop with every bound in place: connections, header size and time,
//! bodies, shutdown.
//!
//! Each connection has a place ([`places`]). When few are free, newcomers take those of the clients
//! that keep us waiting. When every request is being answered, newcomers wait in the kernel's
//! backlog. Running out of file descriptors pauses the loop; it never ends it.

mod body;
pub mod client;
mod connection;
mod occupancy;
mod places;
mod stream;

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode,
    body::{Body as _, Incoming},
    header::{self, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    rt::TokioIo,
    server::graceful::{GracefulConnection, GracefulShutdown},
};
use ipnet::IpNet;
use tokio::{
    net::{TcpListener, TcpSocket},
    task::{JoinSet, yield_now},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;

use self::{
    connection::Stage,
    occupancy::Occupancy,
    places::{Place, Places},
    stream::WatchedStream,
};
use crate::log_throttle::LogThrottle;

pub use self::{
    body::{Bodies, BodyError, Received, ReceivedBody},
    connection::{Closed, Connection},
};

/// Longest pause after an accept error, which means that the process or the machine is out of a
/// resource.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often connections that are waited for too long are looked for.
const SWEEP: Duration = Duration::from_millis(250);

/// Connections that may wait to be accepted: when many come back at once, a short line makes the
/// kernel drop some, and their senders wait a second before they try again. The system's own limit
/// (somaxconn) is often the same.
const BACKLOG: u32 = 4096;

/// What the kernel keeps of answers that a client does not read, in bytes: nearly all have less than
/// 1 KiB, and what nobody reads is work for nothing. Without it Linux lets each buffer of a connection
/// grow to megabytes.
const SEND_BUFFER: u32 = 16 * 1024;

/// What the kernel keeps of requests that we do not read yet, in bytes.
const RECEIVE_BUFFER: u32 = 64 * 1024;

/// How long the kernel tries to deliver an answer to a client that acknowledges nothing, in
/// milliseconds.
#[cfg(target_os = "linux")]
const USER_TIMEOUT_MS: u32 = 30_000;

/// Most bytes of a head. A session's cookies may have 16 KiB.
const HEAD_BYTES: usize = 32 * 1024;

/// Most header lines of a head.
const HEAD_LINES: usize = 64;

/// `Retry-After` of a 503 that will soon pass, in seconds.
pub const RETRY_SOON: HeaderValue = HeaderValue::from_static("5");

/// A response whose body is in memory.
pub type Answer = Response<Full<Bytes>>;

/// The limits of one listener.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Most connections served at the same time.
    pub connections: usize,
    /// How long a connection may stay open without a request while the listener is not crowded.
    pub keep_alive: Duration,
    /// Networks of proxies: their connections carry the requests of many people, so that an address
    /// there may hold more than its share.
    pub proxies: Vec<IpNet>,
    /// Longest wait for open requests after a stop.
    pub drain: Duration,
    pub hang_ups: HangUps,
}

/// What a client's end means to the handler of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HangUps {
    /// The handler ends with its client, whose end is looked for beside it.
    EndTheHandler,
    /// Nothing: handlers end soon by themselves. Saves a read and a buffer for each request.
    AreIgnored,
}

/// The default of [`Limits::keep_alive`]: longer than proxies keep connections open (nginx and AWS
/// load balancers 60 s), so that they do not send a request while we close.
pub const KEEP_ALIVE: Duration = Duration::from_secs(75);

impl Limits {
    /// Limits of a listener without proxies in front.
    pub fn new(connections: usize, drain: Duration) -> Self {
        let hang_ups = HangUps::EndTheHandler;
        Self { connections, keep_alive: KEEP_ALIVE, proxies: Vec::new(), drain, hang_ups }
    }
}

/// What happens to the connections of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionEvent {
    Opened,
    Closed(Closed),
}

/// Is told about connections that open and close.
pub type OnConnection = Arc<dyn Fn(ConnectionEvent) + Send + Sync>;

/// Makes a listener with a long backlog and small send buffers, which its connections inherit.
pub fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    #[cfg(target_os = "linux")]
    nix::sys::socket::setsockopt(
        &socket,
        nix::sys::socket::sockopt::TcpUserTimeout,
        &USER_TIMEOUT_MS,
    )?;
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
    H: Fn(Received) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let (house, hang_ups) =
        (Occupancy::new(limits.connections, limits.keep_alive), limits.hang_ups);
    let places = Arc::new(Places::new(house, limits.proxies));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut sweeping = JoinSet::new();
    sweeping.spawn(sweep(Arc::clone(&places)));
    let refusals = LogThrottle::default();
    while let Some((stream, place)) = accept(&listener, &places, &stop, &refusals).await {
        while connections.try_join_next().is_some() {}
        let http = http_connection(stream, &place.connection, handler.clone(), hang_ups);
        let http = graceful.watch(http);
        connections.spawn(drive(http, place, Arc::clone(&on_connection)));
    }
    drop(listener);
    if tokio::time::timeout(limits.drain, graceful.shutdown()).await.is_err() {
        tracing::warn!(open = connections.len(), "connections were cut off after the grace period");
    }
}

async fn sweep(places: Arc<Places>) {
    let mut ticks = tokio::time::interval(SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        places.close_overdue();
    }
}

/// Serves one connection until it ends or has to give up its place.
async fn drive<C>(http: C, place: Place, on_connection: OnConnection)
where
    C: Future<Output = Result<(), hyper::Error>>,
{
    on_connection(ConnectionEvent::Opened);
    let connection = Arc::clone(&place.connection);
    let closed = OnDrop(|| on_connection(ConnectionEvent::Closed(place.connection.why_closed())));
    tokio::select! {
        // A connection error concerns the client only; its requests have been answered and counted.
        _ = http => {}
        () = connection.asked_to_close() => {}
    }
    drop(closed);
}

/// The next connection and its place; `None` after `stop`. Pauses after an error.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Places>,
    stop: &CancellationToken,
    refusals: &LogThrottle,
) -> Option<(WatchedStream, Place)> {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return None,
            accepted = async { places.free().await; listener.accept().await } => accepted,
        };
        match accepted {
            // An answer is one small write: Nagle's algorithm could only delay it.
            Ok((stream, peer)) if stream.set_nodelay(true).is_ok() => {
                let place = places.admit(peer.ip());
                return Some((WatchedStream::new(stream, Arc::clone(&place.connection)), place));
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

/// The HTTP of one connection, ready to be driven.
fn http_connection<H, F>(
    stream: WatchedStream,
    connection: &Arc<Connection>,
    handler: H,
    hang_ups: HangUps,
) -> impl GracefulConnection<Error = hyper::Error> + Send + use<H, F>
where
    H: Fn(Received) -> F + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let connection = Arc::clone(connection);
    let service = service_fn(move |request: Request<Incoming>| {
        // Nothing was received since the last answer: it came with the request before it.
        let pipelined = connection.stage().0 == Stage::Idle;
        connection.enter(Stage::Busy);
        // A proxy in front that reads such a body differently from us would take a part of it for
        // the next request (request smuggling; RFC 9112, 11.2). WorkOS sends a length; without one
        // the connection is closed after the answer, and with it what might have been smuggled.
        connection.set_unread_body(!request.body().is_end_stream());
        let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
        let request = request.map(|body| ReceivedBody::new(body, Arc::clone(&connection)));
        let (answer, connection) = (handler(request), Arc::clone(&connection));
        async move {
            if pipelined {
                // One that sends many at once takes turns with the other connections.
                yield_now().await;
            }
            let answer = answer.await;
            connection.enter(Stage::Idle);
            let last = connection.is_last_request() || chunked;
            Ok::<_, Infallible>(if last { closing(answer) } else { answer })
        }
    });
    http1::Builder::new()
        // The sweep knows more about whom to wait for.
        .header_read_timeout(None)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEAD_LINES)
        // hyper looks for the end of the connection by another read, into another buffer.
        .half_close(hang_ups == HangUps::AreIgnored)
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

#[cfg(test)]
mod tests;
