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
fn has_line(part: &str, begins: &str, words: &str) -> bool {
    part.lines()
        .any(|line| line.starts_with(begins) && line.contains(words))
}

#[test]
fn systemd_and_its_journal_tell_of_starts_that_fail_and_of_files_that_are_refused() {
    let parts = parts();
    let part = |name: &str| parts.get(name).unwrap_or_else(|| panic!("no part {name}: {parts:#?}"));

    let first = part("a first start is refused");
    assert!(
        has_line(first, "exit: 1", "") && has_line(first, "err: ", "there is no image `debian-13`"),
        "{first}"
    );
    assert!(!first.contains("info: "), "{first}");

    let compiled = part("a sound start");
    assert!(
        has_line(compiled, "exit: 0", "") && has_line(compiled, "status: generation 1: 1 host", ""),
        "{compiled}"
    );
    assert!(has_line(compiled, "kept: 700 bootwright", ""), "{compiled}");

    let refused = part("a restart that is refused");
    assert!(
        has_line(refused, "exit: 0", "") && has_line(refused, "err: ", "event=\"last_good_served\""),
        "{refused}"
    );
    assert!(has_line(refused, "status: ", "NOT FROM THE FILES ON DISK"), "{refused}");
    assert!(has_line(refused, "err: ", "event=\"file_error\""), "{refused}");

    let corrected = part("corrected");
    assert!(has_line(corrected, "status: generation 2: 1 host", ""), "{corrected}");
    assert!(
        !corrected.contains("err: ") && !corrected.contains("REFUSED"),
        "{corrected}"
    );

    let held = part("a port that is held");
    assert!(
        has_line(held, "exit: 1", "") && has_line(held, "err: ", "`sudo ss -lnpu 'sport = :69'`"),
        "{held}"
    );
    assert!(has_line(held, "root sees: ", "perl"), "{held}");

    let senseless = part("arguments that make no sense");
    assert!(
        has_line(senseless, "exit: 1", "") && has_line(senseless, "err: ", "unexpected argument '--confg'"),
        "{senseless}"
    );
}
