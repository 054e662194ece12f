//! The exchange, message by message (RFC 2131 section 4.3): what each asks for and what it gets.

use super::{
    ConflictProbe, Outcome, PXE_PORT, RequestContext,
    address::{self, Reservation},
    pxe_port,
    reply_options::{Described, lease_time, reply_with_options},
    route,
};
use crate::boot::{
    event::{BootDecision, Event, Reason, ReservationUnavailable, Step},
    snapshot::Subnet,
};
use crate::lease::{Freshness, LeaseChange, LeaseTable, Offer, Tenure};
use crate::model::{Probe, limits};
use crate::proto::dhcp::{Reply, ReplyKind, RequestKind};
use std::{iter, net::Ipv4Addr};

/// Answers a request from a machine on the wire of `subnet`.
pub(super) fn answer<'a>(context: &mut RequestContext<'a>, subnet: &'a Subnet, leases: &mut LeaseTable) -> Outcome {
    let subnet = route::own_subnet(context, subnet, leases);
    context.select_server_id(subnet);
    if context.ingress.port == PXE_PORT {
        return pxe_port::answer(context);
    }
    match context.request.kind {
        RequestKind::Discover => discover(context, subnet, leases),
        RequestKind::Request => request(context, subnet, leases),
        RequestKind::Decline => decline(context, subnet, leases),
        RequestKind::Release => release(context, subnet, leases),
        RequestKind::Inform => inform(context, subnet),
        RequestKind::Bootp => bootp(context, subnet, leases),
        RequestKind::Other(kind) => context.ignored(Reason::MessageType { kind }),
    }
}

fn discover<'a>(context: &mut RequestContext<'a>, subnet: &'a Subnet, leases: &mut LeaseTable) -> Outcome {
    let wire = iter::once(subnet).chain(route::beside(context, subnet));
    let mut lacks = Vec::new();
    for subnet in wire {
        match address::to_offer(context, subnet, leases) {
            Ok(offer) => {
                context.select_server_id(subnet);
                return offered(context, subnet, leases, offer);
            }
            Err(lack) => lacks.push(lack),
        }
    }
    address::no_offer(context, lacks)
}

/// The offer; where the subnet asks for it, or the disk lost leases, it waits until a probe finds the address
/// unused.
fn offered(context: &RequestContext<'_>, subnet: &Subnet, leases: &mut LeaseTable, offer: Offer) -> Outcome {
    let (now, address) = (context.now, offer.address);
    let may_be_used = || leases.may_have_lost(now, subnet.lease).then_some(Probe::Arp);
    let probe = subnet.probe.or_else(may_be_used);
    let is_new = match offer.freshness {
        Freshness::Known => false,
        Freshness::New => true,
        Freshness::Probing { since } if now.monotonic < since + limits::PROBE_RESULT_TTL && probe.is_some() => {
            return context.ignored(Reason::ProbePending { address });
        }
        Freshness::Probing { .. } => true,
    };
    // ARP ends at the relay.
    let by = probe.filter(|_| is_new).map(|probe| match context.request.relay {
        None => probe,
        Some(_) => Probe::Ping,
    });
    if by.is_some() {
        leases.begin_probe(now, address);
    }
    let (reply, boot) = reply_with_address(context, subnet, ReplyKind::Offer, address);
    Outcome {
        over_quota: offer.evicted_from,
        probe: by.map(|by| ConflictProbe { address, by }),
        ..context.replied(reply, None, Step::Offered { address, boot })
    }
}

/// Which of its states a client requests from: RFC 2131 section 4.3.2 tells them by their fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientState {
    /// It took our offer.
    Selecting,
    /// INIT-REBOOT: it remembers an address, whoever gave it.
    Rebooting,
    /// RENEWING: it uses the address now, and asks us by name to prolong it.
    Renewing,
    /// REBINDING: it uses the address now, and asks whoever hears it.
    Rebinding,
}

impl ClientState {
    fn of(context: &RequestContext<'_>) -> ClientState {
        let request = context.request;
        let names_us = request.relay.is_none() && context.ingress.is_by_name();
        match (request.server_identifier, request.client_address) {
            (Some(_), _) => ClientState::Selecting,
            (None, None) => ClientState::Rebooting,
            (None, Some(_)) if names_us => ClientState::Renewing,
            (None, Some(_)) => ClientState::Rebinding,
        }
    }
}

