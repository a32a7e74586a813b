//! No import circle between sibling modules of one crate.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use super::{ROOT, files, read};

type Module = Vec<String>;

const CRATES: [&str; 8] = [
    "src",
    "shared/domain/src",
    "shared/runtime/src",
    "shared/engine/src",
    "shared/workos/src",
    "ingress/src",
    "worker/src",
    "sandbox/src",
];

/// The path of the module in this file; empty for the root of the crate.
fn module_of(file: &Path, source: &Path) -> Module {
    let path = file.strip_prefix(source).expect("inside").with_extension("");
    let mut parts: Module = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        parts.pop();
    }
    parts
}

/// The paths in a use tree such as `a::{b, c::d}`.
fn expand(tree: &str) -> Vec<Module> {
    let tree = tree.trim();
    let Some((prefix, inner)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default();
        return vec![path.split("::").map(|part| part.trim().to_owned()).collect()];
    };
    let prefix: Module = prefix
        .split("::")
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect();
    let inner = inner.rsplit_once('}').map_or(inner, |(inner, _)| inner);
    let (mut depth, mut start, mut parts) = (0_i32, 0, Vec::new());
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => parts.push(&inner[std::mem::replace(&mut start, at + 1)..at]),
            _ => {}
        }
    }
    parts.push(&inner[start..]);
    let parts = parts.into_iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(expand).map(|path| [prefix.clone(), path].concat()).collect()
}

/// The paths of this crate that a file names: in `use` declarations, and in its code.
fn paths(text: &str) -> Vec<Module> {
    let code: Vec<&str> =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let mut found = Vec::new();
    let mut rest = code.as_str();
    while let Some(at) =
        ["crate::", "super::", "self::"].iter().filter_map(|root| rest.find(root)).min()
    {
        let named = rest[..at]
            .chars()
            .next_back()
            .is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':');
        let is_use = rest[..at].trim_end().ends_with("use");
        let end = |c: char| {
            if is_use { c == ';' } else { !(c.is_alphanumeric() || c == '_' || c == ':') }
        };
        let length = rest[at..].find(end).unwrap_or(rest.len() - at);
        if !named {
            found.extend(expand(&rest[at..at + length]));
        }
        rest = &rest[at + length.max(1)..];
    }
    found
}

/// The module that a path names, seen from another; `None` for what is not in this crate.
fn resolve(from: &Module, path: &Module, modules: &BTreeSet<Module>) -> Option<Module> {
    let mut target: Module = if path[0] == "crate" { Vec::new() } else { from.clone() };
    for part in path {
        match part.as_str() {
            "crate" | "self" => {}
            "super" => drop(target.pop()),
            name => {
                let mut deeper = target.clone();
                deeper.push(name.to_owned());
                if !modules.contains(&deeper) {
                    break;
                }
                target = deeper;
            }
        }
    }
    modules.contains(&target).then_some(target)
}

/// For each pair of siblings of which one names the other: who names whom.
fn edges(sources: &BTreeMap<Module, String>) -> BTreeSet<(Module, Module)> {
    let modules: BTreeSet<Module> = sources.keys().cloned().collect();
    let mut edges = BTreeSet::new();
    for (from, text) in sources {
        for to in paths(text).iter().filter_map(|path| resolve(from, path, &modules)) {
            let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
            if from.len() > common && to.len() > common {
                edges.insert((from[..=common].to_vec(), to[..=common].to_vec()));
            }
        }
    }
    edges
}

/// A circle, if there is one.
fn circle(edges: &BTreeSet<(Module, Module)>) -> Option<Vec<Module>> {
    fn visit(
        at: &Module,
        edges: &BTreeSet<(Module, Module)>,
        way: &mut Vec<Module>,
        done: &mut BTreeSet<Module>,
    ) -> bool {
        if way.contains(at) {
            way.push(at.clone());
            return true;
        }
        if done.contains(at) {
            return false;
        }
        way.push(at.clone());
        if edges.iter().filter(|(from, _)| from == at).any(|(_, to)| visit(to, edges, way, done)) {
            return true;
        }
        way.pop();
        done.insert(at.clone());
        false
    }
    let mut done = BTreeSet::new();
    edges.iter().find_map(|(from, _)| {
        let mut way = Vec::new();
        visit(from, edges, &mut way, &mut done).then_some(way)
    })
}

#[test]
fn siblings_do_not_import_each_other_in_circles() {
    for source in CRATES.map(|folder| Path::new(ROOT).join(folder)) {
        let inside: Vec<PathBuf> = files(".rs")
            .into_iter()
            .filter(|file| file.starts_with(&source) && !file.ends_with("tests.rs"))
            .collect();
        assert!(!inside.is_empty(), "{} is empty", source.display());
        let sources = inside.iter().map(|file| (module_of(file, &source), read(file))).collect();
        let found = circle(&edges(&sources));
        assert!(found.is_none(), "{}: {found:?}", source.display());
    }
}

#[test]
fn a_circle_is_found_through_trees_and_code() {
    let text = |text: &str| text.to_owned();
    let module = |path: &str| path.split("::").map(str::to_owned).collect::<Module>();
    let mut sources = BTreeMap::from([
        (module("a"), text("use crate::{b::{Deep, c::Other}, x};")),
        (module("b"), text("")),
        (module("b::c"), text("fn f() { super::super::d::g() }")),
        (module("d"), text("")),
        (Vec::new(), text("")),
    ]);
    assert_eq!(circle(&edges(&sources)), None);
    sources.insert(module("d"), text("use crate::a::A;"));
    let found = circle(&edges(&sources)).expect("a circle");
    assert_eq!(found.first(), found.last());
}
