//! The shipped unit under a real systemd: what operators see of a start that fails, and of one that finds its
//! files refused.

use super::namespace::text;
use std::{collections::BTreeMap, path::Path, process::Command};

/// What each part of the script printed, by its name.
fn parts() -> BTreeMap<String, String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(source.join("tests/under-systemd.sh"));
    command
        .args([env!("CARGO_BIN_EXE_bootwright"), "tests/lab/unit.sh"])
        .current_dir(source)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let output = super::namespace::finish(command, "tests/under-systemd.sh");
    assert!(output.status.success(), "{}", text(&output));
    let printed = text(&output);
    let parts = printed.split("== ").skip(1).filter_map(|part| part.split_once('\n'));
    parts.map(|(name, lines)| (name.to_owned(), lines.to_owned())).collect()
}

/// Whether a part has a line that begins so and has those words.
fn says(part: &str, begins: &str, words: &str) -> bool {
    part.lines()
        .any(|line| line.starts_with(begins) && line.contains(words))
}

#[test]
fn systemd_and_its_journal_tell_of_starts_that_fail_and_of_files_that_are_refused() {
    let parts = parts();
    let part = |name: &str| parts.get(name).unwrap_or_else(|| panic!("no part {name}: {parts:#?}"));

    let first = part("a first start is refused");
    assert!(
        says(first, "exit: 1", "") && says(first, "err: ", "there is no image `debian-13`"),
        "{first}"
    );
    assert!(!first.contains("info: "), "{first}");

    let compiled = part("a sound start");
    assert!(
        says(compiled, "exit: 0", "") && says(compiled, "status: generation 1: 1 host", ""),
        "{compiled}"
    );
    assert!(says(compiled, "kept: 700 bootwright", ""), "{compiled}");

    let refused = part("a restart that is refused");
    assert!(
        says(refused, "exit: 0", "") && says(refused, "err: ", "THE FILES ON DISK ARE REFUSED"),
        "{refused}"
    );
    assert!(says(refused, "status: ", "NOT FROM THE FILES ON DISK"), "{refused}");
    assert!(says(refused, "err: ", "inventory.toml:"), "{refused}");

    let corrected = part("corrected");
    assert!(says(corrected, "status: generation 2: 1 host", ""), "{corrected}");
    assert!(
        !corrected.contains("err: ") && !corrected.contains("REFUSED"),
        "{corrected}"
    );

    let held = part("a port that is held");
    assert!(
        says(held, "exit: 1", "") && says(held, "err: ", "`sudo ss -lnpu 'sport = :69'`"),
        "{held}"
    );
    assert!(says(held, "root sees: ", "perl"), "{held}");

    let senseless = part("arguments that make no sense");
    assert!(
        says(senseless, "exit: 1", "") && says(senseless, "err: ", "unexpected argument '--confg'"),
        "{senseless}"
    );
}
