//! What becomes of an address that a machine has, when the inventory gives it another or when somebody
//! moves the machine to another of our wires.

use super::support::*;
use bootwright::boot::{
    engine::Destination,
    event::{NoOwnAddress, Reason, ReservationUnavailable, Step},
    snapshot::Hosts,
};
use bootwright::lease::LeaseChange;
use bootwright::model::{BootTarget, MacAddr};
use dhcproto::v4::MessageType;
use std::net::{Ipv4Addr, SocketAddrV4};

const OLD: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);

/// A room in which the host has its old address, and whose inventory says another now.
fn moved_to(address: &str) -> Room {
    let mut room = Room::new();
    assert_eq!(room.dora(LIVE), OLD);
    room.snapshot.hosts = Hosts::new(vec![host("live-one", &[LIVE], Some(address), BootTarget::Live)]);
    room
}

#[test]
fn a_host_that_reboots_or_renews_with_its_old_reservation_is_sent_to_ask_for_the_new_one() {
    for packet in [Packet::rebooting(LIVE, OLD), Packet::renewing(LIVE, OLD)] {
        let mut room = moved_to("192.0.2.21");
        assert_eq!(room.reply(&packet).kind(), MessageType::Nak);
        assert_eq!(room.dora(LIVE), Ipv4Addr::new(192, 0, 2, 21));
    }
}

#[test]
fn a_host_whose_reservation_moved_to_another_subnet_is_refused_its_old_address_and_gets_the_new_one_there() {
    for packet in [Packet::rebooting(LIVE, OLD), Packet::renewing(LIVE, OLD)] {
        let mut room = moved_to("198.51.100.21");
        assert_eq!(room.reply(&packet).kind(), MessageType::Nak);
        let there = Packet::discover(LIVE).through(Ipv4Addr::new(198, 51, 100, 2));
        assert_eq!(room.reply(&there).message.yiaddr(), Ipv4Addr::new(198, 51, 100, 21));
    }
}

/// Our address on the second wire.
const SECOND: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// A room in which a stranger has a lease of the first wire and is heard on the second from now on.
fn moved_to_the_second_wire() -> (Room, Ipv4Addr) {
    let mut room = Room::new();
    let old = room.dora(STRANGER);
    room.ingress.own = [own_address(SECOND)].into();
    room.ingress.elsewhere = [own_address(SERVER)].into();
    room.ingress.address = SECOND;
    (room, old)
}

fn frame(mac: MacAddr, to: Ipv4Addr) -> Destination {
    let to = SocketAddrV4::new(to, 68);
    Destination::Frame { mac, to }
}

#[test]
fn who_renews_an_address_that_is_no_longer_its_own_is_refused_by_broadcast_and_at_that_address() {
    let mut room = moved_to("192.0.2.21");
    (room.ingress.to, room.ingress.source) = (SERVER, "192.0.2.11:68".parse().unwrap());
    let nak = room.reply(&Packet::renewing(LIVE, OLD));
    assert_eq!((nak.kind(), nak.destination), (MessageType::Nak, BROADCAST));
    assert_eq!(nak.copy, Some((SERVER, frame(LIVE, OLD))));
}

#[test]
fn who_takes_no_ethernet_frame_is_refused_without_one() {
    let mut room = moved_to("192.0.2.21");
    let mut packet = Packet::renewing(LIVE, OLD);
    // InfiniBand, with the MAC that its card would have on Ethernet.
    packet.htype = 32;
    let nak = room.reply(&packet);
    let unicast = Destination::Unicast(SocketAddrV4::new(OLD, 68));
    assert_eq!(nak.kind(), MessageType::Nak);
    assert_eq!(nak.copy.map(|(_, to)| to), Some(unicast));
}

#[test]
fn who_has_no_address_yet_is_refused_by_broadcast_alone() {
    let mut room = moved_to("192.0.2.21");
    let taken = Packet::selecting(LIVE, OLD);
    for packet in [Packet::rebooting(LIVE, OLD), taken.clone(), taken.at(OLD)] {
        let nak = room.reply(&packet);
        assert_eq!(
            (nak.kind(), nak.destination, nak.copy),
            (MessageType::Nak, BROADCAST, None)
        );
    }
}

#[test]
fn who_renews_from_behind_a_router_is_refused_where_it_is() {
    let mut room = Room::new();
    let there = Ipv4Addr::new(198, 51, 100, 21);
    room.snapshot.hosts = Hosts::new(vec![host("live-one", &[LIVE], Some("198.51.100.22"), BootTarget::Live)]);
    (room.ingress.to, room.ingress.source) = (SERVER, "198.51.100.21:68".parse().unwrap());
    let nak = room.reply(&Packet::renewing(LIVE, there));
    assert_eq!(nak.kind(), MessageType::Nak);
    let unicast = Destination::Unicast("198.51.100.21:68".parse().unwrap());
    assert_eq!(nak.copy, Some((SERVER, unicast)));
}

#[test]
fn no_nak_goes_to_an_address_that_we_do_not_serve() {
    let mut room = Room::new();
    let nak = room.reply(&Packet::renewing(STRANGER, Ipv4Addr::new(203, 0, 113, 9)));
    assert_eq!((nak.kind(), nak.copy), (MessageType::Nak, None));
}

