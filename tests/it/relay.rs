//! The relay: TLS, authentication, reuse of connections, and what counts as wrong configuration.

use std::{
    path::Path,
    sync::{Arc, LazyLock},
    time::Duration,
};

use domain::{
    address::EmailAddress,
    clock::Clock as _,
    fault::{Fault, Reason, Severity},
    ids::EventId,
    login_code::{Code, LoginCode},
};
use runtime::{clock::SystemClock, metrics::Metrics, tls};
use sandbox::{
    clock::ManualClock,
    inbox::{Inbox, InboxConfig, Misbehavior, Step},
    readable,
};
use secrecy::SecretString;
use tokio_rustls::TlsAcceptor;
use worker::mail::{
    Accepted, Mail, Mailer, SendError,
    message::Sender,
    render::{Asked, TemplateOptions, Templates},
    smtp::{RelayConfig, SmtpMailer, Timeouts},
};

use crate::harness::{PATIENCE, app::free_port, certificates::Certificates, eventually, in_time};

/// A private authority, and a server that it vouches for.
pub fn authority() -> (Vec<u8>, TlsAcceptor) {
    let certificates = Certificates::generate();
    (certificates.authority_pem.clone().into_bytes(), certificates.acceptor())
}

pub async fn inbox(config: InboxConfig) -> Inbox {
    let clock = Arc::new(ManualClock::at(SystemClock.now()));
    Inbox::start(free_port().await, config, clock).expect("starts")
}

/// How long a relay may take to be ready, and for the answers of each part of a mail.
pub const LIMIT: Duration = PATIENCE.checked_div(60).expect("not zero");

pub fn mailer(url: &str, extra_ca: Option<&[u8]>) -> SmtpMailer {
    let step = LIMIT;
    let timeouts = Timeouts { connect: step, command: step, last: step };
    let trust = tls::Trust::load(extra_ca).expect("usable");
    let relay = RelayConfig::parse(&SecretString::from(url.to_owned()), trust.client(), None)
        .expect("a relay");
    SmtpMailer::new(
        relay.with("authpost.test".to_owned(), timeouts),
        4,
        Metrics::new("test").expect("declared rightly").relay("relay"),
    )
    .expect("a pool")
}

fn mail() -> Mail {
    mail_from(None, "alice@example.com")
}

/// A mail to this person.
pub fn mail_to(address: &str) -> Mail {
    mail_from(None, address)
}

/// Made once: trying all languages takes longer than a relay of a test waits.
static PLAIN: LazyLock<Arc<Templates>> = LazyLock::new(|| templates(None));

fn templates(directory: Option<&Path>) -> Arc<Templates> {
    let sender =
        Sender { name: None, address: EmailAddress::parse("login@acme.example").expect("valid") };
    let plain = TemplateOptions::plain("Acme", sender);
    Arc::new(Templates::load(TemplateOptions { directory, ..plain }).expect("usable"))
}

fn mail_from(directory: Option<&Path>, to: &str) -> Mail {
    let templates = directory.map_or_else(|| Arc::clone(&PLAIN), |it| templates(Some(it)));
    let now = SystemClock.now();
    let code = LoginCode {
        code: Code::parse("123456".to_owned()).expect("valid"),
        recipient: EmailAddress::parse(to).expect("valid"),
        expires_at: now + jiff::SignedDuration::from_mins(10),
    };
    templates
        .login_code(Asked::plain(&EventId::parse("event_1").expect("valid"), now), &code, now)
        .expect("renders")
}

pub async fn send(mailer: &SmtpMailer) -> Result<Accepted, SendError> {
    let relay =
        in_time("a connection", mailer.connect(&mail())).await.map_err(SendError::NotSent)?;
    in_time("an answer", relay.send(&mail())).await
}

