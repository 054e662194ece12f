//! `bootwright storm` before its first packet: what it refuses to do, and how it says so.

use std::process::{Command, Output};

fn storm(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bootwright"))
        .arg("storm")
        .args(arguments)
        .output()
        .expect("the built binary runs")
}

/// What it says when it refuses with that exit code.
fn refusal(arguments: &[&str], code: i32) -> String {
    let output = storm(arguments);
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {printed}");
    printed
}

#[test]
fn without_a_server_named_by_its_address_there_is_no_storm() {
    assert!(refusal(&[], 2).contains("--server"));
    assert!(refusal(&["--server", "boot.example"], 2).contains("--server"));
    for address in ["0.0.0.0", "255.255.255.255", "224.0.0.1"] {
        let printed = refusal(&["--server", address, "--relay", "198.51.100.1"], 1);
        assert!(printed.contains("not the address of one server"), "{printed}");
    }
}

#[test]
fn a_storm_does_not_come_from_the_appliance_itself() {
    let printed = refusal(&["--server", "127.0.0.1"], 1);
    assert!(printed.contains("127.0.0.1 is an address of this host"), "{printed}");
}

#[test]
fn machines_time_and_macs_are_bounded() {
    let common = ["--server", "192.0.2.1", "--relay", "198.51.100.1"];
    for (more, word) in [
        (["--machines", "10001"], "1 to 10000"),
        (["--machines", "0"], "1 to 10000"),
        (["--time-limit", "3601"], "3600 s at most"),
        (["--mac-first", "00:16:3e:00:00:01"], "locally administered"),
    ] {
        let printed = refusal(&[&common[..], &more].concat(), 1);
        assert!(printed.contains(word), "{printed}");
    }
}

#[test]
fn a_relay_address_that_this_host_does_not_have_is_named() {
    let printed = refusal(&["--server", "192.0.2.1", "--relay", "198.51.100.1"], 1);
    assert!(printed.contains("198.51.100.1 port 67"), "{printed}");
}
