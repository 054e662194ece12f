//! What fuzzing found worth keeping, through the same properties: no fuzzer is needed to replay it.

#[path = "../fuzz/capture.rs"]
mod capture;
#[path = "../fuzz/dhcp.rs"]
mod dhcp;
#[path = "../fuzz/http.rs"]
mod http;
#[path = "../fuzz/input.rs"]
mod input;
#[path = "../fuzz/inventory.rs"]
mod inventory;
#[path = "../fuzz/journal.rs"]
mod journal;
#[path = "../fuzz/relay.rs"]
mod relay;
#[path = "../fuzz/room.rs"]
mod room;
#[path = "../fuzz/syslog.rs"]
mod syslog;
#[path = "../fuzz/template.rs"]
mod template;
#[path = "../fuzz/tftp.rs"]
mod tftp;

use super::{dhcp_conformance::support, fixtures};
use std::{collections::HashSet, fs, path::Path};

/// Bytes of a target's corpus at most: what a change of this repository costs everybody who clones it.
const CORPUS_BYTES_MAX: usize = 256 * 1024;

/// Every input in the corpus of a target, with its place: of found ones a line of hex each, comments behind
/// `#`; of those made by hand a file each, which is called what it is.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    let mut inputs = Vec::new();
    for file in [format!("{target}.hex"), format!("{target}-found.hex")] {
        let text = fs::read_to_string(folder.join(&file)).unwrap_or_default();
        let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.starts_with('#'));
        inputs.extend(lines.map(|(line, hex)| (format!("{file}:{line}"), bytes(hex))));
    }
    for file in fs::read_dir(folder.join(target)).into_iter().flatten() {
        let path = file.unwrap().path();
        inputs.push((path.display().to_string(), fs::read(path).unwrap()));
    }
    inputs
}

fn bytes(hex: &str) -> Vec<u8> {
    let pair = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(pair).collect()
}

/// Runs every input of a target; how many there are, and how many came to something.
fn replay(target: &str, mut run: impl FnMut(&[u8]) -> bool) -> (usize, usize) {
    let inputs = corpus(target);
    let came_to_something = inputs.iter().filter(|(name, input)| {
        println!("{name}");
        run(input)
    });
    (inputs.len(), came_to_something.count())
}

#[test]
fn no_target_keeps_an_input_twice_or_more_than_is_read() {
    for target in [
        "capture",
        "dhcp",
        "http",
        "inventory",
        "journal",
        "relay",
        "syslog",
        "template",
        "tftp",
    ] {
        let inputs = corpus(target);
        let kept: HashSet<&[u8]> = inputs.iter().map(|(_, input)| input.as_slice()).collect();
        assert_eq!(kept.len(), inputs.len(), "{target} has one twice");
        let size: usize = inputs.iter().map(|(_, input)| input.len()).sum();
        assert!(size <= CORPUS_BYTES_MAX, "{target}: {size} bytes");
    }
}

#[test]
fn every_life_in_the_dhcp_corpus_holds_and_many_draw_replies() {
    let (all, answered) = replay("dhcp", |input| dhcp::live(input) > 0);
    assert!(answered * 2 > all && answered > 50, "{answered} of {all}");
}

#[test]
fn every_life_behind_relays_holds_and_many_draw_replies() {
    let (all, answered) = replay("relay", |input| relay::live(input) > 0);
    assert!(answered * 2 > all && answered > 50, "{answered} of {all}");
}

#[test]
fn every_file_is_read_or_refused_and_what_is_read_comes_to_something() {
    let (all, dissected) = replay("capture", |input| capture::judge(input) > 0);
    assert!(dissected > 3 && all > dissected, "{dissected} of {all}");
}

#[test]
fn every_transfer_in_the_tftp_corpus_holds() {
    let (all, _) = replay("tftp", |input| {
        tftp::transfer(input);
        true
    });
    assert!(all > 20, "{all} inputs");
}

#[test]
fn every_datagram_on_the_log_servers_port_is_a_line_that_may_be_shown_or_empty() {
    let (all, lines) = replay("syslog", syslog::judge);
    assert!(lines > 10 && lines < all, "{lines} of {all}");
}

#[test]
fn every_journal_is_read_and_costs_no_commit() {
    let disk = journal::Disk::new();
    let (all, with_leases) = replay("journal", |input| disk.live(input) > 0);
    assert!(with_leases > 20, "{with_leases} of {all}");
}

#[test]
fn every_inventory_is_refused_in_words_or_served() {
    let room = room::Room::new();
    let (all, accepted) = replay("inventory", |input| inventory::judge(&room, input));
    assert!(accepted > 10 && all - accepted > 10, "{accepted} of {all}");
}

#[test]
fn every_template_is_refused_in_words_or_rendered() {
    let room = template::room();
    let (all, accepted) = replay("template", |input| template::judge(&room, input));
    assert!(accepted > 10 && all - accepted > 10, "{accepted} of {all}");
}

#[test]
fn every_request_gets_whole_answers_and_the_next_one_too() {
    // What the log says of a client is looked at, and a process has one log.
    if !super::is_alone("fuzz_corpus::every_request_gets_whole_answers_and_the_next_one_too") {
        return;
    }
    let appliance = http::Appliance::start();
    let (all, answered) = replay("http", |input| appliance.ask(input) > 1);
    assert!(answered > 20 && answered < all, "{answered} of {all}");
    assert!(appliance.malformed() > 5, "few heads were refused");
}
