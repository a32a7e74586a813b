//! From options to settings.

use clap::Parser;
use worker::mail::smtp::RelayConfig;

use super::{
    args::ServeArgs,
    parse::flag,
    read_serve,
    settings::{
        EngineSettings, IngressSettings, ProcessSettings, Roles, Settings, SignInSettings,
        WorkerSettings,
    },
};

mod refusals;
mod relays;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    serve: ServeArgs,
}

const BASE: [&str; 5] = [
    "serve",
    "--workos-webhook-secret=hush-webhook",
    "--workos-api-key=hush-key",
    "--smtp-url=smtps://user:hush-relay@relay.example",
    "--mail-from=Acme <login@acme.example>",
];

/// Parses flags only; the machine's environment may hold variables of its own, so every one that
/// matters is given.
fn read(
    extra: &[&str],
) -> Result<(IngressSettings, WorkerSettings, EngineSettings, ProcessSettings), String> {
    let settings = read_settings(extra)?;
    let Settings { roles: Roles::Both(ingress, worker), engine, process } = settings else {
        panic!("not both roles")
    };
    Ok((ingress, worker, engine, process))
}

fn read_settings(extra: &[&str]) -> Result<Settings, String> {
    let line = Line::parse_from(BASE.iter().chain(extra));
    read_serve(line.serve).map_err(|problems| problems.to_string())
}

#[test]
fn the_least_that_is_needed_is_enough() {
    let (_, worker, engine, _) = read(&[]).expect("complete");
    assert!(matches!(engine, EngineSettings::Embedded(_)));
    assert_eq!(worker.relays[0].hello(), "acme.example");
    assert!(
        format!("{:?}", worker.templates.get()).contains("app_name: \"Acme\""),
        "{:?}",
        worker.templates.get()
    );
    assert_eq!(worker.dedupe_ttl.as_secs(), 3 * 24 * 3600);
}

/// An error names the flag of a variable by the same rule.
#[test]
fn a_flag_is_named_as_its_variable() {
    let serve = <Line as clap::CommandFactory>::command();
    // Named by others.
    let own = |variable: &str| {
        !variable.starts_with("OTEL_EXPORTER_")
            && variable != "RUST_LOG"
            && !variable.ends_with("_proxy")
    };
    for option in serve.get_arguments() {
        let (Some(variable), Some(name)) = (option.get_env(), option.get_long()) else { continue };
        let variable = variable.to_str().expect("ASCII");
        assert!(!own(variable) || flag(variable) == format!("--{name}"), "{variable}: {name}");
    }
    let error = read_serve(Line::parse_from(["serve"]).serve).expect_err("nothing is set");
    let said = error.to_string();
    let lines = [
        "WORKOS_API_KEY is not set (option --workos-api-key-file)",
        "WORKOS_WEBHOOK_SECRET is not set (option --workos-webhook-secret-file)",
        "MAIL_FROM is not set (option --mail-from)",
        "SMTP_URL is not set (option --smtp-url-file)",
    ];
    assert!(lines.iter().all(|line| said.contains(line)), "{said}");
}

#[test]
fn no_secret_is_in_what_the_settings_print() {
    let engine = ["--amqp-url=amqp://u:hush-broker@h", "--redis-url=redis://:hush-store@h"];
    let (ingress, worker, engine, process) = read(&engine).expect("complete");
    assert!(matches!(engine, EngineSettings::Distributed(_)));
    let shown = format!("{ingress:?}{worker:?}{engine:?}{process:?}");
    assert!(!shown.contains("hush"), "{shown}");
}

#[test]
fn traces_are_off_without_an_endpoint_whatever_else_is_set() {
    let others = ["--otlp-protocol=grpc", "--otlp-headers=hush", "--otel-traces-sampler=sometimes"];
    for endpoint in [&[][..], &["--otlp-endpoint="]] {
        let (.., process) = read(&[&others, endpoint].concat()).expect("not looked at");
        assert!(process.traces.is_none());
    }
}

