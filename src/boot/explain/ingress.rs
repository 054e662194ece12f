//! Where the packets of a machine would come in: on which interface, from whom, and sent to whom.

use super::{BootQuestion, ServedWire};
use crate::boot::{
    engine::{Ingress, PXE_PORT},
    snapshot::Snapshot,
};
use crate::model::Mode;
use std::{
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
};

const CLIENT_PORT: u16 = 68;
const SERVER_PORT: u16 = 67;

/// Where a request to our port 4011 comes in from a machine that has its address.
pub(super) fn at_boot_server(before: &Ingress, address: Ipv4Addr) -> Ingress {
    Ingress {
        port: PXE_PORT,
        source: SocketAddrV4::new(address, PXE_PORT),
        to: before.address,
        ..before.clone()
    }
}

/// Where a packet of the machine would come in; `None` where no interface is served.
pub(super) fn ingress(snapshot: &Snapshot, wires: &[ServedWire], question: &BootQuestion) -> Option<Ingress> {
    let host = question
        .host
        .as_ref()
        .and_then(|name| snapshot.hosts.by_name(name.as_str()));
    let reserved = host.and_then(|host| host.address);
    let subnet = reserved.and_then(|address| snapshot.subnet_of(address));
    let near = |wire: &&ServedWire| subnet.is_some_and(|subnet| wire.is_in(subnet));
    let near = wires.iter().find(near).filter(|_| question.relay.is_none());
    // A relay's packets are routed to us, to the interface that gives addresses.
    let routed = || wires.iter().find(|wire| wire.mode == Mode::Dhcp);
    let wire = near.or_else(routed).or(wires.first())?;
    let address = wire.own.first()?.address;
    let (source, to) = match question.relay {
        Some(relay) => (SocketAddrV4::new(relay, SERVER_PORT), address),
        None => (
            SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, CLIENT_PORT),
            Ipv4Addr::BROADCAST,
        ),
    };
    Some(Ingress {
        interface: Arc::clone(&wire.name),
        own: Arc::clone(&wire.own),
        elsewhere: Arc::clone(&wire.elsewhere),
        address,
        port: SERVER_PORT,
        mode: wire.mode,
        source,
        to,
    })
}
