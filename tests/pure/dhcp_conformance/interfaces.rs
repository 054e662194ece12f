//! Hosts with one address and several interfaces: it is one interface's at a time.

use super::support::*;
use bootwright::boot::{
    event::{NoOwnAddress, Reason, ReservationUnavailable, Step},
    snapshot::Hosts,
};
use bootwright::lease::LeaseChange;
use bootwright::model::{BootTarget, MacAddr};
use dhcproto::v4::MessageType;
use std::{net::Ipv4Addr, time::Duration};

const OWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);
/// What the MAC of the second interface comes to in the pool.
const SECONDS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 101);
const LEASE: Duration = Duration::from_secs(3600);

/// What firmware's exchange gives.
fn boots(room: &mut Room, mac: MacAddr) -> Ipv4Addr {
    let address = room.reply(&Packet::discover(mac).pxe(7)).message.yiaddr();
    let ack = room.reply(&Packet::selecting(mac, address).pxe(7));
    assert_eq!(ack.kind(), MessageType::Ack);
    address
}

#[test]
fn of_two_interfaces_that_ask_together_one_gets_the_address_and_the_other_one_of_the_pool() {
    let mut room = Room::new();
    let offers = [LIVE, LIVE_SECOND].map(|mac| room.reply(&Packet::discover(mac)).message.yiaddr());
    assert_eq!(offers, [OWN, OWN], "nobody has it yet");
    let acks = [LIVE, LIVE_SECOND].map(|mac| room.reply(&Packet::selecting(mac, OWN)));
    assert_eq!(acks[0].kind(), MessageType::Ack);
    assert_eq!(acks[1].kind(), MessageType::Nak);
    let why = ReservationUnavailable::OtherInterface { by: Some(LIVE.into()) };
    let reason = Reason::OwnAddressInUse { own: OWN, why };
    assert_eq!(acks[1].step, Step::Refused { reason });
    assert_eq!(room.reply(&Packet::discover(LIVE_SECOND)).message.yiaddr(), SECONDS);
    let outcome = room.outcome(&Packet::selecting(LIVE_SECOND, SECONDS));
    let notice = outcome.notice.unwrap().step;
    let given = SECONDS;
    assert_eq!(notice, Step::ReservationUnavailable { given, own: OWN, why });
}

#[test]
fn each_keeps_its_own_through_renewals_and_the_second_takes_over_when_the_first_is_silent_for_its_lease() {
    let mut room = Room::new();
    room.dora(LIVE);
    assert_eq!(room.dora(LIVE_SECOND), SECONDS);
    room.ingress.to = SERVER;
    for _ in 0..4 {
        room.now.monotonic += LEASE / 2;
        for (mac, address) in [(LIVE, OWN), (LIVE_SECOND, SECONDS)] {
            let ack = room.reply(&Packet::renewing(mac, address));
            assert_eq!((ack.kind(), ack.message.yiaddr()), (MessageType::Ack, address));
        }
    }
    room.now.monotonic += LEASE / 2;
    room.reply(&Packet::renewing(LIVE_SECOND, SECONDS));
    room.now.monotonic += LEASE / 2;
    let nak = room.reply(&Packet::renewing(LIVE_SECOND, SECONDS));
    assert_eq!(nak.kind(), MessageType::Nak, "it is to have the host's own address now");
    room.ingress.to = Ipv4Addr::BROADCAST;
    assert_eq!(room.dora(LIVE_SECOND), OWN);
}

#[test]
fn an_interface_that_releases_the_address_leaves_it_to_the_other_at_once() {
    let mut room = Room::new();
    room.dora(LIVE);
    room.outcome(&Packet::new(7, LIVE).at(OWN).with(54, &SERVER.octets()));
    assert_eq!(room.dora(LIVE_SECOND), OWN);
}