#[test]
fn a_collector_is_named_as_opentelemetry_does() {
    let options = [
        "--otlp-endpoint=https://collector.example/base/",
        "--otlp-headers=authorization=Bearer%20hush, x-scope = a",
        "--otel-resource-attributes=service.name=mailer,deployment.environment.name=the%20test",
        "--otel-traces-sampler=parentbased_traceidratio",
        "--otel-traces-sampler-arg=0.25",
    ];
    let (.., process) = read(&options).expect("complete");
    assert!(!format!("{process:?}").contains("hush"));
    let traces = process.traces.expect("on");
    assert_eq!(traces.endpoint.as_str(), "https://collector.example/base/v1/traces");
    let headers: Vec<_> = traces
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes(), value.is_sensitive()))
        .collect();
    assert_eq!(headers, [("authorization", &b"Bearer hush"[..], true), ("x-scope", b"a", true)]);
    let said = |name: &str| {
        traces
            .resource
            .iter()
            .filter(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (said("service.name"), said("deployment.environment.name")),
        (vec!["mailer"], vec!["the test"])
    );
    assert_eq!(format!("{:?}", traces.sampler), "ParentBased(TraceIdRatioBased(0.25))");
    let named = [&options[..], &["--otel-service-name=codes"]].concat();
    let resource = read(&named).expect("complete").3.traces.expect("on").resource;
    assert!(resource.contains(&("service.name".to_owned(), "codes".to_owned())), "{resource:?}");
    for wrong in [
        &["--otlp-endpoint=http://u:p@h"][..],
        &["--otlp-endpoint=http://h", "--otlp-headers=a b=c"],
        &["--otlp-endpoint=http://h", "--otlp-protocol=grpc"],
        &[
            "--otlp-endpoint=http://h",
            "--otel-traces-sampler=traceidratio",
            "--otel-traces-sampler-arg=2",
        ],
    ] {
        assert!(read(wrong).is_err(), "{wrong:?}");
    }
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
    let (_, worker, ..) =
        read(&["--smtp-timeout=100 s", "--workos-timeout=20 s"]).expect("complete");
    let terms = worker.terms();
    assert!(terms.lease > worker.api.timeout + worker.relays[0].timeouts().connect);
    assert!(terms.sending > worker.relays[0].timeouts().transaction());
}

#[test]
fn what_files_hold_is_checked_with_everything_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("text");
    std::fs::write(folder.path().join("login_code.txt"), "no code in here").expect("written");
    let error = read(&[&format!("--template-dir={path}")]).expect_err("refused");
    let rule = "cannot be used: the mail template login_code.txt does not show the code";
    assert!(error.contains(&format!("AUTHPOST_TEMPLATE_DIR {rule}")), "{error}");
    let error = read(&["--template-dir=/nowhere"]).expect_err("refused");
    assert!(error.contains("/nowhere is not a directory"), "{error}");
    let error = read(&[&format!("--extra-ca={path}/login_code.txt")]).expect_err("refused");
    assert!(error.contains("AUTHPOST_EXTRA_CA cannot be used: no certificate"), "{error}");
}

#[test]
fn relays_are_named_in_order_of_preference() {
    let relays = |urls: &str| {
        let line = BASE.map(|flag| match flag.split_once('=') {
            Some(("--smtp-url", _)) => format!("--smtp-url={urls}"),
            _ => flag.to_owned(),
        });
        let settings = read_serve(Line::parse_from(line).serve).map_err(|why| why.to_string())?;
        Ok::<_, String>(settings.roles.worker().cloned().expect("a worker"))
    };
    let two = relays("smtps://u:p@one.example\n\t smtp://two.example:2525\n").expect("two");
    let names: Vec<&str> = two.relays.iter().map(RelayConfig::name).collect();
    assert_eq!(names, ["one.example:465", "two.example:2525"]);
    let one = relays("smtp://one.example").expect("one").terms();
    assert_eq!(two.terms().sending, one.sending + two.relays[1].timeouts().transaction());
    let error = relays("smtps://one.example http://two.example").expect_err("refused");
    assert!(error.contains("SMTP_URL begins with neither"), "{error}");
    let error = relays(&"smtp://one.example ".repeat(9)).expect_err("refused");
    assert!(error.contains("SMTP_URL names more than 8 relays"), "{error}");
}

#[test]
fn a_port_alone_is_listened_to_on_every_address() {
    let listen = |extra: &[&str]| read(extra).map(|(ingress, ..)| ingress.listen.to_string());
    assert_eq!(listen(&[]).as_deref(), Ok("127.0.0.1:8080"));
    assert_eq!(listen(&["--port=5000"]).as_deref(), Ok("0.0.0.0:5000"));
    assert_eq!(listen(&["--port=5000", "--listen=[::1]:80"]).as_deref(), Ok("[::1]:80"));
    for port in ["0", "65536", "http", "-1"] {
        let error = listen(&[&format!("--port={port}")]).expect_err(port);
        assert!(error.contains("PORT must be a whole number"), "{error}");
    }
}

