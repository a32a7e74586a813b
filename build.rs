//! Tells the binary which commit and profile it is built from, for `authpost --version`.
//!
//! `AUTHPOST_COMMIT` names the commit where there is no Git checkout, as in an image's build.

#![expect(clippy::disallowed_methods, reason = "Cargo hands its values over in variables")]

use std::{env, fs, path::Path, process::Command};

/// Digits of a commit that are shown.
const DIGITS: usize = 10;

fn main() {
    println!("cargo::rerun-if-env-changed=AUTHPOST_COMMIT");
    println!("cargo::rerun-if-changed=build.rs");
    let commit = env::var("AUTHPOST_COMMIT").ok().filter(|commit| !commit.is_empty()).or_else(head);
    let commit = commit.map(|commit| commit.chars().take(DIGITS).collect::<String>());
    println!("cargo::rustc-env=AUTHPOST_BUILD={}", build(commit.as_deref(), profile().as_deref()));
}

/// Commit and profile, as far as they are known.
fn build(commit: Option<&str>, profile: Option<&str>) -> String {
    let parts = [commit, profile].into_iter().flatten();
    parts.collect::<Vec<_>>().join(", ")
}

/// The commit that is checked out, read again when it changes.
fn head() -> Option<String> {
    let git = Path::new(".git");
    let reference = fs::read_to_string(git.join("HEAD")).ok()?;
    println!("cargo::rerun-if-changed=.git/HEAD");
    if let Some(name) = reference.trim().strip_prefix("ref: ") {
        // A branch that no file names is packed with others.
        let file = if git.join(name).exists() { name } else { "packed-refs" };
        println!("cargo::rerun-if-changed=.git/{file}");
    }
    let output = Command::new("git").args(["rev-parse", "HEAD"]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The profile, by the folder that Cargo builds into: `PROFILE` knows only `debug` and `release`.
fn profile() -> Option<String> {
    let out = env::var("OUT_DIR").ok()?;
    let folder = Path::new(&out).ancestors().nth(3)?.file_name()?.to_str()?;
    Some(folder.to_owned())
}
