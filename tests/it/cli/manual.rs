//! Completion scripts and manual pages, read by the programs that they are for.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use super::text;
use crate::harness::program::run;

/// Options and commands are offered by bash itself, which the script is loaded into.
#[test]
fn bash_completes_commands_and_options() {
    let script = text(&run(&["completions", "bash"], &[]).stdout);
    let offered = |words: &[&str]| {
        let ask = format!(
            "{script}\nCOMP_WORDS=({}) COMP_CWORD={} COMP_LINE='' COMP_POINT=0\n\
             _authpost authpost '{}' ''\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
            words.join(" "),
            words.len() - 1,
            words.last().expect("a word")
        );
        let output = Command::new("bash").args(["-c", &ask]).output().expect("bash");
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    assert_eq!(offered(&["authpost", "doc"]), "doctor\n");
    assert_eq!(offered(&["authpost", "dead", "red"]), "redrive\n");
    assert!(offered(&["authpost", "serve", "--smtp-u"]).lines().any(|line| line == "--smtp-url"));
}

#[test]
fn every_shell_has_a_script_and_an_unknown_one_is_named() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = run(&["completions", shell], &[]);
        assert!(output.status.success() && output.stdout.len() > 10_000, "{shell}");
    }
    let unknown = run(&["completions", "tcsh"], &[]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("tcsh"));
}

#[test]
fn every_command_has_a_page_without_values_of_secrets() {
    let folder = tempfile::tempdir().expect("a folder");
    let pages = folder.path().join("man1");
    let path = pages.to_str().expect("text");
    assert!(run(&["man", path], &[("SMTP_URL", "smtps://u:hush@h")]).status.success());
    for page in ["authpost", "authpost-serve", "authpost-init", "authpost-dead-redrive"] {
        let page = std::fs::read_to_string(pages.join(format!("{page}.1"))).expect("written");
        assert!(page.contains(".TH ") && !page.contains("hush"), "{page}");
    }
    let serve = std::fs::read_to_string(pages.join("authpost-serve.1")).expect("written");
    assert!(serve.contains("SMTP_URL"), "variables are named");
    let nowhere = run(&["man", "/dev/null/pages"], &[]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(text(&nowhere.stderr).contains("cannot write pages to /dev/null/pages"));
}

/// groff warns about what it cannot set.
#[test]
fn pages_are_sound() {
    let page = run(&["man"], &[]).stdout;
    let command = Command::new("groff")
        .args(["-K", "utf8", "-man", "-Tutf8", "-ww", "-z"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    // Not a part of every machine.
    let Ok(mut groff) = command else { return };
    groff.stdin.take().expect("piped").write_all(&page).expect("written");
    let output = groff.wait_with_output().expect("ends");
    assert_eq!(text(&output.stderr), "");
}
