//! The file of relays.

use std::path::Path;

use clap::Parser as _;

use super::{super::read_serve, Line};
use worker::mail::smtp::RelayConfig;

use crate::config::settings::WorkerSettings;

fn read(file: &Path, more: &[&str]) -> Result<WorkerSettings, String> {
    let file = format!("--relays-file={}", file.display());
    let mut line = vec![
        "serve",
        "--workos-webhook-secret=hush-webhook",
        "--workos-api-key=hush-key",
        "--mail-from=Acme <login@acme.example>",
        &file,
    ];
    line.extend(more);
    let settings = read_serve(Line::parse_from(line).serve).map_err(|why| why.to_string())?;
    Ok(settings.roles.worker().cloned().expect("a worker"))
}

fn read_text(text: &str) -> Result<WorkerSettings, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("relays.toml");
    std::fs::write(&file, text).expect("written");
    read(&file, &["--smtp-connections=7"])
}

#[test]
fn a_file_says_everything_about_its_relays() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("url");
    std::fs::write(&secret, "smtps://u:hush@two.example\n").expect("written");
    let text = format!(
        r#"
        reply_to = "Help..desk@acme.example"
        headers = {{ X-Team = "login" }}

        [[relay]]
        name = "ses"
        url = "smtps://u:hush@one.example"
        connections = 3
        mails_per_connection = 50
        rate = "840/min"
        share = "5%"
        envelope_from = "bounces@acme.example"
        headers = {{ X-SES-CONFIGURATION-SET = "codes" }}

        [[relay]]
        url_file = "{}"
        domains = ["Corp.Example", "b\u00FCcher.example"]
        "#,
        secret.display()
    );
    let worker = read_text(&text).expect("valid");
    let [ses, other] = &worker.relays[..] else { panic!("two") };
    assert_eq!((ses.name(), other.name()), ("ses", "two.example:465"));
    assert_eq!(ses.takes().share, Some(0.05));
    assert_eq!(other.takes().domains, ["corp.example", "xn--bcher-kva.example"]);
    assert_eq!((ses.limits().rate, ses.limits().connections), (Some(14.0), Some(3)));
    assert_eq!(other.limits().connections, Some(7));
    let both = "X-Team: login\r\nReply-To: \"Help..desk\"@acme.example\r\n";
    assert_eq!(other.headers(), both);
    assert_eq!(ses.headers(), format!("{both}X-SES-CONFIGURATION-SET: codes\r\n"));
}

#[test]
fn mistakes_are_named_and_secrets_are_not() {
    const URL: &str = "url = \"smtps://u:hush-secret@one.example\"";
    let relay = |line: &str| format!("[[relay]]\nname = \"one\"\n{URL}\n{line}\n");
    for (text, says) in [
        (relay("conections = 3"), "line 4: unknown field `conections`"),
        (relay("connections = 0"), "the relay \"one\": `connections` must be from 1 to 1000"),
        (relay("connections = \"3\""), "line 4: invalid type"),
        (relay("rate = \"14\""), "`rate` must be"),
        (relay("rate = \"0/s\""), "`rate` must be"),
        (relay("share = \"120%\""), "`share` must be"),
        (relay("domains = [\"a b\"]"), "`domains`"),
        (relay("domains = [\"corp.example\"]"), "mails to others would go nowhere"),
        (relay("envelope_from = \"nobody\""), "`envelope_from` is not of the form"),
        (relay("headers = { Subject = \"x\" }"), "Subject cannot be set"),
        (relay("headers = { X-A = \"a\\r\\nBcc: x\" }"), "one line of printable ASCII"),
        (relay("headers = { \"X A\" = \"a\" }"), "not the name of a header field"),
        (relay("tls = { cert = \"/nowhere\" }"), "both a certificate and its private key"),
        (relay("tls = { ca = \"/nowhere\" }"), "/nowhere, which cannot be read"),
        (relay("oauth = { token_url = \"http://x\", client_id = \"i\" }"), "https://"),
        (
            relay("oauth = { token_url = \"https://x\", client_id = \"i\" }"),
            "without client_secret or",
        ),
        (format!("{}{}", relay(""), relay("")), "two relays with the name \"one\""),
        ("[[relay]]\nname = \"one\"\n".to_owned(), "`url` or `url_file`"),
        (format!("[[relay]]\nname = \"a b\"\n{URL}\n"), "`name` must be"),
        ("[[relay]]\nurl = \"http://hush-secret\"\n".to_owned(), "`url` begins with neither"),
        (format!("[[relay]]\n{URL} hush-secret\n"), "line 2"),
        (String::new(), "which has no [[relay]]"),
        (relay("") + &format!("[[relay]]\n{URL}\n").repeat(9), "more than 8 relays"),
    ] {
        let error = read_text(&text).expect_err(&text);
        assert!(error.contains("AUTHPOST_RELAYS_FILE") && error.contains(says), "{error}");
        assert!(!error.contains("hush-secret"), "{error}");
    }
    let both = read(Path::new("/nowhere"), &["--smtp-url=smtp://one.example"]);
    assert!(both.expect_err("both").contains("AUTHPOST_RELAYS_FILE and SMTP_URL are both set"));
}

#[test]
fn two_accounts_at_one_relay_have_names_of_their_own() {
    let urls = "--smtp-url=smtps://a:x@one.example smtps://b:x@one.example";
    let line = ["serve", "--workos-webhook-secret=s", "--workos-api-key=k", urls];
    let line = line.into_iter().chain(["--mail-from=login@acme.example"]);
    let settings = read_serve(Line::parse_from(line).serve).expect("valid");
    let names = settings.roles.worker().expect("a worker").relays.iter().map(RelayConfig::name);
    assert_eq!(names.collect::<Vec<_>>(), ["one.example:465", "one.example:465#2"]);
}
