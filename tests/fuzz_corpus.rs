//! What fuzzing found worth keeping, through the same properties: no fuzzer is needed to replay it.

#![expect(clippy::unwrap_used, reason = "a test that can not go on stops where it stands")]

#[path = "fuzz/dhcp.rs"]
mod dhcp;
#[path = "dhcp_conformance/support.rs"]
#[allow(dead_code, reason = "the room is shared with the conformance tests")]
mod support;
#[path = "fuzz/tftp.rs"]
mod tftp;

use std::{fs, path::Path};

/// Every input in the corpus of a target, with its place: a line of hex each, comments behind `#`.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    let mut inputs = Vec::new();
    for file in [format!("{target}.hex"), format!("{target}-found.hex")] {
        let text = fs::read_to_string(folder.join(&file)).unwrap_or_default();
        let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.starts_with('#'));
        inputs.extend(lines.map(|(line, hex)| (format!("{file}:{line}"), bytes(hex))));
    }
    inputs
}

fn bytes(hex: &str) -> Vec<u8> {
    let pair = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(pair).collect()
}

#[test]
fn every_life_in_the_dhcp_corpus_holds_and_many_draw_replies() {
    let inputs = corpus("dhcp");
    let answered = inputs
        .iter()
        .filter(|(name, input)| {
            println!("{name}");
            dhcp::live(input) > 0
        })
        .count();
    assert!(
        answered * 2 > inputs.len() && answered > 50,
        "{answered} of {}",
        inputs.len()
    );
}

#[test]
fn every_transfer_in_the_tftp_corpus_holds() {
    let inputs = corpus("tftp");
    assert!(inputs.len() > 20, "{} inputs", inputs.len());
    for (name, input) in inputs {
        println!("{name}");
        tftp::transfer(&input);
    }
}
