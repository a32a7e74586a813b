//! The rules of this repository, executed.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Every file with this ending, outside of what git ignores.
fn files(ending: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("readable") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if path.is_dir() && !matches!(name.as_str(), "target" | ".git" | "data" | "node_modules")
                || path.is_dir() && name == "data" && path.parent().is_some_and(|parent| parent.ends_with("tests"))
            {
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
fn every_source_file_says_what_it_is_for_and_stays_short() {
    for file in files(".rs") {
        let text = read(&file);
        assert!(text.starts_with("//! "), "{} does not begin with what it is for", file.display());
        assert!(text.lines().count() <= 400, "{} has over 400 lines", file.display());
    }
}

#[test]
fn every_crate_opts_into_the_workspace_lints() {
    // The fuzz targets are a workspace of their own, and their macro is not ours to lint.
    for manifest in files("Cargo.toml").into_iter().filter(|manifest| !manifest.ends_with("fuzz/Cargo.toml")) {
        assert!(read(&manifest).contains("[lints]\nworkspace = true"), "{}", manifest.display());
    }
}

#[test]
fn every_dependency_says_why() {
    let manifest = read(&Path::new(ROOT).join("Cargo.toml"));
    let (_, rest) = manifest.split_once("[workspace.dependencies]").expect("there");
    let (dependencies, _) = rest.split_once("[workspace.lints").expect("there");
    for line in dependencies.lines().filter(|line| line.contains(" = ") && !line.starts_with('#') && !line.contains("path = ")) {
        assert!(line.contains(" # "), "no reason beside: {line}");
    }
}

#[test]
fn no_test_sleeps() {
    let nap = ["sle", "ep("].concat();
    for file in files(".rs").into_iter().filter(|file| file.starts_with(Path::new(ROOT).join("tests"))) {
        assert!(!read(&file).contains(&nap), "{} sleeps: wait for an event", file.display());
    }
}

#[test]
fn pure_modules_do_no_io() {
    for module in ["address", "event", "fault", "ids", "login_code", "payload", "retry", "sign_in/state", "webhook"] {
        let text = read(&Path::new(ROOT).join(format!("shared/src/{module}.rs")));
        let product = text.split("#[cfg(test)]").next().expect("a product half");
        for io in ["tokio", "hyper", "lapin", "redis", "rusqlite", "std::fs", "std::net", "std::io"] {
            assert!(!product.contains(io), "shared::{module} uses {io}");
        }
    }
}

#[test]
fn the_roles_do_not_know_each_other() {
    for (role, other) in [("ingress", "worker"), ("worker", "ingress")] {
        let manifest = read(&Path::new(ROOT).join(role).join("Cargo.toml"));
        assert!(!manifest.contains(&format!("{other}.workspace")), "{role} depends on {other}");
    }
    for inner in ["ingress", "worker"] {
        assert!(!read(&Path::new(ROOT).join(inner).join("Cargo.toml")).contains("sandbox"), "{inner} depends on the sandbox");
    }
}

/// Everything in capitals with an underscore that looks like one of our variables.
pub fn variables(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'));
    let ours = |word: &&str| {
        ["AUTHPOST_", "WORKOS_", "AMQP_", "REDIS_", "SMTP_", "MAIL_", "OTEL_"]
            .iter()
            .any(|prefix| word.starts_with(prefix) && word.len() > prefix.len())
    };
    words.filter(ours).map(str::to_owned).collect()
}

#[test]
fn the_readme_names_every_variable_and_no_other() {
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_authpost")).args(["serve", "--help"]).env_clear().output().expect("runs");
    let real = variables(&String::from_utf8_lossy(&help.stdout));
    let told = variables(&read(&Path::new(ROOT).join("README.md")));
    let without_file: BTreeSet<_> = real.iter().filter(|name| !name.ends_with("_FILE")).cloned().collect();
    let missing: Vec<_> = without_file.difference(&told).collect();
    assert!(missing.is_empty(), "the README does not name {missing:?}");
    let invented: Vec<_> = told.difference(&real).collect();
    assert!(invented.is_empty(), "there is no {invented:?}");
}

#[test]
fn links_between_documents_lead_somewhere() {
    for file in files(".md") {
        let text = read(&file);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if !link.contains("://") && !link.starts_with('#') {
                let target = file.parent().expect("a folder").join(link.split('#').next().expect("a path"));
                assert!(target.exists(), "{} links to {link}, which is not there", file.display());
            }
        }
    }
}

#[test]
fn nobody_promises_what_cannot_be_had() {
    let promise = ["exactly", " once"].concat();
    for file in files(".md").into_iter().chain(files(".rs")) {
        assert!(!read(&file).to_lowercase().contains(&promise), "{} promises \"{promise}\"", file.display());
    }
}

#[test]
fn the_changelog_has_room_for_what_comes_next() {
    assert!(read(&Path::new(ROOT).join("CHANGELOG.md")).contains("## Unreleased"));
}
