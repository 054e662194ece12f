//! Whom a request is taken to come from, once it is known whether its switch port is believed.

use super::{Ingress, classify::identity, port};
use crate::boot::{
    event::PortDoubt,
    machine::{Identity, Who, identify},
    world::World,
};
use crate::proto::dhcp::Request;

/// Whom a request is taken to come from.
#[derive(Clone, Debug)]
pub struct Recognised<'s> {
    /// What it lets us know of its machine; a switch port only where that is believed.
    pub identity: Identity,
    /// The machine as the inventory knows it.
    pub who: Who<'s>,
    /// The ports that it tells, believed or not.
    pub(super) claimed_ports: Vec<String>,
    /// Why they are not.
    pub(super) distrust_reason: Option<PortDoubt>,
}

/// Finds out whom a request comes from: what everything else of it is decided by.
pub fn recognise<'s>(world: &World<'s, '_>, ingress: &Ingress, request: &Request) -> Recognised<'s> {
    let snapshot = world.snapshot;
    let claimed = identity(request);
    let claimed_ports = claimed.ports.clone();
    let distrust_reason = port::distrust_reason(snapshot, ingress, request, &claimed_ports);
    let identity = match distrust_reason {
        Some(_) => Identity {
            ports: Vec::new(),
            ..claimed
        },
        None => claimed,
    };
    let who = identify(snapshot, &identity);
    let who = port::host_by_lease(world, (ingress, request), (who, &identity.ports));
    Recognised {
        identity,
        who,
        claimed_ports,
        distrust_reason,
    }
}
