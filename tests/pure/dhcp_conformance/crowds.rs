//! Floods of invented machines, and who gets an address all the same.

use super::support::*;
use bootwright::boot::{engine::Outcome, event::Step};
use bootwright::model::{MacAddr, limits};
use std::{net::Ipv4Addr, time::Duration};

const RELAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// A machine that nobody listed.
fn machine(number: u32) -> MacAddr {
    let [_, b, c, d] = number.to_be_bytes();
    MacAddr([2, 0, 0, b, c, d])
}

/// It asks from a switch port.
fn at_port(number: u32, port: &str) -> Packet {
    let mut agent = vec![1, u8::try_from(port.len()).unwrap()];
    agent.extend_from_slice(port.as_bytes());
    Packet::discover(machine(number)).with(82, &agent)
}

fn offered(outcome: &Outcome) -> Option<Ipv4Addr> {
    match outcome.event.step {
        Step::Offered { address, .. } => Some(address),
        _ => None,
    }
}

/// The crowd's port and number of offers.
fn over_quota(outcome: &Outcome) -> Option<(String, usize)> {
    let over_quota = outcome.over_quota.as_ref()?;
    Some((over_quota.port.to_string(), over_quota.offers))
}

/// A room whose pool has `addresses`.
fn room(addresses: u32) -> Room {
    let mut room = Room::new();
    let last = Ipv4Addr::from_bits(Ipv4Addr::new(198, 18, 1, 0).to_bits() + addresses - 1);
    let pool = format!("198.18.1.0-{last}");
    room.snapshot.subnets = vec![subnet("198.18.0.0/15", None, &[&pool])];
    room.ingress.address = Ipv4Addr::new(198, 18, 0, 1);
    room.ingress.own = [own_address(room.ingress.address)].into();
    room
}

#[test]
fn a_flood_at_one_port_hurts_no_stranger_at_another() {
    let mut room = room(4);
    for number in 0..20 {
        room.outcome(&at_port(number, "Gi1/0/1"));
    }
    for number in [100, 101] {
        let outcome = room.outcome(&at_port(number, "Gi1/0/2"));
        let address = offered(&outcome).unwrap();
        let (port, _) = over_quota(&outcome).unwrap();
        assert_eq!(port, "interface eno2, switch port Gi1/0/1");
        let taken = Packet::new(3, machine(number))
            .with(50, &address.octets())
            .with(54, &room.ingress.address.octets());
        assert_eq!(room.reply(&taken).message.yiaddr(), address);
    }
}

#[test]
fn two_ports_share_a_small_pool_and_take_nothing_back_and_forth() {
    let mut room = room(4);
    for number in 0..10 {
        room.outcome(&at_port(number, "Gi1/0/1"));
    }
    let second: Vec<_> = (100..110)
        .map(|number| offered(&room.outcome(&at_port(number, "Gi1/0/2"))))
        .collect();
    assert_eq!(second.iter().flatten().count(), 2, "{second:?}");
    assert!(offered(&room.outcome(&at_port(7, "Gi1/0/1"))).is_none());
}

#[test]
fn relays_and_the_own_wire_are_ports_of_their_own() {
    let mut room = room(4);
    for number in 0..10 {
        room.outcome(&Packet::discover(machine(number)));
    }
    let relay = Ipv4Addr::new(198, 18, 0, 2);
    let outcome = room.outcome(&Packet::discover(machine(100)).through(relay));
    assert!(offered(&outcome).is_some());
    assert_eq!(over_quota(&outcome), Some(("interface eno2".to_owned(), 4)));
}

#[test]
fn invented_ports_take_nothing_from_machines_of_the_same_wire_that_name_none() {
    let mut room = room(4);
    let honest: Vec<_> = (0..4)
        .map(|number| offered(&room.outcome(&Packet::discover(machine(number)))).unwrap())
        .collect();
    for number in 100..120 {
        let outcome = room.outcome(&at_port(number, &format!("Gi1/0/{number}")));
        assert_eq!(offered(&outcome), None);
    }
    for (number, address) in (0..).zip(honest) {
        assert_eq!(
            offered(&room.outcome(&Packet::discover(machine(number)))),
            Some(address)
        );
    }
}

