//! With Secure Boot on: shim and GRUB start the live system, whose kernel its distribution signed, and it writes the disk.

use super::{
    DISK_SERIAL, DiskFile, LARGE, LIVE, LOADER, MAC, WRITTEN, arm, bare_disk, install, installs_without_seed, room,
    small_image, unpacked, with_disk_image,
};
use crate::{
    daemon::Daemon,
    machine::{Firmware, Machine},
    namespace::Wire,
};
use std::{
    fs::{self, File},
    io::Read as _,
};

#[test]
#[ignore = "keeps `make test` within its time: make test-installs"]
fn ovmf_with_secure_boot_writes_a_disk_through_shim_and_grub() {
    let (image, bytes, sum) = small_image();
    let shim = "loader = [\"shimx64.efi\"]\nscript";
    let room = room(&installs_without_seed().replace("script", shim)).with_other_loaders();
    with_disk_image(
        &room,
        |path| fs::write(path, &image).expect("a new file"),
        &unpacked(bytes, &sum),
    );
    let wire = Wire::new();
    let daemon = Daemon::start(&wire, &room);
    let disk = bare_disk(&room, LARGE);
    let kept = DiskFile {
        file: &disk,
        serial: DISK_SERIAL,
    };
    arm(&room);
    let mut machine = Machine::power_on_with_disk_file(&wire, Firmware::OvmfSecureBoot, MAC, kept);
    for (what, timeout, event, values) in [
        ("shim", LOADER, "sent", &["loader shimx64.efi"][..]),
        ("GRUB", LOADER, "sent", &["loader grubx64.efi"]),
        ("the script", LOADER, "sent", &["script deploy (grub)"]),
        ("the order", LIVE * 2, "sent", &["order"]),
        ("its last word", WRITTEN, "installed", &[]),
    ] {
        daemon.wait_for_within(what, timeout, |line| line.is("r1u07", event, values));
    }
    assert!(
        machine.console().contains("Secure boot enabled"),
        "{}",
        machine.console_tail()
    );
    machine.wait_for_end(LIVE);
    assert_eq!(install(&room, "r1u07")["state"], "installed", "{}", daemon.log_tail());
    let mut sector = [0; 512];
    let head = File::open(&disk).and_then(|mut file| file.read_exact(&mut sector));
    head.expect("a disk of ours");
    assert_eq!(sector[510..], [0x55, 0xaa]);
}
