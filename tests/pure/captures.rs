//! Captures of real boots, each with what a replay of it says beside it: one from the field becomes a test by being
//! copied here. With `WRITE_CAPTURES=1` what the replay says is written.

use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures")
}

/// What a replay says, as far as it is no prose and no matter of this machine.
fn replayed(capture: &Path) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_bootwright"))
        .args(["replay", "--json", "--config"])
        .arg(folder().join("room"))
        .arg(capture)
        .output()
        .unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {complaints}", capture.display());
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let answers = said["answers"].as_array().unwrap().iter().map(|answer| {
        let fields = [
            "after_ms",
            "machine",
            "asked",
            "stage",
            "event",
            "reason",
            "boot",
            "address",
            "same_as_captured",
        ];
        fields.map(|field| answer[field].clone()).to_vec()
    });
    let attempts = said["attempts"].as_array().unwrap().iter().map(|attempt| {
        let verdict = &attempt["verdict"];
        json!({
            "host": attempt["host"], "mac": attempt["mac"], "address": attempt["address"],
            "progress": attempt["progress"], "outcome": attempt["outcome"], "cause": verdict["cause"],
        })
    });
    json!({
        "server": said["server"],
        "answers": answers.collect::<Vec<Vec<Value>>>(),
        "attempts": attempts.collect::<Vec<Value>>(),
    })
}

#[test]
fn every_capture_comes_to_what_is_written_beside_it() {
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let is_capture = |file: &PathBuf| file.extension().is_some_and(|kind| kind == "pcapng" || kind == "pcap");
    let mut captures: Vec<PathBuf> = files.filter(is_capture).collect();
    captures.sort();
    assert!(captures.len() >= 3, "{captures:?}");
    for capture in captures {
        let beside = capture.with_extension("json");
        let said = replayed(&capture);
        if std::env::var_os("WRITE_CAPTURES").is_some() {
            fs::write(&beside, serde_json::to_string_pretty(&said).unwrap() + "\n").unwrap();
        }
        let expected: Value = serde_json::from_slice(&fs::read(&beside).unwrap()).unwrap();
        assert_eq!(said, expected, "{}", capture.display());
    }
}
