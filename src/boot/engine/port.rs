//! Switch ports: a host with a `port` boots on no other, and one that lists nothing else is whatever
//! machine stands there.
//!
//! The port is told by option 82, which a relay or a snooping switch adds to what passes through it. Any
//! machine can write that option, so it is believed from those only that the subnet names (`ports_from`).
//! A renewal goes straight to us and has none, and neither has who asks for a file; what counts there is the
//! port at which the address was given, which is remembered. One at the wrong port gets no answer at all,
//! and so no address to ask for files from.

use super::{Ingress, PXE_PORT, RequestContext, route};
use crate::boot::{
    event::{Mismatch, PortDoubt, Reason, Step},
    identity_cache::ObservedPort,
    machine::Who,
    snapshot::{PortsFrom, Snapshot},
    world::World,
};
use crate::lease::{LeaseTable, PortChange, PortId};
use crate::model::{Mode, limits};
use crate::proto::dhcp::{Request, RequestKind, names_a_vlan};
use std::{net::Ipv4Addr, time::Duration};

/// Why the switch port that a request tells is not believed; `None` where it is, and where none is told.
pub(super) fn distrust_reason(
    snapshot: &Snapshot,
    ingress: &Ingress,
    request: &Request,
    claimed: &[String],
) -> Option<PortDoubt> {
    if claimed.is_empty() {
        return None;
    }
    let Ok(subnet) = route::subnet(snapshot, ingress, request) else {
        return Some(PortDoubt::NoSubnet);
    };
    let named = &subnet.ports_from;
    let subnet = subnet.cidr;
    let Some(relay) = request.relay else {
        return (!named.switches).then_some(PortDoubt::NoRelay { subnet });
    };
    if !named.has_relay(relay) {
        return Some(PortDoubt::OtherRelay { relay, subnet });
    }
    let source = *ingress.source.ip();
    if is_client_address(snapshot, source) {
        return Some(PortDoubt::SentByMachine { relay, source });
    }
    (!may_be_relay(snapshot, named, relay, source)).then_some(PortDoubt::SentFromElsewhere { relay, source, subnet })
}

/// Whether an address can only be a machine's: no relay sends from there.
fn is_client_address(snapshot: &Snapshot, source: Ipv4Addr) -> bool {
    let is_pooled = || {
        let subnet = snapshot.subnet_of(source)?;
        let mut pool = subnet.pool.iter().chain(&subnet.kept);
        pool.any(|range| range.contains(source)).then_some(())
    };
    source.is_unspecified() || snapshot.hosts.by_address(source).is_some() || is_pooled().is_some()
}

/// Whether a relay may send from there. A relay has addresses that we know nothing of, towards us; but among
/// machines it has the one that it names, the router's, or one that `ports_from` names: any other may have been
/// set by hand.
fn may_be_relay(snapshot: &Snapshot, named: &PortsFrom, relay: Ipv4Addr, source: Ipv4Addr) -> bool {
    let Some(around) = snapshot.subnet_of(source) else {
        return true;
    };
    source == relay || around.router == Some(source) || named.has_relay(source) || around.ports_from.has_relay(source)
}

/// That what is told would make the machine a host, and is not believed.
pub(super) fn distrusted_port(
    snapshot: &Snapshot,
    who: Who<'_>,
    claimed: &[String],
    distrust_reason: Option<PortDoubt>,
) -> Option<Mismatch> {
    let host = claimed.iter().find_map(|port| snapshot.hosts.by_port(port))?;
    let distrust_reason = distrust_reason.filter(|_| who.host().is_none())?;
    Some(Mismatch::PortUnbelieved {
        host: host.name.clone(),
        doubt: distrust_reason,
    })
}

/// Who asks, where that can't be told from the packet alone: the machine that holds the reserved
/// address of a host that is known by its port only.
pub(super) fn host_by_lease<'s>(
    world: &World<'s, '_>,
    (ingress, request): (&Ingress, &Request),
    (who, claimed): (Who<'s>, &[String]),
) -> Who<'s> {
    if who.host().is_some() || !claimed.is_empty() {
        return who;
    }
    let (now, snapshot) = (world.now, world.snapshot);
    let given = |address: &_| world.leases.ports.at(now, *address).map(|(client, _)| client);
    let is_held = |address: &Ipv4Addr| {
        let holder = world.leases.holder_at(now, *address).or_else(|| given(address));
        holder == Some(request.hardware)
    };
    used(snapshot, ingress, request)
        .filter(is_held)
        .and_then(|address| snapshot.hosts.by_address(address))
        .filter(|host| host.port.is_some() && !host.lists_hardware())
        .map_or(who, Who::Host)
}

/// The address that the client of a request has already, or so it claims. At port 4011 it asks from there, or
/// lies.
fn used(snapshot: &Snapshot, ingress: &Ingress, request: &Request) -> Option<Ipv4Addr> {
    if ingress.port != PXE_PORT {
        return route::used_address(snapshot, request);
    }
    let source = *ingress.source.ip();
    let is_claimed = request.client_address.is_none_or(|claimed| claimed == source);
    is_claimed.then_some(source)
}

