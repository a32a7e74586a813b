//! The rules of this repository, as tests.

mod documents;
mod lengths;
mod manifests;
mod modules;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Every file with this ending, without what git ignores.
fn files(ending: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("readable") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let test_data =
                name == "data" && path.parent().is_some_and(|parent| parent.ends_with("tests"));
            let ignored = matches!(name.as_str(), "target" | ".git" | "data" | "node_modules");
            if path.is_dir() && (!ignored || test_data) {
                walk(&path, ending, found);
            } else if name.ends_with(ending) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new(ROOT), ending, &mut found);
    assert!(!found.is_empty(), "no {ending} files were found");
    found
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn no_test_sleeps() {
    let nap = ["sle", "ep("].concat();
    let tests = Path::new(ROOT).join("tests");
    for file in files(".rs").into_iter().filter(|file| file.starts_with(&tests)) {
        assert!(!read(&file).contains(&nap), "{} sleeps: wait for an event", file.display());
    }
}

#[test]
fn only_adapters_make_the_stages_of_a_claim() {
    let constructors = ["claims::", "adapter"].concat();
    let adapters = Path::new(ROOT).join("shared/engine");
    for file in files(".rs").into_iter().filter(|file| !file.starts_with(&adapters)) {
        let test = file.starts_with(Path::new(ROOT).join("tests")) || file.ends_with("tests.rs");
        assert!(
            test || !read(&file).contains(&constructors),
            "{} makes stages of a claim: only a ClaimStore may",
            file.display()
        );
    }
}

/// Every word in capitals with the prefix of one of our variables.
pub fn variables(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'));
    let ours = |word: &&str| {
        ["AUTHPOST_", "WORKOS_", "AMQP_", "REDIS_", "SMTP_", "MAIL_", "OTEL_"]
            .iter()
            .any(|prefix| word.starts_with(prefix) && word.len() > prefix.len())
    };
    words.filter(ours).map(str::to_owned).collect()
}
