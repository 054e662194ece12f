//! No file takes names from one that, by whatever way round, takes names from it.
//!
//! A file and the folder of its own parts are one thing told in several files: what a part takes from
//! the files above it is no arrow.

use super::source::{Source, identifier, root, sources};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// A module's path below the crate: `["boot", "engine"]`.
type Module = Vec<String>;

#[test]
fn no_imports_run_in_a_circle() {
    let files: BTreeMap<Module, Source> = sources()
        .into_iter()
        .map(|source| (module_of(&source.path), source))
        .collect();
    let arrows: BTreeMap<&Module, BTreeSet<&Module>> = files
        .iter()
        .map(|(module, source)| (module, taken_from(module, source.shipped(), &files)))
        .collect();
    let circles: BTreeSet<String> = arrows.keys().filter_map(|module| circle(module, &arrows)).collect();
    assert!(circles.is_empty(), "{circles:#?}");
}

/// The module that a file is: `boot/engine/mod.rs` and `boot/engine.rs` are both `boot::engine`.
fn module_of(path: &Path) -> Module {
    let below = path.strip_prefix(root()).expect("read from beneath the root");
    let mut module: Module = below
        .with_extension("")
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        module.pop();
    }
    module
}

/// The files that the code of `module` names, but for the ones above it.
fn taken_from<'f>(module: &Module, code: &str, files: &'f BTreeMap<Module, Source>) -> BTreeSet<&'f Module> {
    paths(code)
        .into_iter()
        .filter_map(|path| absolute(module, &path))
        .filter_map(|path| {
            (1..=path.len())
                .rev()
                .find_map(|length| files.get_key_value(&path[..length]))
        })
        .map(|(found, _)| found)
        .filter(|found| !module.starts_with(found))
        .collect()
}

/// `path` from the crate's root; `None` where it starts elsewhere.
fn absolute(module: &Module, path: &[String]) -> Option<Module> {
    let (first, rest) = path.split_first()?;
    let ups = path.iter().take_while(|part| *part == "super").count();
    match first.as_str() {
        "crate" => Some(rest.to_vec()),
        "self" => Some([module.as_slice(), rest].concat()),
        "super" => Some([&module[..module.len().checked_sub(ups)?], &path[ups..]].concat()),
        _ => None,
    }
}

/// Every path in `code` that starts at `crate`, `self` or `super`, with groups written out.
fn paths(code: &str) -> Vec<Vec<String>> {
    let starts = ["crate::", "self::", "super::"];
    let is_start = |at: usize| {
        let before = code[..at].chars().next_back();
        starts.iter().any(|start| code[at..].starts_with(start))
            && !before.is_some_and(|before| before.is_alphanumeric() || before == '_' || before == ':')
    };
    code.char_indices()
        .filter(|(at, _)| is_start(*at))
        .flat_map(|(at, _)| tree(&code[at..], &[]).0)
        .collect()
}

/// The paths of one use tree, each with `before` in front, and how many bytes of `code` it takes.
fn tree(code: &str, before: &[String]) -> (Vec<Vec<String>>, usize) {
    let mut path = before.to_vec();
    let mut at = 0;
    loop {
        at += code[at..].len() - code[at..].trim_start().len();
        if code[at..].starts_with('{') {
            let (inner, length) = group(&code[at + 1..], &path);
            return (inner, at + 1 + length);
        }
        let name = identifier(&code[at..]);
        at += name.len();
        path.extend((!name.is_empty()).then_some(name));
        match code[at..].strip_prefix("::") {
            Some(_) => at += 2,
            None => return (vec![path], at),
        }
    }
}

/// The paths of an open group up to its brace, and how many bytes they take.
fn group(code: &str, before: &[String]) -> (Vec<Vec<String>>, usize) {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(next) = code[at..].chars().next() {
        match next {
            '}' => return (found, at + 1),
            ',' | ' ' | '\n' => at += 1,
            _ => {
                let (inner, length) = tree(&code[at..], before);
                found.extend(inner);
                // What is neither a name nor a group (`*`, `as x`) is passed over.
                at += length.max(next.len_utf8());
            }
        }
    }
    (found, at)
}

/// A way from `start` back to itself, if there is one.
fn circle(start: &Module, arrows: &BTreeMap<&Module, BTreeSet<&Module>>) -> Option<String> {
    let mut came_from: BTreeMap<&Module, &Module> = BTreeMap::new();
    let mut waiting: Vec<&Module> = vec![start];
    while let Some(module) = waiting.pop() {
        for next in &arrows[module] {
            if *next == start {
                return Some(way(start, module, &came_from));
            }
            if !came_from.contains_key(next) {
                came_from.insert(next, module);
                waiting.push(next);
            }
        }
    }
    None
}

fn way(start: &Module, last: &Module, came_from: &BTreeMap<&Module, &Module>) -> String {
    let mut steps = vec![start.join("::"), last.join("::")];
    let mut at = last;
    while at != start {
        at = came_from[at];
        steps.push(at.join("::"));
    }
    steps.reverse();
    steps.join(" -> ")
}

#[test]
fn the_scanner_sees_paths_through_groups() {
    let found = paths("use super::{a::B, c::{self, d as e}};\nuse crate::f; self::g(); x::super_;");
    let found: Vec<String> = found.iter().map(|path| path.join("::")).collect();
    assert_eq!(
        found,
        [
            "super::a::B",
            "super::c::self",
            "super::c::d",
            "super::c::as",
            "super::c::e",
            "crate::f",
            "self::g"
        ]
    );
    let module = |path: &str| -> Module { path.split("::").map(str::to_owned).collect() };
    assert_eq!(
        absolute(&module("a::b::c"), &module("super::super::d")),
        Some(module("a::d"))
    );
}
