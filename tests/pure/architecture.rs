//! The shape of the crate, held by a test: which module may name which, and how large things grow.
//!
//! Arrows point down only: cli → daemon → net, admin → state → config, store → images → boot → proto,
//! lease → model. The rooms that do no I/O name nothing that does.

mod circles;
mod names;
mod source;
mod walks;

use source::{Source, functions, named_modules, names, sources};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

/// The modules from the top down; one may name those of lower rank, and itself.
const RANKS: &[&[&str]] = &[
    &["cli"],
    &["daemon"],
    &["net", "admin"],
    &["state"],
    &["config", "store", "stall"],
    &["images", "attempt"],
    &["boot", "storm"],
    &["proto", "lease"],
    &["model"],
];

/// Rooms that decide and do no I/O.
const PURE: &[&str] = &["attempt", "boot", "proto", "lease", "model"];

/// What a pure room may not name.
const IMPURE: &[&str] = &[
    "tokio",
    "hyper",
    "hyper_util",
    "socket2",
    "nix::",
    "libc::",
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
    let mut wrong = BTreeSet::new();
    for source in sources() {
        let module = source.module();
        let Some(rank) = ranks.get(module.as_str()) else {
            continue;
        };
        for named in named_modules(source.shipped()) {
            let Some(named_rank) = ranks.get(named.as_str()) else {
                continue;
            };
            if named != module && named_rank <= rank {
                wrong.insert(format!("{}: {module} names {named}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_module_has_its_rank() {
    let ranked: BTreeSet<&str> = RANKS.iter().flat_map(|names| names.iter().copied()).collect();
    let modules: BTreeSet<String> = sources().iter().map(Source::module).collect();
    let strangers: Vec<&String> = modules
        .iter()
        .filter(|name| !["lib", "main"].contains(&name.as_str()) && !ranked.contains(name.as_str()))
        .collect();
    assert!(
        strangers.is_empty(),
        "modules without a place in the picture: {strangers:?}"
    );
}

#[test]
fn the_rooms_that_decide_do_no_io() {
    let mut wrong = Vec::new();
    for source in sources()
        .into_iter()
        .filter(|source| PURE.contains(&source.module().as_str()))
    {
        for (at, line) in source.shipped().lines().enumerate() {
            for name in IMPURE.iter().filter(|name| names(line, name)) {
                wrong.push(format!("{}:{}: {name}", source.path.display(), at + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_and_functions_stay_small() {
    let mut wrong = Vec::new();
    for source in sources() {
        let (all, shipped) = (source.raw.lines().count(), source.shipped().lines().count());
        if shipped > FILE_LINES_WITHOUT_TESTS_MAX {
            wrong.push(format!("{}: {shipped} lines without tests", source.path.display()));
        }
        // Tests sit beside what they test; what must stay small is what a reader has to hold.
        if shipped == all && all > FILE_LINES_MAX {
            wrong.push(format!("{}: {all} lines", source.path.display()));
        }
        for (name, lines) in functions(&source.code) {
            if lines > FUNCTION_LINES_MAX {
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
        let shipped = source.shipped();
        let count: usize = OWNED_STRINGS.iter().map(|call| shipped.matches(call).count()).sum();
        lines += shipped.lines().count();
        *calls.entry(source.module()).or_insert(0) += count;
    }
    let all: usize = calls.values().sum();
    assert!(all > 100, "the calls were not found: {calls:?}");
    assert!(
        all * 1000 <= lines * OWNED_STRINGS_PER_1000_LINES_MAX,
        "{all} in {lines} lines: {calls:#?}"
    );
}

#[test]
fn every_file_opens_with_what_it_owns() {
    let silent: Vec<PathBuf> = sources()
        .into_iter()
        .filter(|source| !source.raw.starts_with("//!"))
        .map(|source| source.path)
        .collect();
    assert!(silent.is_empty(), "no //! at the top: {silent:#?}");
}

#[test]
fn lints_are_expected_with_a_reason_and_never_just_allowed() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (at, line) in source.code.lines().enumerate() {
            if line.contains("#[allow(") || line.contains("#![allow(") {
                wrong.push(format!("{}:{}", source.path.display(), at + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
