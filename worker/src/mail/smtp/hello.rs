//! The start of a conversation: greeting, EHLO and STARTTLS (RFC 5321, RFC 3207).
//!
//! Done here and not by lettre, for two reasons. Bytes that an attacker injects between the relay's
//! answer to STARTTLS and the TLS handshake must not be read as later answers of the relay, and
//! only the owner of the read buffer can see that it is not empty (RFC 3207, 6). And lettre panics
//! on a blank extension, does not keep PIPELINING, and accepts any answer below 400.

use domain::fault::{Fault, Reason};
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};

use super::{
    reply::{Phase, Refusal, enhanced, refusal, unavailable},
    tls,
};

/// Longest line. RFC 5321, 4.5.3.1.5 allows 512 bytes.
const MAX_LINE: u64 = 1024;
/// Most lines of one answer.
const MAX_LINES: usize = 64;

/// The extensions that the relay offers: the lines of its answer to EHLO, in upper case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Extensions(Vec<String>);

impl Extensions {
    /// Whether this extension is offered, with any parameters.
    pub(super) fn has(&self, keyword: &str) -> bool {
        self.0.iter().any(|line| line.split_ascii_whitespace().next() == Some(keyword))
    }

    /// Whether this mechanism of AUTH is offered.
    pub(super) fn has_auth(&self, mechanism: &str) -> bool {
        let mut auth = self.0.iter().filter_map(|line| line.strip_prefix("AUTH"));
        auth.any(|mechanisms| mechanisms.split([' ', '=']).any(|offered| offered == mechanism))
    }
}

/// Reads the greeting and sends EHLO.
pub(super) async fn greeting<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    hello: &str,
) -> Result<(S, Extensions), Refusal> {
    let mut wire = BufReader::new(stream);
    read_answer(&mut wire, 220).await?;
    ehlo(wire, hello).await
}

/// Sends EHLO on a stream whose greeting was read.
pub(super) async fn hello_again<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    hello: &str,
) -> Result<(S, Extensions), Refusal> {
    ehlo(BufReader::new(stream), hello).await
}

async fn ehlo<S: AsyncRead + AsyncWrite + Unpin>(
    mut wire: BufReader<S>,
    hello: &str,
) -> Result<(S, Extensions), Refusal> {
    send_line(&mut wire, &format!("EHLO {hello}\r\n")).await?;
    let mut lines = read_answer(&mut wire, 250).await?;
    // The first line is the name of the relay.
    let offers = lines.split_off(1.min(lines.len()));
    if wire.buffer().is_empty() {
        Ok((
            wire.into_inner(),
            Extensions(offers.into_iter().map(|line| line.to_ascii_uppercase()).collect()),
        ))
    } else {
        Err(unavailable("the relay sent more than the answer to EHLO").into())
    }
}

/// Reads the greeting and sends EHLO and STARTTLS. TLS is required: a relay that does not offer it
/// gets neither a mail nor a password. Nothing was read from the returned stream beyond the answer
/// to STARTTLS; the TLS handshake comes next.
pub(super) async fn starttls<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    hello: &str,
) -> Result<S, Refusal> {
    let misconfigured =
        |detail: &'static str| Refusal::from(Fault::misconfigured(Reason::RelayRefusedUs, detail));
    let (stream, offers) = greeting(stream, hello).await?;
    if !offers.has("STARTTLS") {
        return Err(misconfigured(
            "the relay does not offer STARTTLS; to send without TLS, add ?tls=none",
        ));
    }
    let mut wire = BufReader::new(stream);
    send_line(&mut wire, "STARTTLS\r\n").await?;
    read_answer(&mut wire, 220).await?;
    if wire.buffer().is_empty() {
        Ok(wire.into_inner())
    } else {
        Err(misconfigured("bytes were injected before the TLS handshake"))
    }
}

async fn send_line<S: AsyncRead + AsyncWrite + Unpin>(
    wire: &mut BufReader<S>,
    command: &str,
) -> Result<(), Refusal> {
    let broken = |_| Refusal::from(unavailable("the connection to the relay broke"));
    wire.get_mut().write_all(command.as_bytes()).await.map_err(broken)?;
    wire.get_mut().flush().await.map_err(broken)
}

/// The lines of one answer, which must have the code `expected`.
async fn read_answer<S: AsyncRead + Unpin>(
    wire: &mut BufReader<S>,
    expected: u16,
) -> Result<Vec<String>, Refusal> {
    let broken_off =
        || Refusal::from(unavailable("the relay closed the connection during the greeting"));
    let mut texts = Vec::new();
    while texts.len() < MAX_LINES {
        let mut line = Vec::new();
        (&mut *wire).take(MAX_LINE).read_until(b'\n', &mut line).await.map_err(|error| {
            tls::problem(&error).map_or_else(broken_off, |problem| {
                Fault::misconfigured(Reason::RelayRefusedUs, problem).into()
            })
        })?;
        let (code, last, text) = split(&line).ok_or_else(broken_off)?;
        if code != expected {
            let enhanced = enhanced(code, &text);
            return Err(refusal(Phase::Hello, code, enhanced));
        }
        texts.push(text);
        if last {
            return Ok(texts);
        }
    }
    Err(broken_off())
}

/// Splits one whole line into its code, whether it is the last line of the answer, and its text.
fn split(line: &[u8]) -> Option<(u16, bool, String)> {
    let line = line.strip_suffix(b"\n")?;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (digits, rest) = line.split_at_checked(3)?;
    let code = digits.iter().try_fold(0, |code, byte| {
        byte.is_ascii_digit().then(|| code * 10 + u16::from(byte - b'0'))
    })?;
    // The text is for people, in any encoding.
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match rest.split_first() {
        None => Some((code, true, String::new())),
        Some((b' ', rest)) => Some((code, true, text(rest))),
        Some((b'-', rest)) => Some((code, false, text(rest))),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests;
