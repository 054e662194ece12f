//! The journal of generations on a disk that is full, and in a process that is killed while it writes: what was kept
//! stays, and there is never half of one.

use bootwright::model::WallTime;
use bootwright::store::{
    UnlearnedMark,
    generations::{self, GenerationRecord},
};
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

const ROLE_FOLDER: &str = "BOOTWRIGHT_TEST_GENERATIONS";

/// Bytes that no packer makes smaller, another sequence for each generation.
fn noise(number: u64, bytes: usize) -> Vec<u8> {
    let mut state = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let words = std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(bytes).collect()
}

fn keep(state: &Path, number: u64, bytes: usize) -> std::io::Result<()> {
    let text = noise(number, bytes);
    let files = [(Path::new("inventory.toml"), &text[..])];
    let record = GenerationRecord {
        number,
        at: WallTime(1_764_000_000 + number),
        by: "ada".to_owned(),
        rolled_back_to: None,
        digest: generations::digest(&files),
        hosts: 1,
        counts: None,
        changes: None,
        has_files: true,
    };
    generations::keep(state, &record, &files)
}

/// The numbers of those that are kept: each is whole, or it is none.
fn kept(state: &Path) -> Vec<u64> {
    let whole = |record: &GenerationRecord| {
        let files = generations::files(state, record.number).unwrap();
        let borrowed: Vec<(&Path, &[u8])> = files.iter().map(|(path, bytes)| (&**path, &**bytes)).collect();
        assert_eq!(generations::digest(&borrowed), record.digest, "{record:?}");
        record.number
    };
    generations::all(state).iter().map(whole).collect()
}

/// Role: keeps one generation after the other until it is killed.
#[test]
fn role_keeps_generations() {
    let Some(state) = std::env::var_os(ROLE_FOLDER) else {
        return;
    };
    let state = PathBuf::from(state);
    let first = generations::latest(&state).map_or(0, |record| record.number);
    for number in first + 1.. {
        keep(&state, number, 50_000).unwrap();
        println!("{number}");
    }
}

#[test]
fn whoever_is_killed_while_a_generation_is_written_leaves_all_before_it_and_no_half_of_one() {
    let state = tempfile::tempdir().unwrap();
    let (mut before, mut unfinished) = (0, 0);
    for round in 0..25_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "generations::role_keeps_generations",
                "--nocapture",
                "--quiet",
            ])
            .env(ROLE_FOLDER, state.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // At another moment each time.
        sleep(Duration::from_millis(100 + round * 7 % 50));
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let last = said
            .lines()
            .filter_map(|line| line.trim().parse::<u64>().ok())
            .next_back();
        unfinished += u64::from(state.path().join("generations/.new").exists());
        let kept = kept(state.path());
        let latest = kept.last().copied().unwrap_or(0);
        assert!(
            latest >= last.unwrap_or(0).max(before),
            "{latest} is kept, and {last:?} was: {said}"
        );
        assert!(kept.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{kept:?}");
        before = latest;
    }
    assert!(
        before > 10,
        "{before} generations in all: it was killed before it did anything"
    );
    println!("{before} generations, {unfinished} of 25 kills in the middle of one");
    keep(state.path(), before + 1, 10).unwrap();
    assert!(!state.path().join("generations/.new").exists());
}

/// Role: keeps generations on a small disk until it is full, and goes on once there is room.
#[test]
fn role_fills_a_disk_with_generations() {
    let Some(folder) = std::env::var_os(ROLE_FOLDER) else {
        return;
    };
    let folder = PathBuf::from(folder);
    let mut mark = UnlearnedMark::open(&folder).unwrap();
    let refused = (1..).find_map(|number| Some((number, keep(&folder, number, 100_000).err()?)));
    let (number, error) = refused.unwrap();
    assert_eq!(error.raw_os_error(), Some(nix::libc::ENOSPC));
    assert_eq!(kept(&folder), (1..number).collect::<Vec<u64>>());
    assert!(!folder.join("generations/.new").exists(), "half of one takes room");
    // What is left takes not even a little more, and that hosts were not learned is kept all the same.
    let rest = (1..=200_usize)
        .rev()
        .find(|pages| std::fs::write(folder.join("rest"), vec![7; pages * 4096]).is_ok());
    let full = std::fs::write(folder.join("more"), b"more");
    assert!(rest.is_none() || full.is_err(), "{rest:?} pages more, and then some");
    mark.set(true).unwrap();
    assert!(UnlearnedMark::open(&folder).unwrap().is_set());
    std::fs::remove_file(folder.join("generations/1")).unwrap();
    let _ = std::fs::remove_file(folder.join("rest"));
    keep(&folder, number, 100_000).unwrap();
    assert_eq!(kept(&folder), (2..=number).collect::<Vec<u64>>());
    println!("\nhealed");
}

/// Needs root, for a small disk of its own in a mount namespace.
#[test]
fn a_full_disk_keeps_what_was_kept_and_takes_the_next_once_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"mount -t tmpfs -o size=1m none "$0" && exec "$1" --exact generations::role_fills_a_disk_with_generations --nocapture --quiet"#;
    let run = Command::new("unshare")
        .args(["-m", "sh", "-c", script])
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .env(ROLE_FOLDER, folder.path())
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&run.stdout).contains("healed"), "{run:?}");
}
