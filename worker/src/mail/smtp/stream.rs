//! From a host name to a stream that mails can be sent on: TCP, TLS from the first byte or after
//! STARTTLS, and the greeting.

use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use domain::fault::{Fault, Reason};
use lettre::transport::smtp::client::AsyncTokioStream;
use runtime::dial::dial;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    config::{RelayConfig, Security},
    hello::{self, Extensions},
    plain::Plain,
    reply::unavailable,
};

/// Most bytes read in answer to one write. lettre bounds an answer too, but only once a line has
/// ended.
const MAX_ANSWER: usize = 256 * 1024;

/// A stream to the relay after the greeting, as lettre's, with the extensions offered.
pub(super) type Greeted = (Box<dyn AsyncTokioStream>, Extensions);

/// Connects, sets up TLS and greets.
pub(super) async fn open(config: &RelayConfig) -> Result<Greeted, Fault> {
    let tcp = dial(&config.host, config.port).await.map_err(|error| {
        Fault::transient(Reason::RelayUnavailable, format!("no connection to the relay: {error}"))
    })?;
    match config.security {
        Security::None => Ok(greeted(hello::greeting(tcp, &config.hello).await?)),
        Security::Implicit => {
            let stream = encrypt(config, tcp).await?;
            Ok(greeted(hello::greeting(stream, &config.hello).await?))
        }
        Security::StartTls => {
            let tcp = hello::starttls(tcp, &config.hello).await?;
            let stream = encrypt(config, tcp).await?;
            Ok(greeted(hello::hello_again(stream, &config.hello).await?))
        }
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
    (Box::new(Guarded { stream, plain, pending, dropping_ehlo: true, room: MAX_ANSWER }), offers)
}

/// Runs steps that share one limit. `setting` is the option that sets it.
pub(super) async fn within<T>(
    limit: std::time::Duration,
    setting: &'static str,
    steps: impl Future<Output = T>,
) -> Result<T, Fault> {
    timeout(limit, steps).await.map_err(|_| {
        let detail = format!("the relay did not answer within {limit:?} ({setting})");
        Fault::transient(Reason::RelayUnavailable, detail)
    })
}

fn misconfigured(detail: &'static str) -> Fault {
    Fault::misconfigured(Reason::RelayRefusedUs, detail)
}

async fn encrypt(config: &RelayConfig, tcp: TcpStream) -> Result<TlsStream<TcpStream>, Fault> {
    let name = ServerName::try_from(config.host.clone())
        .map_err(|_| misconfigured("the host of the relay is not a name that TLS can check"))?;
    let handshake = TlsConnector::from(config.tls.clone()).connect(name, tcp).await;
    handshake.map_err(|error| {
        // A broken connection may work next time; an unacceptable certificate will not.
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(error) => misconfigured(tls_problem(error)),
            None => unavailable("the connection broke during the TLS handshake"),
        }
    })
}

/// Why the two sides do not agree on TLS.
fn tls_problem(error: &rustls::Error) -> &'static str {
    use rustls::{AlertDescription as Alert, CertificateError as Bad, Error};
    match error {
        Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => {
            "the relay's certificate has expired"
        }
        Error::InvalidCertificate(Bad::NotValidYet | Bad::NotValidYetContext { .. }) => {
            "the relay's certificate is not valid yet: is the clock right?"
        }
        Error::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            "the relay's certificate is of another host name than SMTP_URL's"
        }
        Error::InvalidCertificate(Bad::UnknownIssuer) => {
            "the relay's certificate is of an unknown authority: is AUTHPOST_EXTRA_CA missing?"
        }
        Error::InvalidCertificate(_) => "the relay's certificate is not acceptable",
        Error::AlertReceived(Alert::CertificateRequired) => "the relay wants a client certificate",
        Error::InvalidMessage(_) => {
            "the relay does not speak TLS there: smtps:// begins with TLS, smtp:// with STARTTLS"
        }
        _ => "the relay and we do not agree on a version or cipher of TLS",
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

impl<S> fmt::Debug for Guarded<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guarded")
    }
}

/// lettre requires the peer's address, but does not use it here.
impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> AsyncTokioStream for Guarded<S> {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::Unsupported.into())
    }
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
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn an_answer_without_an_end_is_cut_off() {
        let endless = tokio::io::join(tokio::io::repeat(b'x'), tokio::io::sink());
        let mut wire = Guarded {
            stream: endless,
            plain: Plain::default(),
            pending: b"220 hi\r\n".to_vec(),
            dropping_ehlo: true,
            room: MAX_ANSWER,
        };
        let mut heard = Vec::new();
        let error = wire.read_to_end(&mut heard).await.expect_err("cut off");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(
            heard.starts_with(b"220 hi\r\nxxx") && heard.len() < 3 * MAX_ANSWER,
            "{}",
            heard.len()
        );
        wire.write_all(b"EHLO me\r\nNOOP\r\n").await.expect("written");
        assert!(wire.read_u8().await.is_ok(), "the next answer has its own room");
    }
}
