//! Mails as a reader gets them.

use domain::address::EmailAddress;

use super::*;

fn sender() -> Sender {
    Sender {
        name: Some("Acme".to_owned()),
        address: EmailAddress::parse("login@acme.example").expect("valid"),
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn mail(templates: &Templates) -> Mail {
    let code = LoginCode {
        code: Code::parse("048159".to_owned()).expect("valid"),
        recipient: EmailAddress::parse("alice@example.com").expect("valid"),
        expires_at: at("2026-01-15T12:10:00Z"),
    };
    let id = EventId::parse("event_01HYM0Z0000000000000000001").expect("valid");
    templates
        .login_code(&id, &code, at("2026-01-15T12:00:00Z"), at("2026-01-15T12:00:02Z"))
        .expect("renders")
}

#[test]
fn the_built_in_mail() {
    let templates = Templates::load(None, "Acme", sender()).expect("usable");
    let mail = mail(&templates);
    insta::assert_snapshot!(
        String::from_utf8(mail.expose().to_vec()).expect("ASCII").replace("\r\n", "\n")
    );
    assert!(mail.expose().is_ascii(), "8-bit bytes need an extension that a relay may lack");
}

#[test]
fn an_app_name_cannot_break_out_of_the_markup() {
    let templates =
        Templates::load(None, "<script>alert(1)</script>\r\nBcc: eve@example.com", sender())
            .expect("usable");
    let text = String::from_utf8(mail(&templates).expose().to_vec()).expect("ASCII");
    let (_, html) = text.split_once("Content-Type: text/html").expect("an HTML part");
    assert!(!html.contains("<script>"), "{html}");
    let head = text.split("\r\n\r\n").next().expect("a head");
    assert!(!head.contains("\nBcc:"), "{head}");
}

#[test]
fn two_copies_of_one_mail_are_the_same() {
    let templates = Templates::load(None, "Acme", sender()).expect("usable");
    assert_eq!(mail(&templates).expose(), mail(&templates).expose());
    assert_eq!(mail(&templates).message_id(), "<32177466ef83243f67c791da6a0814bd@acme.example>");
}

#[test]
fn an_operator_can_replace_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join(SUBJECT), "{{ code }} is your {{ app }} code\n")
        .expect("written");
    let templates = Templates::load(Some(folder.path()), "Acme", sender()).expect("usable");
    let text = String::from_utf8(mail(&templates).expose().to_vec()).expect("ASCII");
    assert!(text.contains("Subject: 048159 is your Acme code\r\n"), "{text}");
}

#[test]
fn a_broken_file_is_a_start_up_error_that_names_it() {
    for (name, source, says) in [
        (TEXT, "{{ code", "login_code.txt is broken"),
        (TEXT, "{{ cod }}", "login_code.txt is broken"),
        (HTML, "<p>no code</p>", "login_code.html does not show the code"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(name), source).expect("written");
        let error = Templates::load(Some(folder.path()), "Acme", sender())
            .expect_err("refused")
            .to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn no_mail_is_made_of_an_expired_code() {
    let templates = Templates::load(None, "Acme", sender()).expect("usable");
    let end = at("2026-01-15T12:10:00Z");
    let code = LoginCode {
        code: Code::parse("048159".to_owned()).expect("valid"),
        recipient: EmailAddress::parse("alice@example.com").expect("valid"),
        expires_at: end,
    };
    let id = EventId::parse("event_1").expect("valid");
    assert_eq!(templates.login_code(&id, &code, end, end).err(), Some(NotMade::Expired));
}

#[test]
fn the_time_left_is_said_time_left() {
    for (left, words) in [
        (5, "one minute"),
        (89, "one minute"),
        (90, "2 minutes"),
        (598, "10 minutes"),
        (7200, "2 hours"),
    ] {
        let now = at("2026-01-15T12:00:00Z");
        assert_eq!(time_left(now, now + jiff::SignedDuration::from_secs(left)), words, "{left} s");
    }
}

#[test]
fn a_mail_never_prints_its_code_or_address() {
    let templates = Templates::load(None, "Acme", sender()).expect("usable");
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
        let error = Templates::load(Some(folder.path()), "Acme", sender()).expect_err("stopped");
        assert!(begun.elapsed().as_secs() < 5, "{:?} even in a debug build", begun.elapsed());
        let error = error.to_string();
        assert!(error.contains(TEXT) && error.contains(why), "{error}");
    }
}
