//! One property for each kind of input: no panic, and what is believed is what was checked.

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use domain::{
    address::EmailAddress,
    event::QueuedEvent,
    ids::{EventId, MagicAuthId},
    login_code::{Code, LoginCode},
    payload::VerifiedEvent,
    webhook::{SignedDelivery, WebhookKeys, sign},
};
use hyper::{StatusCode, header::HeaderValue};
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use runtime::tls;
use secrecy::SecretString;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::{Builder, Runtime},
};
use worker::mail::{
    Mail,
    message::Sender,
    render::{Asked, TemplateOptions, Templates},
    smtp::{self, RelayConfig, Timeouts},
};
use workos::answer;

fn now() -> Timestamp {
    Timestamp::from_millisecond(1_768_478_400_000).expect("in range")
}

fn secret() -> SecretString {
    SecretString::from("whsec_fuzz".to_owned())
}

fn keys() -> WebhookKeys {
    WebhookKeys::new(&[secret()]).expect("not empty")
}

fn verifies(header: &[u8], body: &[u8]) -> bool {
    SignedDelivery {
        signature: Some(header),
        body: Bytes::copy_from_slice(body),
        received_at: now(),
    }
    .verify(&keys())
    .is_ok()
}

/// First line: a signature header. The rest: a body. What is believed bears the one true signature
/// of a time near ours.
pub fn signature(data: &[u8]) {
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (header, body) = (&data[..at], data.get(at + 1..).unwrap_or_default());
    if verifies(header, body) {
        let tolerated = (now().as_millisecond() - 180_000)..=(now().as_millisecond() + 180_000);
        let text = String::from_utf8_lossy(header).to_ascii_lowercase();
        let genuine = text
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|digits| digits.parse::<i64>().ok())
            .any(|t| {
                let signed = Timestamp::from_millisecond(t)
                    .ok()
                    .and_then(|t| sign(&secret(), t, body))
                    .unwrap_or_default();
                tolerated.contains(&t)
                    && signed.split_once("v1=").is_some_and(|(_, hex)| text.contains(hex))
            });
        assert!(genuine, "a forged header was believed");
    }
    let genuine = sign(&secret(), now(), body).expect("a secret");
    assert!(verifies(genuine.as_bytes(), body), "a genuine header was refused");
    let mut changed = body.to_vec();
    changed.push(b'x');
    assert!(!verifies(genuine.as_bytes(), &changed), "a changed body was believed");
}

/// A signed body. What is read from it survives the queue unchanged and holds ids and times only.
pub fn event(data: &[u8]) {
    let signature = sign(&secret(), now(), data).expect("a secret");
    let delivery = SignedDelivery {
        signature: Some(signature.as_bytes()),
        body: Bytes::copy_from_slice(data),
        received_at: now(),
    };
    let read = delivery.verify(&keys()).expect("genuine").read();
    if let Ok(VerifiedEvent::Mailable(event)) = read {
        let encoded = event.encode();
        assert!(encoded.len() < 2048, "a queued event of {} bytes", encoded.len());
        assert_eq!(QueuedEvent::decode(&encoded).expect("our own form"), event);
    }
}

/// A message from the queue.
pub fn queued_event(data: &[u8]) {
    if let Ok(event) = QueuedEvent::decode(data) {
        assert_eq!(QueuedEvent::decode(&event.encode()).expect("our own form"), event);
    }
}

/// Two digits of status class and kind, a line for Retry-After, a body: what WorkOS may answer.
pub fn workos_answer(data: &[u8]) {
    let [high, low, rest @ ..] = data else { return };
    let at = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let (wish, body) = (&rest[..at], rest.get(at + 1..).unwrap_or_default());
    let status = StatusCode::from_u16(100 + (u16::from(*high) * 256 + u16::from(*low)) % 500)
        .expect("three digits");
    let wish =
        HeaderValue::from_bytes(wish).ok().and_then(|wish| answer::retry_after(&wish, now()));
    assert!(
        wish.is_none_or(|wish| wish <= Duration::from_secs(60)),
        "a wish that outlives the code was granted"
    );
    assert_eq!(answer::refusal(status, wish).is_none(), status == StatusCode::OK);
    let id = MagicAuthId::parse("magic_auth_1").expect("valid");
    match answer::login_code(body, &id) {
        Ok(code) => render(&code),
        Err(fault) => assert!(fault.to_string().len() < 256, "{fault}"),
    }
}

fn render(code: &LoginCode) {
    let made = templates().login_code(
        Asked::plain(&EventId::parse("event_1").expect("valid"), now()),
        code,
        now(),
    );
    if let Ok(mail) = made {
        let text = String::from_utf8_lossy(mail.expose());
        let (head, _) = text.split_once("\r\n\r\n").expect("a head");
        let recipients =
            head.lines().filter(|line| line.to_ascii_lowercase().starts_with("to:")).count();
        assert_eq!(recipients, 1, "one mail has one recipient");
        assert!(code.expires_at > now(), "an expired code was put into a mail");
    }
}

/// Made once: fuzzing is counted in runs a second.
fn templates() -> &'static Templates {
    static TEMPLATES: OnceLock<Templates> = OnceLock::new();
    TEMPLATES.get_or_init(|| {
        let sender = Sender {
            name: None,
            address: EmailAddress::parse("login@acme.example").expect("valid"),
        };
        Templates::load(TemplateOptions::plain("Acme", sender)).expect("our own")
    })
}

