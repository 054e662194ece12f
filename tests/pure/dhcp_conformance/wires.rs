//! An interface with addresses in several subnets: they are on one wire.

use super::support::*;
use bootwright::boot::{
    event::{Reason, Step},
    snapshot::Hosts,
};
use bootwright::model::{BootTarget, MacAddr};
use dhcproto::v4::MessageType;
use std::net::Ipv4Addr;

/// Our address in the second subnet.
const SECOND: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

/// Three subnets with a pool of one address each; the interface has an address in two of them.
fn room() -> Room {
    let mut room = Room::new();
    let subnets = ["198.51.100", "203.0.113", "192.0.2"]
        .map(|net| subnet(&format!("{net}.0/24"), None, &[&format!("{net}.100-{net}.100")]));
    room.snapshot.subnets = subnets.into();
    room.ingress.own = [own_address(SERVER), own_address(SECOND)].into();
    room
}

fn machine(last: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, last])
}

#[test]
fn a_reservation_in_the_second_subnet_is_given_and_by_our_address_there() {
    let mut room = room();
    let reserved = Ipv4Addr::new(203, 0, 113, 7);
    room.snapshot.hosts = Hosts::new(vec![host("r1", &[LIVE], Some("203.0.113.7"), BootTarget::Live)]);
    let outcome = room.outcome(&Packet::discover(LIVE).ipxe(7));
    let sending = outcome.send.unwrap();
    assert_eq!(sending.from, SECOND);
    let offer = ServerReply::of(outcome.event.step, outcome.change, sending);
    assert_eq!(offer.message.yiaddr(), reserved);
    assert_eq!(offer.server_identifier(), SECOND);
    assert_eq!(offer.message.siaddr(), SECOND);
    assert!(offer.boot_file().unwrap().starts_with("http://203.0.113.1/"));
    let taken = Packet::new(3, LIVE)
        .with(50, &reserved.octets())
        .with(54, &SECOND.octets());
    assert_eq!(room.reply(&taken).kind(), MessageType::Ack);
}

#[test]
fn the_pool_of_the_primary_address_comes_first_and_then_those_of_the_others() {
    let mut room = room();
    assert_eq!(room.dora(machine(1)), Ipv4Addr::new(192, 0, 2, 100));
    let offer = room.reply(&Packet::discover(machine(2)));
    assert_eq!(offer.message.yiaddr(), Ipv4Addr::new(203, 0, 113, 100));
    assert_eq!(offer.server_identifier(), SECOND);
    room.reply(&Packet::selecting(machine(2), offer.message.yiaddr()));
    let outcome = room.outcome(&Packet::discover(machine(3)));
    assert!(matches!(outcome.event.step, Step::PoolExhausted { .. }));
}

#[test]
fn who_renews_at_one_of_our_addresses_is_answered_from_it() {
    let mut room = room();
    room.dora(machine(1));
    let address = room.dora(machine(2));
    for asked in [SECOND, SERVER] {
        (room.ingress.to, room.ingress.address) = (asked, asked);
        let ack = room.reply(&Packet::renewing(machine(2), address));
        assert_eq!(ack.kind(), MessageType::Ack);
        assert_eq!(ack.server_identifier(), asked);
    }
}

#[test]
fn behind_a_relay_our_own_addresses_make_no_common_wire() {
    let mut room = room();
    let relayed = |last| Packet::discover(machine(last)).through(Ipv4Addr::new(192, 0, 2, 2));
    room.reply(&relayed(1));
    let outcome = room.outcome(&relayed(2));
    assert!(matches!(outcome.event.step, Step::PoolExhausted { .. }));
}

#[test]
fn a_primary_address_in_no_subnet_leaves_the_others_served() {
    let mut room = room();
    room.snapshot.subnets.retain(|subnet| subnet.cidr.contains(SECOND));
    let offer = room.reply(&Packet::discover(machine(1)));
    assert_eq!(offer.message.yiaddr(), Ipv4Addr::new(203, 0, 113, 100));
    assert_eq!(offer.server_identifier(), SECOND);
}

#[test]
fn none_of_our_addresses_is_ever_leased() {
    let mut room = room();
    room.snapshot.subnets[1].pool = vec!["203.0.113.1-203.0.113.2".parse().unwrap()];
    room.dora(machine(1));
    assert_eq!(room.dora(machine(2)), Ipv4Addr::new(203, 0, 113, 2));
    let ours = Packet::discover(machine(3));
    room.ingress.source = "203.0.113.1:68".parse().unwrap();
    assert_eq!(room.silence(&ours), Reason::FromOurselves);
}
