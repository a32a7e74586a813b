//! What relays really say, and what follows from it.

use domain::fault::{Fault, Reason, Severity};
use sandbox::{
    inbox::{InboxConfig, Misbehavior, Step},
    readable,
};
use worker::mail::{Accepted, Mailer as _, SendError};

use crate::{
    crash::World,
    harness::{eventually, in_time, program::Program},
    relay::{LIMIT, inbox, mail_to, mailer, send},
};

fn reason(result: Result<Accepted, SendError>) -> (Severity, Reason) {
    match result {
        Err(
            SendError::NotSent(Fault { severity, reason, .. })
            | SendError::NoSuchAddress(Fault { severity, reason, .. }),
        ) => (severity, reason),
        other => panic!("{other:?}"),
    }
}

/// The text of an answer is for people, in any encoding.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_its_digits() {
    for without_pipelining in [false, true] {
        let inbox = inbox(InboxConfig { without_pipelining, ..InboxConfig::default() }).await;
        let mailer = mailer(&format!("smtp://{}?tls=none", inbox.address()), None);
        for (answer, receipt) in [
            (&b"250 2.0.0 acept\xe9: queued as 4Zx1Q\r\n"[..], "4Zx1Q"),
            (b"250 2.0.0 \xb7\xa2\xcb\xcd\r\n", ""),
            (b"250\r\n", ""),
            (b"250-2.0.0 one\r\n250 two\xff\r\n", ""),
            (b"250-2.0.0 queued as 5Zx\r\n250\r\n", ""),
        ] {
            inbox.order(Step::Dot, Misbehavior::SayBytes(answer));
            let accepted = send(&mailer).await.expect("accepted");
            assert_eq!(accepted.receipt, receipt, "{}", String::from_utf8_lossy(answer));
        }
        assert_eq!((inbox.count(), inbox.connections()), (5, 1), "one mail each");
        inbox.order(Step::Rcpt, Misbehavior::SayBytes(b"550 5.1.1 inconnu\xe9\r\n"));
        let hers = (Severity::Permanent, Reason::RecipientRefused);
        assert_eq!(reason(send(&mailer).await), hers);
        inbox.order(Step::Dot, Misbehavior::SayBytes(b"552 5.3.4 gr\xf6\xdfe\r\n"));
        assert_eq!(reason(send(&mailer).await), (Severity::Permanent, Reason::MailRefused));
        send(&mailer).await.expect("sent");
    }
}

/// A bounce must not carry the code back, and addresses that exist are mailed.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_announced_of_a_mail() {
    let config = InboxConfig { offers: vec!["DSN", "SMTPUTF8"], ..InboxConfig::default() };
    let inbox = inbox(config).await;
    let mailer = mailer(&format!("smtp://{}?tls=none", inbox.address()), None);
    for (typed, announced, utf8) in [
        ("a..b@example.com", "\"a..b\"@example.com", ""),
        ("a.@example.com.", "\"a.\"@example.com", ""),
        ("\"john \\\"x\\\" smith\"@example.com", "\"john \\\"x\\\" smith\"@example.com", ""),
        ("alice@mail_host.example.com", "alice@mail_host.example.com", ""),
        ("анна..б@example.com", "\"анна..б\"@example.com", "SMTPUTF8 "),
    ] {
        let mail = mail_to(typed);
        let relay = mailer.connect(&mail).await.expect("a connection");
        relay.send(&mail).await.unwrap_or_else(|why| panic!("{typed}: {why:?}"));
        let mail = inbox.mails().pop().expect("received");
        assert_eq!(mail.to, announced);
        let text = String::from_utf8_lossy(&mail.raw).into_owned();
        assert!(text.contains(&format!("\r\nTo: {announced}\r\n")), "{text}");
        let read = readable::read(&mail.raw).expect("a mail");
        let (digest, _) = read.message_id.split_once('@').expect("one with a domain");
        assert!(text.contains(&format!("X-Authpost-Event: {digest}\r\n")), "{text}");
        let [from, to] = mail.parameters;
        assert_eq!(from, format!("{utf8}RET=HDRS ENVID={digest}"));
        assert_eq!(to, "NOTIFY=FAILURE");
    }
}

