//! Addresses that are probed before a machine is offered them.

use super::support::*;
use bootwright::boot::{
    engine::{ConflictProbe, Outcome},
    event::{Reason, Step},
    snapshot::Hosts,
};
use bootwright::model::{BootTarget, Probe, limits};
use std::net::Ipv4Addr;

/// What [`STRANGER`]'s MAC comes to in the pool.
const FIRST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 102);

fn room(probe: Option<Probe>) -> Room {
    let mut room = Room::new();
    room.snapshot.subnets.iter_mut().for_each(|subnet| subnet.probe = probe);
    room
}

/// The outcome of a stranger's DISCOVER whose address is tried.
fn tried(room: &mut Room, packet: &Packet) -> (Outcome, ConflictProbe) {
    let outcome = room.outcome(packet);
    let probe = outcome.probe.unwrap();
    assert!(outcome.send.is_some(), "the offer that waits");
    (outcome, probe)
}

#[test]
fn an_address_is_probed_when_it_is_offered_for_the_first_time_and_not_again() {
    let mut room = room(Some(Probe::Arp));
    let (_, probe) = tried(&mut room, &Packet::discover(STRANGER));
    let by = Probe::Arp;
    assert_eq!(probe, ConflictProbe { address: FIRST, by });
    assert!(room.leases.probe_passed(STRANGER.into(), FIRST));
    assert_eq!(room.outcome(&Packet::discover(STRANGER)).probe, None);
    assert_eq!(room.dora(STRANGER), FIRST);
    room.now = room.now.after(limits::LEASE_MAX);
    let returning = room.outcome(&Packet::discover(STRANGER));
    assert_eq!(returning.probe, None, "its own from last time");
}

#[test]
fn where_the_subnet_asks_for_none_nothing_is_probed() {
    assert_eq!(room(None).outcome(&Packet::discover(STRANGER)).probe, None);
}

#[test]
fn where_the_disk_lost_leases_new_addresses_are_probed_for_as_long_as_one_lasts() {
    let mut room = room(None);
    room.leases.lose(room.now, std::time::Duration::ZERO);
    let (_, probe) = tried(&mut room, &Packet::discover(STRANGER));
    let by = Probe::Arp;
    assert_eq!(probe, ConflictProbe { address: FIRST, by });
    assert!(
        room.leases.conflict_found(room.now, STRANGER.into(), FIRST),
        "its holder answers"
    );
    let (_, probe) = tried(&mut room, &Packet::discover(STRANGER));
    assert_ne!(probe.address, FIRST, "and keeps it");
    let lasting = room.snapshot.subnets.iter().map(|subnet| subnet.lease).max().unwrap();
    room.now = room.now.after(lasting);
    assert_eq!(room.outcome(&Packet::discover(STRANGER)).probe, None);
}

#[test]
fn a_reservation_is_offered_without_a_probe() {
    let outcome = room(Some(Probe::Arp)).outcome(&Packet::discover(LIVE));
    assert!(outcome.send.is_some() && outcome.probe.is_none());
}

#[test]
fn behind_a_relay_the_probe_is_a_ping() {
    let mut room = room(Some(Probe::Arp));
    let relayed = Packet::discover(STRANGER).through(Ipv4Addr::new(198, 51, 100, 2));
    assert_eq!(tried(&mut room, &relayed).1.by, Probe::Ping);
}

#[test]
fn a_copy_that_comes_while_the_probe_runs_is_left_to_the_offer_that_waits() {
    let mut room = room(Some(Probe::Ping));
    tried(&mut room, &Packet::discover(STRANGER));
    let reason = room.silence(&Packet::discover(STRANGER));
    assert_eq!(reason, Reason::ProbePending { address: FIRST });
    room.now = room.now.after(limits::PROBE_RESULT_TTL);
    let (_, again) = tried(&mut room, &Packet::discover(STRANGER));
    assert_eq!(again.address, FIRST, "the first probe never came to an end");
}

#[test]
fn an_address_in_use_is_out_of_use_and_another_one_is_tried() {
    let mut room = room(Some(Probe::Arp));
    tried(&mut room, &Packet::discover(STRANGER));
    assert!(room.leases.conflict_found(room.now, STRANGER.into(), FIRST));
    let (_, probe) = tried(&mut room, &Packet::discover(STRANGER));
    assert_ne!(probe.address, FIRST);
    assert!(!room.leases.probe_passed(STRANGER.into(), FIRST));
    assert!(room.leases.probe_passed(STRANGER.into(), probe.address));
}

#[test]
fn an_answer_that_comes_when_the_client_has_its_lease_already_takes_nothing_from_it() {
    let mut room = room(Some(Probe::Ping));
    tried(&mut room, &Packet::discover(STRANGER));
    let lasting = std::time::Duration::from_secs(3600);
    assert!(room.leases.lease(room.now, STRANGER.into(), FIRST, lasting).is_some());
    assert!(!room.leases.conflict_found(room.now, STRANGER.into(), FIRST));
    assert_eq!(room.leases.client_at(room.now, FIRST), Some(STRANGER.into()));
}

#[test]
fn an_offer_that_gave_way_while_it_was_tried_is_not_sent() {
    let mut room = room(Some(Probe::Arp));
    room.snapshot.subnets[0].pool = vec!["192.0.2.102-192.0.2.102".parse().unwrap()];
    tried(&mut room, &Packet::discover(STRANGER));
    room.snapshot.hosts = Hosts::new(vec![host("listed", &[INSTALL], None, BootTarget::Live)]);
    let (outcome, _) = tried(&mut room, &Packet::discover(INSTALL));
    assert!(matches!(outcome.event.step, Step::Offered { address, .. } if address == FIRST));
    assert!(!room.leases.probe_passed(STRANGER.into(), FIRST));
    assert!(room.leases.probe_passed(INSTALL.into(), FIRST));
}

#[test]
fn a_reload_without_probes_frees_the_offer_that_waits() {
    let mut room = room(Some(Probe::Arp));
    tried(&mut room, &Packet::discover(STRANGER));
    room.snapshot.subnets[0].probe = None;
    let outcome = room.outcome(&Packet::discover(STRANGER));
    assert!(outcome.send.is_some() && outcome.probe.is_none());
}

#[test]
fn a_machine_that_declines_all_it_gets_does_not_empty_the_pool() {
    let mut room = room(None);
    for _ in 0..20 {
        room.now = room.now.after(std::time::Duration::from_millis(1));
        let offer = room.outcome(&Packet::discover(STRANGER));
        let Step::Offered { address, .. } = offer.event.step else {
            panic!("{:?}", offer.event.step);
        };
        room.outcome(&Packet::new(4, STRANGER).with(50, &address.octets()));
    }
    let other = room.reply(&Packet::discover(bootwright::model::MacAddr([2, 0, 0, 0, 0, 9])));
    assert_eq!(other.message.yiaddr(), FIRST, "the longest out of use");
}
