//! ProxyDHCP: beside another DHCP server, which gives the addresses and knows nothing of booting.

use super::support::*;
use bootwright::boot::{
    engine::Destination,
    event::{BootAction, BootDecision, DiskReason, MachineKey, Reason},
    identity_cache::IdentityCache,
};
use bootwright::model::{MacAddr, Mode};
use dhcproto::v4::MessageType;
use std::net::Ipv4Addr;

const OTHER_SERVER: [u8; 4] = [192, 0, 2, 9];
const GIVEN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);

fn guest() -> Room {
    let mut room = Room::new();
    room.ingress.mode = Mode::Proxy;
    room
}

fn disk(why: DiskReason) -> BootDecision {
    told(BootAction::Disk { why })
}

fn on_port_4011(mut room: Room, source: &str) -> Room {
    room.ingress.port = 4011;
    room.ingress.source = source.parse().unwrap();
    room
}

/// What every offer of a guest is.
fn assert_is_a_guests(answer: &ServerReply) {
    assert_eq!(answer.message.yiaddr(), NOBODY);
    for code in [1, 3, 51, 58, 59] {
        assert_eq!(answer.option(code), None, "option {code}");
    }
    assert_eq!(answer.message.siaddr(), SERVER);
    assert_eq!(answer.server_identifier(), SERVER);
    assert!(answer.change.is_none());
}

/// It takes one offer for all: one without an address would leave it with none.
#[test]
fn firmware_that_reads_pxelinux_cfg_is_left_to_the_server_of_its_address_with_what_to_do() {
    let mut room = guest();
    let u_boot = Packet::discover(LIVE).with(60, b"U-Boot.armv8").with(93, &[0, 22]);
    assert_eq!(room.silence(&u_boot), Reason::ProxyPxelinux);
    room.silence(&Packet::discover(LIVE).with(55, &[1, 3, 6, 66, 67, 93]));
}

#[test]
fn ipxe_is_told_where_it_may_log_though_another_server_gives_its_address() {
    let mut room = guest();
    room.snapshot.syslog = true;
    let ipxe = Packet::discover(LIVE).ipxe(7).with(57, &1472_u16.to_be_bytes());
    assert_eq!(room.reply(&ipxe).option(7), Some(&SERVER.octets()[..]));
    assert_eq!(room.reply(&Packet::discover(LIVE).pxe(7)).option(7), None);
}

#[test]
fn case_20_uefi_is_offered_no_43_and_comes_to_port_4011() {
    let mut room = guest();
    let offer = room.reply(&Packet::discover(LIVE).pxe(7).broadcast());
    assert_is_a_guests(&offer);
    assert_eq!(offer.kind(), MessageType::Offer);
    assert_eq!(offer.option(60), Some(&b"PXEClient"[..]));
    assert_eq!(offer.option(43), None);
    assert!(offer.option(97).is_some());
    assert_eq!(offer.boot_file().unwrap(), "snponly.efi");
    assert_eq!(offer.destination, BROADCAST);

    let mut room = on_port_4011(room, "192.0.2.77:4011");
    let ack = room.reply(&Packet::renewing(LIVE, GIVEN).pxe(7));
    assert_is_a_guests(&ack);
    assert_eq!(ack.kind(), MessageType::Ack);
    assert_eq!(ack.option(60), Some(&b"PXEClient"[..]));
    assert!(ack.option(97).is_some());
    assert_eq!(ack.file(), "snponly.efi");
    assert_eq!(&ack.bytes[44..54], b"192.0.2.1\0", "sname");
}

#[test]
fn case_21_port_4011_answers_the_port_that_asked() {
    for source in ["192.0.2.77:4011", "192.0.2.77:68"] {
        let mut room = on_port_4011(guest(), source);
        let ack = room.reply(&Packet::renewing(LIVE, GIVEN).pxe(7));
        assert_eq!(ack.destination, Destination::Unicast(source.parse().unwrap()));
    }
}

#[test]
fn case_22_the_boot_item_comes_back_to_the_client_that_picked_it() {
    let mut room = on_port_4011(guest(), "192.0.2.77:4011");
    let item = [71, 4, 0, 0, 0, 0, 255];
    let asked = Packet::renewing(LIVE, GIVEN).pxe(0).with(43, &item);
    assert_eq!(room.reply(&asked).option(43), Some(&item[..]));
}

#[test]
fn case_23_a_bios_is_told_to_boot_the_file_without_port_4011() {
    let offer = guest().reply(&Packet::discover(LIVE).pxe(0));
    assert_is_a_guests(&offer);
    assert_eq!(offer.option(60), Some(&b"PXEClient"[..]));
    assert_eq!(offer.option(43), Some(&[6, 1, 8, 255][..]));
    assert_eq!(offer.file(), "undionly.kpxe");
    // It has no address yet, and nobody but its server knows the one it will have.
    assert_eq!(offer.destination, BROADCAST);
}

