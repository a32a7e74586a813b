//! The command line: help, exit codes, and what is said about a bad configuration.

use bytes::Bytes;
use domain::{
    clock::Clock as _,
    webhook::{SignedDelivery, WebhookKeys},
};
use nix::sys::signal::Signal;
use runtime::clock::SystemClock;
use secrecy::SecretString;

use crate::{
    crash::World,
    harness::program::{Program, WithPage, run},
};

mod manual;
mod reference;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

#[test]
fn help_and_version_are_everywhere() {
    for command in [
        "serve",
        "ingress",
        "worker",
        "demo",
        "sign",
        "healthcheck",
        "dead",
        "mail",
        "doctor",
        "reconcile",
        "why",
        "init",
        "completions",
        "man",
    ] {
        let help = run(&[command, "--help"], &[]);
        assert!(help.status.success(), "{command}");
        insta::assert_snapshot!(format!("help_{command}"), text(&help.stdout));
        assert!(
            text(&run(&[command, "--version"], &[]).stdout).contains(env!("CARGO_PKG_VERSION")),
            "{command}"
        );
    }
    insta::assert_snapshot!("help", text(&run(&["--help"], &[]).stdout));
    let version = text(&run(&["--version"], &[]).stdout);
    let begins = format!("authpost {} (", env!("CARGO_PKG_VERSION"));
    // The commit is known where there is a Git checkout, and the profile always.
    assert!(version.starts_with(&begins) && version.ends_with(")\n"), "{version}");
    assert!(version.contains("debug") || version.contains("release"), "{version}");
}

#[test]
fn everything_that_is_wrong_is_said_at_once_without_a_secret() {
    let env = [
        ("WORKOS_API_KEY", "sk_hush"),
        ("WORKOS_WEBHOOK_SECRET", "hush,,hush"),
        ("SMTP_URL", "smtp://user:hush@relay.example?tls=none"),
        ("REDIS_URL", "redis://:hush@h"),
        ("WORKOS_API_URL", "http://api.workos.com"),
        ("MAIL_FROM", "nobody"),
        ("AUTHPOST_CONCURRENCY", "0"),
        ("AUTHPOST_DEDUPE_TTL", "soon"),
        ("AUTHPOST_LISTEN", "everywhere"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "hush"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_RESOURCE_ATTRIBUTES", "prod"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
    ];
    let output = run(&["serve"], &env);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    for (variable, _) in
        env.iter().filter(|(variable, _)| !matches!(*variable, "WORKOS_API_KEY" | "REDIS_URL"))
    {
        assert!(said.contains(variable), "{variable} is not named:\n{said}");
    }
    assert!(said.contains("AMQP_URL is not set although REDIS_URL is"), "{said}");
    assert!(!said.contains("hush"), "{said}");
    insta::assert_snapshot!("a_bad_configuration", said);
}

#[test]
fn a_lone_role_needs_engines_that_others_can_reach() {
    let output = run(
        &["worker"],
        &[("WORKOS_API_KEY", "k"), ("SMTP_URL", "smtp://h"), ("MAIL_FROM", "a@b.example")],
    );
    let said = text(&output.stderr);
    assert!(
        output.status.code() == Some(2)
            && said.contains("AMQP_URL is not set")
            && said.contains("REDIS_URL is not set"),
        "{said}"
    );
}

#[test]
fn a_secret_may_come_from_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secret");
    std::fs::write(&file, "whsec_from_file\n").expect("written");
    let path = file.to_str().expect("text");
    let signed = run(&["sign"], &[("WORKOS_WEBHOOK_SECRET_FILE", path)]);
    verify(&text(&signed.stdout), "whsec_from_file");
    let missing = run(&["serve"], &[("WORKOS_API_KEY_FILE", "/nowhere/key")]);
    assert!(
        text(&missing.stderr)
            .contains("WORKOS_API_KEY names the file /nowhere/key, which cannot be read"),
        "{}",
        text(&missing.stderr)
    );
}

/// Checks the output of `sign`: a header line and a body line.
fn verify(output: &str, secret: &str) {
    let (header, body) = output.split_once('\n').expect("two lines");
    let header = header.strip_prefix("WorkOS-Signature: ").expect("a header");
    let keys = WebhookKeys::new(&[SecretString::from(secret.to_owned())]).expect("not empty");
    let body = Bytes::from(body.trim_end_matches('\n').to_owned());
    let delivery =
        SignedDelivery { signature: Some(header.as_bytes()), body, received_at: SystemClock.now() };
    delivery.verify(&keys).expect("genuine").read().expect("an event");
}

