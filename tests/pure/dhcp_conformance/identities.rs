//! Who a machine is: what names one, what names a thousand, and interfaces without a MAC.

use super::support::*;
use bootwright::boot::{
    event::{MachineKey, Mismatch, Reason, Stage, Step},
    identity_cache::IdentityCache,
    snapshot::{Host, Hosts},
};
use bootwright::model::{BootTarget, HardwareAddr, MacAddr, limits::EXCHANGE_TTL};
use bootwright::proto::dhcp::parse;
use std::{net::Ipv4Addr, time::Duration};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);
/// Of an InfiniBand port, and the MAC that iPXE makes of it.
const GUID: [u8; 8] = [0xec, 0x0d, 0x9a, 0x03, 0x00, 0x9c, 0x81, 0xe2];
const GUID_MAC: MacAddr = MacAddr([0xec, 0x0d, 0x9a, 0x9c, 0x81, 0xe2]);
/// RFC 4361's identifier with a DUID of the port's address, as RFC 4390 wants it.
const CLIENT_ID: &[u8] = &[
    255, 0, 0, 0, 1, 0, 3, 0, 32, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0xec, 0x0d, 0x9a, 0x03, 0x00, 0x9c, 0x81, 0xe2,
];

fn room_of(host: Host) -> Room {
    let mut room = Room::new();
    room.snapshot.hosts = Hosts::new(vec![host]);
    room
}

fn mismatch(step: &Step) -> Option<&Mismatch> {
    match step {
        Step::Offered { boot, .. } | Step::Acknowledged { boot, .. } => boot.mismatch.as_ref(),
        other => panic!("{other:?}"),
    }
}

// Words that name a machine.

#[test]
fn who_says_the_uuid_of_a_host_that_lists_macs_is_a_stranger_and_the_log_says_whose_it_is() {
    let uuid = "4c4c4544-0042-3510-8051-b4c04f475931".parse().unwrap();
    let mut wire = [0; 17];
    wire[1..].copy_from_slice(&[
        0x44, 0x45, 0x4c, 0x4c, 0x42, 0, 0x10, 0x35, 0x80, 0x51, 0xb4, 0xc0, 0x4f, 0x47, 0x59, 0x31,
    ]);
    let listed = Host {
        uuid: Some(uuid),
        ..host("r1u07", &[LIVE], Some("192.0.2.11"), BootTarget::Live)
    };
    let mut room = room_of(listed.clone());
    let answer = room.reply(&Packet::discover(STRANGER).with(97, &wire));
    assert_ne!(answer.message.yiaddr(), ADDRESS);
    assert_eq!(answer.option(12), None, "it is not called r1u07");
    let host = "r1u07".parse().unwrap();
    let expected = Mismatch::UuidOfAnother { host };
    assert_eq!(mismatch(&answer.step), Some(&expected));
    // The MAC decides, and what does not fit it is said.
    let mut other = wire;
    other[16] ^= 1;
    for (sent, fits) in [(&wire, true), (&other, false)] {
        let answer = room.reply(&Packet::discover(LIVE).with(97, sent));
        assert_eq!(answer.message.yiaddr(), ADDRESS);
        let found = mismatch(&answer.step);
        assert_eq!(matches!(found, Some(Mismatch::OtherUuid { .. })), !fits, "{found:?}");
    }
    // Where no MAC is listed the UUID names the host, in whichever byte order a board or a tool has it.
    for written in [uuid, uuid.swapped()] {
        let mut room = room_of(Host {
            macs: Vec::new(),
            uuid: Some(written),
            ..listed.clone()
        });
        let answer = room.reply(&Packet::discover(STRANGER).with(97, &wire));
        assert_eq!(answer.message.yiaddr(), ADDRESS, "{written}");
    }
}

#[test]
fn a_placeholder_uuid_names_nobody() {
    let mut bytes = vec![0];
    bytes.extend([0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8, 0, 9]);
    for uuid in [
        "03000200-0400-0500-0006-000700080009",
        "00020003-0004-0005-0006-000700080009",
    ] {
        let mut room = room_of(Host {
            uuid: uuid.parse().ok(),
            ..host("plach", &[], Some("192.0.2.11"), BootTarget::Live)
        });
        let answer = room.reply(&Packet::discover(STRANGER).with(97, &bytes).pxe(7));
        assert_ne!(answer.message.yiaddr(), ADDRESS);
    }
}

// A REQUEST that does not say again what its DISCOVER said.

#[test]
fn a_request_without_60_and_93_is_answered_by_what_its_discover_said() {
    let mut room = Room::new();
    let offer = room.reply(&Packet::discover(LIVE).pxe(7));
    let taking = Packet::selecting(LIVE, offer.message.yiaddr());
    let ack = room.reply(&taking);
    assert_eq!((ack.file(), ack.option(67).is_some()), ("snponly.efi".to_owned(), true));
    assert_eq!(room.outcome(&taking).event.stage, Stage::UefiPxe);
    // Its own words in the REQUEST count, and another exchange has none.
    let ipxe = room.reply(&taking.clone().ipxe(7));
    assert!(ipxe.boot_file().unwrap().starts_with("http://"));
    let system = Packet::discover(LIVE);
    room.reply(&system);
    assert_eq!(room.reply(&taking).option(67), None, "a system has asked since");
    room.reply(&Packet::discover(LIVE).pxe(7));
    assert_eq!(
        room.reply(&Packet::renewing(LIVE, ADDRESS)).option(67),
        None,
        "a renewal takes no offer"
    );
    assert_eq!(
        room.outcome(&Packet::selecting(STRANGER, ADDRESS)).event.stage,
        Stage::System
    );
    room.now.monotonic += EXCHANGE_TTL + Duration::from_secs(1);
    assert_eq!(room.reply(&taking).option(67), None, "that exchange is over");
}

