//! Which subnet a request is answered from, and where its reply goes.

use super::{Destination, Ingress, PXE_PORT, RequestContext};
use crate::boot::{
    event::{Reason, SubnetSource},
    snapshot::{Snapshot, Subnet},
};
use crate::lease::LeaseTable;
use crate::model::{MacAddr, Mode, OwnAddress};
use crate::proto::dhcp::{Reply, ReplyKind, Request, RequestKind};
use std::{
    iter,
    net::{Ipv4Addr, SocketAddrV4},
};

/// The ports of DHCP clients and servers.
const CLIENT_PORT: u16 = 68;
const SERVER_PORT: u16 = 67;

/// The subnet the client is on, or why we serve none there. A relay's word (82.5, `giaddr`) and what a client
/// may select (118) is final: what it names and we don't serve gets no answer. A client's own address counts only
/// where it can have it: one that was moved here from another wire is on the wire that it asks from.
pub(super) fn subnet<'s>(snapshot: &'s Snapshot, ingress: &Ingress, request: &Request) -> Result<&'s Subnet, Reason> {
    let find = |address: Ipv4Addr| snapshot.subnet_of(address);
    let link = request.relay_agent.as_ref().and_then(|agent| agent.link_selection);
    let claimed = [
        (link, SubnetSource::LinkSelection),
        (selection(snapshot, request), SubnetSource::Selection),
        (request.relay, SubnetSource::Relay),
    ];
    if let Some((address, told_by)) = claimed.into_iter().find_map(|(claimed, by)| Some((claimed?, by))) {
        return find(address).ok_or(Reason::SubnetUnserved { address, told_by });
    }
    // The address that was asked, then the interface's others: any of them is on the client's wire.
    let mut own = iter::once(ingress.address).chain(ingress.own.iter().map(|own| own.address));
    request
        .client_address
        .and_then(find)
        .filter(|claimed| may_be_in(snapshot, ingress, request, claimed))
        .or_else(|| own.find_map(find))
        .ok_or(Reason::SubnetUnserved {
            address: ingress.address,
            told_by: SubnetSource::Interface,
        })
}

/// The subnet that a client selects (RFC 3011), where that one may be: else anybody could use up the
/// addresses of any wire from any other. What may not be selected counts as if it had not been sent.
fn selection(snapshot: &Snapshot, request: &Request) -> Option<Ipv4Addr> {
    let is_selectable = |address: &Ipv4Addr| snapshot.subnet_of(*address).is_some_and(|subnet| subnet.selectable);
    request.subnet_selection.filter(is_selectable)
}

/// The client's word on its subnet, where it was obeyed: a relay's link selection stands before it (RFC 3527).
pub(super) fn selected(context: &RequestContext<'_>) -> Option<Ipv4Addr> {
    let link = context
        .request
        .relay_agent
        .as_ref()
        .and_then(|agent| agent.link_selection);
    let is_asked_for = link.is_none() && context.ingress.mode == Mode::Dhcp;
    selection(context.snapshot, context.request).filter(|_| is_asked_for)
}

/// Whether a client that no relay speaks for may be in `claimed`, where the address lies that it says it
/// has: on the wire that it asks from, or behind a router.
fn may_be_in(snapshot: &Snapshot, ingress: &Ingress, request: &Request, claimed: &Subnet) -> bool {
    is_on_a_wire_of(snapshot, claimed, &ingress.own) || is_routed(snapshot, ingress, request, claimed)
}

/// Whether a packet from an address of `claimed` came through a router.
///
/// A renewal did that goes to our address on this interface though the client is not on its wire, or to one
/// on another interface when the client is not on that one's wire either. To an address of ours on the
/// client's old wire it comes straight from a machine that was moved here, because Linux answers for that
/// address here too. What is broadcast comes from this wire, and a DISCOVER has no address, though
/// NetworkManager leaves its old one in.
fn is_routed(snapshot: &Snapshot, ingress: &Ingress, request: &Request, claimed: &Subnet) -> bool {
    let is_near = |own: &[OwnAddress]| is_on_a_wire_of(snapshot, claimed, own);
    match request.kind {
        RequestKind::Discover => false,
        _ if is_near(&ingress.own) => false,
        _ if ingress.is_own(ingress.to) => true,
        _ => ingress.is_by_name() && !is_near(&ingress.elsewhere),
    }
}

