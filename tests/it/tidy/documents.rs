//! Documents: complete, correct, and short where they must be.

use std::{collections::BTreeSet, path::Path, process::Command};

use super::{ROOT, files, read, variables};

#[test]
fn the_table_of_options_names_every_variable_and_no_other() {
    let of = |command: &str| {
        let mut help = Command::new(env!("CARGO_BIN_EXE_authpost"));
        let help = help.args([command, "--help"]).env_clear().output().expect("runs");
        variables(&String::from_utf8_lossy(&help.stdout))
    };
    // `doctor` has those of `serve`, and the public address that it probes.
    let real = of("doctor");
    let text = read(&Path::new(ROOT).join("docs/CONFIGURATION.md"));
    let (table, _) = text.split_once("## Command reference").expect("a table, then the reference");
    let told = variables(table);
    let own: BTreeSet<_> = real.iter().filter(|name| !name.ends_with("_FILE")).cloned().collect();
    let missing: Vec<_> = own.difference(&told).collect();
    assert!(missing.is_empty(), "docs/CONFIGURATION.md does not name {missing:?}");
    let readme = variables(&read(&Path::new(ROOT).join("README.md")));
    let invented: Vec<_> = told.union(&readme).filter(|name| !real.contains(*name)).collect();
    assert!(invented.is_empty(), "there is no {invented:?}");
}

#[test]
fn the_readme_is_short() {
    let words = read(&Path::new(ROOT).join("README.md")).split_whitespace().count();
    assert!(words <= 900, "README.md has {words} words; move details to docs/");
}

#[test]
fn links_between_documents_lead_somewhere() {
    for file in files(".md") {
        let text = read(&file);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if !link.contains("://") && !link.starts_with('#') {
                let path = link.split('#').next().expect("a path");
                let target = file.parent().expect("a folder").join(path);
                assert!(
                    target.exists(),
                    "{} links to {link}, which does not exist",
                    file.display()
                );
            }
        }
    }
}

#[test]
fn nobody_promises_what_cannot_be_had() {
    let promise = ["exactly", " once"].concat();
    for file in files(".md").into_iter().chain(files(".rs")) {
        assert!(
            !read(&file).to_lowercase().contains(&promise),
            "{} promises \"{promise}\"",
            file.display()
        );
    }
}

#[test]
fn the_changelog_has_room_for_what_comes_next() {
    assert!(read(&Path::new(ROOT).join("CHANGELOG.md")).contains("## Unreleased"));
}

#[test]
fn a_doc_comment_says_more_than_a_name() {
    for file in files(".rs") {
        let text = read(&file);
        let mut comment: Vec<&str> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            if let Some(words) = line.trim_start().strip_prefix("///") {
                comment.extend(words.split_whitespace());
            } else {
                assert!(
                    comment.is_empty() || comment.len() >= 5,
                    "{}:{number}: {comment:?} says too little: say more, or improve the name",
                    file.display()
                );
                comment.clear();
            }
        }
    }
}
