//! One SMTP conversation (RFC 5321), from greeting to QUIT.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use tokio::{
    io::{
        AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _,
        BufReader,
    },
    net::TcpStream,
};

use super::{Misbehavior, Shared, Step};

/// Longest command line and longest line of a mail.
const MAX_LINE: u64 = 64 * 1024;
/// Largest mail accepted, in bytes.
const MAX_MAIL: usize = 10 * 1024 * 1024;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

type Wire = BufReader<Box<dyn Stream>>;

/// Why a conversation goes on or ends.
enum Next {
    Continue,
    Protect,
    End,
}

#[derive(Default)]
struct Envelope {
    from: Option<Path>,
    to: Option<Path>,
}

/// The address in MAIL or RCPT, and what follows it.
pub(super) struct Path {
    pub(super) address: String,
    pub(super) parameters: String,
}

pub(super) async fn converse(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let stream: Box<dyn Stream> = match &shared.config.implicit_tls {
        Some(acceptor) => Box::new(acceptor.accept(stream).await?),
        None => Box::new(stream),
    };
    let mut wire = BufReader::new(stream);
    let open = Arc::clone(&shared.open);
    if shared.config.most_connections.is_some_and(|most| Arc::strong_count(&open) - 1 > most) {
        shared.turned_away.fetch_add(1, Ordering::Relaxed);
        return say(&mut wire, "421 too many connections from your host").await;
    }
    match shared.fault(Step::Greeting) {
        None => say(&mut wire, "220 inbox.test ESMTP").await?,
        Some(fault) => {
            if !commit(&mut wire, fault).await? {
                return Ok(());
            }
        }
    }
    let mut envelope = Envelope::default();
    let mut mails = 0;
    let mut protected = shared.config.implicit_tls.is_some();
    loop {
        let mut line = Vec::new();
        if (&mut wire).take(MAX_LINE).read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        if is_one_too_many(shared, &line, &mut mails) {
            return say(&mut wire, "421 too many messages in this connection").await;
        }
        match obey(&mut wire, shared, &mut envelope, &line, protected).await? {
            Next::Continue => {}
            Next::End => return Ok(()),
            Next::Protect => {
                let Some(acceptor) = &shared.config.starttls else { return Ok(()) };
                // What was sent in the open before TLS is not read as if it had been protected
                // (CVE-2011-0411).
                let stream = acceptor.accept(wire.into_inner()).await?;
                wire = BufReader::new(Box::new(stream));
                (envelope, protected) = (Envelope::default(), true);
            }
        }
    }
}

/// Whether the connection carries more mails than the inbox takes on one.
fn is_one_too_many(shared: &Shared, line: &str, mails: &mut u32) -> bool {
    *mails += u32::from(line.starts_with("MAIL "));
    shared.config.most_mails.is_some_and(|most| *mails > most)
}

fn step_of(verb: &str) -> Option<Step> {
    Some(match verb {
        "EHLO" | "HELO" => Step::Ehlo,
        "STARTTLS" => Step::StartTls,
        "AUTH" => Step::Auth,
        "MAIL" => Step::Mail,
        "RCPT" => Step::Rcpt,
        "DATA" => Step::Data,
        _ => return None,
    })
}

async fn obey(
    wire: &mut Wire,
    shared: &Shared,
    envelope: &mut Envelope,
    line: &str,
    protected: bool,
) -> io::Result<Next> {
    let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
    if let Some(fault) = step_of(&verb).and_then(|step| shared.fault(step)) {
        return Ok(if commit(wire, fault).await? { Next::Continue } else { Next::End });
    }
    match verb.as_str() {
        "EHLO" | "HELO" => say(wire, &offers(shared, protected)).await?,
        "STARTTLS" if shared.config.starttls.is_some() && !protected => {
            say(wire, "220 go ahead").await?;
            return Ok(Next::Protect);
        }
        "AUTH" if line.contains(" XOAUTH2 ") => log_in_by_token(wire, shared, line).await?,
        "AUTH" => say(wire, log_in(shared, line)).await?,
        "MAIL" if envelope.from.is_some() => say(wire, "503 5.5.1 nested MAIL command").await?,
        "MAIL" => {
            *envelope = Envelope { from: path(line), to: None };
            let valid = envelope.from.is_some();
            say(wire, if valid { "250 2.1.0 Ok" } else { "501 5.1.7 no address" }).await?;
        }
        "RCPT" => {
            envelope.to = path(line).filter(|_| envelope.from.is_some());
            let valid = envelope.to.is_some();
            say(wire, if valid { "250 2.1.5 Ok" } else { "503 5.5.1 MAIL first" }).await?;
        }
        "DATA" => return data(wire, shared, envelope).await,
        "RSET" => {
            *envelope = Envelope::default();
            say(wire, "250 2.0.0 Ok").await?;
        }
        "NOOP" => say(wire, "250 2.0.0 Ok").await?,
        "QUIT" => {
            say(wire, "221 2.0.0 Bye").await?;
            return Ok(Next::End);
        }
        _ => say(wire, "502 5.5.2 not known here").await?,
    }
    Ok(Next::Continue)
}

fn offers(shared: &Shared, protected: bool) -> String {
    let mut lines = vec!["inbox.test", "8BITMIME", "SIZE 10485760"];
    if !shared.config.without_pipelining {
        lines.push("PIPELINING");
    }
    lines.extend(&shared.config.offers);
    if shared.config.starttls.is_some() && !protected {
        lines.push("STARTTLS");
    }
    if shared.config.login.is_some() {
        lines.push("AUTH PLAIN");
    }
    if shared.config.token.is_some() {
        lines.push("AUTH XOAUTH2");
    }
    let last = lines.len() - 1;
    let lines = lines
        .iter()
        .enumerate()
        .map(|(index, line)| format!("250{}{line}", if index == last { " " } else { "-" }));
    lines.collect::<Vec<_>>().join("\r\n")
}

