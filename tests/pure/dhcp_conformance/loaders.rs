//! Loaders that the inventory names: each goes to the firmware that runs it.

use super::support::*;
use bootwright::boot::{
    event::Stage,
    machine::Identity,
    quirks::{Quirk, QuirkMatch, QuirkSet},
    snapshot::Hosts,
};
use bootwright::model::{Arch, BootTarget};

/// A room whose live host names a loader for UEFI of x86_64 and one for BIOS.
fn room() -> Room {
    let mut room = Room::new();
    for (file, arch) in [("shimx64.efi", 7), ("lpxelinux.0", 0)] {
        room.snapshot.loaders.add("/srv/loaders".into(), file.to_owned());
        room.snapshot
            .loaders
            .set_arch(file.to_owned(), Arch::from_option_93(arch).unwrap());
    }
    let mut live = host("r1", &[LIVE], Some("192.0.2.7"), BootTarget::Live);
    live.settings.loaders = ["shimx64.efi", "lpxelinux.0"]
        .map(|file| sourced(file.to_owned()))
        .to_vec();
    let mut disk = host("r2", &[LOCAL], Some("192.0.2.8"), BootTarget::Local);
    disk.settings.loaders.clone_from(&live.settings.loaders);
    room.snapshot.hosts = Hosts::new(vec![live, disk]);
    room
}

#[test]
fn each_firmware_gets_the_named_loader_that_it_can_run_and_else_ipxe() {
    let mut room = room();
    for (arch, loader) in [
        (0, "lpxelinux.0"),
        (7, "shimx64.efi"),
        (9, "shimx64.efi"),
        (11, "snponly-arm64.efi"),
    ] {
        assert_eq!(room.reply(&Packet::discover(LIVE).pxe(arch)).file(), loader, "{arch}");
    }
    let by_http = room.reply(&Packet::discover(LIVE).http_boot(16));
    assert_eq!(by_http.file(), "http://192.0.2.1/shimx64.efi");
}

#[test]
fn a_network_card_that_has_ipxe_stays_with_its_script_and_a_host_of_its_disk_with_nothing() {
    let mut room = room();
    let ipxe = room.reply(&Packet::discover(LIVE).ipxe(7));
    let url = ipxe.boot_file().unwrap();
    assert!(url.starts_with("http://192.0.2.1/boot.ipxe?"), "{url}");
    let disk = room.reply(&Packet::discover(LOCAL).pxe(7));
    assert_eq!((disk.file(), disk.option(67)), (String::new(), None));
}

#[test]
fn a_quirks_loader_wins_over_the_inventorys() {
    let mut room = room();
    room.snapshot.quirks.0.push(Quirk {
        name: "old-acme".into(),
        why: "its shim does not start".into(),
        matches: QuirkMatch {
            stage: Some(Stage::UefiPxe),
            ..QuirkMatch::default()
        },
        set: QuirkSet {
            loader: Some("ipxe.efi".into()),
            ..QuirkSet::default()
        },
    });
    assert_eq!(room.reply(&Packet::discover(LIVE).pxe(7)).file(), "ipxe.efi");
    assert_eq!(room.reply(&Packet::discover(LIVE).pxe(0)).file(), "lpxelinux.0");
}

#[test]
fn what_firmware_says_is_kept_for_a_loader_that_says_nothing_and_for_no_other() {
    let mut room = room();
    let kept = |room: &mut Room, packet: &Packet| room.outcome(packet).observation.firmware;
    let firmware = kept(&mut room, &Packet::discover(LIVE).pxe(7));
    assert!(
        matches!(&firmware, Some(Identity { mac: Some(mac), arch: Some(_), vendor: Some(_), ports, .. })
            if *mac == LIVE && ports.is_empty()),
        "{firmware:?}"
    );
    for packet in [
        Packet::discover(LIVE).pxe(11),
        Packet::discover(LIVE).ipxe(7),
        Packet::discover(LIVE),
    ] {
        assert_eq!(kept(&mut room, &packet), None);
    }
}
