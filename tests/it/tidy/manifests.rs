//! Manifests: which crate may depend on which, and that each says why it needs a library.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::{ROOT, files, read};

/// The crates that each crate may depend on outside of its tests.
const ALLOWED: [(&str, &[&str]); 8] = [
    ("shared/domain", &[]),
    ("shared/runtime", &["domain"]),
    ("shared/engine", &["domain", "runtime"]),
    ("shared/workos", &["domain", "runtime"]),
    ("ingress", &["domain", "runtime"]),
    ("worker", &["domain", "runtime"]),
    ("sandbox", &["domain", "runtime"]),
    (".", &["domain", "runtime", "engine", "workos", "ingress", "worker", "sandbox"]),
];

/// Libraries that do IO, run tasks or log: none of them may be in `domain`.
const IMPURE: [&str; 9] =
    ["tokio", "hyper", "lapin", "redis", "rusqlite", "lettre", "tracing", "prometheus", "rustls"];

fn manifest(folder: &str) -> String {
    read(&Path::new(ROOT).join(folder).join("Cargo.toml"))
}

/// The names in one section of a manifest.
fn dependencies(manifest: &str, section: &str) -> BTreeSet<String> {
    let header = format!("[{section}]");
    manifest
        .lines()
        .skip_while(|line| *line != header)
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name.split('.').next().unwrap_or_default().trim().to_owned())
        .collect()
}

#[test]
fn crates_depend_on_those_below_them_only() {
    let own: BTreeSet<&str> = ALLOWED[7].1.iter().copied().collect();
    for (folder, allowed) in ALLOWED {
        let used = dependencies(&manifest(folder), "dependencies");
        assert!(folder == "shared/domain" || used.contains("domain"), "{folder}: nothing was read");
        let wrong: Vec<_> = used
            .iter()
            .filter(|name| own.contains(name.as_str()) && !allowed.contains(&name.as_str()))
            .collect();
        assert!(wrong.is_empty(), "{folder} must not depend on {wrong:?}");
    }
}

#[test]
fn the_domain_depends_on_no_runtime() {
    let used = dependencies(&manifest("shared/domain"), "dependencies");
    let impure: Vec<_> = IMPURE.iter().filter(|name| used.contains(**name)).collect();
    assert!(!used.is_empty() && impure.is_empty(), "domain depends on {impure:?}");
}

#[test]
fn the_roles_compile_no_engine() {
    let lock = read(&Path::new(ROOT).join("Cargo.lock"));
    let packages: BTreeMap<&str, BTreeSet<&str>> =
        lock.split("[[package]]").skip(1).map(package).collect();
    for role in ["authpost-ingress", "authpost-worker"] {
        let mut reached = BTreeSet::new();
        let mut open: Vec<&str> = normal_dependencies(role, &packages);
        while let Some(name) = open.pop() {
            if reached.insert(name) {
                open.extend(packages.get(name).into_iter().flatten());
            }
        }
        assert!(reached.contains("authpost-domain"), "{role}: nothing was read");
        for engine in ["lapin", "redis", "rusqlite"] {
            assert!(!reached.contains(engine), "{role} compiles {engine}");
        }
    }
}

/// The lock file does not tell dependencies of tests apart, so the first step is taken from the
/// manifest.
fn normal_dependencies<'a>(
    role: &str,
    packages: &BTreeMap<&'a str, BTreeSet<&'a str>>,
) -> Vec<&'a str> {
    let own = dependencies(&manifest(role.trim_start_matches("authpost-")), "dependencies");
    packages[role]
        .iter()
        .filter(|name| own.contains(name.trim_start_matches("authpost-")))
        .copied()
        .collect()
}

/// A package of the lock file with its dependencies.
fn package(text: &str) -> (&str, BTreeSet<&str>) {
    let name = text.split('"').nth(1).unwrap_or_default();
    let (_, list) = text.split_once("dependencies = [").unwrap_or(("", ""));
    let names = list.split('"').skip(1).step_by(2);
    (name, names.filter_map(|entry| entry.split(' ').next()).collect())
}

#[test]
fn every_crate_opts_into_the_workspace_lints() {
    // The fuzz targets are a workspace of their own, and their macro is not ours to lint.
    for manifest in files("Cargo.toml").iter().filter(|path| !path.ends_with("fuzz/Cargo.toml")) {
        assert!(read(manifest).contains("[lints]\nworkspace = true"), "{}", manifest.display());
    }
}

#[test]
fn every_dependency_says_why() {
    let manifest = manifest(".");
    let (_, rest) = manifest.split_once("[workspace.dependencies]").expect("there");
    let (dependencies, _) = rest.split_once("[workspace.lints").expect("there");
    let external =
        |line: &&str| line.contains(" = ") && !line.starts_with('#') && !line.contains("path = ");
    for line in dependencies.lines().filter(external) {
        assert!(line.contains(" # "), "no reason beside: {line}");
    }
}