fn request(context: &RequestContext<'_>, subnet: &Subnet, leases: &mut LeaseTable) -> Outcome {
    let request = context.request;
    if let Some(other) = context.is_for_another_server() {
        leases.withdraw_offers(context.now, request.hardware);
        return context.no_reply(Step::ChoseOtherServer { server: other });
    }
    let Some(address) = request.requested_address.or(request.client_address) else {
        return context.ignored(Reason::RequestNamesNone);
    };
    match address::reservation(context, subnet, leases) {
        Reservation::Free(reserved) if reserved == address => {
            let tenure = match context.stage.is_in_boot() {
                true => Tenure::Boot,
                false => Tenure::System,
            };
            let change = leases.hold(context.now, request.hardware, address, lease_time(subnet), tenure);
            acknowledged(context, subnet, address, change)
        }
        Reservation::HeldByOtherInterface { address: own, by } if own == address => {
            let why = ReservationUnavailable::OtherInterface { by };
            refused(context, leases, address, Reason::OwnAddressInUse { own, why })
        }
        Reservation::Free(own) => refused(
            context,
            leases,
            address,
            Reason::OwnAddressOther { own, asked: address },
        ),
        Reservation::None | Reservation::Taken { .. } | Reservation::HeldByOtherInterface { .. } => {
            dynamic(context, subnet, leases, address)
        }
    }
}

/// A request for an address that is not reserved for the client.
fn dynamic(context: &RequestContext<'_>, subnet: &Subnet, leases: &mut LeaseTable, address: Ipv4Addr) -> Outcome {
    let (now, client) = (context.now, context.request.hardware);
    if !subnet.cidr.contains(address) {
        let subnet = subnet.cidr;
        return refused(context, leases, address, Reason::AddressElsewhere { address, subnet });
    }
    let claim = ClientState::of(context);
    let is_leasable = address::is_leasable(context, subnet, leases, address);
    // Who asks everybody may be another server's client, a second appliance's among them: to grant
    // what that server gave would make two leases of one, and a NAK would take its address away.
    let is_ours = match claim {
        ClientState::Selecting | ClientState::Renewing => true,
        ClientState::Rebooting | ClientState::Rebinding => leases.was_acknowledged(client, address),
    };
    if !is_ours {
        let own = leases.held_by(now, client).find(|own| subnet.cidr.contains(*own));
        return match own.filter(|_| claim == ClientState::Rebooting && is_leasable) {
            Some(own) => refused(
                context,
                leases,
                address,
                Reason::OwnAddressOther { own, asked: address },
            ),
            None => context.ignored(Reason::LeaseUnknown { address }),
        };
    }
    if !is_leasable {
        let subnet = subnet.cidr;
        return refused(context, leases, address, Reason::NotInPool { address, subnet });
    }
    match leases.lease(now, client, address, lease_time(subnet)) {
        Some(record) => Outcome {
            notice: reservation_unavailable_event(context, subnet, leases, (claim, address)),
            ..acknowledged(context, subnet, address, Some(LeaseChange::Put(record)))
        },
        None => refused(context, leases, address, Reason::HeldByAnother { address }),
    }
}

/// That a host is given another address than its own: logged as often as it takes one.
fn reservation_unavailable_event(
    context: &RequestContext<'_>,
    subnet: &Subnet,
    leases: &LeaseTable,
    (claim, given): (ClientState, Ipv4Addr),
) -> Option<Event> {
    let is_new = matches!(claim, ClientState::Selecting | ClientState::Rebooting);
    let (own, why) = is_new.then(|| address::reservation_unavailable(context, subnet, leases))??;
    Some(context.event(Step::ReservationUnavailable { given, own, why }))
}

fn acknowledged(
    context: &RequestContext<'_>,
    subnet: &Subnet,
    address: Ipv4Addr,
    change: Option<LeaseChange>,
) -> Outcome {
    let (mut reply, boot) = reply_with_address(context, subnet, ReplyKind::Ack, address);
    reply.0.client_address = context.request.client_address.unwrap_or(Ipv4Addr::UNSPECIFIED);
    context.replied(reply, change, Step::Acknowledged { address, boot })
}

/// A NAK. Should the client hold the address it may not have, that lease ends with it.
fn refused(context: &RequestContext<'_>, leases: &mut LeaseTable, address: Ipv4Addr, reason: Reason) -> Outcome {
    let client = context.request.hardware;
    let is_on_disk = leases.client_at(context.now, address) == Some(client);
    leases.release(context.now, client, address);
    let change = is_on_disk.then_some(LeaseChange::Remove(address));
    let mut reply = Reply::to(context.request, ReplyKind::Nak, context.server_identifier());
    if context.request.relay.is_some() {
        // The relay must not send it to the address that the client may not have.
        reply.flags |= Reply::FLAG_BROADCAST;
    }
    context.replied((reply, None), change, Step::Refused { reason })
}