#[test]
fn the_words_of_another_transaction_do_not_count() {
    let mut room = Room::new();
    let offer = room.reply(&Packet::discover(LIVE).pxe(7));
    let mut bytes = Packet::selecting(LIVE, offer.message.yiaddr()).bytes();
    bytes[4] ^= 1;
    assert_eq!(room.reply_to(&parse(&bytes).unwrap()).option(67), None);
}

// InfiniBand.

fn port() -> Host {
    Host {
        links: vec![HardwareAddr::of_guid(GUID)],
        ..host("r1u07", &[], Some("192.0.2.11"), BootTarget::Live)
    }
}

/// A DISCOVER or REQUEST of an InfiniBand port (RFC 4390): no hardware address, and a client identifier.
fn without_address(mut packet: Packet, identifier: &[u8]) -> Packet {
    (packet.htype, packet.hlen, packet.chaddr) = (32, 0, [0; 16]);
    packet.flags = 0x8000;
    packet.with(61, identifier)
}

#[test]
fn an_infiniband_port_is_known_by_its_client_identifier_and_answered_by_broadcast() {
    let mut room = room_of(port());
    let offer = room.reply(&without_address(Packet::discover(STRANGER), CLIENT_ID));
    assert_eq!(offer.message.yiaddr(), ADDRESS);
    assert_eq!(offer.destination, BROADCAST);
    assert_eq!((offer.bytes[1], offer.bytes[2]), (32, 0), "htype and hlen come back");
    assert_eq!(offer.bytes[28..44], [0; 16]);
    assert_eq!(offer.option(61), Some(CLIENT_ID));
    assert_eq!(offer.option(12), Some(&b"r1u07"[..]));
    let ack = room.reply(&without_address(Packet::selecting(STRANGER, ADDRESS), CLIENT_ID));
    assert_eq!((ack.message.yiaddr(), ack.destination), (ADDRESS, BROADCAST));
    // And so is what it asks for over HTTP from there.
    let asked = room.get(&mut IdentityCache::default(), ADDRESS, "/boot.ipxe");
    assert_eq!(asked.subject.machine.key, listed("r1u07"));
}

#[test]
fn strangers_without_a_hardware_address_have_a_lease_each_by_their_identifiers() {
    let mut room = Room::new();
    let systemd = |interface: u8| [255, 0, 0, 0, interface, 0, 2, 0, 0, 0xab, 0x11, 1, 2, 3, 4, 5, 6, 7, 8];
    let mut lease = |identifier: &[u8]| {
        let offer = room.reply(&without_address(Packet::discover(STRANGER), identifier));
        let address = offer.message.yiaddr();
        let ack = room.reply(&without_address(Packet::selecting(STRANGER, address), identifier));
        assert!(ack.change.is_some());
        (
            ack.message.yiaddr(),
            room.outcome(&without_address(Packet::discover(STRANGER), identifier))
                .event
                .machine
                .key,
        )
    };
    let (first, name) = lease(CLIENT_ID);
    assert_eq!(name, MachineKey::Hardware(HardwareAddr::of_guid(GUID)));
    assert_eq!(name.to_string(), "ec-0d-9a-03-00-9c-81-e2");
    let (second, _) = lease(&systemd(1));
    let (third, _) = lease(&systemd(2));
    assert!(first != second && second != third && first != third);
    assert_eq!((lease(CLIENT_ID).0, lease(&systemd(1)).0), (first, second));
    let nobody = without_address(Packet::discover(STRANGER), &[]);
    assert_eq!(room.silence(&nobody), Reason::NoHardwareAddress);
}

#[test]
fn a_listed_mac_is_that_host_whatever_type_of_hardware_its_packet_says() {
    let by_mac = host("r1u07", &[GUID_MAC], Some("192.0.2.11"), BootTarget::Live);
    for listed in [by_mac, port()] {
        let mut room = room_of(listed);
        let mut packet = Packet::discover(GUID_MAC).pxe(7);
        packet.htype = 32;
        let offer = room.reply(&packet);
        assert_eq!(offer.message.yiaddr(), ADDRESS);
        assert_eq!(offer.destination, BROADCAST, "no Ethernet frame reaches it");
        assert_eq!((offer.bytes[1], offer.bytes[2]), (32, 6));
    }
}

#[test]
fn the_packets_that_were_captured_get_their_host() {
    for (text, htype_and_length) in [
        (include_str!("../../packets/rfc4390-discover.hex"), [32, 0]),
        (include_str!("../../packets/ipoib-ipxe-discover.hex"), [32, 6]),
    ] {
        let offer = room_of(port()).reply_to(&parse(&super::captures::capture(text)).unwrap());
        assert_eq!(offer.message.yiaddr(), ADDRESS);
        assert_eq!(offer.bytes[1..3], htype_and_length);
    }
}
