//! Every way the ingress refuses, and that refusing loses and reveals nothing.

use domain::webhook::sign;
use secrecy::SecretString;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use worker::mail::smtp::Timeouts;

use crate::harness::{
    App, PATIENCE,
    app::{SECRET, Setup},
    eventually, in_time,
    raw_http::{self, status},
};

/// A request as bytes. `length` may differ from that of the body.
fn request(path: &str, headers: &[(&str, &str)], body: &str, length: usize) -> Vec<u8> {
    let mut head = format!(
        "POST {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {length}\r\n"
    );
    for (name, value) in headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    format!("{head}\r\n{body}").into_bytes()
}

fn signature(app: &App, body: &str) -> String {
    sign(&SecretString::from(SECRET.to_owned()), app.now(), body.as_bytes()).expect("a secret")
}

async fn post(app: &App, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    raw_http::send(app.public, &request(path, headers, body, body.len())).await
}

const EVENT: &str = r#"{"id":"event_1","event":"user.created","data":{}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn an_event_we_do_not_mail_is_accepted_and_ignored() {
    let app = App::embedded().await;
    for path in ["/v1/workos_webhook", "/v1/workos_webhook/"] {
        let answer =
            post(&app, path, &[("WorkOS-Signature", &signature(&app, EVENT))], EVENT).await;
        assert!(status(&answer) == 200 && answer.contains(r#"{"status":"ignored"}"#), "{answer}");
    }
    assert_eq!(app.exposition().webhooks("ignored"), 2);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_signature_is_a_401_that_reads_the_same_and_is_counted_apart() {
    let app = App::embedded().await;
    let good = signature(&app, EVENT);
    let other = sign(&SecretString::from("other".to_owned()), app.now(), EVENT.as_bytes())
        .expect("a secret");
    let old = app.now() - jiff::SignedDuration::from_secs(181);
    let secret = SecretString::from(SECRET.to_owned());
    let stale = sign(&secret, old, EVENT.as_bytes()).expect("a secret");
    let mut bodies = std::collections::BTreeSet::new();
    for (header, label) in [
        (None, "missing_signature"),
        (Some("t=1"), "malformed_signature"),
        (Some(&*other), "forged"),
        (Some(&*stale), "stale"),
    ] {
        let headers: Vec<_> = header.iter().map(|value| ("WorkOS-Signature", *value)).collect();
        let answer = post(&app, "/v1/workos_webhook/", &headers, EVENT).await;
        assert_eq!(status(&answer), 401, "{label}");
        assert!(answer.contains("application/problem+json"), "{answer}");
        bodies.insert(answer.split_once("\r\n\r\n").expect("a body").1.to_owned());
        assert_eq!(app.exposition().webhooks(label), 1, "{label}");
    }
    assert_eq!(bodies.len(), 1, "an attacker learns which check failed: {bodies:?}");
    let (headers, body) = ([("WorkOS-Signature", &*good)], EVENT.replace("user", "uses"));
    let changed = post(&app, "/v1/workos_webhook/", &headers, &body).await;
    assert_eq!(status(&changed), 401);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_genuine_body_that_is_no_event_is_a_400_that_repeats_nothing() {
    let app = App::embedded().await;
    let unreadable = [
        "",
        "secret",
        "[]",
        "{}",
        "\u{0}",
        r#"{"id":"a b","event":"secret"}"#,
        r#"{"id":"e","event":"magic_auth.created","data":{"id":"../secret"}}"#,
    ];
    let deep = "[".repeat(20_000);
    for body in unreadable.into_iter().chain([deep.as_str()]) {
        let answer = post(
            &app,
            "/v1/workos_webhook/",
            &[("WorkOS-Signature", &signature(&app, body))],
            body,
        )
        .await;
        assert_eq!(status(&answer), 400, "{answer}");
        assert!(!answer.contains("secret"), "{answer}");
    }
    assert_eq!(app.exposition().webhooks("unreadable"), 8);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_and_addresses() {
    let app = App::embedded().await;
    for (line, expected) in [
        ("GET /v1/workos_webhook/", 405),
        ("PUT /v1/workos_webhook", 405),
        ("POST /", 404),
        ("GET /v1/workos_webhook/x", 404),
        ("POST /v1//workos_webhook", 404),
    ] {
        let answer = raw_http::send(
            app.public,
            format!("{line} HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                .as_bytes(),
        )
        .await;
        assert_eq!(status(&answer), expected, "{line}");
        assert_eq!(
            answer.to_ascii_lowercase().contains("allow: post"),
            expected == 405,
            "{answer}"
        );
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_large_a_body_is_a_413_before_it_is_read() {
    let app = App::embedded().await;
    let declared =
        raw_http::send(app.public, &request("/v1/workos_webhook/", &[], "", 256 * 1024 + 1)).await;
    assert_eq!(status(&declared), 413);
    let mut chunked =
        b"POST /v1/workos_webhook/ HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
            .to_vec();
    for _ in 0..5 {
        chunked.extend_from_slice(
            format!("{:x}\r\n{}\r\n", 64 * 1024, "x".repeat(64 * 1024)).as_bytes(),
        );
    }
    assert_eq!(status(&raw_http::send(app.public, &chunked).await), 413);
    assert_eq!(app.exposition().webhooks("too_large"), 2);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_body_that_is_allowed_is_read() {
    let app = App::embedded().await;
    let padding = " ".repeat(256 * 1024 - EVENT.len());
    let body = format!("{EVENT}{padding}");
    let answer =
        post(&app, "/v1/workos_webhook/", &[("WorkOS-Signature", &signature(&app, &body))], &body)
            .await;
    assert_eq!(status(&answer), 200);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_stores_nothing() {
    let app = App::embedded().await;
    let mut stream = tokio::net::TcpStream::connect(app.public).await.expect("connects");
    stream.write_all(&request("/v1/workos_webhook/", &[], "half", 100)).await.expect("written");
    drop(stream);
    eventually("it is counted", async || {
        (app.exposition().webhooks("incomplete") == 1).then_some(())
    })
    .await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_is_a_408() {
    let app = App::embedded().await;
    let mut stream = tokio::net::TcpStream::connect(app.public).await.expect("connects");
    stream.write_all(&request("/v1/workos_webhook/", &[], "half", 100)).await.expect("written");
    let mut answer = String::new();
    in_time("an answer", stream.read_to_string(&mut answer)).await.expect("readable");
    assert_eq!(status(&answer), 408);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_a_503_that_says_when_to_come_back() {
    let mut setup = Setup::embedded().worker(|worker| {
        worker.concurrency = 1;
        let timeouts = Timeouts { command: PATIENCE, ..worker.relays[0].timeouts() };
        worker.relays[0] = worker.relays[0].clone().with("authpost.test".to_owned(), timeouts);
    });
    setup.capacity.events = 3;
    let app = setup.start().await;
    app.inbox.order(sandbox::inbox::Step::Mail, sandbox::inbox::Misbehavior::Stall);
    let made: Vec<_> = (0..4).map(|n| app.workos.make_code(&format!("p{n}@example.com"))).collect();
    for code in &made[..3] {
        assert_eq!(app.post(code).await.status, 200);
    }
    let refused = app.post(&made[3]).await;
    assert_eq!((refused.status, refused.retry_after.as_deref()), (503, Some("5")));
    assert_eq!(app.exposition().webhooks("unavailable"), 1);
    eventually("the relay holds the worker", async || (app.inbox.open_orders() == 0).then_some(()))
        .await;
    app.inbox.hang_up().await;
    // The first mail makes room; WorkOS would have retried by then.
    eventually("the ingress takes it", async || {
        (app.post(&made[3]).await.status == 200).then_some(())
    })
    .await;
    app.mails(4).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_carries_many_deliveries() {
    let app = App::embedded().await;
    let mut stream = tokio::net::TcpStream::connect(app.public).await.expect("connects");
    for _ in 0..3 {
        let head = format!(
            "POST /v1/workos_webhook/ HTTP/1.1\r\nHost: t\r\nWorkOS-Signature: {}\r\nContent-Length: {}\r\n\r\n{EVENT}",
            signature(&app, EVENT),
            EVENT.len()
        );
        stream.write_all(head.as_bytes()).await.expect("written");
        let mut answer = vec![0; 4096];
        let read = in_time("an answer", stream.read(&mut answer)).await.expect("readable");
        assert_eq!(status(&String::from_utf8_lossy(&answer[..read])), 200);
    }
    drop(stream);
    app.finish().await;
}