/// That a host may not boot where it is, and why; `None` where it may.
pub(super) fn wrong_port(
    context: &RequestContext<'_>,
    ports: &[String],
    distrust_reason: Option<PortDoubt>,
    leases: &LeaseTable,
) -> Option<Step> {
    let reason = wrong_port_reason(context, ports, distrust_reason, leases)?;
    Some(Step::WrongPort { reason })
}

fn wrong_port_reason(
    context: &RequestContext<'_>,
    ports: &[String],
    distrust_reason: Option<PortDoubt>,
    leases: &LeaseTable,
) -> Option<Reason> {
    let own = context.who.host()?.port.as_ref()?;
    if ports.iter().any(|port| port.eq_ignore_ascii_case(own)) {
        return None;
    }
    if let Some(port) = ports.first() {
        let (own, seen) = (own.as_str().into(), port.as_bytes().into());
        return Some(match ports.iter().any(|port| names_a_vlan(port)) {
            true => Reason::OtherPortVlan { own, seen },
            false => Reason::OtherPort { own, seen },
        });
    }
    // It goes straight to us because it has its address already: at that port, or so it claims.
    let used = used(context.snapshot, context.ingress, context.request);
    let given = used.and_then(|address| leases.ports.surely_at(context.now, address));
    if given == Some((context.request.hardware, PortId::of(own))) {
        return None;
    }
    let own = own.as_str().into();
    Some(match (distrust_reason, used) {
        (Some(distrust_reason), _) => Reason::PortDoubted {
            own,
            doubt: distrust_reason,
        },
        (None, Some(address)) => Reason::PortNotRenewed { own, address },
        (None, None) => Reason::PortUntold { own },
    })
}

/// Notes at which port a host that belongs there was given its address, and that one was given up or passed on.
pub(super) fn boot_stage(
    context: &RequestContext<'_>,
    step: &Step,
    claimed: &[String],
    leases: &mut LeaseTable,
) -> Vec<PortChange> {
    let client = context.request.hardware;
    if let Step::Released { address } | Step::Declined { address } = step {
        return Vec::from_iter(leases.ports.give_up(client, *address));
    }
    let Some((address, lasting)) = given(context, step) else {
        return Vec::new();
    };
    let Some(own) = context.who.host().and_then(|host| host.port.as_ref()) else {
        // A guest hears what a client says, and not whether it was given that.
        let is_given = context.ingress.mode == Mode::Dhcp;
        let elsewhere = is_given.then(|| leases.ports.moved_to(client, claimed)).flatten();
        let before = leases.ports.pass_on(client, address);
        return elsewhere.into_iter().chain(before).collect();
    };
    let is_renewed = || used(context.snapshot, context.ingress, context.request) == Some(address);
    if claimed.is_empty() && !is_renewed() {
        return Vec::new();
    }
    let now = leases.dated(context.now);
    leases.ports.note(now, (client, address), PortId::of(own), lasting)
}

/// The address that the client has from now on, and for how long that is sure. Where another server gives it,
/// or it is given for ever, nothing tells how long; then it is enough for a boot.
fn given(context: &RequestContext<'_>, step: &Step) -> Option<(Ipv4Addr, Duration)> {
    if context.ingress.port == PXE_PORT {
        return None;
    }
    match (context.ingress.mode, step, context.request.kind) {
        (Mode::Dhcp, Step::Acknowledged { address, .. }, RequestKind::Request) => {
            Some((*address, context.snapshot.subnet_of(*address)?.lease))
        }
        (Mode::Dhcp, Step::Acknowledged { address, .. }, RequestKind::Bootp) => {
            Some((*address, limits::PORT_BINDING_TTL))
        }
        (Mode::Proxy, _, _) => {
            let (address, _) = super::proxy::address_from_other_server(context)?;
            context.snapshot.subnet_of(address)?;
            Some((address, limits::PORT_BINDING_TTL))
        }
        (Mode::Dhcp, _, _) => None,
    }
}

/// What the later stages must know of a machine that begins anew: the port that makes it a host, or
/// that no port does, because it may have stood at such a port before.
pub(super) fn observed_port(context: &RequestContext<'_>, step: &Step, ports: Vec<String>) -> Option<ObservedPort> {
    if !context.snapshot.hosts.has_any_by_port() || context.request.client_address.is_some() {
        return None;
    }
    let host = context.who.host();
    let is_by_port = host.is_some_and(|host| host.port.is_some() && !host.lists_hardware());
    let ports = if is_by_port { ports } else { Vec::new() };
    // A guest hears what a client takes, and not whether it is given that.
    let is_given = match context.ingress.mode {
        Mode::Dhcp => matches!(step, Step::Acknowledged { .. }),
        Mode::Proxy => super::proxy::address_from_other_server(context).is_some(),
    };
    let mac = context.request.hardware.mac()?;
    Some(ObservedPort { mac, ports, is_given })
}