fn mail_to(recipient: EmailAddress) -> Option<Mail> {
    let code = Code::parse("123456".to_owned()).expect("valid");
    let code = LoginCode { code, recipient, expires_at: now() + SignedDuration::from_mins(10) };
    templates()
        .login_code(Asked::plain(&EventId::parse("event_1").expect("valid"), now()), &code, now())
        .ok()
}

/// An address. What is taken for one adds no line to the mail and no command to the conversation.
pub fn address(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(address) = EmailAddress::parse(text) else { return };
    assert_eq!(
        EmailAddress::parse(&address.expose()).ok().as_ref(),
        Some(&address),
        "another address after reading it again"
    );
    let Some(mail) = mail_to(address) else { return };
    let relay = b"220 hi\r\n250-hi\r\n250 SMTPUTF8\r\n250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n";
    let said = converse(relay, 255, &mail);
    let verbs: Vec<_> = said
        .split("\r\n")
        .take(4)
        .map(|line| line.split([' ', ':']).next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(verbs, ["EHLO", "MAIL", "RCPT", "DATA"], "{said}");
}

/// First byte: how many bytes arrive at once. The rest: everything a relay says.
pub fn smtp_answer(data: &[u8]) {
    static MAIL: OnceLock<Mail> = OnceLock::new();
    let [chunk, script @ ..] = data else { return };
    let mail = MAIL.get_or_init(|| {
        mail_to(EmailAddress::parse("alice@example.com").expect("valid")).expect("a mail")
    });
    converse(script, *chunk, mail);
    let stream = Script::new(script, *chunk, Arc::default());
    if let Ok(rest) = run(smtp::starttls(stream, "authpost.test")) {
        let script = String::from_utf8_lossy(script);
        assert!(
            script.to_ascii_uppercase().contains("STARTTLS"),
            "TLS was begun without being offered"
        );
        assert!(rest.at <= rest.said.len());
    }
}

/// Sends the mail to a relay that says `script`; returns what it heard.
fn converse(script: &[u8], chunk: u8, mail: &Mail) -> String {
    let heard = Arc::default();
    let stream = Script::new(script, chunk, Arc::clone(&heard));
    let sent = run(smtp::send_over(stream, settings(), mail));
    let heard = String::from_utf8_lossy(&heard.lock()).into_owned();
    if let Ok(accepted) = sent {
        assert!(
            heard.ends_with("\r\n.\r\n"),
            "called sent, and the relay has not heard the dot: {heard}"
        );
        assert!(
            holds_in_order(script, &["220", "250", "25", "25", "354", "250"]),
            "called sent by a relay that did not say so"
        );
        assert!(accepted.receipt.len() <= 64);
    }
    heard
}

/// Whether there are answers that begin so, in this order, among whatever else was said. What ends
/// a line is left open: we go by the line feed, lettre by both characters.
fn holds_in_order(script: &[u8], wanted: &[&str]) -> bool {
    let mut wanted = wanted.iter().peekable();
    for line in script.split(|byte| *byte == b'\n').filter(|line| line.get(3) != Some(&b'-')) {
        wanted.next_if(|code| line.starts_with(code.as_bytes()));
    }
    wanted.next().is_none()
}

fn run<T>(conversation: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: Runtime =
            Builder::new_current_thread().enable_time().build().expect("a runtime");
    }
    RUNTIME.with(|runtime| runtime.block_on(conversation))
}

fn settings() -> &'static RelayConfig {
    static SETTINGS: OnceLock<RelayConfig> = OnceLock::new();
    SETTINGS.get_or_init(|| {
        tls::install_provider();
        let roots = rustls::RootCertStore::empty();
        let tls = Arc::new(
            rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth(),
        );
        let url = SecretString::from("smtp://localhost:25?tls=none".to_owned());
        RelayConfig::parse(&url, &tls, None)
            .expect("a relay")
            .with("authpost.test".to_owned(), Timeouts::default())
    })
}

/// A relay that has made up its mind beforehand, and says one answer for each line it hears.
#[derive(Debug)]
pub struct Script {
    said: Vec<u8>,
    at: usize,
    chunk: usize,
    /// Answers it may still give.
    asked: usize,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Script {
    fn new(script: &[u8], chunk: u8, heard: Arc<Mutex<Vec<u8>>>) -> Self {
        Self { said: script.to_vec(), at: 0, chunk: usize::from(chunk).max(1), asked: 1, heard }
    }

    /// Where the line it is in ends, and whether that is the end of an answer.
    fn line_end(&self) -> (usize, bool) {
        let rest = &self.said[self.at..];
        let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
        let begin =
            self.said[..self.at].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        (self.at + end, self.said.get(begin + 3) != Some(&b'-'))
    }
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        // What nobody asked for comes when it would otherwise be silent for ever: together with the
        // next answer.
        let (line_end, answered) =
            if self.asked == 0 { (self.said.len(), false) } else { self.line_end() };
        let end = line_end.min(self.at + self.chunk.min(buffer.remaining()));
        buffer.put_slice(&self.said[self.at..end]);
        self.at = end;
        if end == line_end && answered {
            self.asked -= 1;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.asked += bytes.split(|byte| *byte == b'\n').count() - 1;
        self.heard.lock().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
