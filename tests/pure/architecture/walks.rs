//! ARCHITECTURE.md names what is there: every path in it leads to a module, and to an item of it.

use super::source::root;
use std::{
    fs,
    path::{Path, PathBuf},
};

const PAGE: &str = include_str!("../../../ARCHITECTURE.md");

/// Whether `a::b::Type::member` is there: modules by their files, items by their definitions.
fn exists(path: &str) -> bool {
    let words: Vec<&str> = path.split("::").collect();
    let (mut module, mut left) = (root(), &words[..]);
    let mut file = root().join("lib.rs");
    while let [first, rest @ ..] = left {
        let Some(found) = file_of(&module, first) else { break };
        (module, file, left) = (module.join(first), found, rest);
    }
    let below = [texts(&module), vec![fs::read_to_string(&file).unwrap_or_default()]].concat();
    match left {
        _ if file == root().join("lib.rs") => false,
        [] => true,
        [item] => defines(&below, item),
        [item, member] => defines(&below, item) && defines(&below, member),
        _ => false,
    }
}

fn file_of(module: &Path, name: &str) -> Option<PathBuf> {
    let files = [module.join(format!("{name}.rs")), module.join(name).join("mod.rs")];
    files.into_iter().find(|file| file.exists())
}

/// The module's files below its folder: what it makes public may be defined there.
fn texts(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => texts(&path),
            false => fs::read_to_string(&path).into_iter().collect(),
        })
        .collect()
}

fn defines(texts: &[String], name: &str) -> bool {
    let is_end = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    ["fn", "struct", "enum", "trait", "type", "const"]
        .map(|keyword| format!("{keyword} {name}"))
        .iter()
        .any(|item| texts.iter().any(|text| text.split(&**item).skip(1).any(is_end)))
}

#[test]
fn every_name_on_the_page_is_there() {
    let named: Vec<&str> = PAGE
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|words| words.contains("::"))
        .collect();
    assert!(named.len() > 40, "{named:?}");
    let gone: Vec<&&str> = named.iter().filter(|path| !exists(path)).collect();
    assert!(gone.is_empty(), "ARCHITECTURE.md names what is not there: {gone:?}");
}

#[test]
fn a_name_that_is_not_there_is_missed() {
    for gone in [
        "nothing::here",
        "net::dhcp::DhcpServer::no_such_function",
        "net::dhcp::Nobody",
        "boot::gate::gat",
    ] {
        assert!(!exists(gone), "{gone}");
    }
    assert!(exists("net::dhcp::DhcpServer::run") && exists("boot::gate::gate") && exists("net::dhcp"));
}