#[test]
fn a_switch_port_holds_so_many_offers_and_beyond_them_the_oldest_gives_way_once_it_had_its_time() {
    let most = u32::try_from(limits::OFFERS_PER_SWITCH_PORT_MAX).unwrap();
    let mut room = room(2 * most);
    let first = offered(&room.outcome(&at_port(0, "Gi1/0/1"))).unwrap();
    room.now = room.now.after(Duration::from_millis(1));
    for number in 1..most {
        assert!(offered(&room.outcome(&at_port(number, "Gi1/0/1"))).is_some());
    }
    let refused = room.outcome(&at_port(most, "Gi1/0/1"));
    let full = Some((
        "interface eno2, switch port Gi1/0/1".to_owned(),
        limits::OFFERS_PER_SWITCH_PORT_MAX,
    ));
    assert_eq!((offered(&refused), over_quota(&refused)), (None, full.clone()));
    assert!(
        matches!(refused.event.step, Step::Ignored { .. }),
        "its pool is not used up"
    );
    room.now = room.now.after(limits::OFFER_EVICTION_AGE_MIN);
    let served = room.outcome(&at_port(most, "Gi1/0/1"));
    assert_eq!((offered(&served), over_quota(&served)), (Some(first), full));
    let elsewhere = room.outcome(&at_port(most + 1, "Gi1/0/2"));
    assert_eq!(over_quota(&elsewhere), None);
    assert!(offered(&elsewhere).is_some());
}

#[test]
fn a_machine_that_asks_again_keeps_its_offer_and_counts_once() {
    let most = u32::try_from(limits::OFFERS_PER_SWITCH_PORT_MAX).unwrap();
    let mut room = room(2 * most);
    let first = offered(&room.outcome(&at_port(0, "Gi1/0/1")));
    for _ in 0..most {
        assert_eq!(offered(&room.outcome(&at_port(0, "Gi1/0/1"))), first);
    }
    assert!(offered(&room.outcome(&at_port(1, "Gi1/0/1"))).is_some());
}

#[test]
fn leases_and_ended_offers_count_for_no_port() {
    let most = u32::try_from(limits::OFFERS_PER_SWITCH_PORT_MAX).unwrap();
    let mut room = room(4 * most);
    for number in 0..most {
        let address = offered(&room.outcome(&at_port(number, "Gi1/0/1"))).unwrap();
        let taken = Packet::new(3, machine(number)).with(50, &address.octets());
        room.reply(&taken.with(54, &room.ingress.address.octets()));
    }
    for number in most..2 * most {
        assert!(offered(&room.outcome(&at_port(number, "Gi1/0/1"))).is_some());
    }
    room.now = room.now.after(limits::OFFER_TTL);
    let outcome = room.outcome(&at_port(3 * most, "Gi1/0/1"));
    assert!(offered(&outcome).is_some() && outcome.over_quota.is_none());
}

#[test]
fn on_a_flooded_wire_an_offer_is_good_for_as_long_as_a_slow_client_needs() {
    let mut room = room(4);
    let mut slow = room.outcome(&Packet::discover(machine(0)));
    let address = offered(&slow).unwrap();
    for second in 1..limits::OFFER_EVICTION_AGE_MIN.as_secs() {
        room.now = START.after(Duration::from_secs(second));
        for number in 0..50 {
            let number = u32::try_from(second).unwrap() * 100 + number;
            room.outcome(&Packet::discover(machine(number)));
        }
    }
    let taken = Packet::new(3, machine(0)).with(50, &address.octets());
    slow = room.outcome(&taken.with(54, &room.ingress.address.octets()));
    assert!(
        matches!(slow.event.step, Step::Acknowledged { .. }),
        "{:?}",
        slow.event.step
    );
}

#[test]
fn a_listed_host_takes_the_oldest_offer_of_the_fullest_port() {
    let mut room = Room::new();
    let mut oldest = None;
    for number in 0..3 {
        let outcome = room.outcome(&at_port(number, "Gi1/0/1").through(RELAY));
        oldest = oldest.or(offered(&outcome));
        room.now = room.now.after(Duration::from_millis(1));
    }
    room.outcome(&Packet::discover(STRANGER));
    let outcome = room.outcome(&Packet::discover(INSTALL));
    assert_eq!(offered(&outcome), oldest);
    let port = "interface eno2, relay 192.0.2.2, switch port Gi1/0/1".to_owned();
    assert_eq!(over_quota(&outcome), Some((port, 3)));
}