#[test]
fn sign_makes_what_the_ingress_accepts() {
    verify(
        &text(&run(&["sign"], &[("WORKOS_WEBHOOK_SECRET", "whsec_x,whsec_old")]).stdout),
        "whsec_x",
    );
    let curl = text(&run(&["sign", "--curl"], &[("WORKOS_WEBHOOK_SECRET", "whsec_x")]).stdout);
    assert!(
        curl.starts_with("curl -i -X POST 'http://127.0.0.1:8080/v1/workos_webhook/'")
            && curl.contains("magic_auth.created"),
        "{curl}"
    );
    let missing = run(&["sign", "/nowhere/body"], &[("WORKOS_WEBHOOK_SECRET", "s")]);
    assert_eq!(missing.status.code(), Some(2));
    assert_eq!(run(&["sign"], &[]).status.code(), Some(2));
    assert_eq!(run(&["sign"], &[("WORKOS_WEBHOOK_SECRET", ",")]).status.code(), Some(2));
}

#[test]
fn demo_once_mails_the_right_code_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("text");
    let output = run(&["demo", "--once", "--email", "zoe@example.com"], &[("TMPDIR", path)]);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}{}", text(&output.stderr));
    assert!(
        said.contains("the relay accepts the mail") && said.contains("The mail contains the code"),
        "{said}"
    );
    assert_eq!(
        std::fs::read_dir(folder.path()).expect("readable").count(),
        0,
        "something was left in {path}"
    );
    assert_eq!(run(&["demo", "--once", "--email", "nobody"], &[]).status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn healthcheck_tells_by_its_exit_code() {
    let world = World::new().await;
    let program = Program::start("serve", &world.env(), &world.log()).await;
    let admin = program.admin.to_string();
    let check = |args: &[&str]| run(args, &[("AUTHPOST_ADMIN_LISTEN", &admin)]);
    assert!(check(&["healthcheck"]).status.success());
    assert!(check(&["healthcheck", "--alive"]).status.success());
    program.signal(Signal::SIGTERM);
    assert!(program.ended().await.success());
    assert_eq!(check(&["healthcheck"]).status.code(), Some(1));
    assert_eq!(run(&["healthcheck", "--admin-listen", "nowhere"], &[]).status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_or_folder_in_use_is_said_and_exits_1() {
    let world = World::new().await;
    let program = Program::start("serve", &world.env(), &world.log()).await;
    let taken = program.public.expect("an ingress").to_string();
    let env = world.env();
    let mut env: Vec<(&str, &str)> =
        env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    env.extend([("AUTHPOST_LISTEN", "127.0.0.1:0"), ("AUTHPOST_ADMIN_LISTEN", "127.0.0.1:0")]);
    let output = run(&["serve"], &env);
    assert!(
        output.status.code() == Some(1)
            && text(&output.stderr).contains("in use by another authpost process"),
        "{}",
        text(&output.stderr)
    );
    let elsewhere = world.folder.path().join("elsewhere");
    env.extend([
        ("AUTHPOST_DATA_DIR", elsewhere.to_str().expect("text")),
        ("AUTHPOST_LISTEN", taken.as_str()),
    ]);
    let output = run(&["serve"], &env);
    assert!(
        output.status.code() == Some(1) && text(&output.stderr).contains("AUTHPOST_LISTEN"),
        "{}",
        text(&output.stderr)
    );
    program.signal(Signal::SIGTERM);
    assert!(program.ended().await.success());
}

#[test]
fn the_demo_takes_one_signal_for_one() {
    for _ in 0..10 {
        let folder = tempfile::tempdir().expect("a folder");
        WithPage::start(&["demo"], folder.path()).stop();
        assert_eq!(
            std::fs::read_dir(folder.path()).expect("readable").count(),
            0,
            "the demo left something behind"
        );
    }
}

/// Compose files and charts pass on variables that nobody has given.
#[test]
fn a_variable_that_is_set_to_nothing_is_not_set() {
    let nothing =
        ["AUTHPOST_TEMPLATE_DIR", "WORKOS_API_KEY_FILE", "AMQP_URL_FILE", "AUTHPOST_EXTRA_CA"];
    for variable in nothing.into_iter().chain(["AUTHPOST_LISTEN", "WORKOS_API_KEY"]) {
        let output = run(&["serve"], &[(variable, ""), ("AUTHPOST_QUEUE_MAX", "none")]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{variable}: {said}");
        assert!(said.contains("AUTHPOST_QUEUE_MAX must be a whole number"), "{variable}: {said}");
        assert!(said.contains("WORKOS_API_KEY is not set"), "{variable}: {said}");
        let named = said.contains(&format!("{variable} ")) && variable != "WORKOS_API_KEY";
        assert!(!named, "{variable}: {said}");
    }
}