fn refused_us(result: Result<Accepted, SendError>) -> String {
    match result {
        Err(SendError::NotSent(Fault {
            severity: Severity::Misconfigured,
            reason: Reason::RelayRefusedUs,
            detail,
        })) => detail.into_owned(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_from_the_first_byte() {
    let (ca, acceptor) = authority();
    let inbox = inbox(InboxConfig { implicit_tls: Some(acceptor), ..InboxConfig::default() }).await;
    let port = inbox.address().port();
    let accepted =
        send(&mailer(&format!("smtps://localhost:{port}"), Some(&ca))).await.expect("sent");
    assert_eq!(accepted.receipt, "SANDBOX");
    assert_eq!(readable::read(&inbox.mails()[0].raw).expect("a mail").code(), Some("123456"));
    let distrusted = send(&mailer(&format!("smtps://localhost:{port}"), None)).await;
    assert!(refused_us(distrusted).contains("certificate"));
}

#[tokio::test(flavor = "multi_thread")]
async fn starttls_is_required_and_used() {
    let (ca, acceptor) = authority();
    let offers = inbox(InboxConfig { starttls: Some(acceptor), ..InboxConfig::default() }).await;
    let url = format!("smtp://localhost:{}", offers.address().port());
    send(&mailer(&url, Some(&ca))).await.expect("sent");
    assert!(refused_us(send(&mailer(&url, None)).await).contains("certificate"));
    let does_not = inbox(InboxConfig::default()).await;
    let stripped =
        send(&mailer(&format!("smtp://localhost:{}", does_not.address().port()), Some(&ca))).await;
    assert!(refused_us(stripped).contains("STARTTLS"));
    assert_eq!(does_not.count(), 0, "no mail goes over an open connection");
}

/// Bytes that an attacker adds to the reply to STARTTLS must not be read as the first replies under
/// TLS.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_ahead_of_tls_is_not_believed() {
    let (ca, acceptor) = authority();
    let inbox = inbox(InboxConfig { starttls: Some(acceptor), ..InboxConfig::default() }).await;
    let mailer = mailer(&format!("smtp://localhost:{}", inbox.address().port()), Some(&ca));
    inbox.order(Step::StartTls, Misbehavior::Say("220 go ahead\r\n220 hi\r\n250 ok"));
    assert!(
        refused_us(send(&mailer).await).contains("bytes were injected before the TLS handshake")
    );
    inbox.order(Step::StartTls, Misbehavior::Say("454 4.7.0 not now"));
    let later = send(&mailer).await.expect_err("not now");
    assert!(
        matches!(later, SendError::NotSent(Fault { reason: Reason::RelayUnavailable, .. })),
        "{later:?}"
    );
    send(&mailer).await.expect("sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_tried_and_its_refusal_is_ours_to_mend() {
    let (ca, acceptor) = authority();
    let login = Some(("user".to_owned(), "p@ss/word".to_owned()));
    let inbox =
        inbox(InboxConfig { implicit_tls: Some(acceptor), login, ..InboxConfig::default() }).await;
    let port = inbox.address().port();
    send(&mailer(&format!("smtps://user:p%40ss%2Fword@localhost:{port}"), Some(&ca)))
        .await
        .expect("sent");
    let detail =
        refused_us(send(&mailer(&format!("smtps://user:wrong@localhost:{port}"), Some(&ca))).await);
    assert!(detail.contains("535") && !detail.contains("wrong"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_stalls_or_hangs_up_before_it_is_ready_is_away() {
    let (ca, acceptor) = authority();
    let login = Some(("user".to_owned(), "password".to_owned()));
    let inbox =
        inbox(InboxConfig { starttls: Some(acceptor), login, ..InboxConfig::default() }).await;
    let mailer =
        mailer(&format!("smtp://user:password@localhost:{}", inbox.address().port()), Some(&ca));
    for step in [Step::Greeting, Step::Ehlo, Step::StartTls, Step::Auth] {
        for misbehavior in [Misbehavior::Stall, Misbehavior::HangUp] {
            inbox.order(step, misbehavior.clone());
            let away = send(&mailer).await.expect_err("away");
            assert!(
                matches!(away, SendError::NotSent(Fault { reason: Reason::RelayUnavailable, .. })),
                "{step:?} {misbehavior:?}: {away:?}"
            );
        }
    }
    send(&mailer).await.expect("sent, when it behaves");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_carries_many_mails_with_and_without_pipelining() {
    for without_pipelining in [false, true] {
        let inbox = inbox(InboxConfig { without_pipelining, ..InboxConfig::default() }).await;
        let mailer = mailer(&format!("smtp://{}?tls=none", inbox.address()), None);
        for _ in 0..5 {
            send(&mailer).await.expect("sent");
        }
        assert_eq!((inbox.count(), inbox.connections()), (5, 1));
        // A refused recipient ends a mail, not the connection.
        inbox.order(Step::Rcpt, Misbehavior::Say("550 5.1.1 unknown"));
        let refused = send(&mailer).await.expect_err("refused");
        assert!(
            matches!(
                refused,
                SendError::NoSuchAddress(Fault { reason: Reason::RecipientRefused, .. })
            ),
            "{refused:?}"
        );
        send(&mailer).await.expect("sent");
        assert_eq!(
            (inbox.count(), inbox.connections()),
            (6, 1),
            "without pipelining: {without_pipelining}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_that_the_relay_closed_costs_nothing() {
    let inbox = inbox(InboxConfig::default()).await;
    let mailer = mailer(&format!("smtp://{}?tls=none", inbox.address()), None);
    send(&mailer).await.expect("sent");
    inbox.hang_up().await;
    send(&mailer).await.expect("sent, over a new connection");
    assert_eq!((inbox.count(), inbox.connections()), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_cut_off_does_not_spoil_the_next_one() {
    let inbox = inbox(InboxConfig::default()).await;
    let mailer = mailer(&format!("smtp://{}?tls=none", inbox.address()), None);
    send(&mailer).await.expect("sent");
    inbox.order(Step::Data, Misbehavior::Stall);
    let relay = mailer.connect(&mail()).await.expect("a connection");
    let letter = mail();
    tokio::select! {
        biased;
        _ = relay.send(&letter) => panic!("the relay stalls"),
        () = eventually("the relay stalls", async || (inbox.open_orders() == 0).then_some(())) => {}
    }
    // The connection was returned in the middle of a transaction; it must not be reused.
    send(&mailer).await.expect("sent");
    assert_eq!((inbox.count(), inbox.connections()), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrives_is_what_was_written_leading_dots_included() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("login_code.txt"), "..\n.\n{{ code }}\n.hidden\n")
        .expect("written");
    let inbox = inbox(InboxConfig::default()).await;
    let mailer = mailer(&format!("smtp://{}?tls=none", inbox.address()), None);
    let letter = mail_from(Some(folder.path()), "alice@example.com");
    mailer.connect(&letter).await.expect("a connection").send(&letter).await.expect("sent");
    assert_eq!(inbox.mails()[0].raw.trim_ascii_end(), letter.expose().trim_ascii_end());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_away_is_not_ready() {
    let listener = free_port().await;
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let mailer = mailer(&format!("smtp://{address}?tls=none"), None);
    let why = mailer.ready().await.expect_err("nobody listens");
    assert!(why.contains("no connection to the relay"), "{why}");
}
