//! The captures of real firmware in tests/captures, taken anew: with WRITE_CAPTURES=1 they take the place of those that
//! are there, and `WRITE_CAPTURES=1 cargo test --test pure -- captures` then writes what a replay says of them.

use super::{KERNEL, LOADER};
use crate::{
    daemon::{Daemon, ask},
    machine::{Firmware, Machine},
    namespace::{Wire, text},
    room::{self, Room, bootwright, shipped},
};
use serde_json::Value;
use std::{env, fs};

/// The room that a replay of them asks, with loaders that run.
fn room() -> Room {
    let folder = shipped().join("tests/captures/room");
    let room = Room::new("");
    for part in ["scripts", "images"] {
        room::copy(&folder.join(part), &room.path(part));
    }
    let inventory = fs::read_to_string(folder.join("inventory.toml"));
    room.write("inventory.toml", &inventory.expect("it is in the checkout"));
    room
}

/// Boots each firmware in turn to the last byte of its kernel; what went over the wire is what a replay would send.
fn taken_of(name: &str, firmwares: &[Firmware]) {
    let (wire, room) = (Wire::new(), room());
    let daemon = Daemon::start(&wire, &room);
    for (place, firmware) in firmwares.iter().enumerate() {
        let machine = Machine::power_on(&wire, *firmware, "52:54:00:00:00:07");
        let are_sent = |_: &_| {
            let lines = daemon.lines();
            let kernels = lines
                .iter()
                .filter(|line| line.is("r1u07", "sent", &["image small/kernel.bin"]));
            kernels.count() > place
        };
        daemon.wait_for_within("the kernel", LOADER + KERNEL, are_sent);
        drop(machine);
    }
    let file = room.path("taken.pcapng");
    let path = file.to_str().expect("a plain name");
    let captured = ask(&room, &["capture", "r1u07", "-o", path]);
    assert!(captured.status.success(), "{}", text(&captured));
    let config = shipped().join("tests/captures/room");
    let config = config.to_str().expect("a plain name");
    let replayed = bootwright(&["replay", "--json", "--config", config, path]);
    assert!(replayed.status.success(), "{}", text(&replayed));
    let replayed: Value = serde_json::from_slice(&replayed.stdout).expect("--json prints JSON");
    let answers = replayed["answers"].as_array().expect("a list");
    assert!(answers.len() >= 4, "{replayed:#}");
    for answer in answers {
        assert_eq!(answer["same_as_captured"], true, "{answer:#}");
    }
    if env::var_os("WRITE_CAPTURES").is_some() {
        let beside = shipped().join("tests/captures").join(name);
        let taken = fs::read(&file).expect("it was written just now");
        fs::write(beside, taken).expect("a file of the checkout");
    }
}

#[test]
#[ignore = "one minute of firmware for what tests/pure replays: WRITE_CAPTURES=1 takes tests/captures anew"]
fn the_captures_of_real_firmware_are_what_a_replay_says() {
    taken_of("ovmf-boots.pcapng", &[Firmware::OvmfPxe, Firmware::OvmfHttp]);
    taken_of("seabios-boots.pcapng", &[Firmware::SeaBios]);
}
