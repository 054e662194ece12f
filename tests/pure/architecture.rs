//! The shape of the crate, held by a test: which module may name which, and how large things grow.
//!
//! Arrows point down only: cli → daemon → net, admin → state → config, store → images → boot → proto,
//! lease → model. The rooms that do no I/O name nothing that does.

mod circles;
mod fixtures;
mod names;
mod source;
mod walks;

use circles::Files;
use source::{Source, sources};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// The modules from the top down; one may name those of lower rank, and itself.
const RANKS: &[&[&str]] = &[
    &["cli"],
    &["daemon"],
    &["net", "admin"],
    &["state"],
    &["config", "store", "stall"],
    &["images", "attempt", "doctor"],
    &["boot", "storm"],
    &["proto", "lease", "deploy"],
    &["model"],
];

/// Rooms that decide and do no I/O.
const PURE: &[&str] = &["attempt", "boot", "doctor", "proto", "lease", "model"];

/// What a pure room may not name.
const IMPURE: &[&str] = &[
    "tokio",
    "hyper",
    "hyper_util",
    "socket2",
    "nix",
    "libc",
    "redb",
    "std::fs",
    "std::process",
    "std::thread",
    "std::env",
    "std::os",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "UnixStream",
    "UnixListener",
    "Instant",
    "SystemTime",
    "getrandom",
];

const FILE_LINES_MAX: usize = 600;
const FILE_LINES_WITHOUT_TESTS_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;
const OWNED_STRINGS_PER_1000_LINES_MAX: usize = 10;

/// How a string is made of another value.
const OWNED_STRINGS: &[&str] = &[
    ".to_owned()",
    ".to_string()",
    ".into_owned()",
    "String::from(",
    "format!(",
];

#[test]
fn arrows_point_down_only() {
    let ranks: BTreeMap<&str, usize> = RANKS
        .iter()
        .enumerate()
        .flat_map(|(rank, names)| names.iter().map(move |name| (*name, rank)))
        .collect();
    let files = Files::of(sources());
    let mut wrong = BTreeSet::new();
    for source in sources() {
        let module = source.top();
        let Some(rank) = ranks.get(module) else {
            continue;
        };
        for (named, line) in files.named_by(source) {
            let Some((named, named_rank)) = named.first().and_then(|named| ranks.get_key_value(named.as_str())) else {
                continue;
            };
            if *named != module && named_rank <= rank {
                wrong.insert(format!("{}:{line}: {module} names {named}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_module_has_its_rank() {
    let ranked: BTreeSet<&str> = RANKS.iter().flat_map(|names| names.iter().copied()).collect();
    let modules: BTreeSet<&str> = sources().iter().map(|source| source.top()).collect();
    let strangers: Vec<&&str> = modules
        .iter()
        .filter(|name| !["lib", "main"].contains(*name) && !ranked.contains(*name))
        .collect();
    assert!(
        strangers.is_empty(),
        "modules without a place in the picture: {strangers:?}"
    );
}

/// Whether a path has the words of `name` in a row.
fn names(path: &[String], name: &str) -> bool {
    let words: Vec<&str> = name.split("::").collect();
    path.windows(words.len()).any(|part| part == words)
}

#[test]
fn the_rooms_that_decide_do_no_io() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| PURE.contains(&source.top())) {
        for path in &source.paths {
            for name in IMPURE.iter().filter(|name| names(&path.words, name)) {
                wrong.push(format!("{}:{}: {name}", source.path.display(), path.line));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_does_io_is_found_in_a_group_of_imports_too() {
    let text = "use std::{fmt, fs::{self, File}, time::Duration};\nfn now() -> Duration { std::time::Instant::now().elapsed() }";
    let source = Source::read(Path::new("lease/planted.rs"), text);
    let found = |name| source.paths.iter().any(|path| names(&path.words, name));
    assert!(found("std::fs") && found("Instant"));
    assert!(!found("std::env") && !found("SystemTime"));
}

#[test]
fn files_and_functions_stay_small() {
    let mut wrong = Vec::new();
    for source in sources() {
        let (all, shipped) = (source.raw.lines().count(), source.shipped().count());
        if shipped > FILE_LINES_WITHOUT_TESTS_MAX {
            wrong.push(format!("{}: {shipped} lines without tests", source.path.display()));
        }
        // Tests sit beside what they test; what must stay small is what a reader has to hold.
        if shipped == all && all > FILE_LINES_MAX {
            wrong.push(format!("{}: {all} lines", source.path.display()));
        }
        for (name, lines) in &source.functions {
            if *lines > FUNCTION_LINES_MAX {
                wrong.push(format!("{}: fn {name} has {lines} lines", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What is shown is a value with its words (`Display`, `format_args!`) until it is shown.
#[test]
fn strings_are_made_where_one_is_needed_and_nowhere_before() {
    let (mut calls, mut lines) = (BTreeMap::new(), 0);
    for source in sources() {
        let code = source.shipped().filter(|line| !line.trim_start().starts_with("//"));
        let owned = |line: &str| -> usize { OWNED_STRINGS.iter().map(|call| line.matches(call).count()).sum() };
        lines += source.shipped().count();
        *calls.entry(source.top()).or_insert(0) += code.map(owned).sum::<usize>();
    }
    let all: usize = calls.values().sum();
    assert!(all > 100, "the calls were not found: {calls:?}");
    assert!(
        all * 1000 <= lines * OWNED_STRINGS_PER_1000_LINES_MAX,
        "{all} in {lines} lines: {calls:#?}"
    );
}

#[test]
fn functions_are_measured_from_their_first_line_to_their_last() {
    let long = format!("fn long() {{\n{}}}\n", "    work();\n".repeat(80));
    let text =
        format!("{long}struct One;\nimpl One {{\n    fn short(&self) {{}}\n}}\ntrait Two {{\n    fn none();\n}}");
    let source = Source::read(Path::new("lease/planted.rs"), &text);
    assert_eq!(source.functions, [("long".to_owned(), 82), ("short".to_owned(), 1)]);
}

#[test]
fn every_file_opens_with_what_it_owns() {
    let silent: Vec<&Path> = sources()
        .iter()
        .filter(|source| !source.raw.starts_with("//!"))
        .map(|source| source.path.as_path())
        .collect();
    assert!(silent.is_empty(), "no //! at the top: {silent:#?}");
}

#[test]
fn lints_are_expected_with_a_reason_and_never_just_allowed() {
    let allowed = |source: &Source| -> Vec<String> {
        let places = source.allowed.iter();
        places.map(|line| format!("{}:{line}", source.path.display())).collect()
    };
    let wrong: Vec<String> = sources().iter().flat_map(allowed).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let planted = Source::read(Path::new("lease/planted.rs"), "#![allow(unused)]\nfn one() {}");
    assert_eq!(allowed(&planted), ["lease/planted.rs:1"]);
}