#[test]
fn a_machine_that_was_moved_to_another_wire_is_refused_there_when_it_renews_and_when_it_rebinds() {
    // It renews at our address of its old wire, which Linux has on every wire.
    for to in [SERVER, Ipv4Addr::BROADCAST] {
        let (mut room, old) = moved_to_the_second_wire();
        room.ingress.to = to;
        let nak = room.reply(&Packet::renewing(STRANGER, old));
        assert_eq!(nak.kind(), MessageType::Nak);
        assert_eq!(nak.change, Some(LeaseChange::Remove(old)), "its lease over there ends");
        let from = if to == SERVER { SERVER } else { SECOND };
        assert_eq!(nak.copy, Some((from, frame(STRANGER, old))));
        assert_eq!(nak.server_identifier(), from, "the server that it knows");
        let subnet = cidr("198.51.100.0/24");
        let reason = Reason::AddressElsewhere { address: old, subnet };
        assert_eq!(nak.step, Step::Refused { reason });
    }
}

#[test]
fn a_machine_that_was_moved_gets_an_address_of_its_new_wire_whatever_its_discover_says_of_the_old() {
    let (mut room, old) = moved_to_the_second_wire();
    // NetworkManager 1.52 leaves its old address in what it sends after a NAK.
    let offer = room.reply(&Packet::discover(STRANGER).at(old));
    let there = offer.message.yiaddr();
    assert_eq!(there.octets()[..3], [198, 51, 100]);
    assert_eq!(offer.destination, frame(STRANGER, there));
    let taken = Packet::rebooting(STRANGER, there).with(54, &SECOND.octets()).at(old);
    let ack = room.reply(&taken);
    assert_eq!((ack.kind(), ack.message.yiaddr()), (MessageType::Ack, there));
    assert_eq!(ack.destination, frame(STRANGER, there));
}

#[test]
fn a_relayed_machine_renews_through_a_router_at_any_address_of_ours() {
    let mut room = Room::new();
    room.snapshot
        .subnets
        .push(subnet("203.0.113.0/24", None, &["203.0.113.100-203.0.113.199"]));
    let relayed = Packet::discover(STRANGER).through(Ipv4Addr::new(203, 0, 113, 2));
    let far = room.reply(&relayed).message.yiaddr();
    let taken = Packet::selecting(STRANGER, far).through(Ipv4Addr::new(203, 0, 113, 2));
    assert_eq!(room.reply(&taken).kind(), MessageType::Ack);
    room.ingress.elsewhere = [own_address(SECOND)].into();
    for to in [SERVER, SECOND] {
        room.ingress.to = to;
        let ack = room.reply(&Packet::renewing(STRANGER, far));
        assert_eq!((ack.kind(), ack.message.yiaddr()), (MessageType::Ack, far), "{to}");
    }
}

#[test]
fn a_machine_that_a_relay_of_its_own_wire_led_to_our_address_elsewhere_renews_there() {
    let mut room = Room::new();
    let address = room.dora(STRANGER);
    // Its relay is told our address on the second wire, and its renewals come through the router to that.
    room.ingress.own = [own_address(SECOND)].into();
    room.ingress.elsewhere = [own_address(SERVER)].into();
    (room.ingress.address, room.ingress.to) = (SECOND, SECOND);
    let ack = room.reply(&Packet::renewing(STRANGER, address));
    assert_eq!((ack.kind(), ack.message.yiaddr()), (MessageType::Ack, address));
}

#[test]
fn a_host_in_another_subnet_gets_an_address_there_and_it_is_reported_why_that_is_not_its_own() {
    let (mut room, _) = moved_to_the_second_wire();
    let offered = room.reply(&Packet::discover(LIVE)).message.yiaddr();
    let taken = Packet::rebooting(LIVE, offered).with(54, &SECOND.octets());
    let outcome = room.outcome(&taken);
    assert!(matches!(outcome.event.step, Step::Acknowledged { address, .. } if address == offered));
    let notice = outcome.notice.unwrap();
    assert_eq!(notice.machine.key, listed("live-one"));
    let why = ReservationUnavailable::OtherSubnet {
        here: "198.51.100.0/24".parse().unwrap(),
    };
    let given = offered;
    assert_eq!(notice.step, Step::ReservationUnavailable { given, own: OLD, why });
    // A renewal says nothing new.
    room.ingress.to = SECOND;
    assert_eq!(room.outcome(&Packet::renewing(LIVE, offered)).notice, None);
    room.snapshot.subnets[1].pool.clear();
    let subnet = cidr("198.51.100.0/24");
    let own = NoOwnAddress::Unavailable { address: OLD, why };
    assert_eq!(room.silence(&Packet::discover(LIVE)), Reason::NoPool { own, subnet });
}

#[test]
fn who_gets_its_own_address_and_who_has_none_is_not_said_to_be_away() {
    let mut room = Room::new();
    for (mac, address) in [
        (LIVE, OLD),
        (INSTALL, Ipv4Addr::new(192, 0, 2, 101)),
        (STRANGER, Ipv4Addr::new(192, 0, 2, 102)),
    ] {
        assert_eq!(room.dora(mac), address);
        assert_eq!(room.outcome(&Packet::selecting(mac, address)).notice, None);
    }
}
