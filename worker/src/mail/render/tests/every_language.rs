//! The mail in every language: as a person gets it, and whatever the application is called.

use std::fmt::Write as _;

use domain::language::LanguageTag;
use jiff::SignedDuration;
use mail_parser::{MessageParser, MimeHeaders as _};
use proptest::prelude::*;

use super::*;
use crate::mail::{brand, detector::first_code};

fn mail_in(templates: &Templates, language: &str, minutes: i64, client: Option<&str>) -> Mail {
    let asked_at = at("2026-01-15T12:00:00Z");
    let code = LoginCode {
        code: Code::parse("048159".to_owned()).expect("valid"),
        recipient: EmailAddress::parse("alice@example.com").expect("valid"),
        expires_at: asked_at + SignedDuration::from_mins(minutes),
    };
    let id = EventId::parse("event_01HYM0Z0000000000000000001").expect("valid");
    let client = client.map(|client| ClientId::parse(client).expect("valid"));
    let languages = [LanguageTag::parse(language).expect("a tag")];
    let asked =
        Asked { event_id: &id, at: asked_at, client: client.as_ref(), languages: &languages };
    templates.login_code(asked, &code, asked_at).expect("renders")
}

/// Subject, text and HTML, decoded.
fn read(mail: &Mail) -> (String, String, String) {
    let message = MessageParser::default().parse(mail.expose()).expect("a mail");
    let part = |subtype: &str| {
        let is = |part: &&mail_parser::MessagePart<'_>| {
            part.content_type().and_then(|kind| kind.subtype()) == Some(subtype)
        };
        message
            .parts
            .iter()
            .find(is)
            .and_then(|part| part.text_contents())
            .expect("text")
            .to_owned()
    };
    (message.subject().expect("a subject").to_owned(), part("plain"), part("html"))
}

fn tags() -> Vec<String> {
    plain("Acme").languages().all().map(Language::tag).collect()
}

#[test]
fn as_a_person_gets_it() {
    let templates = plain("Acme");
    let mut shown = String::new();
    for tag in tags() {
        let (subject, text, html) = read(&mail_in(&templates, &tag, 10, None));
        let text = text.replace("\r\n", "\n");
        let text = text.trim_end();
        writeln!(shown, "== {tag}\nSubject: {subject}\n\n{text}\n").expect("a string");
        assert!(html.contains(&format!("<html lang=\"{tag}\"")), "{tag}");
        let direction = if tag == "ar" { "rtl" } else { "ltr" };
        assert!(html.contains(&format!("dir=\"{direction}\"")), "{tag}");
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn a_mail_is_small_and_fetches_nothing() {
    let templates = plain("Acme");
    for tag in tags() {
        let mail = mail_in(&templates, &tag, 10, None);
        assert!(mail.expose().len() < 20 * 1024, "{tag}: {} bytes", mail.expose().len());
        let (_, _, html) = read(&mail);
        for remote in ["http:", "https:", "url(", "@import", "<link", "<script"] {
            assert!(!html.contains(remote), "{tag}: {remote}");
        }
    }
}

#[test]
fn a_brand_shows_its_name_colour_logo_and_support() {
    let folder = tempfile::tempdir().expect("a folder");
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x50\0\0\0\x14".to_vec();
    std::fs::write(folder.path().join("logo.png"), &png).expect("written");
    let text = "[brand]\nlocale = \"de\"\n[clients.client_shop]\nname = \"Acme Shop\"\n\
                color = \"#1457c8\"\nlogo = \"logo.png\"\nreply_to = \"help@acme.example\"\n\
                support_url = \"https://acme.example/help\"";
    std::fs::write(folder.path().join(brand::FILE), text).expect("written");
    let templates = own(folder.path()).expect("valid");
    let mail = mail_in(&templates, "xx", 10, Some("client_shop"));
    let (subject, text, html) = read(&mail);
    assert_eq!(subject, "Ihr Anmeldecode für Acme Shop", "the brand's language");
    assert!(text.contains("Brauchen Sie Hilfe? acme.example/help"), "{text}");
    assert!(html.contains("color:#1457c8") && html.contains("cid:logo@acme.example"), "{html}");
    let message = MessageParser::default().parse(mail.expose()).expect("a mail");
    let logo = message.attachments().next().expect("a logo");
    assert_eq!((logo.content_id(), logo.contents()), (Some("logo@acme.example"), png.as_slice()));
    let reply_to = message.reply_to().and_then(|to| to.first()).and_then(|to| to.address());
    assert_eq!(reply_to, Some("help@acme.example"));
    let (subject, ..) = read(&mail_in(&templates, "fr", 10, None));
    assert_eq!(subject, "Votre code de connexion Acme");
}

#[test]
fn templates_with_words_of_their_own_are_in_one_language() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join(TEXT), "{{ code }} works for {{ expires_in }}")
        .expect("written");
    let templates = own(folder.path()).expect("valid");
    let (subject, text, _) = read(&mail_in(&templates, "de", 10, None));
    assert_eq!(
        (subject.as_str(), text.trim()),
        ("Your Acme login code", "048159 works for 10 minutes")
    );
}

#[test]
fn a_program_may_be_told_where_the_code_belongs() {
    let options = TemplateOptions {
        code_domain: Some("acme.example"),
        ..TemplateOptions::plain("Acme", sender())
    };
    let templates = Templates::load(options).expect("usable");
    let (_, text, html) = read(&mail_in(&templates, "en", 10, None));
    assert_eq!(text.trim_end().lines().last(), Some("@acme.example #048159"));
    assert_eq!(html.matches("048159").count(), 1, "a second one breaks copying");
}

#[test]
fn words_that_break_in_a_mail_are_named_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let locales = folder.path().join("locales");
    std::fs::create_dir(&locales).expect("created");
    std::fs::write(locales.join("fr.ftl"), "# Ours.\nhelp = Besoin d’aide { $who } ?\n")
        .expect("written");
    std::fs::write(
        folder.path().join(brand::FILE),
        "[brand]\nsupport_url = \"mailto:a@b.example\"",
    )
    .expect("written");
    let error = own(folder.path()).expect_err("refused").to_string();
    assert!(error.contains("fr.ftl, line 2: "), "{error}");
}

/// Names with everything that has a meaning somewhere on the way.
fn names() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        prop_oneof![
            Just("Acme"),
            Just(" "),
            Just("\""),
            Just("'"),
            Just("<b>"),
            Just("&"),
            Just("{"),
            Just("}"),
            Just("$app"),
            Just("🦀"),
            Just("👩‍👩‍👧"),
            Just("شركة"),
            Just("ש"),
            Just("\u{202e}"),
            Just("é"),
            Just("株式会社"),
            Just("="),
            Just("\\"),
        ],
        1..6,
    )
    .prop_map(|parts| parts.concat())
    .prop_filter("a name", |name| !name.trim().is_empty())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn whatever_the_application_is_called(name in names(), minutes in 1_i64..=90) {
        let templates = plain(&name);
        for tag in tags() {
            let (subject, text, html) = read(&mail_in(&templates, &tag, minutes, None));
            let searched = format!("{subject}\n{text}");
            prop_assert_eq!(first_code(&searched), Some("048159"), "{}", tag);
            prop_assert!(text.starts_with("048159 "), "{}: {}", tag, text);
            prop_assert!(!html.contains("<b>"), "{}", tag);
            for part in [&subject, &text] {
                let words = part.replace(&name, "");
                prop_assert!(!words.contains("{$"), "{}: {}", tag, words);
            }
        }
    }
}
