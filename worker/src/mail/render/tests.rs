//! Mails as a reader gets them.

use domain::{address::EmailAddress, login_code::Code};

use super::*;

mod every_language;

fn sender() -> Sender {
    Sender {
        name: Some("Acme".to_owned()),
        address: EmailAddress::parse("login@acme.example").expect("valid"),
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn plain(app_name: &str) -> Templates {
    Templates::load(TemplateOptions::plain(app_name, sender())).expect("usable")
}

fn own(folder: &Path) -> Result<Templates, TemplateError> {
    let plain = TemplateOptions::plain("Acme", sender());
    Templates::load(TemplateOptions { directory: Some(folder), ..plain })
}

fn mail(templates: &Templates) -> Mail {
    let code = LoginCode {
        code: Code::parse("048159".to_owned()).expect("valid"),
        recipient: EmailAddress::parse("alice@example.com").expect("valid"),
        expires_at: at("2026-01-15T12:10:00Z"),
    };
    let id = EventId::parse("event_01HYM0Z0000000000000000001").expect("valid");
    templates
        .login_code(
            Asked::plain(&id, at("2026-01-15T12:00:00Z")),
            &code,
            at("2026-01-15T12:00:02Z"),
        )
        .expect("renders")
}

#[test]
fn the_built_in_mail() {
    let templates = plain("Acme");
    let mail = mail(&templates);
    insta::assert_snapshot!(
        String::from_utf8(mail.expose().to_vec()).expect("ASCII").replace("\r\n", "\n")
    );
    assert!(mail.expose().is_ascii(), "8-bit bytes need an extension that a relay may lack");
}

#[test]
fn an_app_name_cannot_break_out_of_the_markup() {
    let templates = plain("<script>alert(1)</script>\r\nBcc: eve@example.com");
    let text = String::from_utf8(mail(&templates).expose().to_vec()).expect("ASCII");
    let (_, html) = text.split_once("Content-Type: text/html").expect("an HTML part");
    assert!(!html.contains("<script>"), "{html}");
    let head = text.split("\r\n\r\n").next().expect("a head");
    assert!(!head.contains("\nBcc:"), "{head}");
}

#[test]
fn two_copies_of_one_mail_are_the_same() {
    let templates = plain("Acme");
    assert_eq!(mail(&templates).expose(), mail(&templates).expose());
    assert_eq!(mail(&templates).message_id(), "<32177466ef83243f67c791da6a0814bd@acme.example>");
}

#[test]
fn an_operator_can_replace_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join(SUBJECT), "{{ code }} is your {{ app }} code\n")
        .expect("written");
    let templates = own(folder.path()).expect("usable");
    let text = String::from_utf8(mail(&templates).expose().to_vec()).expect("ASCII");
    assert!(text.contains("Subject: 048159 is your Acme code\r\n"), "{text}");
}

#[test]
fn a_broken_file_is_a_start_up_error_that_names_it() {
    for (name, source, says) in [
        (TEXT, "{{ code", "login_code.txt is broken"),
        (TEXT, "{{ cod }}", "login_code.txt is broken"),
        (TEXT, "{{ code }}\n\n{{ t('gone') }}", "(in login_code.txt:3)"),
        (HTML, "<p>no code</p>", "login_code.html does not show the code"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(name), source).expect("written");
        let error = own(folder.path()).expect_err("refused").to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn no_mail_is_made_of_an_expired_code() {
    let templates = plain("Acme");
    let end = at("2026-01-15T12:10:00Z");
    let code = LoginCode {
        code: Code::parse("048159".to_owned()).expect("valid"),
        recipient: EmailAddress::parse("alice@example.com").expect("valid"),
        expires_at: end,
    };
    let id = EventId::parse("event_1").expect("valid");
    assert_eq!(
        templates.login_code(Asked::plain(&id, end), &code, end).err(),
        Some(NotMade::Expired)
    );
}

#[test]
fn the_minutes_left_are_rounded_and_never_none() {
    for (left, minutes) in [(5, 1), (89, 1), (90, 2), (598, 10), (7200, 120)] {
        let now = at("2026-01-15T12:00:00Z");
        let end = now + jiff::SignedDuration::from_secs(left);
        assert_eq!(minutes_left(now, end), minutes, "{left} s");
    }
}

#[test]
fn a_mail_never_prints_its_code_or_address() {
    let templates = plain("Acme");
    let shown = format!("{:?}", mail(&templates));
    assert!(!shown.contains("048159") && !shown.contains("alice@"), "{shown}");
}

#[test]
fn a_template_that_would_never_end_is_named_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let loops = "{% for a in range(90000) %}".repeat(4) + &"{% endfor %}".repeat(4);
    let endless = format!("{{{{ code }}}}{loops}");
    let large =
        format!("{{{{ code }}}}{{% for a in range(900) %}}{}{{% endfor %}}", "x".repeat(9000));
    for (text, why) in [(endless, "fuel"), (large, "over 262144 bytes")] {
        std::fs::write(folder.path().join(TEXT), text).expect("written");
        let begun = tokio::time::Instant::now();
        let error = own(folder.path()).expect_err("stopped");
        assert!(begun.elapsed().as_secs() < 5, "{:?} even in a debug build", begun.elapsed());
        let error = error.to_string();
        assert!(error.contains(TEXT) && error.contains(why), "{error}");
    }
}
