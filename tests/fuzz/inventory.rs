//! What must hold of every inventory, whatever stands in it: it is refused in words with a place, or served.
//!
//! An input is the text of an `inventory.toml`.

use super::room::{NOW, Room, SERVER, assert_served};
use bootwright::boot::{
    arming::Arming,
    engine::{self, Ingress},
    snapshot::{Host, Snapshot},
    world::World,
};
use bootwright::config::{LoadReport, Loaded};
use bootwright::lease::LeaseTable;
use bootwright::model::{Cidr, MacAddr, Mode, OwnAddress};
use bootwright::proto::dhcp;
use std::{
    collections::HashSet,
    net::{Ipv4Addr, SocketAddrV4},
};

/// Hosts of one inventory that are asked about; the others are as these.
const HOSTS_MAX: usize = 8;

/// Judges one input; whether it was accepted. Panics where a property does not hold.
pub fn judge(room: &Room, input: &[u8]) -> bool {
    room.write("inventory.toml", input);
    let first = room.load();
    let Some(loaded) = room.judged() else {
        let words = |loaded: Result<Loaded, LoadReport>| loaded.err().map(|report| report.errors);
        assert_eq!(words(first), words(room.load()), "the same file, other words");
        return false;
    };
    assert!(first.is_ok(), "the same file, another verdict");
    let snapshot = &loaded.snapshot;
    assert_room(snapshot);
    for host in snapshot.hosts.iter().take(HOSTS_MAX) {
        for mac in &host.macs {
            assert_offered(snapshot, host, *mac);
        }
    }
    assert_served(snapshot);
    true
}

/// No two hosts have anything in common that tells them apart, and every address has one place.
fn assert_room(snapshot: &Snapshot) {
    let mut addresses = HashSet::new();
    for host in snapshot.hosts.iter() {
        for mac in &host.macs {
            let owner = snapshot.hosts.by_mac(*mac).map(|owner| &owner.name);
            assert_eq!(owner, Some(&host.name), "{mac} is two hosts'");
        }
        assert_eq!(
            snapshot.hosts.by_name(host.name.as_str()).map(|found| &found.origin),
            Some(&host.origin),
            "two hosts of one name"
        );
        let Some(address) = host.address else { continue };
        assert!(addresses.insert(address), "{address} is two hosts'");
        let Some(subnet) = snapshot.subnet_of(address) else {
            panic!("{address} of {} is in no subnet", host.name);
        };
        let is_pooled = subnet
            .pool
            .iter()
            .chain(&subnet.kept)
            .any(|range| range.contains(address));
        assert!(!is_pooled, "{address} of {} is in the pool too", host.name);
    }
    for (place, subnet) in snapshot.subnets.iter().enumerate() {
        let others = &snapshot.subnets[place + 1..];
        assert!(
            others.iter().all(|other| !subnet.cidr.overlaps(other.cidr)),
            "{} overlaps another",
            subnet.cidr
        );
    }
}

/// A host that asks where its reservation lies is offered that, in a packet that is one.
fn assert_offered(snapshot: &Snapshot, host: &Host, mac: MacAddr) {
    let Some(subnet) = host.address.and_then(|address| snapshot.subnet_of(address)) else {
        return;
    };
    let relay = subnet.cidr.network();
    let mut packet = vec![1, 1, 6, 0, 1, 2, 3, 4];
    packet.resize(24, 0);
    packet.extend_from_slice(&relay.octets());
    packet.extend_from_slice(&mac.0);
    packet.resize(236, 0);
    packet.extend_from_slice(&[99, 130, 83, 99, 53, 1, 1, 57, 2, 5, 220, 255]);
    let request = dhcp::parse(&packet).unwrap();
    let ingress = Ingress {
        interface: "eno2".into(),
        own: [OwnAddress {
            address: SERVER,
            cidr: Cidr::containing(SERVER, 24),
        }]
        .into(),
        elsewhere: [].into(),
        address: SERVER,
        port: 67,
        mode: Mode::Dhcp,
        source: SocketAddrV4::new(relay, 67),
        to: SERVER,
    };
    let mut world = World {
        now: NOW,
        snapshot,
        leases: &mut LeaseTable::default(),
        arming: &mut Arming::default(),
    };
    let outcome = engine::handle(&mut world, &ingress, &request);
    let Some(sending) = outcome.send else {
        // A host that is bound to a port or said to be elsewhere is told nothing here.
        assert!(
            host.port.is_some() || relay == Ipv4Addr::UNSPECIFIED,
            "{} is offered nothing: {:?}",
            host.name,
            outcome.event.step
        );
        return;
    };
    let bytes = sending.encode();
    assert_eq!(bytes[240..243], [53, 1, 2], "no offer");
    let given = Ipv4Addr::new(bytes[16], bytes[17], bytes[18], bytes[19]);
    assert_eq!(Some(given), host.address, "{} is offered another's", host.name);
}
