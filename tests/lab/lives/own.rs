//! Rung 3: a host's own address, and who else may have it: its other interface, or a stranger.

use super::{Life, MAC_TEXT, inventory};
use crate::daemon::ask_json;
use crate::namespace::{Namespace, TaskTracker};
use std::{net::Ipv4Addr, process::Stdio};

const SECOND_MAC: &str = "02:00:00:00:00:22";
const OWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);

fn with_host(macs: &str) -> Life {
    let host = format!("[[host]]\nname = \"r1u21\"\nmac = {macs}\naddress = \"{OWN}\"\n");
    Life::in_room("1h", |_, room| {
        let subnet = inventory("192.0.2", "100-192.0.2.199", "1h");
        room.write("inventory.toml", &format!("{subnet}{host}"));
    })
}

/// dhcpcd on `eth0`, as a system runs it: it asks by ARP whether somebody has its address.
fn dhcpcd(life: &Life, namespace: &Namespace, name: &str) -> TaskTracker {
    let folders = [("run", "/run/dhcpcd"), ("lib", "/var/lib/dhcpcd")];
    let folders = folders.map(|(folder, place)| life.mounted(&format!("{name}-{folder}"), place));
    let script = format!(
        "{} exec dhcpcd -4 -B -f /dev/null --script /bin/true eth0",
        folders.concat()
    );
    let mut command = namespace.command("sh");
    let child = command
        .args(["-c", &script])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    TaskTracker(child.expect("package iproute2 is installed"))
}

#[test]
fn two_interfaces_of_one_host_that_ask_together_have_an_address_each() {
    let life = with_host(&format!("[\"{MAC_TEXT}\", \"{SECOND_MAC}\"]"));
    let second = life.wire.client(SECOND_MAC);
    let _first = dhcpcd(&life, &life.client, "first");
    let _second = dhcpcd(&life, &second, "second");
    let addresses = crate::poll(super::TURN, || {
        let both = [&life.client, &second].map(|namespace| namespace.addresses("eth0"));
        both.iter().all(|one| !one.is_empty()).then(|| both.concat())
    });
    let addresses = addresses.unwrap_or_else(|| panic!("{}\n{}", life.watch.text(), life.daemon.log_tail()));
    let own = addresses.iter().filter(|address| **address == OWN.to_string());
    assert_eq!((addresses.len(), own.count()), (2, 1), "{addresses:?}");
    life.daemon.wait_for("which of them has it", |line| {
        line.level == "WARN" && line.is("r1u21", "reservation_unavailable", &[])
    });
    let hosts = ask_json(&life.room, "hosts");
    let holds = hosts[0]["holds"].as_array().expect("a list");
    let mut held: Vec<&str> = holds.iter().filter_map(|held| held["address"].as_str()).collect();
    let mut has: Vec<&str> = addresses.iter().map(String::as_str).collect();
    held.sort_unstable();
    has.sort_unstable();
    assert_eq!(held, has);
}

#[test]
fn a_host_whose_own_address_a_stranger_uses_is_reported_once_with_the_strangers_mac() {
    let life = with_host(&format!("\"{MAC_TEXT}\""));
    let stranger = life.wire.client_at("02:00:00:00:00:66", "192.0.2.11");
    let _client = dhcpcd(&life, &life.client, "first");
    let disputed = || ask_json(&life.room, "status")["counters"]["dhcp_reservation_conflict"].as_u64();
    let turns = crate::poll(super::TURN, || disputed().filter(|turns| *turns >= 4));
    assert!(turns.is_some(), "{}\n{}", life.watch.text(), life.daemon.log_tail());
    let line = life.daemon.wait_for("who uses it", |line| {
        line.is("r1u21", "reservation_conflict", &["192.0.2.11"]) && line.field("by") == "02:00:00:00:00:66"
    });
    assert_eq!(line.level, "WARN");
    let lines = life.daemon.lines();
    let logged = |event: &str| lines.iter().filter(|line| line.is("r1u21", event, &[])).count();
    assert_eq!(
        [
            logged("offered"),
            logged("acknowledged"),
            logged("reservation_conflict")
        ],
        [1, 1, 1]
    );
    drop(stranger);
    life.has(OWN);
}
