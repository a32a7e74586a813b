//! What is found, and that the built-in mails have nothing to be found.

use domain::{address::EmailAddress, login_code::Code};

use super::*;
use crate::mail::{
    brand::Logo,
    message::Sender,
    render::{TemplateOptions, Templates},
};

fn sample(text: &str, html: &str) -> Sample {
    Sample {
        subject: "Your code".to_owned(),
        text: text.to_owned(),
        html: html.to_owned(),
        code: "048159".to_owned(),
        message: Vec::new(),
        logo: None,
    }
}

/// A document without faults around this body.
fn document(body: &str) -> String {
    format!(
        "<html lang=\"en\"><head><meta name=\"color-scheme\" content=\"light dark\"></head><body>{body}</body></html>"
    )
}

fn found(sample: &Sample) -> Vec<String> {
    lint(sample).into_iter().map(|problem| problem.what).collect()
}

#[test]
fn the_built_in_mails_are_clean() {
    let sender =
        Sender { name: None, address: EmailAddress::parse("login@acme.example").expect("valid") };
    let templates = Templates::load(TemplateOptions::plain("Acme", sender)).expect("usable");
    for language in templates.languages().all() {
        let code = Code::parse("048159".to_owned()).expect("valid");
        let now = jiff::Timestamp::UNIX_EPOCH;
        let sample = templates.sample(language, None, code, now).expect("renders");
        assert_eq!(lint(&sample), [], "{}", language.tag());
    }
}

#[test]
fn what_is_fetched_is_found() {
    for body in [
        "<img alt=\"\" src=\"https://a.example/x.png\">",
        "<img alt=\"\" src=\"//a.example/x.png\">",
        "<td background=\"http://a.example/x.png\">",
        "<p style=\"background: url(https://a.example/x.png)\">048159</p>",
        "<style>p { background: url('https://a.example/x.png') }</style>",
        "<style>@import 'https://a.example/x.css';</style>",
        "<link rel=\"stylesheet\" href=\"x.css\">",
        "<script>1</script>",
        "<iframe></iframe>",
    ] {
        let found = found(&sample("048159 is it", &document(body)));
        assert!(found[0].starts_with("fetches "), "{body}: {found:?}");
    }
    let local = "<img alt=\"\" src=\"cid:logo@a.example\"><a href=\"https://a.example\">048159</a>";
    assert!(found(&sample("048159 is it", &document(local))).is_empty());
}

#[test]
fn text_that_cannot_be_read_is_found() {
    let style = "<style>@media (prefers-color-scheme: dark) { \
                 .c { background: #1f2229 !important; } .t { color: #e8eaee !important } }</style>";
    for (body, modes) in [
        ("<p style=\"color:#999999\">048159</p>", vec!["light", "dark"]),
        (
            "<div class=\"c\" style=\"background:#fff\"><p style=\"color:#1c1f26\">048159</p></div>",
            vec!["dark"],
        ),
        (
            "<div class=\"c\" style=\"background:#fff\"><p class=\"t\" style=\"color:#1c1f26\">048159</p></div>",
            vec![],
        ),
        ("<div style=\"display:none;color:#fff\">hidden</div>", vec![]),
    ] {
        let found = found(&sample("048159 is it", &document(&format!("{style}{body}"))));
        let in_mode = |mode: &&str| found.iter().any(|what| what.contains(&format!("{mode} mode")));
        assert_eq!(
            ["light", "dark"].iter().filter(|mode| in_mode(mode)).count(),
            modes.len(),
            "{body}: {found:?}"
        );
        assert!(modes.iter().all(in_mode), "{body}: {found:?}");
    }
}

#[test]
fn a_code_that_a_phone_misses_is_found() {
    for (text, says) in [
        ("Code-048159", "a phone finds no code"),
        ("Hello R2D2X, 048159", "a phone takes \"R2D2X\" for the code"),
        ("048159", ""),
    ] {
        let found = found(&sample(text, &document("048159")));
        assert!(found.first().map_or(says.is_empty(), |what| what.starts_with(says)), "{found:?}");
    }
}

#[test]
fn what_looks_worse_is_a_warning() {
    let html = "<p style=\"filter:blur(1px)\">048159 048159</p><img src=\"cid:x\">";
    let mut sample = sample("048159 is it", html);
    sample.subject = "048159".to_owned();
    let problems = lint(&sample);
    assert_eq!(problems.len(), 6, "{problems:?}");
    assert!(problems.iter().all(|problem| problem.severity == Severity::Warning), "{problems:?}");
    sample.message = vec![0; 30_000];
    assert_eq!(lint(&sample)[0].severity, Severity::Error, "errors come first");
    let png = vec![0; 9000];
    sample.logo = Some(Logo { png, width: 80, height: 40 }.into());
    assert_eq!(lint(&sample).len(), 6, "a logo does not count");
}