/// Answers AUTH XOAUTH2 as Google and Microsoft do: what is wrong with a token comes first, and the
/// refusal after a line of the client.
async fn log_in_by_token(wire: &mut Wire, shared: &Shared, line: &str) -> io::Result<()> {
    let Some((user, token)) = &shared.config.token else {
        return say(wire, "504 5.5.4 mechanism not known").await;
    };
    let given = line.split_ascii_whitespace().nth(2).unwrap_or_default();
    let wanted = format!("user={user}\x01auth=Bearer {token}\x01\x01");
    if given == base64(wanted.as_bytes()) {
        return say(wire, "235 2.7.0 welcome").await;
    }
    say(wire, "334 eyJzdGF0dXMiOiI0MDAifQ==").await?;
    wire.read_line(&mut String::new()).await?;
    say(wire, "535 5.7.3 authentication unsuccessful").await
}

/// AUTH PLAIN with the credentials in the command (RFC 4616).
fn log_in(shared: &Shared, line: &str) -> &'static str {
    let Some((user, password)) = &shared.config.login else {
        return "503 5.5.1 AUTH is not offered";
    };
    let given = line.split_ascii_whitespace().nth(2).unwrap_or_default();
    if given == base64(format!("\0{user}\0{password}").as_bytes()) {
        "235 2.7.0 welcome"
    } else {
        "535 5.7.8 credentials invalid"
    }
}

/// Base64 with padding (RFC 4648, section 4).
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for index in 0..4 {
            let digit = usize::try_from(word >> (18 - 6 * index) & 63).unwrap_or(0);
            text.push(if index > chunk.len() { '=' } else { char::from(ALPHABET[digit]) });
        }
    }
    text
}

fn path(line: &str) -> Option<Path> {
    let (_, rest) = line.split_once('<')?;
    let (address, parameters) = rest.rsplit_once('>')?;
    Some(Path { address: address.to_owned(), parameters: parameters.trim().to_owned() })
}

async fn data(wire: &mut Wire, shared: &Shared, envelope: &mut Envelope) -> io::Result<Next> {
    let (Some(from), Some(to)) = (envelope.from.take(), envelope.to.take()) else {
        say(wire, "554 5.5.1 no valid recipients").await?;
        return Ok(Next::Continue);
    };
    say(wire, "354 end with a dot").await?;
    let Some(raw) = read_mail(wire).await? else { return Ok(Next::End) };
    match shared.fault(Step::Dot) {
        None => {
            shared.keep([&from, &to], raw);
            say(wire, "250 2.0.0 Ok: queued as SANDBOX").await?;
            Ok(Next::Continue)
        }
        Some(fault @ (Misbehavior::KeepAndHangUp | Misbehavior::KeepAndStall)) => {
            shared.keep([&from, &to], raw);
            commit(wire, fault).await?;
            Ok(Next::End)
        }
        Some(fault @ Misbehavior::SayBytes(bytes)) if bytes.starts_with(b"2") => {
            shared.keep([&from, &to], raw);
            Ok(if commit(wire, fault).await? { Next::Continue } else { Next::End })
        }
        // As Postfix does it: the transaction stays open after a refusal.
        Some(fault) => {
            *envelope = Envelope { from: Some(from), to: Some(to) };
            Ok(if commit(wire, fault).await? { Next::Continue } else { Next::End })
        }
    }
}

/// Up to the final dot, dots undone; `None` if the sender hung up or sent too much.
async fn read_mail(wire: &mut Wire) -> io::Result<Option<Vec<u8>>> {
    let mut mail = Vec::with_capacity(4096);
    loop {
        let begin = mail.len();
        if (&mut *wire).take(MAX_LINE).read_until(b'\n', &mut mail).await? == 0
            || mail.len() > MAX_MAIL
        {
            return Ok(None);
        }
        let line = &mail[begin..];
        if line == b".\r\n" {
            mail.truncate(begin);
            return Ok(Some(mail));
        }
        if line.starts_with(b".") {
            mail.remove(begin);
        }
    }
}

/// Commits a fault. `true`: the conversation goes on.
async fn commit(wire: &mut Wire, fault: Misbehavior) -> io::Result<bool> {
    match fault {
        Misbehavior::Say(line) => {
            say(wire, line).await?;
            Ok(!line.starts_with("421"))
        }
        Misbehavior::SayLate(wait, line) => {
            tokio::time::sleep(wait).await;
            say(wire, line).await?;
            Ok(true)
        }
        Misbehavior::SayBytes(bytes) => {
            wire.write_all(bytes).await?;
            wire.flush().await?;
            Ok(!bytes.starts_with(b"421"))
        }
        Misbehavior::HangUp | Misbehavior::KeepAndHangUp => Ok(false),
        Misbehavior::Stall | Misbehavior::KeepAndStall => {
            // Until the other side gives up.
            let mut scrap = [0; 1024];
            while wire.read(&mut scrap).await? > 0 {}
            Ok(false)
        }
    }
}

/// Writes one reply line and its line break.
async fn say(wire: &mut Wire, line: &str) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(line.len() + 2);
    bytes.extend_from_slice(line.as_bytes());
    bytes.extend_from_slice(b"\r\n");
    wire.get_mut().write_all(&bytes).await?;
    wire.get_mut().flush().await
}