fn release(context: &RequestContext<'_>, subnet: &Subnet, leases: &mut LeaseTable) -> Outcome {
    if let Some(other) = context.is_for_another_server() {
        return context.ignored(Reason::ReleaseToOther { server: other });
    }
    let Some(address) = context.request.client_address else {
        return context.ignored(Reason::ReleaseNamesNone);
    };
    let client = context.request.hardware;
    let is_on_disk = leases.client_at(context.now, address) == Some(client);
    let is_reserved = address::reservation(context, subnet, leases) == Reservation::Free(address);
    if !leases.release(context.now, client, address) && !is_reserved {
        return context.ignored(Reason::ReleaseNotHeld { address });
    }
    Outcome {
        change: is_on_disk.then_some(LeaseChange::Remove(address)),
        ..context.no_reply(Step::Released { address })
    }
}

fn decline(context: &RequestContext<'_>, subnet: &Subnet, leases: &mut LeaseTable) -> Outcome {
    if let Some(other) = context.is_for_another_server() {
        return context.ignored(Reason::DeclineToOther { server: other });
    }
    let Some(address) = context.request.requested_address else {
        return context.ignored(Reason::DeclineNamesNone);
    };
    // A reservation stays: only people can say whether the host or the stranger is to have it.
    if address::reservation(context, subnet, leases) == Reservation::Free(address) {
        return context.no_reply(Step::ReservationConflict { address, by: None });
    }
    let client = context.request.hardware;
    // What was only offered has no record: to decline it must not cost a write.
    let is_on_disk = leases.client_at(context.now, address) == Some(client);
    if !leases.decline(context.now, client, address) {
        return context.ignored(Reason::DeclineNotHeld { address });
    }
    Outcome {
        change: is_on_disk.then_some(LeaseChange::Remove(address)),
        ..context.no_reply(Step::Declined { address })
    }
}

/// INFORM: the client has its address and wants the rest (RFC 2131 section 4.3.5).
fn inform(context: &RequestContext<'_>, subnet: &Subnet) -> Outcome {
    let Some(address) = context.request.client_address else {
        return context.ignored(Reason::InformNamesNone);
    };
    // Unicast to any address a packet names would make us a reflector.
    if !subnet.cidr.contains(address) {
        let subnet = subnet.cidr;
        return context.ignored(Reason::InformElsewhere { address, subnet });
    }
    let (mut reply, boot) = reply_with_options(context, subnet, ReplyKind::Ack, None);
    reply.0.client_address = address;
    context.replied(reply, None, Step::Acknowledged { address, boot })
}

/// A reply that gives `address`, and what the machine is told to load.
fn reply_with_address(
    context: &RequestContext<'_>,
    subnet: &Subnet,
    kind: ReplyKind,
    address: Ipv4Addr,
) -> (Described, BootDecision) {
    let (mut reply, boot) = reply_with_options(context, subnet, kind, Some(lease_time(subnet)));
    reply.0.your_address = address;
    (reply, boot)
}

/// Plain BOOTP (RFC 951): a listed host gets its reservation, for ever, and DHCP's options are not
/// for it (RFC 1534). A pool can't serve it, because it never gives an address back.
fn bootp(context: &RequestContext<'_>, subnet: &Subnet, leases: &mut LeaseTable) -> Outcome {
    let address = match address::reservation(context, subnet, leases) {
        Reservation::Free(address) => address,
        Reservation::Taken { address, by } => {
            let why = ReservationUnavailable::Leased { by };
            return context.ignored(Reason::BootpTaken { address, why });
        }
        Reservation::HeldByOtherInterface { address, by } => {
            let why = ReservationUnavailable::OtherInterface { by };
            return context.ignored(Reason::BootpTaken { address, why });
        }
        Reservation::None => return context.ignored(Reason::BootpUnreserved),
    };
    // It never renews: what it was given gives way to a system that does.
    let client = context.request.hardware;
    let change = leases.hold(context.now, client, address, limits::LEASE_MAX, Tenure::Boot);
    let (mut reply, boot) = reply_with_options(context, subnet, ReplyKind::Bootp, None);
    reply.0.your_address = address;
    // It has no option 54: this is where a client finds out who answers, whatever it boots.
    reply.0.next_server = context.address;
    context.replied(reply, change, Step::Acknowledged { address, boot })
}
