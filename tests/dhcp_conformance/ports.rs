//! Hosts and the switch ports they belong to (option 82).

use super::support::*;
use bootwright::boot::{
    event::Step,
    ledger::Ledger,
    request_path::Transport,
    resource::{Ask, Inquiry},
    sightings::Sightings,
    snapshot::{Host, Hosts},
};
use bootwright::model::{BootTarget, MacAddr};
use std::net::Ipv4Addr;

const RELAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 250);
/// 82 of switch `sw7`, ports `Gi1/7` and `Gi1/9`.
const PORT_7: &[u8] = b"\x01\x05Gi1/7\x02\x03sw7";
const PORT_9: &[u8] = b"\x01\x05Gi1/9\x02\x03sw7";

fn room(macs: &[MacAddr]) -> Room {
    let mut room = Room::new();
    room.snapshot.hosts = Hosts::new(vec![Host {
        port: Some("SW7/gi1/7".to_owned()),
        ..host("r1u07", macs, Some("192.0.2.11"), BootTarget::Live)
    }]);
    room
}

fn from(packet: Packet, port: &[u8]) -> Packet {
    packet.through(RELAY).with(82, port)
}

/// Why a host that is not where it belongs gets no answer.
fn misplaced(room: &mut Room, packet: &Packet) -> String {
    let outcome = room.outcome(packet);
    assert!(outcome.send.is_none() && outcome.change.is_none() && outcome.learned.address.is_none());
    match outcome.event.step {
        Step::Misplaced { reason } => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_host_boots_at_its_own_port() {
    let mut room = room(&[LIVE]);
    let offer = room.reply(&from(Packet::discover(LIVE).pxe(7), PORT_7));
    assert_eq!(offer.message.yiaddr().to_string(), "192.0.2.11");
    assert_eq!(offer.boot_file().unwrap(), "snponly.efi");
}

#[test]
fn a_host_at_another_port_gets_no_answer_and_both_ports_are_said() {
    let mut room = room(&[LIVE]);
    let reason = misplaced(&mut room, &from(Packet::discover(LIVE).pxe(7), PORT_9));
    assert!(reason.contains("SW7/gi1/7") && reason.contains("sw7/Gi1/9"), "{reason}");
    let request = Packet::selecting(LIVE, Ipv4Addr::new(192, 0, 2, 11));
    misplaced(&mut room, &from(request, PORT_9));
}

#[test]
fn a_host_whose_port_nobody_tells_gets_no_answer_unless_it_renews() {
    let mut room = room(&[LIVE]);
    let reason = misplaced(&mut room, &Packet::discover(LIVE).pxe(7));
    assert!(reason.contains("option 82"), "{reason}");
    let own = Ipv4Addr::new(192, 0, 2, 11);
    misplaced(&mut room, &Packet::rebooting(LIVE, own));
    assert_eq!(room.reply(&Packet::renewing(LIVE, own)).message.yiaddr(), own);
}

#[test]
fn another_machine_at_the_port_of_a_host_with_a_mac_is_not_that_host() {
    let mut room = room(&[LIVE]);
    let offer = room.reply(&from(Packet::discover(STRANGER).pxe(7), PORT_7));
    assert!(offer.message.yiaddr().octets()[3] >= 100);
}

#[test]
fn whatever_machine_stands_at_the_port_of_a_host_without_a_mac_is_that_host_until_it_moves() {
    let mut room = room(&[]);
    let own = Ipv4Addr::new(192, 0, 2, 11);
    let mut sightings = Sightings::default();
    let mut arrive = |room: &mut Room, packet: &Packet| {
        let outcome = room.outcome(packet);
        sightings.note(outcome.learned);
        let ask = Ask {
            transport: Transport::Http,
            server: SERVER,
            peer: own,
            path: b"/boot.ipxe",
            query: None,
        };
        let answered = Inquiry::begin(
            room.now,
            &room.snapshot,
            &room.leases,
            &mut sightings,
            &Ledger::default(),
            &ask,
        )
        .answer();
        (outcome.event.machine, answered.machine)
    };
    let taking = Packet::selecting(STRANGER, own);
    let both = |name: &str, asks: &str| (name.to_owned(), asks.to_owned());
    assert_eq!(arrive(&mut room, &from(taking, PORT_7)), both("r1u07", "r1u07"));
    // A renewal comes without option 82, and the address tells.
    assert_eq!(room.reply(&Packet::renewing(STRANGER, own)).message.yiaddr(), own);
    let moved = from(Packet::discover(STRANGER), PORT_9);
    let shown = "52-54-00-00-00-63";
    assert_eq!(arrive(&mut room, &moved), both(shown, shown));
}
