//! Real firmware that does not come up: what was done to it, and the cause that `bootwright why` names.
//!
//! Some causes are told by a silence of a minute or two; those, and what needs another QEMU, are run by
//! `make test-causes`.

use super::{KERNEL, LOADER, WORKER};
use crate::{
    daemon::{Daemon, ask, ask_json_with},
    machine::{Firmware, Machine},
    namespace::{Wire, text},
    release::Release,
    room::Room,
};
use serde_json::Value;
use std::{fs, io::Write as _, time::Duration};

const MAC: &str = "52:54:00:00:00:07";

/// A live system of a kernel and an initrd that are only files: what firmware and loader do with them is enough.
const SMALL: &str = r#"
[[host]]
name    = "r1u07"
mac     = "52:54:00:00:00:07"
address = "192.0.2.11"
image   = "small"
boot    = "live"
script  = "live"
"#;

/// Waits until `why` names that cause for r1u07; the verdict.
fn verdict(room: &Room, daemon: &Daemon, cause: &str, timeout: Duration) -> Value {
    let mut named = Vec::new();
    let found = crate::poll_machine(timeout, || {
        let verdict = ask_json_with(room, &["why", "r1u07"])[0]["verdict"].clone();
        let is_it = verdict["cause"] == cause;
        if !verdict.is_null() && !named.contains(&verdict["cause"]) {
            named.push(verdict["cause"].clone());
        }
        is_it.then_some(verdict)
    });
    let said = || text(&ask(room, &["why", "r1u07"]));
    let Some(verdict) = found else {
        panic!("{cause} is not named, but {named:?}\n{}\n{}", said(), daemon.log_tail());
    };
    eprintln!("{cause}: {}", said());
    verdict
}

/// A room whose image `small` has a kernel and an initrd of so many megabytes, of which all but the first bytes are
/// noise.
fn small_room(initrd_mb: usize) -> Room {
    let room = Room::new(SMALL);
    let kernel = Release::own().installer("amd64").join("linux");
    let initrd = room.path("initrd");
    let mut file = fs::File::create(&initrd).expect("a new file in our own folder");
    for block in 0..initrd_mb {
        let number = u8::try_from(block % 251).expect("less than 251");
        file.write_all(&vec![number; 1 << 20]).expect("room for an initrd");
    }
    let shown = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let room = room.with_image("small", "x86_64", [&shown(&kernel), &shown(&initrd)]);
    fs::remove_file(initrd).expect("it was copied");
    room
}

#[test]
fn an_initrd_that_is_gone_is_a_missing_artifact() {
    let wire = Wire::new();
    let room = small_room(1);
    let daemon = Daemon::start(&wire, &room);
    fs::remove_file(room.path("images/small/initrd")).expect("it is there");
    let _machine = Machine::power_on(&wire, Firmware::SeaBios, MAC);
    let verdict = verdict(&room, &daemon, "artifact_missing", LOADER);
    assert_eq!(
        (&verdict["last"], &verdict["missing"]),
        (&"script".into(), &"artifacts".into())
    );
}

#[test]
fn an_initrd_with_other_bytes_is_a_corrupt_artifact() {
    let wire = Wire::new();
    let room = small_room(1);
    let file = room.path("images/small/initrd");
    let mut bytes = fs::read(&file).expect("it is there");
    bytes[700_000] ^= 1;
    fs::write(&file, bytes).expect("our own file");
    let daemon = Daemon::start(&wire, &room);
    let _machine = Machine::power_on(&wire, Firmware::SeaBios, MAC);
    verdict(&room, &daemon, "artifact_corrupt", LOADER);
}

#[test]
fn a_script_with_a_command_that_ipxe_lacks_fails() {
    let wire = Wire::new();
    let room = Room::new(&SMALL.replace("script  = \"live\"", "script  = \"typo\""))
        .with_small_image(b"no kernel")
        .with_script(
            "typo",
            "#!ipxe\nkernal {{ image.kernel }} || goto failed\nboot\n{% include \"retry\" %}\n",
        );
    let daemon = Daemon::start(&wire, &room);
    let machine = Machine::power_on(&wire, Firmware::SeaBios, MAC);
    let verdict = verdict(&room, &daemon, "script_fails", LOADER);
    assert_eq!(verdict["last"], "script");
    machine.wait_for("kernal: command not found", LOADER);
}