/// Whether `subnet` is on one of the wires on which we have those addresses.
fn is_on_a_wire_of(snapshot: &Snapshot, subnet: &Subnet, own: &[OwnAddress]) -> bool {
    let shares = |other: &&Subnet| other.network.is_some() && other.network == subnet.network;
    let mut beside = iter::once(subnet).chain(snapshot.subnets.iter().filter(shares));
    beside.any(|subnet| own.iter().any(|own| subnet.cidr.contains(own.address)))
}

/// The other subnets on the same wire, in the order of the inventory: those of the same `network`, and,
/// for a machine on our own wire, those in which the interface has an address.
pub(super) fn beside<'a>(
    context: &RequestContext<'a>,
    subnet: &'a Subnet,
) -> impl Iterator<Item = &'a Subnet> + use<'a> {
    let own: &'a [OwnAddress] = match is_subnet_given(context.snapshot, context.request) {
        true => &[],
        false => &context.ingress.own,
    };
    let is_attached = move |subnet: &Subnet| own.iter().any(|own| subnet.cidr.contains(own.address));
    let shares = move |other: &Subnet| other.network.is_some() && other.network == subnet.network;
    let is_beside = move |other: &&Subnet| shares(other) || (is_attached(subnet) && is_attached(other));
    let subnets = context.snapshot.subnets.iter().filter(is_beside);
    subnets.filter(move |other| other.cidr != subnet.cidr)
}

/// Whether a relay or a client named the subnet, and not only where the packet came in.
fn is_subnet_given(snapshot: &Snapshot, request: &Request) -> bool {
    let link = request.relay_agent.as_ref().and_then(|agent| agent.link_selection);
    link.or(selection(snapshot, request)).or(request.relay).is_some()
}

/// Of the subnets on a wire the machine's own: where its reservation lies, else the address that it
/// names, else one it had before; `first`, the one of the interface or relay, where none of them is.
pub(super) fn own_subnet<'s>(context: &RequestContext<'s>, first: &'s Subnet, leases: &LeaseTable) -> &'s Subnet {
    let request = context.request;
    if first.network.is_none() && context.ingress.own.len() < 2 {
        return first;
    }
    let find = |address: Ipv4Addr| {
        let mut wire = iter::once(first).chain(beside(context, first));
        wire.find(|subnet| subnet.cidr.contains(address))
    };
    let reserved = context.who.host().and_then(|host| host.address);
    let named = request.requested_address.or(request.client_address);
    let before = || leases.addresses_of(request.hardware).find_map(find);
    reserved
        .and_then(find)
        .or_else(|| named.and_then(find))
        .or_else(before)
        .unwrap_or(first)
}

