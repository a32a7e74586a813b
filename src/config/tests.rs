//! From options to settings.

use clap::Parser;

use super::{args::ServeArgs, read_serve, settings};

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    serve: ServeArgs,
}

/// Parses flags only; the machine's environment may hold variables of its own, so every one that matters is given.
fn read(extra: &[&str]) -> Result<(settings::Ingress, settings::Worker, settings::Engine, settings::Process), String> {
    let base = [
        "serve",
        "--workos-webhook-secret=hush-webhook",
        "--workos-api-key=hush-key",
        "--smtp-url=smtps://user:hush-relay@relay.example",
        "--mail-from=Acme <login@acme.example>",
    ];
    let line = Line::parse_from(base.iter().chain(extra));
    read_serve(line.serve).map_err(|problems| problems.to_string())
}

#[test]
fn the_least_that_is_needed_is_enough() {
    let (_, worker, engine, _) = read(&[]).expect("complete");
    assert!(matches!(engine, settings::Engine::Embedded(_)));
    assert_eq!((worker.app_name.as_str(), worker.hello.as_str()), ("Acme", "acme.example"));
    assert_eq!(worker.dedupe_ttl.as_secs(), 3 * 24 * 3600);
}

#[test]
fn no_secret_is_in_what_the_settings_print() {
    let engine = ["--amqp-url=amqp://u:hush-broker@h", "--redis-url=redis://:hush-store@h"];
    let (ingress, worker, engine, process) = read(&engine).expect("complete");
    assert!(matches!(engine, settings::Engine::Distributed(_)));
    let shown = format!("{ingress:?}{worker:?}{engine:?}{process:?}");
    assert!(!shown.contains("hush"), "{shown}");
}

#[test]
fn one_engine_url_alone_is_told() {
    let error = read(&["--amqp-url=amqp://h"]).expect_err("refused");
    assert!(error.contains("REDIS_URL is not set although AMQP_URL is"), "{error}");
}

#[test]
fn a_key_goes_over_plain_http_only_here_or_by_name() {
    assert!(read(&["--workos-api-url=http://127.0.0.1:4100"]).is_ok());
    assert!(read(&["--workos-api-url=http://localhost:4100"]).is_ok());
    assert!(read(&["--workos-api-url=http://workos:4100"]).is_err());
    assert!(read(&["--workos-api-url=http://workos:4100", "--workos-plaintext=true"]).is_ok());
    assert!(read(&["--workos-api-url=ftp://workos"]).is_err());
}

#[test]
fn leases_cover_the_steps_under_them() {
    let (_, worker, ..) = read(&["--smtp-timeout=100 s", "--workos-timeout=20 s"]).expect("complete");
    let terms = worker.terms();
    assert!(terms.lease > worker.workos_timeout + worker.smtp_timeouts.connecting());
    assert!(terms.sending > worker.smtp_timeouts.transaction());
}

#[test]
fn what_files_hold_is_checked_with_everything_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("text");
    std::fs::write(folder.path().join("login_code.txt"), "no code in here").expect("written");
    let error = read(&[&format!("--template-dir={path}")]).expect_err("refused");
    assert!(error.contains("AUTHPOST_TEMPLATE_DIR cannot be used: the mail template login_code.txt does not show the code"), "{error}");
    let error = read(&["--template-dir=/nowhere"]).expect_err("refused");
    assert!(error.contains("/nowhere is not a folder"), "{error}");
    let error = read(&[&format!("--extra-ca={path}/login_code.txt")]).expect_err("refused");
    assert!(error.contains("AUTHPOST_EXTRA_CA cannot be used: no certificate"), "{error}");
}
