//! What hostile clients may send to the public listener: honest deliveries go on, nothing is
//! trusted that was not signed, and nobody can make the process keep more than its share.

use std::{sync::Arc, time::Duration};

use domain::webhook::sign;
use runtime::clock::SystemClock;
use secrecy::SecretString;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::Instant,
};

use crate::{
    crash::World,
    harness::{
        self, App,
        app::SECRET,
        eventually, in_time,
        load::{Load, Sender},
        program::Program,
        raw_http::{self, status},
        slow::SlowSenders,
    },
};

/// A genuine request: `extra` header lines, then the body.
fn genuine(app: &App, extra: &str, body: &[u8]) -> Vec<u8> {
    let signature =
        sign(&SecretString::from(SECRET.to_owned()), app.now(), body).expect("a secret");
    let mut request = format!(
        "POST /v1/workos_webhook/ HTTP/1.1\r\nHost: t\r\nWorkOS-Signature: \
                               {signature}\r\n{extra}\r\n"
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

fn length(body: &[u8]) -> String {
    format!("Content-Length: {}\r\n", body.len())
}

const IGNORED: &[u8] = br#"{"id":"event_1","event":"user.created","data":{}}"#;

fn answers(text: &str) -> usize {
    text.matches("HTTP/1.1 ").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_slow_senders_keep_nobody_out() {
    let world = World::new().await;
    let program = Program::start("serve", &world.env(), &world.log()).await;
    let slow = SlowSenders::start(program.public.expect("an ingress"), 2000).await;
    let load = Load::start(
        Sender {
            workos: Arc::clone(&world.workos),
            urls: vec![program.webhook_url()],
            clock: Arc::new(SystemClock),
        },
        25,
    );
    // Longer than it takes until the first slow clients are disconnected and reconnect.
    let begun = Instant::now();
    eventually("honest deliveries for 15 s", async || {
        (begun.elapsed() > Duration::from_secs(15)).then_some(())
    })
    .await;
    let memory = program.resident();
    assert_eq!(load.refused(), 0, "an honest delivery was refused");
    let asked = load.end().await;
    assert!(
        asked.made.len() > 200 && asked.in_doubt == 0,
        "{} accepted, {} not answered",
        asked.made.len(),
        asked.in_doubt
    );
    eventually("everybody has a mail", async || {
        (asked.account(&world.inbox).without == 0).then_some(())
    })
    .await;
    // How fast they are answered is measured where nothing else runs: ./scripts/bench.
    let p99 = program.exposition().await.quantile("authpost_webhook_seconds", 0.99);
    assert!(memory < 160, "{memory} MiB");
    harness::figure(&format!("{memory} MiB with 2,000 slow senders"));
    assert!(program.exposition().await.webhooks("accepted") >= 200 && p99.is_some());
    drop(slow);
    eventually("their connections are gone", async || {
        (program.exposition().await.value("authpost_http_connections") < 10.0).then_some(())
    })
    .await;
    program.stop().await;
}

/// More connections than descriptors: the worker has its share, and the ingress continues after
/// they are closed.
#[tokio::test(flavor = "multi_thread")]
async fn when_descriptors_run_out_the_worker_has_its_own() {
    let world = World::new().await;
    let launcher = ["prlimit", "--nofile=160:160"];
    let program = Program::start_under(&launcher, "serve", &world.env(), &world.log()).await;
    let slow = SlowSenders::start(program.public.expect("an ingress"), 300).await;
    for n in 0..5 {
        let made = world.workos.make_code(&format!("p{n}@example.com"));
        eventually("it is accepted", async || world.post(&program, &made).await.then_some(()))
            .await;
        eventually("and mailed meanwhile", async || (world.copies(&made) == 1).then_some(())).await;
    }
    drop(slow);
    program.is_ready().await;
    program.stop().await;
    let log = std::fs::read_to_string(world.log()).expect("a log");
    assert!(
        log.contains("AUTHPOST_MAX_CONNECTIONS") && !log.contains("panicked"),
        "the limit was not said: {log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_are_too_large() {
    let app = App::embedded().await;
    let many = "X-Bomb: 1\r\n".repeat(500);
    let large = format!("X-Bomb: {}\r\n", "x".repeat(64 * 1024));
    let line = format!("GET /{} HTTP/1.1\r\nHost: t\r\n\r\n", "x".repeat(64 * 1024)).into_bytes();
    for request in [
        genuine(&app, &(many + &length(IGNORED)), IGNORED),
        genuine(&app, &(large + &length(IGNORED)), IGNORED),
        line,
    ] {
        let answer = raw_http::send(app.public, &request).await;
        assert!(matches!(status(&answer), 414 | 431), "{answer}");
    }
    assert_eq!(app.exposition().webhooks("ignored"), 0);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_one_by_one() {
    let app = App::embedded().await;
    let mut requests = Vec::new();
    for _ in 0..19 {
        requests.extend(genuine(&app, &length(IGNORED), IGNORED));
    }
    requests.extend(genuine(&app, &format!("Connection: close\r\n{}", length(IGNORED)), IGNORED));
    let answer = raw_http::send(app.public, &requests).await;
    assert_eq!((answers(&answer), answer.matches("200 OK").count()), (20, 20), "{answer}");
    app.finish().await;
}

/// Whatever a proxy in front makes of such a request, we answer one, and nothing behind it on its
/// connection.
#[tokio::test(flavor = "multi_thread")]
async fn requests_that_hide_another_one() {
    let app = App::embedded().await;
    let chunked =
        format!("{:x}\r\n{}\r\n0\r\n\r\n", IGNORED.len(), String::from_utf8_lossy(IGNORED));
    let signed = |framing: &str, body: &str| {
        let signature =
            sign(&SecretString::from(SECRET.to_owned()), app.now(), IGNORED).expect("a secret");
        let head = format!(
            "POST /v1/workos_webhook/ HTTP/1.1\r\nHost: t\r\nWorkOS-Signature: {signature}\r\n{framing}\r\n"
        );
        format!("{head}{body}").into_bytes()
    };
    let hidden = genuine(&app, &length(IGNORED), IGNORED);
    let size = IGNORED.len();
    let plain = String::from_utf8_lossy(IGNORED).into_owned();
    for (framing, body) in [
        (format!("Content-Length: {size}\r\nTransfer-Encoding: chunked\r\n"), &chunked),
        ("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n".to_owned(), &chunked),
        ("Transfer-Encoding: chunked\r\n".to_owned(), &chunked),
        ("Transfer-Encoding: chunked, identity\r\n".to_owned(), &chunked),
        ("Transfer-Encoding: xchunked\r\n".to_owned(), &chunked),
        ("Transfer-Encoding : chunked\r\n".to_owned(), &chunked),
        (format!("Content-Length: {size}\r\nContent-Length: {}\r\n", size + 1), &plain),
        (format!("Content-Length: +{size}\r\n"), &plain),
        (format!("Content-Length: {size}, {size}\r\n"), &plain),
        ("Content-Length: -1\r\n".to_owned(), &plain),
        (format!("Content-Length: {size}\r\nX: a\r\n\tfolded\r\n"), &plain),
        (format!("Content-Length: {size}\r\nX: \0\r\n"), &plain),
    ] {
        let mut bytes = signed(&framing, body);
        bytes.extend_from_slice(&hidden);
        let answer = raw_http::send(app.public, &bytes).await;
        assert!(answers(&answer) <= 1, "{framing:?}: a second request was answered: {answer}");
        // RFC 9112, 6.3: chunked counts for more than a length beside it.
        let readable = framing.contains("Transfer-Encoding: chunked\r\n");
        assert_eq!(status(&answer), if readable { 200 } else { 400 }, "{framing:?}: {answer}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_text() {
    let app = App::embedded().await;
    let invalid = b"{\"id\":\"event_\xff\xfe\",\"event\":\"user.created\"}";
    let answer = raw_http::send(
        app.public,
        &genuine(&app, &format!("Connection: close\r\n{}", length(invalid)), invalid),
    )
    .await;
    assert_eq!(status(&answer), 400, "{answer}");
    let deep =
        [b"{\"id\":\"e\",\"event\":\"x\",\"data\":".as_slice(), &b"[".repeat(20_000)].concat();
    let answer = raw_http::send(
        app.public,
        &genuine(&app, &format!("Connection: close\r\n{}", length(&deep)), &deep),
    )
    .await;
    assert_eq!(status(&answer), 400, "{answer}");
    let noise: Vec<u8> = (0..=255).cycle().take(4096).collect();
    assert!(answers(&raw_http::send(app.public, &noise).await) <= 1);
    app.ask("alice@example.com").await;
    app.mails(1).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_captured_delivery_that_is_sent_again() {
    let app = App::embedded().await;
    let made = app.workos.make_code("alice@example.com");
    let body = made.event();
    let captured = genuine(
        &app,
        &format!("Connection: close\r\n{}", length(body.as_bytes())),
        body.as_bytes(),
    );
    for _ in 0..5 {
        assert_eq!(status(&raw_http::send(app.public, &captured).await), 200);
    }
    app.mails(1).await;
    eventually("the copies are seen for what they are", async || {
        app.advance(1);
        (app.exposition().outcomes("duplicate") == 4).then_some(())
    })
    .await;
    app.advance(181);
    assert_eq!(status(&raw_http::send(app.public, &captured).await), 401);
    assert_eq!((app.exposition().webhooks("stale"), app.inbox.count()), (1, 1));
    app.finish().await;
}

/// Large bodies that are held open: few are read at a time, and small ones are not affected.
#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_have_few_places() {
    let app = App::embedded().await;
    let mut open = Vec::new();
    let mut crowded = 0;
    for _ in 0..80 {
        let mut stream = TcpStream::connect(app.public).await.expect("connects");
        let head =
            b"POST /v1/workos_webhook/ HTTP/1.1\r\nHost: t\r\nContent-Length: 200000\r\n\r\n";
        stream.write_all(head).await.expect("written");
        open.push(stream);
    }
    eventually("some are sent away", async || {
        crowded = app.exposition().webhooks("crowded");
        (crowded == 80 - 64).then_some(())
    })
    .await;
    assert_eq!(first_answer(&mut open).await, 503);
    app.ask("alice@example.com").await;
    app.mails(1).await;
    drop(open);
    app.finish().await;
}

/// The status of whichever is answered.
async fn first_answer(open: &mut [TcpStream]) -> u16 {
    let waiting = open.iter_mut().map(|stream| {
        Box::pin(async move {
            let mut answer = vec![0; 256];
            let read = stream.read(&mut answer).await.expect("readable");
            String::from_utf8_lossy(&answer[..read]).into_owned()
        })
    });
    let (answer, ..) = in_time("an answer", futures_util::future::select_all(waiting)).await;
    status(&answer)
}