#[test]
fn case_19_beside_another_server_60_comes_with_43_to_a_bios_and_without_it_to_uefi() {
    for arch in [0, 6, 7, 9, 10, 11, 27, 39] {
        let offer = guest().reply(&Packet::discover(LIVE).pxe(arch));
        assert_eq!(offer.option(60), Some(&b"PXEClient"[..]), "arch {arch}");
        let boot_the_file = (arch == 0).then_some(&[6, 1, 8, 255][..]);
        assert_eq!(offer.option(43), boot_the_file, "arch {arch}");
    }
}

#[test]
fn case_24_ipxe_is_offered_its_script_with_a_next_server_and_no_43() {
    let offer = guest().reply(&Packet::discover(LIVE).ipxe(7));
    assert_is_a_guests(&offer);
    assert_eq!(offer.option(60), Some(&b"PXEClient"[..]));
    assert_eq!(offer.option(43), None);
    assert!(
        offer
            .boot_file()
            .unwrap()
            .starts_with("http://192.0.2.1/boot.ipxe?mac=")
    );
}

#[test]
fn case_27_http_boot_is_offered_a_url_with_an_address() {
    let offer = guest().reply(&Packet::discover(LIVE).http_boot(16));
    assert_is_a_guests(&offer);
    assert_eq!(offer.option(60), Some(&b"HTTPClient"[..]));
    assert_eq!(offer.boot_file().unwrap(), "http://192.0.2.1/snponly.efi");
}

#[test]
fn everything_but_a_discover_is_left_to_the_server_that_gives_the_addresses() {
    let mut room = guest();
    let request = Packet::rebooting(LIVE, GIVEN).with(54, &OTHER_SERVER).pxe(7);
    assert_eq!(room.silence(&request), Reason::ProxyRequest);
    for kind in [3, 4, 7, 8] {
        room.silence(&Packet::new(kind, LIVE).at(GIVEN).pxe(7));
    }
}

#[test]
fn a_machine_that_boots_its_disk_or_runs_a_system_hears_nothing_from_a_guest() {
    let mut room = guest();
    for (packet, boot) in [
        (Packet::discover(LOCAL).pxe(7), disk(DiskReason::Configured)),
        (Packet::discover(INSTALL).pxe(7), disk(DiskReason::NotArmed)),
        (Packet::discover(LIVE), told(BootAction::NotFirmware)),
    ] {
        assert_eq!(room.silence(&packet), Reason::ProxyNothing { boot });
    }
}

#[test]
fn a_guest_needs_no_subnet() {
    let mut room = guest();
    room.snapshot.subnets.clear();
    assert_is_a_guests(&room.reply(&Packet::discover(LIVE).pxe(7)));
}

fn heard(room: &mut Room, packet: &Packet) -> Option<(Ipv4Addr, MacAddr)> {
    room.outcome(packet).observation.address
}

#[test]
fn the_address_that_a_machine_takes_from_the_other_server_is_heard() {
    let mut room = guest();
    let taking = |address| Packet::rebooting(LIVE, address).with(54, &OTHER_SERVER);
    assert_eq!(heard(&mut room, &taking(GIVEN)), Some((GIVEN, LIVE)));
    // Ours, another wire's, and one that it only remembers.
    assert_eq!(heard(&mut room, &taking(SERVER)), None);
    assert_eq!(heard(&mut room, &taking(Ipv4Addr::new(203, 0, 113, 5))), None);
    assert_eq!(heard(&mut room, &Packet::rebooting(LIVE, GIVEN)), None);
    // At port 4011 it asks from the address, or lies.
    let mut room = on_port_4011(room, "192.0.2.77:4011");
    assert_eq!(
        heard(&mut room, &Packet::renewing(LIVE, GIVEN).pxe(7)),
        Some((GIVEN, LIVE))
    );
    let other = Ipv4Addr::new(192, 0, 2, 78);
    assert_eq!(heard(&mut room, &Packet::renewing(LIVE, other).pxe(7)), None);
}

#[test]
fn where_we_give_the_addresses_nothing_is_heard() {
    let mut room = Room::new();
    let taking = Packet::rebooting(LIVE, GIVEN).with(54, &OTHER_SERVER);
    assert_eq!(heard(&mut room, &taking), None);
}

#[test]
fn a_file_is_asked_for_by_the_machine_that_was_heard_at_the_address() {
    let mut room = guest();
    let mut identities = IdentityCache::default();
    let mut machine = |identities: &mut IdentityCache| room.get(identities, GIVEN, "/boot.ipxe");
    assert_eq!(
        machine(&mut identities).subject.machine.key,
        MachineKey::Address(GIVEN.into())
    );
    identities.record_address(GIVEN, LIVE);
    assert_eq!(machine(&mut identities).subject.machine.key, listed("live-one"));
}
