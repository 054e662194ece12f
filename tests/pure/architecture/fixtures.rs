//! Tests take their inventories from one place: a new field of a host or a snapshot is a line there, and not one in
//! each file of tests.

use super::source::{Source, sources, test_sources};
use std::path::Path;

/// What tests/shared/fixtures.rs makes.
const MADE_THERE: &[&str] = &[
    "Artifact", "Host", "Image", "Origin", "Rule", "Snapshot", "Sourced", "Subnet",
];

/// Where a file's tests give every field of one of these a value, unless the file has a type of that name itself.
fn written_out(source: &Source) -> Vec<String> {
    let literals = source.test_literals.iter();
    literals
        .filter(|(name, _)| MADE_THERE.contains(&name.as_str()) && !source.types.contains(name))
        .map(|(name, line)| format!("{}:{line}: {name}", source.path.display()))
        .collect()
}

#[test]
fn what_an_inventory_is_made_of_is_written_out_in_one_place() {
    let tests = test_sources();
    let is_the_place = |source: &&Source| source.path == Path::new("shared/fixtures.rs");
    let there = tests.iter().find(is_the_place).expect("the fixtures are there");
    for name in MADE_THERE {
        assert!(written_out(there).iter().any(|found| found.ends_with(name)), "{name}");
    }
    let others = tests.iter().filter(|source| !is_the_place(source)).chain(sources());
    let found: Vec<String> = others.flat_map(written_out).collect();
    assert!(found.is_empty(), "take these from tests/shared/fixtures.rs: {found:#?}");
}

#[test]
fn an_inventory_that_a_test_writes_out_is_found() {
    let text = "fn shipped() -> Host { Host { name: 1 } }\n#[cfg(test)]\nmod tests {\n    fn of() -> Host { Host { name: 1 } }\n\
                fn by() -> Host { Host { name: 1, ..host() } }\n    fn other() -> File { File::Host { name: 1 } }\n}";
    let source = Source::read(Path::new("boot/planted.rs"), text);
    assert_eq!(written_out(&source), ["boot/planted.rs:4: Host"]);
    let own = Source::read_for_tests(Path::new("lab/planted.rs"), "struct Host;\nfn of() -> Host { Host {} }");
    assert_eq!(written_out(&own), [""; 0]);
}
