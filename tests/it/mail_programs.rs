//! What programs of others make of the mails: the data of caniemail.com on HTML and CSS, and
//! SpamAssassin's own rules. Where they cannot be had, the tests say so and check nothing.

use std::{
    collections::BTreeSet,
    io::Write as _,
    process::{Command, Stdio},
};

use domain::{address::EmailAddress, clock::Clock as _, login_code::Code};
use runtime::clock::SystemClock;
use worker::mail::{
    lint::Sample,
    message::Sender,
    render::{TemplateOptions, Templates},
};

use crate::harness::installed::{folder, installed};

/// What no version of some mail program knows, and what is lost there.
const LOST: [(&str, &str); 9] = [
    ("@media", "dark mode"),
    ("<style> element", "dark mode"),
    ("<body> element", "the ground outside the card, which a table repeats"),
    ("display:none", "the preview line is seen at the top"),
    ("overflow", "the same"),
    ("max-height property", "the same"),
    ("color-scheme meta tag", "dark mode"),
    ("border-radius", "round corners"),
    ("role attribute", "layout tables are announced as tables"),
];

const CHECK: &str = "
import { caniemail } from 'caniemail';
import { readFileSync } from 'node:fs';
const html = readFileSync(0, 'utf8');
const { issues } = caniemail({ clients: ['gmail.*', 'apple-mail.*', 'outlook.*'], html });
for (const [client, found] of issues.errors) for (const { title } of found) console.log(title);
";

fn samples() -> Vec<(String, Sample)> {
    let sender = Sender {
        name: Some("Acme".to_owned()),
        address: EmailAddress::parse("login@acme.example").expect("valid"),
    };
    let templates = Templates::load(TemplateOptions::plain("Acme", sender)).expect("usable");
    let sample = |language| {
        let code = Code::parse("048159".to_owned()).expect("valid");
        templates.sample(language, None, code, SystemClock.now()).expect("renders")
    };
    templates.languages().all().map(|language| (language.tag(), sample(language))).collect()
}

/// The output of a command with this input.
fn filtered(command: &mut Command, input: &[u8]) -> String {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("starts");
    child.stdin.take().expect("piped").write_all(input).expect("read");
    let output = child.wait_with_output().expect("ends");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
#[ignore = "needs npm"]
fn what_mail_programs_do_not_know_is_dispensable() {
    let folder = folder("caniemail");
    std::fs::write(folder.join("package.json"), "{ \"private\": true }").expect("written");
    let mut install = Command::new("npm");
    install.args(["install", "--silent", "--ignore-scripts", "caniemail@2"]).current_dir(&folder);
    if !installed(&folder, &mut install) {
        return;
    }
    std::fs::write(folder.join("check.mjs"), CHECK).expect("written");
    for (language, sample) in samples() {
        let mut check = Command::new("node");
        let unknown = filtered(check.arg("check.mjs").current_dir(&folder), sample.html.as_bytes());
        assert!(!unknown.is_empty(), "{language}: dark mode is not known everywhere");
        let unknown: BTreeSet<&str> = unknown.lines().collect();
        let known = |title: &&str| LOST.iter().any(|(lost, _)| lost == title);
        assert!(unknown.iter().all(known), "{language}: {unknown:?}");
    }
}

#[test]
#[ignore = "needs SpamAssassin"]
fn no_language_looks_like_spam() {
    let there = Command::new("spamassassin").arg("--version").stdout(Stdio::null()).status();
    if there.is_err() {
        writeln!(std::io::stderr(), "SpamAssassin is not installed: nothing was checked with it")
            .expect("written");
        return;
    }
    let mut scores = Vec::new();
    for (language, sample) in samples() {
        // Without questions to the network, and without what it has learned.
        let marked = filtered(
            Command::new("spamassassin").args(["--local", "--test-mode"]),
            &sample.message,
        );
        let (_, after) = marked.split_once("score=").expect("a verdict");
        let score = after.split_whitespace().next().unwrap_or_default().to_owned();
        scores.push((language, score.parse::<f64>().expect("a number")));
    }
    assert!(scores.iter().all(|(_, score)| *score <= 0.0), "{scores:?}");
    writeln!(std::io::stderr(), "{scores:?}").expect("written");
}
