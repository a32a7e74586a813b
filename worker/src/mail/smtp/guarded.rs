//! The stream that lettre talks over: the greeting is done already, answers are in their plain form,
//! and an idle one tells whether it is still open.

use std::{
    fmt,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker, ready},
};

use lettre::transport::smtp::client::AsyncTokioStream;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{hello::Extensions, plain::Plain};

/// Most bytes read in answer to one write. lettre bounds an answer too, but only once a line has
/// ended.
const MAX_ANSWER: usize = 256 * 1024;

/// A stream to the relay after the greeting.
pub(super) struct Greeted {
    /// The stream that lettre talks over.
    pub(super) stream: Box<dyn AsyncTokioStream>,
    /// The extensions that the relay offers.
    pub(super) offers: Extensions,
    pub(super) beside: Beside,
}

/// The same stream while lettre does not use it.
pub(super) struct Beside(Arc<Mutex<dyn Stream + Send>>);

impl Beside {
    /// Whether the relay has neither closed the connection nor said anything since its last answer.
    /// What a relay says unasked is that it closes the connection (421).
    pub(super) fn is_open(&self) -> bool {
        self.0.lock().is_silent()
    }

    /// Writes all of the bytes. `written` counts those that were handed over; it is right at any
    /// time, also if this is given up.
    pub(super) async fn write(&self, bytes: &[u8], written: &AtomicUsize) -> io::Result<()> {
        poll_fn(|context| {
            let mut stream = self.0.lock();
            loop {
                let rest = &bytes[written.load(Ordering::Relaxed)..];
                if rest.is_empty() {
                    return stream.poll_flush_beside(context);
                }
                match ready!(stream.poll_write_beside(context, rest))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    some => written.fetch_add(some, Ordering::Relaxed),
                };
            }
        })
        .await
    }
}

/// Wraps a greeted stream for lettre.
pub(super) fn greeted<S>((stream, offers): (S, Extensions)) -> Greeted
where
    S: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static,
{
    let mut greeting = b"220 ready\r\n250-ready\r\n".to_vec();
    for mechanism in ["PLAIN", "LOGIN"] {
        if offers.has_auth(mechanism) {
            greeting.extend([b"250-AUTH ", mechanism.as_bytes(), b"\r\n"].concat());
        }
    }
    greeting.extend(b"250 8BITMIME\r\n");
    let (plain, pending) = (Plain::default(), greeting);
    let guarded = Guarded { stream, plain, pending, dropping_ehlo: true, room: MAX_ANSWER };
    let shared = Arc::new(Mutex::new(guarded));
    Greeted { stream: Box::new(Shared(Arc::clone(&shared))), offers, beside: Beside(shared) }
}

/// What [`Beside`] needs of a stream.
trait Stream {
    fn is_silent(&mut self) -> bool;
    fn poll_write_beside(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;
    fn poll_flush_beside(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for Guarded<S> {
    fn is_silent(&mut self) -> bool {
        let mut byte = [0];
        let mut read = ReadBuf::new(&mut byte);
        // Nobody is woken: a reader that comes later asks again.
        let mut context = Context::from_waker(Waker::noop());
        self.pending.is_empty()
            && Pin::new(&mut self.stream).poll_read(&mut context, &mut read).is_pending()
    }

    fn poll_write_beside(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(self).poll_write(cx, bytes)
    }

    fn poll_flush_beside(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self).poll_flush(cx)
    }
}

/// A [`Guarded`] that lettre and [`Beside`] share. They never use it at the same time.
struct Shared<S>(Arc<Mutex<Guarded<S>>>);

impl<S> fmt::Debug for Shared<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

/// lettre requires the peer's address, but does not use it here.
impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> AsyncTokioStream for Shared<S> {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Shared<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.lock()).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Shared<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.lock()).poll_write(context, bytes)
    }
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.lock()).poll_flush(context)
    }
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.lock()).poll_shutdown(context)
    }
}

/// A stream for lettre, which always reads a greeting and sends EHLO. Both were done already, so it
/// reads a greeting made here, and its EHLO is dropped. It reads answers in their plain form, and
/// the bytes read in answer to one write are bounded.
struct Guarded<S> {
    stream: S,
    plain: Plain,
    /// In their plain form, and not read yet.
    pending: Vec<u8>,
    dropping_ehlo: bool,
    room: usize,
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.pending.is_empty() {
            if self.room == 0 {
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "an answer without an end",
                )));
            }
            let mut bytes = [0; 1024];
            let mut read = ReadBuf::new(&mut bytes);
            let this = &mut *self;
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut read))?;
            this.room = this.room.saturating_sub(read.filled().len());
            this.plain.rewrite(read.filled(), &mut this.pending);
        }
        let now = self.pending.len().min(buffer.remaining());
        buffer.put_slice(&self.pending[..now]);
        self.pending.drain(..now);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.dropping_ehlo {
            let end = bytes.iter().position(|byte| *byte == b'\n');
            self.dropping_ehlo = end.is_none();
            return Poll::Ready(Ok(end.map_or(bytes.len(), |end| end + 1)));
        }
        self.room = MAX_ANSWER;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
