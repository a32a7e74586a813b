//! `authpost mail lint` and `mail send`, as an operator runs them.

use std::fs;

use sandbox::{inbox::InboxConfig, readable};

use crate::{
    harness::program::{beside, run},
    relay::inbox,
};

#[test]
fn lint_tells_what_is_wrong_by_its_exit_code() {
    let clean = run(&["mail", "lint"], &[]);
    assert_eq!(
        (clean.status.code(), String::from_utf8_lossy(&clean.stdout).as_ref()),
        (Some(0), "16 languages, 1 brands: 0 errors, 0 warnings\n")
    );
    let folder = tempfile::tempdir().expect("a folder");
    let directory = folder.path().to_str().expect("text");
    let html = "<p style=\"color:#aaa\">{{ code }}</p><img src=\"https://a.example/x.png\">{{ t('help') }}";
    fs::write(folder.path().join("login_code.html"), html).expect("written");
    let bad = run(&["mail", "lint", "--json", "--template-dir", directory], &[]);
    assert_eq!(bad.status.code(), Some(1));
    let lines: serde_json::Value = serde_json::from_slice(&bad.stdout).expect("JSON");
    let german = |what: &str| {
        lines.as_array().expect("lines").iter().any(|line| {
            line["language"] == "de"
                && line["severity"] == "error"
                && line["what"].to_string().contains(what)
        })
    };
    assert!(german("https://a.example/x.png") && german("#aaaaaa on #ffffff"), "{lines}");
    fs::write(folder.path().join("brand.toml"), "[brand]\nlogo = \"none.png\"").expect("written");
    let broken = run(&["mail", "lint", "--template-dir", directory], &[]);
    assert_eq!(broken.status.code(), Some(2));
    let said = String::from_utf8_lossy(&broken.stderr).into_owned();
    assert!(said.contains("brand.toml, line 2: the logo"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn send_takes_the_way_of_the_real_mails() {
    let inbox = inbox(InboxConfig::default()).await;
    let env = [
        ("MAIL_FROM", "Acme <login@acme.example>".to_owned()),
        ("SMTP_URL", format!("smtp://{}?tls=none", inbox.address())),
    ];
    let args = ["mail", "send", "--to", "alice@example.com", "--locale", "de"];
    let said = beside(&args, &env).await;
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.starts_with("the relay accepted the mail: "), "{}", said.out);
    let mail = inbox.mails().pop().expect("received");
    assert_eq!(mail.to, "alice@example.com");
    let read = readable::read(&mail.raw).expect("a mail");
    assert_eq!((read.subject.as_str(), read.code()), ("Ihr Anmeldecode für Acme", Some("SAMPLE1")));
    for (args, code, says) in [
        (&["mail", "send", "--to", "alice"][..], 2, "--to is"),
        (&["mail", "send", "--to", "alice@example.com", "--locale", "xx"], 2, "AUTHPOST_LOCALE"),
        (&["mail", "send", "--to", "a@example.com", "--client", "a b"], 2, "--client: an id is"),
    ] {
        let said = beside(args, &env).await;
        assert_eq!(said.code, code, "{}", said.err);
        assert!(said.err.contains(says), "{}", said.err);
    }
    let closed = [env[0].clone(), ("SMTP_URL", "smtp://127.0.0.1:1?tls=none".to_owned())];
    let said = beside(&args, &closed).await;
    assert_eq!(said.code, 1, "{}", said.err);
}
