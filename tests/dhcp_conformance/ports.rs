//! Hosts and the switch ports they belong to (option 82).

use super::support::*;
use bootwright::boot::{
    event::Step,
    ledger::Ledger,
    request_path::Transport,
    resource::{Ask, Inquiry, Refusal},
    sightings::Sightings,
    snapshot::{Host, Hosts, PortsFrom},
};
use bootwright::model::{BootTarget, Dialect, MacAddr};
use std::{
    net::{Ipv4Addr, SocketAddrV4},
    time::Duration,
};

const OWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);
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
    room.snapshot.subnets[0].ports_from = PortsFrom {
        relays: vec![format!("{RELAY}/32").parse().unwrap()],
        switches: false,
    };
    room.ingress.source = SocketAddrV4::new(RELAY, 67);
    room
}

#[test]
fn routers_and_relays_of_the_inventory_are_named_and_nobody_else() {
    let room = room(&[LIVE]);
    let names = |address| room.snapshot.names_router(address);
    assert!(names(RELAY));
    assert!(names(
        room.snapshot.subnets.iter().find_map(|subnet| subnet.router).unwrap()
    ));
    assert!(!names(Ipv4Addr::new(203, 0, 113, 77)));
}

/// A host that was given its address at its port.
fn given(room: &mut Room, mac: MacAddr) {
    let ack = room.reply(&from(Packet::selecting(mac, OWN), PORT_7));
    assert_eq!(ack.message.yiaddr(), OWN);
}

fn inform(mac: MacAddr, address: Ipv4Addr) -> Packet {
    Packet::new(8, mac).at(address)
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
fn a_host_whose_port_nobody_tells_gets_no_answer_unless_its_address_was_given_there() {
    let mut room = room(&[LIVE]);
    let reason = misplaced(&mut room, &Packet::discover(LIVE).pxe(7));
    assert!(reason.contains("option 82"), "{reason}");
    misplaced(&mut room, &Packet::rebooting(LIVE, OWN));
    // Who sets the address by hand, and says so.
    for packet in [Packet::renewing(LIVE, OWN), inform(LIVE, OWN)] {
        let reason = misplaced(&mut room, &packet);
        assert!(
            reason.contains("SW7/gi1/7") && reason.contains("192.0.2.11"),
            "{reason}"
        );
    }
    given(&mut room, LIVE);
    for packet in [Packet::renewing(LIVE, OWN), inform(LIVE, OWN)] {
        room.reply(&packet);
    }
    // A renewal is as good as the first lease: it counts from there.
    room.now.monotonic += Duration::from_secs(3000);
    room.reply(&Packet::renewing(LIVE, OWN));
    room.now.monotonic += Duration::from_secs(3000);
    room.reply(&Packet::renewing(LIVE, OWN));
    misplaced(&mut room, &Packet::renewing(LIVE, Ipv4Addr::new(192, 0, 2, 100)));
    misplaced(&mut room, &Packet::rebooting(LIVE, OWN));
    room.now.monotonic += Duration::from_secs(3601);
    misplaced(&mut room, &Packet::renewing(LIVE, OWN));
}

#[test]
fn a_lease_that_was_given_at_a_port_is_renewed_after_a_restart() {
    let mut room = room(&[LIVE]);
    let stood = room.outcome(&from(Packet::selecting(LIVE, OWN), PORT_7)).stood;
    let record = stood.expect("it is kept");
    room.leases = Default::default();
    misplaced(&mut room, &Packet::renewing(LIVE, OWN));
    room.leases.ports.restore(room.now, [record]);
    assert_eq!(room.reply(&Packet::renewing(LIVE, OWN)).message.yiaddr(), OWN);
}

#[test]
fn a_port_counts_only_where_one_tells_it_that_the_subnet_knows() {
    let mut room = room(&[LIVE]);
    let discover = || Packet::discover(LIVE).with(82, PORT_7);
    let reason = misplaced(&mut room, &discover());
    assert!(
        reason.contains("ports_from") && reason.contains("\"switch\""),
        "{reason}"
    );
    let other = Ipv4Addr::new(192, 0, 2, 249);
    let reason = misplaced(&mut room, &discover().through(other));
    assert!(
        reason.contains("192.0.2.249") && reason.contains("ports_from"),
        "{reason}"
    );
    // A relay's address in the packet of a machine.
    for source in ["192.0.2.101", "192.0.2.11", "0.0.0.0"] {
        room.ingress.source = SocketAddrV4::new(source.parse().unwrap(), 67);
        let reason = misplaced(&mut room, &discover().through(RELAY));
        assert!(reason.contains("a machine's address"), "{reason}");
    }
    room.ingress.source = SocketAddrV4::new(RELAY, 67);
    room.reply(&discover().through(RELAY));
    room.snapshot.subnets[0].ports_from.switches = true;
    room.reply(&discover());
    misplaced(&mut room, &discover().through(other));
}

#[test]
fn who_says_the_port_of_a_host_without_a_mac_and_is_not_believed_is_not_that_host() {
    let mut room = room(&[]);
    let outcome = room.outcome(&Packet::discover(STRANGER).pxe(7).with(82, PORT_7));
    assert_eq!(outcome.event.machine, "52-54-00-00-00-63");
    let sent = outcome.send.expect("an offer as for any stranger").reply;
    assert_ne!(sent.your_address, OWN);
}

#[test]
fn what_is_a_hosts_own_goes_to_an_address_that_was_given_at_its_port_and_to_no_other() {
    let mut room = room(&[LIVE]);
    let live = "live".parse().unwrap();
    let templates = &mut room.snapshot.templates;
    templates
        .add_script(&live, Dialect::Ipxe, "live.ipxe", "#!ipxe\n")
        .unwrap();
    let fetch = |room: &Room, path: &[u8]| {
        let ask = Ask {
            transport: Transport::Http,
            server: SERVER,
            peer: OWN,
            path,
            query: None,
        };
        let mut sightings = Sightings::default();
        let ledger = Ledger::default();
        Inquiry::begin(room.now, &room.snapshot, &room.leases, &mut sightings, &ledger, &ask)
            .answer()
            .result
    };
    let is_refused = |room: &Room| {
        ["/boot.ipxe", "/answer/r1u07/preseed.cfg"].map(|path| match fetch(room, path.as_bytes()) {
            Err(Refusal::Forbidden { reason }) => {
                assert!(
                    reason.contains("r1u07") && reason.contains("SW7/gi1/7"),
                    "{path}: {reason}"
                );
                true
            }
            _ => false,
        })
    };
    assert_eq!(is_refused(&room), [true, true], "its address was set by hand");
    given(&mut room, LIVE);
    assert_eq!(is_refused(&room), [false, false]);
    room.now.monotonic += Duration::from_secs(3600);
    assert_eq!(is_refused(&room), [true, true], "its lease is over");
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