/// Where a reply goes: the table of RFC 2131 section 4.1, with PXE's port in front.
///
/// `ciaddr` is the client's own word: a reply goes there only where we serve, or any packet would
/// make us send one to any address in the world.
///
/// A quirk may overrule the broadcast flag, and nothing else.
pub(super) fn destination(context: &RequestContext<'_>, reply: &Reply) -> Destination {
    let (snapshot, ingress, request) = (context.snapshot, context.ingress, context.request);
    if ingress.port == PXE_PORT {
        return Destination::Unicast(ingress.source);
    }
    if let Some(relay) = request.relay {
        return Destination::Unicast(SocketAddrV4::new(relay, relay_port(ingress, request)));
    }
    // A client of InfiniBand has no address that fits here, and wants a broadcast (RFC 4390 section 2.1).
    let no_frame = !request.chaddr.takes_frames();
    let wants_broadcast = wants_broadcast(context);
    let broadcast = Destination::Broadcast { port: CLIENT_PORT };
    match (reply.kind, used_address(snapshot, request)) {
        (ReplyKind::Nak, _) => broadcast,
        (ReplyKind::Offer | ReplyKind::Ack | ReplyKind::Bootp, Some(client)) => {
            Destination::Unicast(SocketAddrV4::new(client, CLIENT_PORT))
        }
        (ReplyKind::Offer | ReplyKind::Ack | ReplyKind::Bootp, None) if no_frame || wants_broadcast => broadcast,
        (ReplyKind::Offer | ReplyKind::Ack | ReplyKind::Bootp, None) => match request.chaddr.mac() {
            Some(mac) if !reply.your_address.is_unspecified() => Destination::Frame {
                mac,
                to: SocketAddrV4::new(reply.your_address, CLIENT_PORT),
            },
            Some(_) | None => broadcast,
        },
    }
}

/// The MAC of a client that asks for itself, should its address be one that no machine answers for: whoever made
/// it up must not have the kernel ask for it. One that wants broadcasts can't be had by a frame.
pub(super) fn link(context: &RequestContext<'_>) -> Option<MacAddr> {
    let request = context.request;
    let takes_frames = request.chaddr.takes_frames() && !wants_broadcast(context);
    request.chaddr.mac().filter(|_| request.relay.is_none() && takes_frames)
}

/// A quirk may overrule the flag.
fn wants_broadcast(context: &RequestContext<'_>) -> bool {
    context
        .quirks
        .set
        .broadcast
        .unwrap_or(context.request.wants_broadcast())
}

/// Where a second copy of a NAK goes, and which address of ours it comes from. RFC 2131 has it broadcast;
/// but in RENEWING systemd-networkd, dhcpcd and NetworkManager listen with a socket of their address alone,
/// and would go on using it until they rebind. So it is sent to that address too: by the address of ours
/// that was asked, which is all that a client's firewall lets in. A client on this wire is addressed by
/// its MAC, because there may be no route from this wire to an address of another one.
pub(super) fn copy(context: &RequestContext<'_>, reply: &Reply) -> Option<(Ipv4Addr, Destination)> {
    let (snapshot, ingress, request) = (context.snapshot, context.ingress, context.request);
    if reply.kind != ReplyKind::Nak || ingress.port == PXE_PORT || request.relay.is_some() {
        return None;
    }
    let used = used_address(snapshot, request)?;
    let to = SocketAddrV4::new(used, CLIENT_PORT);
    let subnet = snapshot.subnet_of(used)?;
    let is_routed = is_routed(snapshot, ingress, request, subnet);
    let from = if ingress.is_by_name() {
        ingress.to
    } else {
        context.address
    };
    let no_frame = is_routed || !request.chaddr.takes_frames();
    Some(match request.chaddr.mac() {
        Some(mac) if !no_frame => (from, Destination::Frame { mac, to }),
        Some(_) | None => (from, Destination::Unicast(to)),
    })
}

/// The address that a client uses now, if it is one that we serve. A DISCOVER and the REQUEST that takes an
/// offer have none: what stands there is left from before.
pub(super) fn used_address(snapshot: &Snapshot, request: &Request) -> Option<Ipv4Addr> {
    let is_ours = |address: &Ipv4Addr| snapshot.subnet_of(*address).is_some();
    match request.kind {
        RequestKind::Discover => None,
        RequestKind::Request if request.server_identifier.is_some() => None,
        _ => request.client_address.filter(is_ours),
    }
}

/// A relay listens on 67, unless it says that it must be answered where it sent from (RFC 8357).
fn relay_port(ingress: &Ingress, request: &Request) -> u16 {
    let to_source = request
        .relay_agent
        .as_ref()
        .is_some_and(|agent| agent.answers_to_source_port);
    if to_source { ingress.source.port() } else { SERVER_PORT }
}
