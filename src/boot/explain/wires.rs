//! The wires that we serve, and the relay that a machine on none of them would be behind.

use crate::boot::snapshot::{Host, Snapshot, Subnet};
use crate::model::{Mode, OwnAddress};
use std::{net::Ipv4Addr, sync::Arc};

/// An interface that is served, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedWire {
    /// The interface's name.
    pub name: Arc<str>,
    /// Whether we give the addresses there.
    pub mode: Mode,
    /// Our addresses there, the primary one first; at least one.
    pub own: Arc<[OwnAddress]>,
    /// Our addresses on the other interfaces.
    pub elsewhere: Arc<[OwnAddress]>,
}

impl ServedWire {
    /// Whether one of our addresses there lies in `subnet`.
    pub(super) fn is_in(&self, subnet: &Subnet) -> bool {
        self.own.iter().any(|own| subnet.cidr.contains(own.address))
    }
}

/// The relay that the machine would be behind, where nobody said: that of its reservation's subnet, if we have no
/// address on that wire.
pub(super) fn usual_relay(snapshot: &Snapshot, wires: &[ServedWire], host: Option<&Host>) -> Option<Ipv4Addr> {
    let subnet = snapshot.subnet_of(host?.address?)?;
    let shares =
        |other: &&Subnet| other.cidr == subnet.cidr || (other.network.is_some() && other.network == subnet.network);
    let is_here = |subnet: &Subnet| wires.iter().any(|wire| wire.is_in(subnet));
    if snapshot.subnets.iter().filter(shares).any(is_here) {
        return None;
    }
    let named = subnet.ports_from.relays.iter().find(|relay| relay.prefix() == 32);
    named
        .map(|relay| relay.network())
        .filter(|relay| subnet.cidr.contains(*relay))
        .or(subnet.router)
}