/// What an editor, a shell or a web page puts around a secret.
#[test]
fn a_secret_that_can_never_work_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secret");
    for (text, rule) in [
        ("\u{feff}sk_hush", "begins with a byte order mark"),
        ("\"sk_hush\"\n", "has quotation marks"),
        ("\u{201c}sk_hush\u{201d}", "has quotation marks"),
        ("'sk_hush", "has quotation marks"),
        ("sk_hush sk_other", "has white space inside"),
        ("sk_hush\u{a0}", "has white space inside"),
        ("sk_hush\u{200b}", "is not ASCII"),
        ("sk_h\u{fc}sh", "is not ASCII"),
        ("sk_hush\nsk_other\n", "has white space inside"),
        (" \r\n", "is empty"),
    ] {
        std::fs::write(&file, text).expect("written");
        for variable in ["WORKOS_API_KEY", "WORKOS_WEBHOOK_SECRET"] {
            let flag = format!("--{}", variable.to_lowercase().replace('_', "-"));
            let others = BASE.iter().filter(|other| !other.starts_with(&flag)).copied();
            let of_file = format!("{flag}-file={}", file.display());
            let line = Line::parse_from(others.chain([of_file.as_str()]));
            let error = read_serve(line.serve).expect_err(text).to_string();
            let said = error.lines().find(|line| line.contains(variable)).expect("named");
            assert!(said.contains(rule) && !said.contains("hush"), "{text:?}: {error}");
        }
    }
    let rotated = BASE.map(|flag| flag.replace("hush-webhook", " whsec_1 , whsec_2\n"));
    assert!(read_serve(Line::parse_from(rotated).serve).is_ok());
}

const SIGN_IN: [&str; 2] =
    ["--workos-client-id=client_1", "--signin-origins=https://app.example.com"];

fn with_sign_in(extra: &[&str]) -> Result<SignInSettings, String> {
    let all: Vec<&str> = SIGN_IN.iter().chain(extra).copied().collect();
    read(&all).map(|(ingress, ..)| ingress.sign_in.expect("switched on"))
}

#[test]
fn signing_in_is_off_unless_it_is_switched_on() {
    let (ingress, ..) = read(&["--signin-origins=https://app.example.com"]).expect("complete");
    assert!(ingress.sign_in.is_none());
    let error = read(&["--login-page"]).expect_err("refused");
    assert!(error.contains("AUTHPOST_LOGIN_PAGE needs signing in"), "{error}");
    let error = read(&SIGN_IN[..1]).expect_err("refused");
    assert!(error.contains("AUTHPOST_SIGNIN_ORIGINS is not set"), "{error}");
    assert!(read(&[SIGN_IN[0], "--login-page"]).expect("complete").0.sign_in.expect("on").page);
}

#[test]
fn what_signing_in_is_told_is_checked() {
    for (wrong, variable) in [
        ("--workos-client-id=a b", "WORKOS_CLIENT_ID"),
        ("--signin-origins=https://app.example.com/en", "AUTHPOST_SIGNIN_ORIGINS"),
        ("--cookie-domain=com", "AUTHPOST_COOKIE_DOMAIN"),
        ("--cookie-domain=example.org", "AUTHPOST_COOKIE_DOMAIN"),
        ("--workos-signin-base-url=http://auth.example.com", "WORKOS_SIGNIN_BASE_URL"),
        ("--state-secret=hush", "AUTHPOST_STATE_SECRET"),
        ("--signin-rate=0", "AUTHPOST_SIGNIN_RATE"),
        ("--trusted-proxies=10.0.0.0/33", "AUTHPOST_TRUSTED_PROXIES"),
        ("--disable-workos-login=perhaps", "AUTHPOST_DISABLE_WORKOS_LOGIN"),
    ] {
        let (name, _) = wrong.split_once('=').expect("a value");
        let others = SIGN_IN.iter().filter(|good| !good.starts_with(name)).copied();
        let error = read(&others.chain([wrong]).collect::<Vec<_>>()).expect_err(wrong);
        assert!(error.contains(variable) && !error.contains("hush"), "{error}");
    }
    let sign_in = with_sign_in(&["--trusted-proxies=10.0.0.0/8, ::1", "--disable-workos-login"])
        .expect("complete");
    assert!(!sign_in.config.enabled);
    assert!(!format!("{sign_in:?}").contains("hush"));
}

#[test]
fn browsers_go_where_they_are_sent_and_its_issuers_are_believed() {
    let sign_in = with_sign_in(&[]).expect("complete");
    assert_eq!(sign_in.config.browser_base.as_str(), "https://api.workos.com/");
    let sign_in =
        with_sign_in(&["--workos-signin-base-url=https://auth.example.com"]).expect("complete");
    assert_eq!(sign_in.config.browser_base.as_str(), "https://auth.example.com/");
    for issuer in [
        "https://api.workos.com",
        "https://api.workos.com/user_management/client_1",
        "https://auth.example.com",
        "https://auth.example.com/user_management/client_1",
    ] {
        assert!(
            sign_in.issuers.iter().any(|known| known == issuer),
            "{issuer} is not among {:?}",
            sign_in.issuers
        );
    }
    let sign_in = with_sign_in(&["--signin-issuers=https://one.example, https://two.example"])
        .expect("complete");
    assert_eq!(sign_in.issuers, ["https://one.example", "https://two.example"]);
}
