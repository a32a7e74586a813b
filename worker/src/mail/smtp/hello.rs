//! The beginning of a conversation: greeting, EHLO and STARTTLS (RFC 5321, RFC 3207).
//!
//! Spoken here and not by lettre, for two reasons. What an attacker slips in between the relay's "go ahead" and the TLS
//! handshake must not be read as the relay's later answers, and only who holds the read buffer can see that there is
//! something in it (RFC 3207, 6). And lettre panics at an offer that is blank, keeps no offer of PIPELINING, and takes any
//! answer below 400 for a good one.

use shared::fault::{Fault, Reason};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};

use super::reply::{Phase, refusal, unavailable};

/// Longest line. RFC 5321, 4.5.3.1.5 allows 512 bytes.
const MAX_LINE: u64 = 1024;
/// Most lines of one answer.
const MAX_LINES: usize = 64;

/// What the relay says it can do: the lines of its answer to EHLO, in capitals.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Offers(Vec<String>);

impl Offers {
    /// Whether there is this offer, whatever its parameters.
    pub(super) fn has(&self, keyword: &str) -> bool {
        self.0.iter().any(|line| line.split_ascii_whitespace().next() == Some(keyword))
    }

    /// Whether there is this way to log in.
    pub(super) fn has_auth(&self, mechanism: &str) -> bool {
        let mut auth = self.0.iter().filter_map(|line| line.strip_prefix("AUTH"));
        auth.any(|mechanisms| mechanisms.split([' ', '=']).any(|offered| offered == mechanism))
    }
}

/// Greeting and EHLO.
pub(super) async fn greeting<S: AsyncRead + AsyncWrite + Unpin>(stream: S, hello: &str) -> Result<(S, Offers), Fault> {
    let mut wire = BufReader::new(stream);
    read_answer(&mut wire, 220).await?;
    ehlo(wire, hello).await
}

/// EHLO, on a stream that needs no greeting (any more).
pub(super) async fn introduction<S: AsyncRead + AsyncWrite + Unpin>(stream: S, hello: &str) -> Result<(S, Offers), Fault> {
    ehlo(BufReader::new(stream), hello).await
}

async fn ehlo<S: AsyncRead + AsyncWrite + Unpin>(mut wire: BufReader<S>, hello: &str) -> Result<(S, Offers), Fault> {
    say(&mut wire, &format!("EHLO {hello}\r\n")).await?;
    let mut lines = read_answer(&mut wire, 250).await?;
    // The first line is the relay's name.
    let offers = lines.split_off(1.min(lines.len()));
    if wire.buffer().is_empty() {
        Ok((wire.into_inner(), Offers(offers.into_iter().map(|line| line.to_ascii_uppercase()).collect())))
    } else {
        Err(unavailable("the relay says more than it was asked"))
    }
}

/// Greeting, EHLO and STARTTLS in the open: required, so a relay that does not offer it gets no mail from us, and no
/// password. The stream that comes back is to be protected, and nothing has been read from it beyond "go ahead".
pub async fn ask_for_tls<S: AsyncRead + AsyncWrite + Unpin>(stream: S, hello: &str) -> Result<S, Fault> {
    let refuses_us = |detail: &'static str| Fault::misconfigured(Reason::RelayRefusedUs, detail);
    let (stream, offers) = greeting(stream, hello).await?;
    if !offers.has("STARTTLS") {
        return Err(refuses_us("the relay does not offer STARTTLS; if that is meant, say ?tls=none"));
    }
    let mut wire = BufReader::new(stream);
    say(&mut wire, "STARTTLS\r\n").await?;
    read_answer(&mut wire, 220).await?;
    if wire.buffer().is_empty() {
        Ok(wire.into_inner())
    } else {
        Err(refuses_us("somebody answered in the relay's name before TLS was set up"))
    }
}

async fn say<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut BufReader<S>, command: &str) -> Result<(), Fault> {
    let broken = |_| unavailable("the connection to the relay broke");
    wire.get_mut().write_all(command.as_bytes()).await.map_err(broken)?;
    wire.get_mut().flush().await.map_err(broken)
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
        texts.push(text);
        if last {
            return Ok(texts);
        }
    }
    Err(broken_off())
}

/// Code, whether it is the answer's last line, and text of one whole line.
fn split(line: &[u8]) -> Option<(u16, bool, String)> {
    let line = line.strip_suffix(b"\n")?;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (digits, rest) = line.split_at_checked(3)?;
    let code = digits.iter().try_fold(0, |code, byte| byte.is_ascii_digit().then(|| code * 10 + u16::from(byte - b'0')))?;
    // Greetings are for people, in whatever alphabet.
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match rest.split_first() {
        None => Some((code, true, String::new())),
        Some((b' ', rest)) => Some((code, true, text(rest))),
        Some((b'-', rest)) => Some((code, false, text(rest))),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_or_nothing() {
        let read = split;
        assert_eq!(read(b"220 hi\r\n"), Some((220, true, "hi".to_owned())));
        assert_eq!(read(b"250-SIZE 1\n"), Some((250, false, "SIZE 1".to_owned())));
        assert_eq!(read(b"250\r\n"), Some((250, true, String::new())));
        for line in [&b"220 hi"[..], b"", b"\r\n", b"22\n", b"+20 hi\n", b"220?hi\n", b"2\xc3\xa40 x\n"] {
            assert_eq!(read(line), None, "{line:?}");
        }
    }

    #[test]
    fn offers_are_found_in_every_spelling() {
        let offers = Offers(vec!["   ".to_owned(), "PIPELINING".to_owned(), "SIZE 100".to_owned(), "AUTH=PLAIN LOGIN".to_owned()]);
        assert!(offers.has("PIPELINING") && offers.has("SIZE") && !offers.has("STARTTLS"));
        assert!(offers.has_auth("PLAIN") && offers.has_auth("LOGIN") && !offers.has_auth("CRAM-MD5"));
    }
}