#[test]
fn firmware_boots_by_whichever_interface_it_likes_and_its_system_by_whichever_asks_first() {
    let mut room = Room::new();
    assert_eq!(boots(&mut room, LIVE), OWN);
    // There is no cable, or its loader failed.
    assert_eq!(boots(&mut room, LIVE_SECOND), OWN);
    assert_eq!(room.dora(LIVE), OWN);
    assert_eq!(room.dora(LIVE_SECOND), SECONDS);
    // The host is powered on again: its system runs no longer.
    assert_eq!(boots(&mut room, LIVE_SECOND), OWN);
}

#[test]
fn an_interface_that_remembers_the_address_is_refused_while_the_other_uses_it() {
    let mut room = Room::new();
    room.dora(LIVE);
    for packet in [Packet::rebooting(LIVE_SECOND, OWN), Packet::renewing(LIVE_SECOND, OWN)] {
        assert_eq!(room.reply(&packet).kind(), MessageType::Nak);
    }
    let ack = room.reply(&Packet::renewing(LIVE, OWN));
    assert_eq!(ack.kind(), MessageType::Ack, "the one that uses it keeps it");
}

#[test]
fn without_a_pool_the_other_interface_gets_nothing_and_it_is_reported_why() {
    let mut room = Room::new();
    room.snapshot.subnets[0].pool.clear();
    room.dora(LIVE);
    let own = NoOwnAddress::Unavailable {
        address: OWN,
        why: ReservationUnavailable::OtherInterface { by: Some(LIVE.into()) },
    };
    let subnet = cidr("192.0.2.0/24");
    let reason = room.silence(&Packet::discover(LIVE_SECOND));
    assert_eq!(reason, Reason::NoPool { own, subnet });
}

#[test]
fn a_restart_does_not_make_two_of_one_address() {
    let mut room = Room::new();
    room.dora(LIVE);
    room.reply(&Packet::discover(LIVE_SECOND));
    let ack = room.reply(&Packet::selecting(LIVE_SECOND, SECONDS));
    let Some(LeaseChange::Put(record)) = ack.change else {
        panic!("{:?}", ack.change);
    };
    room.leases = Default::default();
    assert!(room.leases.restore(room.now, vec![record]).is_empty());
    // The disk knows nothing of the first: the second renews before it, or asks from the start.
    let ack = room.reply(&Packet::renewing(LIVE_SECOND, SECONDS));
    assert_eq!((ack.kind(), ack.message.yiaddr()), (MessageType::Ack, SECONDS));
    assert_eq!(room.dora(LIVE_SECOND), SECONDS);
    assert_eq!(room.reply(&Packet::renewing(LIVE, OWN)).kind(), MessageType::Ack);
    // Who was to renew it within its lease did not: it is free.
    room.now.monotonic += LEASE;
    room.leases.release(room.now, LIVE.into(), OWN);
    assert_eq!(room.dora(LIVE_SECOND), OWN);
}

#[test]
fn the_board_that_another_host_had_is_not_in_the_way_of_the_interfaces_that_replace_it() {
    let mut room = Room::new();
    room.snapshot.hosts = Hosts::new(vec![host(
        "live-one",
        &[STRANGER],
        Some("192.0.2.11"),
        BootTarget::Live,
    )]);
    assert_eq!(room.dora(STRANGER), OWN);
    let replaced = host("live-one", &[LIVE, LIVE_SECOND], Some("192.0.2.11"), BootTarget::Live);
    room.snapshot.hosts = Hosts::new(vec![replaced]);
    assert_eq!(room.dora(LIVE), OWN);
}

#[test]
fn a_host_with_one_interface_is_never_in_its_own_way() {
    let mut room = Room::new();
    for _ in 0..2 {
        assert_eq!(room.dora(LOCAL), Ipv4Addr::new(192, 0, 2, 12));
        assert_eq!(boots(&mut room, LOCAL), Ipv4Addr::new(192, 0, 2, 12));
    }
}
