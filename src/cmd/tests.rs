//! Unit tests of the parent module.

use clap::{CommandFactory as _, Parser as _};

use super::Cli;

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn no_secret_is_in_what_the_arguments_print() {
    const SECRETS: [&str; 7] = [
        "--workos-webhook-secret=hush",
        "--workos-api-key=hush",
        "--state-secret=hush",
        "--smtp-url=smtps://user:hush@host",
        "--amqp-url=amqp://user:hush@host",
        "--redis-url=redis://:hush@host",
        "--otlp-headers=authorization=hush",
    ];
    let mut seen = 0;
    for command in Cli::command().get_subcommands() {
        let name = command.get_name();
        let words: &[&str] = match name {
            "dead" => &["dead", "list"],
            "mail" => &["mail", "send", "--to=alice@example.com"],
            _ => &[name],
        };
        let own = words.get(1).and_then(|name| command.find_subcommand(name)).unwrap_or(command);
        let is_option = |secret: &&&str| {
            let name = secret.trim_start_matches("--").split('=').next();
            own.get_arguments().any(|argument| argument.get_long() == name)
        };
        let options: Vec<&str> = SECRETS.iter().filter(is_option).copied().collect();
        let id = match name {
            "why" => vec!["event_1"],
            "completions" => vec!["bash"],
            _ => Vec::new(),
        };
        let line = ["authpost"].iter().chain(words).chain(&options).chain(&id);
        let parsed = Cli::try_parse_from(line).unwrap_or_else(|error| panic!("{error}"));
        let shown = format!("{parsed:?}");
        assert!(!shown.contains("hush"), "{shown}");
        seen += options.len();
    }
    assert!(seen >= 20, "only {seen} secrets were given");
}