/// What finds no room waits for a connection that becomes free.
#[tokio::test(flavor = "multi_thread")]
async fn a_burst_finishes_over_the_connections_that_the_relay_takes() {
    let config = InboxConfig {
        most_connections: Some(3),
        most_mails: Some(5),
        without_pipelining: true,
        ..InboxConfig::default()
    };
    let inbox = inbox(config).await;
    let mailer = mailer(&format!("smtp://{}?tls=none", inbox.address()), None);
    let mails = (0..60).map(|_| send(&mailer));
    for sent in in_time("all mails", futures_util::future::join_all(mails)).await {
        sent.expect("sent");
    }
    assert_eq!(inbox.count(), 60);
    assert!(inbox.turned_away() >= 1, "four were tried");
}

/// Some greet late on purpose, some look an address up elsewhere first: one limit for all steps.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_may_be_slow_at_any_one_step() {
    let inbox = inbox(InboxConfig::default()).await;
    let mailer = || mailer(&format!("smtp://{}?tls=none", inbox.address()), None);
    let slow = LIMIT * 6 / 10;
    inbox.order(Step::Greeting, Misbehavior::SayLate(slow, "220 inbox.test"));
    inbox.order(Step::Rcpt, Misbehavior::SayLate(slow, "250 2.1.5 Ok"));
    inbox.order(Step::Data, Misbehavior::Say("451 4.3.0 the address was only said to be good"));
    assert_eq!(reason(send(&mailer()).await).1, Reason::RelayDeferred);
    inbox.order(Step::Greeting, Misbehavior::SayLate(slow, "220 inbox.test"));
    inbox.order(Step::Ehlo, Misbehavior::SayLate(slow, "250 inbox.test"));
    let late = send(&mailer()).await.expect_err("too slow in all");
    assert!(format!("{late:?}").contains("AUTHPOST_SMTP_CONNECT_TIMEOUT"), "{late:?}");
}

/// Postfix keeps a transaction open after a refusal of the whole mail.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_mail_does_not_cost_the_next_one() {
    let inbox = inbox(InboxConfig::default()).await;
    let mailer = mailer(&format!("smtp://{}?tls=none", inbox.address()), None);
    for answer in ["550 5.6.0 content", "450 4.7.1 greylisted", "554 transaction failed"] {
        inbox.order(Step::Dot, Misbehavior::Say(answer));
        send(&mailer).await.expect_err(answer);
        send(&mailer).await.expect("the next one is sent at once");
    }
    assert_eq!((inbox.count(), inbox.connections()), (3, 1));
}

/// A relay that does not know us says so of each recipient.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_refuses_everybody_is_told_and_most_mails_go_out_when_it_is_mended() {
    for (answer, buried) in [
        ("554 5.7.1 Relay access denied", 0),
        ("504 5.5.2 Helo command rejected", 0),
        ("550 relay not permitted", 2),
    ] {
        let world = World::new().await;
        let program = Program::start("serve", &world.env(), &world.log()).await;
        (0..60).for_each(|_| world.inbox.order(Step::Rcpt, Misbehavior::Say(answer)));
        for n in 0..8 {
            world.ask(&program, &format!("p{n}@example.com")).await;
        }
        eventually("it is told", async || {
            (program.exposition().await.count("authpost_paused") == 1).then_some(())
        })
        .await;
        world.inbox.obey_no_more();
        in_time("their mails", world.inbox.reached(8 - buried)).await;
        assert_eq!(program.exposition().await.outcomes("dead"), buried, "{answer}");
        program.stop().await;
    }
}