#[test]
#[ignore = "half a gigabyte goes over the wire again and again: make test-causes"]
fn an_initrd_that_is_larger_than_the_memory_is_named() {
    let wire = Wire::new();
    let room = small_room(300);
    let daemon = Daemon::start(&wire, &room);
    let _machine = Machine::power_on_with_memory(&wire, Firmware::SeaBios, MAC, 256);
    verdict(&room, &daemon, "too_little_memory", KERNEL * 3);
}

#[test]
#[ignore = "a silence of two minutes: make test-causes"]
fn a_kernel_without_a_driver_for_its_network_card_is_named() {
    let wire = Wire::new();
    // The initrd has the driver, and udev loads what the kernel's parameters do not forbid.
    let parameters = "\"console=ttyS0,115200\", \"modprobe.blacklist=virtio_net\"";
    let room = Room::new(&WORKER.replace("\"console=ttyS0,115200\"", parameters)).with_debian();
    let daemon = Daemon::start(&wire, &room);
    let _machine = Machine::power_on(&wire, Firmware::SeaBios, MAC);
    super::boots_to_the_kernel(&daemon, "r1u07", None);
    let verdict = verdict(&room, &daemon, "kernel_no_network", KERNEL * 3);
    assert_eq!(
        (&verdict["last"], &verdict["missing"]),
        (&"artifacts".into(), &"system".into())
    );
}

#[test]
#[ignore = "OVMF starts twice: make test-causes"]
fn a_loader_that_secure_boot_refuses_is_named() {
    let wire = Wire::new();
    let room = Room::new(WORKER).with_debian();
    let daemon = Daemon::start(&wire, &room);
    let machine = Machine::power_on(&wire, Firmware::OvmfSecureBoot, MAC);
    let verdict = verdict(&room, &daemon, "loader_refused", LOADER * 3);
    assert_eq!(
        (&verdict["last"], &verdict["missing"]),
        (&"loader".into(), &"script".into())
    );
    machine.wait_for("Access Denied", LOADER);
}

#[test]
#[ignore = "OVMF, and a link that stays shut for 40 s: make test-causes"]
fn a_port_in_spanning_tree_learning_is_named_and_forgotten_when_it_opens() {
    let wire = Wire::new();
    let room = Room::new(WORKER).with_debian();
    let daemon = Daemon::start(&wire, &room);
    let machine = Machine::power_on(&wire, Firmware::OvmfPxe, MAC);
    daemon.wait_for_within("the loader", LOADER, |line| {
        line.is("r1u07", "sent", &["loader snponly.efi"])
    });
    let [port] = <[String; 1]>::try_from(wire.ports()).expect("the machine's alone");
    wire.server.expect("ip", &["link", "set", &port, "down"]);
    verdict(&room, &daemon, "link_slow", Duration::from_secs(40));
    std::thread::sleep(Duration::from_secs(30));
    wire.server.expect("ip", &["link", "set", &port, "up"]);
    super::boots_to_the_kernel(&daemon, "r1u07", None);
    let now = ask_json_with(&room, &["why", "r1u07"]);
    assert_eq!(now[0]["verdict"], Value::Null, "{now}\n{}", machine.console_tail());
}

#[test]
#[ignore = "needs QEMU's arm64 machine: make test-causes"]
fn an_arm64_machine_in_a_room_with_loaders_for_pcs_is_named() {
    let wire = Wire::new();
    let room = Room::new(WORKER).with_debian();
    room.set(", \"/usr/lib/ipxe\"", "");
    for name in ["ipxe.efi", "snponly.efi", "undionly.kpxe"] {
        fs::copy(format!("/usr/lib/ipxe/{name}"), room.path("loaders").join(name)).expect("package ipxe is installed");
    }
    let daemon = Daemon::start(&wire, &room);
    let _machine = Machine::power_on(&wire, Firmware::ArmPxe, MAC);
    verdict(&room, &daemon, "no_loader_for_architecture", LOADER * 2);
}
