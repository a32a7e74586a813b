//! From a host name to a stream that mails can be handed over on: TCP, TLS from the first byte or after STARTTLS, and
//! the greeting.

use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use lettre::transport::smtp::client::AsyncTokioStream;
use rustls::pki_types::ServerName;
use shared::fault::{Fault, Reason};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    hello::{self, Offers},
    reply::unavailable,
    settings::{Security, SmtpSettings},
};

/// Most bytes read in answer to one write. lettre bounds an answer too, but only once a line has ended.
const MAX_ANSWER: usize = 256 * 1024;

/// A connection to the relay that has been greeted, as lettre's stream.
pub(super) type Greeted = (Box<dyn AsyncTokioStream>, Offers);

/// Connects, protects and says hello, each step within `settings.timeouts.connect`.
pub(super) async fn open(settings: &SmtpSettings) -> Result<Greeted, Fault> {
    let patience = settings.timeouts.connect;
    let tcp = in_time(patience, TcpStream::connect((settings.host.as_str(), settings.port)))
        .await?
        .map_err(|error| Fault::transient(Reason::RelayUnavailable, format!("no connection to the relay: {}", error.kind())))?;
    // Commands are small writes that wait for an answer: Nagle's algorithm would add 40 ms to every mail.
    tcp.set_nodelay(true).map_err(|_| unavailable("the connection broke"))?;
    match settings.security {
        Security::None => Ok(greeted(in_time(patience, hello::greeting(tcp, &settings.hello)).await??)),
        Security::Implicit => {
            let stream = protect(settings, tcp).await?;
            Ok(greeted(in_time(patience, hello::greeting(stream, &settings.hello)).await??))
        }
        Security::StartTls => {
            let tcp = in_time(patience, hello::ask_for_tls(tcp, &settings.hello)).await??;
            let stream = protect(settings, tcp).await?;
            Ok(greeted(in_time(patience, hello::introduction(stream, &settings.hello)).await??))
        }
    }
}

/// Hands over to lettre.
pub(super) fn greeted<S>((stream, offers): (S, Offers)) -> Greeted
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
    (Box::new(Guarded { stream, greeting, swallowing: true, room: MAX_ANSWER }), offers)
}

/// Runs one step with its deadline.
pub(super) async fn in_time<T>(patience: std::time::Duration, step: impl Future<Output = T>) -> Result<T, Fault> {
    timeout(patience, step).await.map_err(|_| unavailable("the relay did not answer in time"))
}

fn refuses_us(detail: &'static str) -> Fault {
    Fault::misconfigured(Reason::RelayRefusedUs, detail)
}

async fn protect(settings: &SmtpSettings, tcp: TcpStream) -> Result<TlsStream<TcpStream>, Fault> {
    let name = ServerName::try_from(settings.host.clone()).map_err(|_| refuses_us("the relay's host is no name for TLS"))?;
    let handshake = in_time(settings.timeouts.connect, TlsConnector::from(settings.tls.clone()).connect(name, tcp)).await?;
    handshake.map_err(|error| {
        // A connection that breaks says nothing about us; a certificate that does not fit will not fit next time either.
        let ours = error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>);
        if ours {
            refuses_us("the relay's certificate or TLS version is not acceptable")
        } else {
            unavailable("the connection broke during the TLS handshake")
        }
    })
}

/// A stream as lettre's. lettre insists on being greeted and on saying EHLO; both have happened, so it reads a greeting
/// that we have put together, and its EHLO goes nowhere. What comes in answer to one write is bounded.
struct Guarded<S> {
    stream: S,
    greeting: Vec<u8>,
    swallowing: bool,
    room: usize,
}

impl<S> fmt::Debug for Guarded<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guarded")
    }
}

/// lettre asks for the peer's address and never looks at it here.
impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> AsyncTokioStream for Guarded<S> {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.greeting.is_empty() {
            let now = self.greeting.len().min(buffer.remaining());
            buffer.put_slice(&self.greeting[..now]);
            self.greeting.drain(..now);
            return Poll::Ready(Ok(()));
        }
        if self.room == 0 {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "an answer without an end")));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.room = self.room.saturating_sub(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.swallowing {
            let end = bytes.iter().position(|byte| *byte == b'\n');
            self.swallowing = end.is_none();
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
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn an_answer_without_an_end_is_cut_off() {
        let endless = tokio::io::join(tokio::io::repeat(b'x'), tokio::io::sink());
        let mut wire = Guarded { stream: endless, greeting: b"220 hi\r\n".to_vec(), swallowing: true, room: MAX_ANSWER };
        let mut heard = Vec::new();
        let error = wire.read_to_end(&mut heard).await.expect_err("cut off");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(heard.starts_with(b"220 hi\r\nxxx") && heard.len() < 3 * MAX_ANSWER, "{}", heard.len());
        wire.write_all(b"EHLO me\r\nNOOP\r\n").await.expect("written");
        assert!(wire.read_u8().await.is_ok(), "the next answer has its own room");
    }
}
