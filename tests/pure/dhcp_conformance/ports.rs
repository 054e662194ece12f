//! Hosts and the switch ports they belong to (option 82).

use super::support::*;
use bootwright::boot::{
    event::{MachineKey, NotGivenThere, PortDoubt, Reason, Step},
    identity_cache::IdentityCache,
    resource::Refusal,
    snapshot::{Host, Hosts, PortsFrom},
};
use bootwright::lease::{LeaseTable, PortChange, PortRecord};
use bootwright::model::{BootTarget, Dialect, MacAddr, Mode, WallTime, limits};
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
    let mut room = room(&[LIVE]);
    let network = "10.0.0.0/24".parse().unwrap();
    room.snapshot.subnets[0].ports_from.relays.push(network);
    let names = |address| room.snapshot.names_router(address);
    assert!(names(RELAY));
    assert!(names(
        room.snapshot.subnets.iter().find_map(|subnet| subnet.router).unwrap()
    ));
    assert!(!names(Ipv4Addr::new(203, 0, 113, 77)));
    let made_up = Ipv4Addr::new(10, 0, 0, 7);
    assert!(room.snapshot.subnets[0].ports_from.has_relay(made_up) && !names(made_up));
}

fn own_port() -> std::sync::Arc<str> {
    "SW7/gi1/7".into()
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

/// What is kept of where an address was given.
fn kept(room: &mut Room, packet: &Packet) -> PortRecord {
    match &room.outcome(packet).port_changes[..] {
        [PortChange::Put(record)] => record.clone(),
        other => panic!("{other:?}"),
    }
}

/// Why a host that is not where it belongs gets no answer.
fn misplaced(room: &mut Room, packet: &Packet) -> Reason {
    let outcome = room.outcome(packet);
    assert!(outcome.send.is_none() && outcome.change.is_none() && outcome.observation.address.is_none());
    match outcome.event.step {
        Step::WrongPort { reason } => reason,
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
fn a_host_at_another_port_gets_no_answer_and_both_ports_are_reported() {
    let mut room = room(&[LIVE]);
    let reason = misplaced(&mut room, &from(Packet::discover(LIVE).pxe(7), PORT_9));
    let seen = (&b"sw7/Gi1/9"[..]).into();
    assert_eq!(reason, Reason::OtherPort { own: own_port(), seen });
    let request = Packet::selecting(LIVE, Ipv4Addr::new(192, 0, 2, 11));
    misplaced(&mut room, &from(request, PORT_9));
}

#[test]
fn a_host_whose_port_nobody_tells_gets_no_answer_unless_its_address_was_given_there() {
    let mut room = room(&[LIVE]);
    let reason = misplaced(&mut room, &Packet::discover(LIVE).pxe(7));
    assert_eq!(reason, Reason::PortUntold { own: own_port() });
    misplaced(&mut room, &Packet::rebooting(LIVE, OWN));
    // Who sets the address by hand, and says so.
    for packet in [Packet::renewing(LIVE, OWN), inform(LIVE, OWN)] {
        let (own, address) = (own_port(), OWN);
        assert_eq!(misplaced(&mut room, &packet), Reason::PortNotRenewed { own, address });
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
    let record = kept(&mut room, &from(Packet::selecting(LIVE, OWN), PORT_7));
    room.leases = Default::default();
    misplaced(&mut room, &Packet::renewing(LIVE, OWN));
    room.leases.ports.restore(room.now, [record]);
    assert_eq!(room.reply(&Packet::renewing(LIVE, OWN)).message.yiaddr(), OWN);
}

#[test]
fn what_is_on_disk_is_dated_by_the_calendar_whatever_the_clock_is_set_to() {
    let mut room = room(&[LIVE]);
    room.leases.observe_clock(room.now);
    let date = room.leases.date(room.now);
    room.now.wall.0 -= 1_000_000;
    room.leases.observe_clock(room.now);
    let record = kept(&mut room, &from(Packet::selecting(LIVE, OWN), PORT_7));
    assert_eq!(record.expires, WallTime(date.0 + 3600), "set back");
    room.now.wall.0 += 3_000_000;
    room.leases.observe_clock(room.now);
    assert!(room.leases.is_undated());
    let [anew] = &room.leases.port_records(room.now)[..] else {
        panic!("it runs on")
    };
    assert_eq!(anew.expires, WallTime(room.now.wall.0 + 3600), "set forwards");
    // Restarted by the calendar on disk.
    room.leases = LeaseTable::default();
    room.leases.ports.restore(room.now, [anew.clone()]);
    assert_eq!(room.reply(&Packet::renewing(LIVE, OWN)).message.yiaddr(), OWN);
}

#[test]
fn an_address_that_a_client_cannot_have_or_use_yet_tells_no_port() {
    let mut room = room(&[LIVE]);
    given(&mut room, LIVE);
    misplaced(&mut room, &Packet::discover(LIVE).pxe(7).at(OWN));
    misplaced(&mut room, &Packet::selecting(LIVE, OWN).at(OWN));
    room.ingress.port = 4011;
    room.ingress.source = "192.0.2.101:4011".parse().unwrap();
    misplaced(&mut room, &Packet::renewing(LIVE, OWN).pxe(7));
    room.ingress.source = SocketAddrV4::new(OWN, 4011);
    let outcome = room.outcome(&Packet::renewing(LIVE, OWN).pxe(7));
    assert!(outcome.send.is_some());
    assert_eq!(outcome.port_changes, [], "a boot file prolongs nothing");
    room.now.monotonic += Duration::from_secs(3600);
    misplaced(&mut room, &Packet::renewing(LIVE, OWN).pxe(7));
}

#[test]
fn an_address_in_a_discover_makes_no_machine_a_host_without_a_mac() {
    let mut room = room(&[]);
    given(&mut room, STRANGER);
    let machine = |room: &mut Room, packet: Packet| room.outcome(&packet).event.machine.key;
    assert_eq!(machine(&mut room, Packet::renewing(STRANGER, OWN)), listed("r1u07"));
    let stranger = machine(&mut room, Packet::discover(STRANGER).at(OWN));
    assert_eq!(stranger, unlisted(STRANGER));
}

#[test]
fn a_host_that_repeats_itself_is_written_once() {
    let mut room = room(&[LIVE]);
    let taking = || from(Packet::selecting(LIVE, OWN), PORT_7);
    kept(&mut room, &taking());
    room.now.monotonic += Duration::from_secs(4);
    assert_eq!(room.outcome(&taking()).port_changes, []);
    room.now.monotonic += Duration::from_secs(1800);
    let renewed = room.now.wall.0 + 3600;
    assert_eq!(kept(&mut room, &Packet::renewing(LIVE, OWN)).expires, WallTime(renewed));
}

#[test]
fn where_an_address_was_given_is_forgotten_when_it_is_given_up() {
    let mut room = room(&[LIVE]);
    given(&mut room, LIVE);
    let leaving = Packet::new(7, LIVE).at(OWN);
    assert_eq!(room.outcome(&leaving).port_changes, [PortChange::Remove(OWN)]);
    misplaced(&mut room, &Packet::renewing(LIVE, OWN));
}

#[test]
fn who_has_a_hosts_mac_at_another_port_takes_nothing_from_the_host() {
    for packet in [Packet::discover(LIVE).pxe(7), Packet::selecting(LIVE, OWN)] {
        let mut room = room(&[LIVE]);
        given(&mut room, LIVE);
        let packet = from(packet, PORT_9);
        misplaced(&mut room, &packet);
        assert_eq!(room.outcome(&packet).port_changes, [], "it stays on disk");
        let kept = room.leases.ports.at(room.now, OWN).map(|(client, _)| client);
        assert_eq!(kept, Some(LIVE.into()), "and its files are its own");
        // It may have moved: what goes straight to us does not tell, what its relay passes on does.
        misplaced(&mut room, &Packet::renewing(LIVE, OWN));
        let rebinding = from(Packet::renewing(LIVE, OWN), PORT_7);
        assert_eq!(room.reply(&rebinding).message.yiaddr(), OWN);
        assert_eq!(room.reply(&Packet::renewing(LIVE, OWN)).message.yiaddr(), OWN);
    }
}

#[test]
fn who_is_given_an_address_at_another_port_has_moved() {
    let mut room = room(&[]);
    given(&mut room, STRANGER);
    let offered = room.reply(&from(Packet::discover(STRANGER), PORT_9)).message.yiaddr();
    let taking = from(Packet::selecting(STRANGER, offered), PORT_9);
    assert_eq!(room.outcome(&taking).port_changes, [PortChange::Remove(OWN)]);
    assert_eq!(room.leases.ports.at(room.now, OWN), None);
}

#[test]
fn as_a_guest_it_is_remembered_for_one_boot_and_until_another_takes_the_address() {
    let mut room = room(&[LIVE]);
    room.ingress.mode = Mode::Proxy;
    let taking = |mac| from(Packet::selecting(mac, OWN), PORT_7);
    let record = kept(&mut room, &taking(LIVE));
    let lasts = limits::PORT_BINDING_TTL.as_secs();
    assert_eq!(record.expires, WallTime(room.now.wall.0 + lasts));
    let other = Ipv4Addr::new(203, 0, 113, 5);
    let unserved = from(Packet::selecting(LIVE, other), PORT_7);
    assert_eq!(room.outcome(&unserved).port_changes, [], "of no [[subnet]]");
    let taken = room.outcome(&taking(STRANGER));
    assert_eq!(taken.port_changes, [PortChange::Remove(OWN)]);
}

#[test]
fn whom_the_inventory_gives_an_address_now_is_not_taken_for_who_had_it_before() {
    let mut room = room(&[LIVE]);
    let record = kept(&mut room, &from(Packet::selecting(LIVE, OWN), PORT_7));
    room.leases = LeaseTable::default();
    room.leases.ports.restore(room.now, [record]);
    let asks = |room: &mut Room| {
        let resolved = room.get(&mut IdentityCache::default(), OWN, "/boot.ipxe");
        resolved.subject.machine.key
    };
    assert_eq!(asks(&mut room), listed("r1u07"));
    room.snapshot.hosts = Hosts::new(vec![
        Host {
            port: Some("SW7/gi1/7".to_owned()),
            ..host("r1u07", &[LIVE], Some("192.0.2.12"), BootTarget::Live)
        },
        host("r1u08", &[STRANGER], Some("192.0.2.11"), BootTarget::Live),
    ]);
    assert_eq!(asks(&mut room), listed("r1u08"));
}

#[test]
fn a_port_counts_only_where_one_tells_it_that_the_subnet_knows() {
    let mut room = room(&[LIVE]);
    let discover = || Packet::discover(LIVE).with(82, PORT_7);
    let subnet = cidr("192.0.2.0/24");
    let doubted = |doubt| Reason::PortDoubted { own: own_port(), doubt };
    let reason = misplaced(&mut room, &discover());
    assert_eq!(reason, doubted(PortDoubt::NoRelay { subnet }));
    let other = Ipv4Addr::new(192, 0, 2, 249);
    let reason = misplaced(&mut room, &discover().through(other));
    assert_eq!(reason, doubted(PortDoubt::OtherRelay { relay: other, subnet }));
    // A relay's address in the packet of a machine.
    for source in ["192.0.2.101", "192.0.2.11", "0.0.0.0"] {
        let source = source.parse().unwrap();
        room.ingress.source = SocketAddrV4::new(source, 67);
        let reason = misplaced(&mut room, &discover().through(RELAY));
        let relay = RELAY;
        assert_eq!(reason, doubted(PortDoubt::SentByMachine { relay, source }));
    }
    // What nobody has yet, anybody can set by hand.
    let free = Ipv4Addr::new(192, 0, 2, 240);
    room.ingress.source = SocketAddrV4::new(free, 67);
    for packet in [discover(), Packet::selecting(LIVE, OWN).with(82, PORT_7)] {
        let reason = misplaced(&mut room, &packet.through(RELAY));
        let doubt = PortDoubt::SentFromElsewhere {
            relay: RELAY,
            source: free,
            subnet,
        };
        assert_eq!(reason, doubted(doubt));
    }
    assert_eq!(room.leases.ports.records(room.now), []);
    // Another address of a relay: the router's, one that we know nothing of, and one that is named.
    let router = Ipv4Addr::new(192, 0, 2, 254);
    room.snapshot.subnets[0].router = Some(router);
    for source in [router, Ipv4Addr::new(198, 18, 0, 1)] {
        room.ingress.source = SocketAddrV4::new(source, 67);
        room.reply(&discover().through(RELAY));
    }
    room.ingress.source = SocketAddrV4::new(free, 67);
    let named = room.snapshot.subnets[0].ports_from.relays.len();
    let ports_from = &mut room.snapshot.subnets[0].ports_from.relays;
    ports_from.push(format!("{free}/32").parse().unwrap());
    room.reply(&discover().through(RELAY));
    room.snapshot.subnets[0].ports_from.relays.truncate(named);
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
    assert_eq!(outcome.event.machine.key, unlisted(STRANGER));
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
    let fetch = |room: &mut Room, path: &str| room.get(&mut IdentityCache::default(), OWN, path).result;
    let is_refused = |room: &mut Room| {
        ["/boot.ipxe", "/answer/r1u07/preseed.cfg"].map(|path| match fetch(room, path) {
            Err(Refusal::Forbidden(reason)) => {
                let expected = Reason::NotAtItsPort {
                    host: "r1u07".parse().unwrap(),
                    port: own_port(),
                    why: NotGivenThere::NotGiven { peer: OWN.into() },
                };
                assert_eq!(reason, expected, "{path}");
                true
            }
            _ => false,
        })
    };
    assert_eq!(is_refused(&mut room), [true, true], "its address was set by hand");
    given(&mut room, LIVE);
    assert_eq!(is_refused(&mut room), [false, false]);
    room.now.monotonic += Duration::from_secs(3600);
    assert_eq!(is_refused(&mut room), [true, true], "its lease is over");
}

#[test]
fn who_is_refused_what_is_a_hosts_own_is_told_which_address_counts_and_what_to_do() {
    let mut room = room(&[LIVE]);
    let templates = &mut room.snapshot.templates;
    templates
        .add_script(&"live".parse().unwrap(), Dialect::Ipxe, "live.ipxe", "#!ipxe\n")
        .unwrap();
    let refused = |room: &mut Room, peer: Ipv4Addr| {
        let path = format!("/boot.ipxe?mac={LIVE}");
        match room.get(&mut IdentityCache::default(), peer, &path).result {
            Err(Refusal::Forbidden(Reason::NotAtItsPort { why, .. })) => why,
            other => panic!("{peer}: {other:?}"),
        }
    };
    let (nat, given_here) = (Ipv4Addr::new(203, 0, 113, 9), OWN);
    assert_eq!(refused(&mut room, OWN), NotGivenThere::NotGiven { peer: OWN.into() });
    given(&mut room, LIVE);
    let elsewhere = NotGivenThere::AsksFromElsewhere {
        given: given_here,
        peer: nat.into(),
    };
    assert_eq!(refused(&mut room, nat), elsewhere);
    // Its cable is where it was; the inventory says another port since.
    let mut hosts: Vec<Host> = room.snapshot.hosts.iter().map(|host| (**host).clone()).collect();
    hosts[0].port = Some("sw7/Gi1/9".to_owned());
    room.snapshot.hosts = Hosts::new(hosts);
    assert_eq!(refused(&mut room, OWN), NotGivenThere::AtAnother { peer: OWN.into() });
    let elsewhere = NotGivenThere::GivenElsewhere {
        given: given_here,
        peer: nat.into(),
    };
    assert_eq!(refused(&mut room, nat), elsewhere);
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
    let mut identities = IdentityCache::default();
    // Whom DHCP takes a machine for, and whom what it fetches from there is for.
    let mut arrive = |room: &mut Room, packet: &Packet, peer: Ipv4Addr| {
        let outcome = room.outcome(packet);
        identities.record(outcome.observation);
        let answered = room.get(&mut identities, peer, "/boot.ipxe");
        (outcome.event.machine.key, answered.subject.machine.key)
    };
    let taking = Packet::selecting(STRANGER, OWN);
    let both = |machine: MachineKey| (machine.clone(), machine);
    assert_eq!(arrive(&mut room, &from(taking, PORT_7), OWN), both(listed("r1u07")));
    // A renewal comes without option 82, and the address tells.
    assert_eq!(room.reply(&Packet::renewing(STRANGER, OWN)).message.yiaddr(), OWN);
    // Anybody can write its hardware address: its boot at port 7 goes on.
    for seen in [from(Packet::discover(STRANGER), PORT_9), Packet::discover(STRANGER)] {
        let (arrived, fetches) = arrive(&mut room, &seen, OWN);
        assert_eq!((arrived, fetches), (unlisted(STRANGER), listed("r1u07")));
    }
    let offered = room.reply(&from(Packet::discover(STRANGER), PORT_9)).message.yiaddr();
    let moved = from(Packet::selecting(STRANGER, offered), PORT_9);
    assert_eq!(arrive(&mut room, &moved, offered), both(unlisted(STRANGER)));
}
