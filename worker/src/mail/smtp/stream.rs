//! From a host name to a stream that SMTP can be spoken over: TCP, and TLS from the first byte or after STARTTLS.
//!
//! STARTTLS is asked for here and not by lettre: what an attacker slips in between the relay's "go ahead" and the TLS
//! handshake must not be read as the relay's later answers, and only who holds the read buffer can see that there is
//! something in it (RFC 3207, section 6; the attack is "response injection").

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
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    reply::{Phase, refusal, unavailable},
    settings::{Security, SmtpSettings},
};

/// Longest line read before TLS. RFC 5321, 4.5.3.1.5 allows 512 bytes.
const MAX_LINE: u64 = 1024;
/// Most lines of one answer before TLS.
const MAX_LINES: usize = 64;
/// Most bytes read in answer to one write. lettre bounds an answer too, but only once a line has ended.
const MAX_ANSWER: usize = 256 * 1024;
/// After STARTTLS a relay sends no second greeting, and lettre reads one.
const GREETING: &[u8] = b"220 protected\r\n";

/// Connects and protects, each step within `settings.timeouts.connect`.
pub(super) async fn open(settings: &SmtpSettings) -> Result<Box<dyn AsyncTokioStream>, Fault> {
    let patience = settings.timeouts.connect;
    let tcp = in_time(patience, TcpStream::connect((settings.host.as_str(), settings.port)))
        .await?
        .map_err(|error| Fault::transient(Reason::RelayUnavailable, format!("no connection to the relay: {}", error.kind())))?;
    // Commands are small writes that wait for an answer: Nagle's algorithm would add 40 ms to every mail.
    tcp.set_nodelay(true).map_err(|_| unavailable("the connection broke"))?;
    match settings.security {
        Security::None => Ok(Box::new(Guarded::new(tcp, b""))),
        Security::Implicit => Ok(Box::new(Guarded::new(protect(settings, tcp).await?, b""))),
        Security::StartTls => {
            let tcp = in_time(patience, ask_for_tls(tcp, &settings.hello)).await??;
            Ok(Box::new(Guarded::new(protect(settings, tcp).await?, GREETING)))
        }
    }
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

/// Greeting, EHLO and STARTTLS in the open (RFC 3207): required, so a relay that does not offer it gets no mail from us,
/// and no password.
pub async fn ask_for_tls<S: AsyncRead + AsyncWrite + Unpin>(stream: S, hello: &str) -> Result<S, Fault> {
    let mut wire = BufReader::new(stream);
    read_answer(&mut wire, 220).await?;
    say(&mut wire, &format!("EHLO {hello}\r\n")).await?;
    let offers = read_answer(&mut wire, 250).await?;
    if !offers.iter().any(|offer| offer.trim().eq_ignore_ascii_case("STARTTLS")) {
        return Err(refuses_us("the relay does not offer STARTTLS; if that is meant, say ?tls=none"));
    }
    say(&mut wire, "STARTTLS\r\n").await?;
    read_answer(&mut wire, 220).await?;
    if !wire.buffer().is_empty() {
        return Err(refuses_us("somebody answered in the relay's name before TLS was set up"));
    }
    Ok(wire.into_inner())
}

async fn say<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut BufReader<S>, command: &str) -> Result<(), Fault> {
    wire.get_mut().write_all(command.as_bytes()).await.map_err(|_| unavailable("the connection to the relay broke"))
}

/// The texts of one answer, which must bear the code `wanted`.
async fn read_answer<S: AsyncRead + Unpin>(wire: &mut BufReader<S>, wanted: u16) -> Result<Vec<String>, Fault> {
    let broken_off = || unavailable("the relay broke off the greeting");
    let mut texts = Vec::new();
    while texts.len() < MAX_LINES {
        let mut line = Vec::new();
        (&mut *wire).take(MAX_LINE).read_until(b'\n', &mut line).await.map_err(|_| broken_off())?;
        let (code, last, text) = split(&line).ok_or_else(broken_off)?;
        if code != wanted {
            return Err(refusal(Phase::Hello, code));
        }
        texts.push(text.to_owned());
        if last {
            return Ok(texts);
        }
    }
    Err(broken_off())
}

/// Code, whether it is the answer's last line, and text of one whole line.
fn split(line: &[u8]) -> Option<(u16, bool, &str)> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?.trim_end_matches('\r');
    let (digits, rest) = line.split_at_checked(3)?;
    let code = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
    match rest.split_at_checked(1) {
        None => Some((code, true, "")),
        Some((" ", text)) => Some((code, true, text)),
        Some(("-", text)) => Some((code, false, text)),
        Some(_) => None,
    }
}

/// A stream as lettre's: with what lettre wants to read before it, and a bound on what comes unasked.
struct Guarded<S> {
    stream: S,
    before: &'static [u8],
    room: usize,
}

impl<S> Guarded<S> {
    fn new(stream: S, before: &'static [u8]) -> Self {
        Self { stream, before, room: MAX_ANSWER }
    }
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
        if !self.before.is_empty() {
            let (now, later) = self.before.split_at(self.before.len().min(buffer.remaining()));
            buffer.put_slice(now);
            self.before = later;
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
    use super::*;

    #[tokio::test]
    async fn an_answer_without_an_end_is_cut_off() {
        let mut wire = Guarded::new(tokio::io::join(tokio::io::repeat(b'x'), tokio::io::sink()), b"220 hi\r\n");
        let mut heard = Vec::new();
        let error = wire.read_to_end(&mut heard).await.expect_err("cut off");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(heard.starts_with(b"220 hi\r\nxxx") && heard.len() < 3 * MAX_ANSWER, "{}", heard.len());
        wire.write_all(b"NOOP\r\n").await.expect("written");
        assert!(wire.read_u8().await.is_ok(), "the next answer has its own room");
    }

    #[test]
    fn lines_are_whole_or_nothing() {
        assert_eq!(split(b"220 hi\r\n"), Some((220, true, "hi")));
        assert_eq!(split(b"250-SIZE 1\n"), Some((250, false, "SIZE 1")));
        assert_eq!(split(b"250\r\n"), Some((250, true, "")));
        for line in [&b"220 hi"[..], b"", b"\r\n", b"22\n", b"+20 hi\n", b"220?hi\n", b"250\xff\n", b"2\xc3\xa40 x\n"] {
            assert_eq!(split(line), None, "{line:?}");
        }
    }
}
