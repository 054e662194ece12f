//! Switch ports: a host with a `port` boots on no other, and one that lists nothing else is whatever
//! machine stands there.
//!
//! The port is told by option 82, which a relay or a snooping switch adds to what passes through it.
//! A renewal goes straight to us and has none; so a port is asked for whenever a machine has no
//! address yet. One at the wrong port gets no answer at all, and so no address to ask for files from.

use super::{Asked, PXE_PORT};
use crate::boot::{machine::Who, snapshot::Snapshot};
use crate::lease::LeaseTable;
use crate::model::{MacAddr, Now, text};
use crate::proto::dhcp::{Request, names_a_vlan};

/// Who asks, where that can't be told from the packet alone: the machine that holds the reserved
/// address of a host that is known by its port only.
pub(super) fn keeper<'s>(
    snapshot: &'s Snapshot,
    leases: &LeaseTable,
    (now, request): (Now, &Request),
    who: Who<'s>,
) -> Who<'s> {
    if who.host().is_some() || request.relay_agent.is_some() {
        return who;
    }
    let is_held = |address: &_| leases.holder_at(now, *address) == Some(request.hardware);
    request
        .client_address
        .filter(is_held)
        .and_then(|address| snapshot.hosts.by_address(address))
        .filter(|host| host.port.is_some() && !host.lists_hardware())
        .map_or(who, Who::Host)
}

/// Why a host may not boot where it is; `None` where it may.
pub(super) fn misplaced(asked: &Asked<'_>, ports: &[String]) -> Option<String> {
    let own = asked.who.host()?.port.as_ref()?;
    if ports.iter().any(|port| port.eq_ignore_ascii_case(own)) {
        return None;
    }
    match ports.first() {
        Some(port) => Some(format!(
            "it belongs to the switch port {own} and asks from {}{}",
            text::escape(port.as_bytes()),
            match ports.iter().any(|port| names_a_vlan(port)) {
                true => ", which is a VLAN and no port: the switch must say the port in option 82",
                false => "",
            }
        )),
        // It goes straight to us because it has its address already.
        None if asked.request.client_address.is_some() || asked.ingress.port == PXE_PORT => None,
        None => Some(format!(
            "it belongs to the switch port {own}, and no relay or switch says where it is (option 82)"
        )),
    }
}

/// What the later stages must know of a machine that begins anew: the port that makes it a host, or
/// that no port does, because it may have stood at such a port before.
pub(super) fn arrived(asked: &Asked<'_>, ports: Vec<String>) -> Option<(MacAddr, Vec<String>)> {
    if !asked.snapshot.hosts.are_any_by_port() || asked.request.client_address.is_some() {
        return None;
    }
    let host = asked.who.host();
    let is_by_port = host.is_some_and(|host| host.port.is_some() && !host.lists_hardware());
    let ports = if is_by_port { ports } else { Vec::new() };
    asked.request.hardware.mac().map(|mac| (mac, ports))
}
