//! Codes, keys, secrets and addresses are in no log line, metric or file, whatever happens and however much is logged.

use nix::sys::signal::Signal;
use sandbox::{
    inbox::{Misdeed, Step},
    workos::Instead,
};

use crate::{
    crash::World,
    harness::{
        app::{API_KEY, SECRET},
        eventually, in_time,
        program::Program,
        raw_http,
    },
};

#[tokio::test(flavor = "multi_thread")]
async fn at_trace_with_every_outcome() {
    let world = World::new().await;
    let mut env = world.env();
    env.push(("RUST_LOG", "trace,hyper=trace,lapin=trace,redis=trace,rustls=trace".to_owned()));
    let program = Program::start("serve", &env, &world.log()).await;

    let sent = world.ask(&program, "alice.secretly@example.com").await;
    in_time("sent", world.inbox.reached(1)).await;
    world.inbox.order(Step::Rcpt, Misdeed::Say("550 5.1.1 <bob.secretly@example.com> unknown"));
    let refused = world.ask(&program, "bob.secretly@example.com").await;
    world.workos.answer_instead([Instead::Answer(500, Vec::new(), format!("oops {}", sent.code))]);
    let retried = world.ask(&program, "carol.secretly@example.com").await;
    let ended = async || {
        let exposition = program.exposition().await;
        (exposition.outcomes("dead") == 1 && exposition.outcomes("sent") == 2).then_some(())
    };
    eventually("all have ended", ended).await;
    world.ask(&program, "not an address\u{7f}").await;
    eventually("it is dead", async || (program.exposition().await.outcomes("dead") == 2).then_some(())).await;
    let forged = b"POST /v1/workos_webhook/ HTTP/1.1\r\nHost: t\r\nConnection: close\r\nWorkOS-Signature: t=1, v1=00\r\nContent-Length: 23\r\n\r\n{\"email\":\"eve@evil.tld\"}";
    raw_http::send(program.public.expect("a front"), forged).await;

    let metrics = raw_http::get(program.admin, "/metrics").await.1;
    program.signal(Signal::SIGTERM);
    assert!(program.ended().await.success());
    let log = std::fs::read_to_string(world.log()).expect("a log");
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "the log was not turned up");
    assert!(log.contains(&sent.event_id), "the log does not say what happened to which event");
    check_form(&log, &sent.event_id);
    let mut kept = String::new();
    for file in std::fs::read_dir(world.folder.path().join("data")).expect("a folder") {
        kept.push_str(&String::from_utf8_lossy(&std::fs::read(file.expect("a file").path()).expect("readable")));
    }
    assert!(kept.contains("not_found") || kept.contains("recipient_refused"), "the dead letters are not in the file");
    let secrets = [API_KEY, SECRET, "secretly@", "alice.secretly", "eve@evil", &sent.code, &refused.code, &retried.code];
    for (place, text) in [("log", &log), ("metrics", &metrics), ("database", &kept)] {
        for secret in secrets {
            assert!(!holds(text, secret), "the {place} holds {secret:?}");
        }
    }
}

/// Every line is JSON, and the one that ends an event says all that is asked about it.
fn check_form(log: &str, event_id: &str) {
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect();
    let ends: Vec<_> = lines.iter().filter(|line| line["event_id"] == event_id && line["outcome"] == "sent").collect();
    let [end] = ends.as_slice() else { panic!("one line an outcome, not {}", ends.len()) };
    assert!(end["attempt"] == 1 && end["age_ms"].is_number() && end["level"] == "INFO", "{end}");
}

/// Whether a text holds a secret as a word of its own: six digits also occur inside longer numbers.
fn holds(text: &str, secret: &str) -> bool {
    let digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
    let inside = |at: usize| {
        let bytes = text.as_bytes();
        secret.bytes().all(|byte| byte.is_ascii_digit())
            && (digit(at.checked_sub(1).and_then(|before| bytes.get(before))) || digit(bytes.get(at + secret.len())))
    };
    text.match_indices(secret).any(|(at, _)| !inside(at))
}
