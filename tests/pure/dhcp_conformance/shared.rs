//! Several subnets on one wire.

use super::support::*;
use bootwright::boot::{event::Step, snapshot::Hosts};
use bootwright::model::{BootTarget, MacAddr};
use dhcproto::v4::MessageType;
use std::net::Ipv4Addr;

const SECOND_POOL: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 100);

/// Two subnets of one wire, with a pool of one address each, and one elsewhere.
fn room() -> Room {
    let mut room = Room::new();
    let mut first = subnet("192.0.2.0/24", Some("192.0.2.254"), &["192.0.2.100-192.0.2.100"]);
    let mut second = subnet(
        "203.0.113.0/24",
        Some("203.0.113.254"),
        &["203.0.113.100-203.0.113.100"],
    );
    for subnet in [&mut first, &mut second] {
        subnet.network = Some("rack-1".parse().unwrap());
    }
    let elsewhere = subnet("198.51.100.0/24", None, &["198.51.100.100-198.51.100.199"]);
    room.snapshot.subnets = vec![elsewhere, second, first];
    room
}

fn machine(last: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, last])
}

#[test]
fn a_used_up_pool_is_followed_by_the_next_subnet_of_the_wire_and_by_none_elsewhere() {
    let mut room = room();
    assert_eq!(room.dora(machine(1)), Ipv4Addr::new(192, 0, 2, 100));
    let offer = room.reply(&Packet::discover(machine(2)));
    assert_eq!(offer.message.yiaddr(), SECOND_POOL);
    assert_eq!(offer.option(3), Some(&[203, 0, 113, 254][..]));
    assert_eq!(offer.option(54), Some(&SERVER.octets()[..]));
    assert_eq!(room.dora(machine(2)), SECOND_POOL);
    let outcome = room.outcome(&Packet::discover(machine(3)));
    assert!(
        matches!(outcome.event.step, Step::PoolExhausted { .. }),
        "{:?}",
        outcome.event.step
    );
}

#[test]
fn a_lease_of_the_second_subnet_is_renewed_and_found_again() {
    let mut room = room();
    room.dora(machine(1));
    let address = room.dora(machine(2));
    for packet in [
        Packet::renewing(machine(2), address),
        Packet::rebooting(machine(2), address),
    ] {
        assert_eq!(room.reply(&packet).message.yiaddr(), address);
    }
    assert_eq!(room.reply(&Packet::discover(machine(2))).message.yiaddr(), address);
}

#[test]
fn a_reservation_in_any_subnet_of_the_wire_is_the_hosts_address() {
    let mut room = room();
    let reserved = Ipv4Addr::new(203, 0, 113, 7);
    room.snapshot.hosts = Hosts::new(vec![host("r1", &[LIVE], Some("203.0.113.7"), BootTarget::Live)]);
    let relayed = Packet::discover(LIVE).through(Ipv4Addr::new(192, 0, 2, 2));
    for packet in [Packet::discover(LIVE), relayed] {
        assert_eq!(room.reply(&packet).message.yiaddr(), reserved);
    }
    let wrong = room.reply(&Packet::selecting(LIVE, Ipv4Addr::new(192, 0, 2, 100)));
    assert_eq!(wrong.kind(), MessageType::Nak);
}

#[test]
fn without_a_common_network_a_subnet_has_its_own_wire() {
    let mut room = room();
    room.snapshot.subnets[1].network = None;
    room.dora(machine(1));
    let outcome = room.outcome(&Packet::discover(machine(2)));
    assert!(
        matches!(outcome.event.step, Step::PoolExhausted { .. }),
        "{:?}",
        outcome.event.step
    );
}
