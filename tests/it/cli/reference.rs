//! The reference in docs/CONFIGURATION.md is what `--help` says, and says what it must.

use super::text;
use crate::harness::program::run;

/// Every command, as the reference has them.
const COMMANDS: [&[&str]; 22] = [
    &["serve"],
    &["ingress"],
    &["worker"],
    &["init"],
    &["doctor"],
    &["why"],
    &["dead"],
    &["dead", "list"],
    &["dead", "show"],
    &["dead", "redrive"],
    &["dead", "purge"],
    &["mail"],
    &["mail", "preview"],
    &["mail", "lint"],
    &["mail", "send"],
    &["reconcile"],
    &["sign"],
    &["healthcheck"],
    &["demo"],
    &["completions"],
    &["man"],
    &[],
];

const REFERENCE: &str = "AUTHPOST_WRITE_REFERENCE=1 cargo test the_reference` writes it.\n";

#[test]
fn the_reference_is_what_help_says() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/CONFIGURATION.md");
    let current = std::fs::read_to_string(&file).expect("there");
    let (introduction, _) = current.split_once(REFERENCE).expect("a place for the reference");
    let mut reference = [introduction, REFERENCE].concat();
    for command in COMMANDS {
        let help = text(&run(&[command, &["--help"]].concat(), &[]).stdout);
        let name = [&["authpost"], command].concat().join(" ");
        reference
            .push_str(&["\n### ", &name, "\n\n```text\n", help.trim_end(), "\n```\n"].concat());
    }
    if std::env::var_os("AUTHPOST_WRITE_REFERENCE").is_some() {
        std::fs::write(&file, &reference).expect("written");
    }
    let current = std::fs::read_to_string(&file).expect("there");
    assert_eq!(current, reference, "docs/CONFIGURATION.md is not what --help says");
}

#[test]
fn help_shows_no_value_of_a_secret() {
    let secrets = [
        ("WORKOS_API_KEY", "sk_hush"),
        ("SMTP_URL", "smtps://u:hush@h"),
        ("AMQP_URL", "amqp://u:hush@h"),
        ("WORKOS_WEBHOOK_SECRET", "hush"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hush"),
    ];
    let help = text(&run(&["serve", "--help"], &secrets).stdout);
    assert!(!help.contains("hush"), "{help}");
}

#[test]
fn a_secret_as_a_flag_is_said_to_be_visible() {
    for command in COMMANDS {
        let help = text(&run(&[command, &["--help"]].concat(), &[]).stdout);
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        let options: Vec<&str> = help.split(" --").collect();
        for option in options.iter().filter(|option| {
            // Its value is shown by no help, and there is a file for it.
            let name = option.split_whitespace().next().unwrap_or_default();
            help.contains(&format!(" --{name}-file "))
        }) {
            assert!(option.contains("visible to other users"), "{command:?} --{option}");
        }
    }
}
