//! Which address a machine gets: its reservation, or a lease from the subnet's pool.

use super::{Outcome, RequestContext, route};
use crate::boot::{
    event::{NoOwnAddress, Reason, ReservationUnavailable, Step},
    snapshot::{Host, Subnet},
};
use crate::lease::{AddressRequest, AttachmentPoint, Freshness, LeaseTable, Offer, OverQuota};
use crate::model::{AddressRange, HardwareAddr};
use std::{iter, net::Ipv4Addr, sync::Arc};

/// What the inventory reserves for a machine in one subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reservation {
    /// Nothing: it gets a lease.
    None,
    /// This address. It needs no lease record: the inventory is its record.
    Free(Ipv4Addr),
    /// An address that is leased to another client until that lease ends, which happens when the
    /// inventory reserves an address that was a pool's.
    Taken { address: Ipv4Addr, by: HardwareAddr },
    /// An address that its host's system uses on another interface, whose MAC is not known yet after a
    /// restart. RFC 2131 section 1.6: an address is one client's at a time.
    HeldByOtherInterface {
        address: Ipv4Addr,
        by: Option<HardwareAddr>,
    },
}

/// What is reserved here for the machine that asks.
pub(super) fn reservation(context: &RequestContext<'_>, subnet: &Subnet, leases: &LeaseTable) -> Reservation {
    let Some(host) = context.who.host() else {
        return Reservation::None;
    };
    let Some(address) = host.address.filter(|address| subnet.cidr.contains(*address)) else {
        return Reservation::None;
    };
    let is_listed = |client: &HardwareAddr| host.lists(client);
    let client = context.request.hardware;
    // The host's UUID or serial number is anybody's to say, and boards are sold with the same one:
    // where MACs are listed the reservation is theirs, and elsewhere one machine's at a time.
    let holder = match (!host.lists_hardware(), is_listed(&client)) {
        (false, false) => return Reservation::None,
        (false, true) => leases.client_at(context.now, address),
        (true, _) => leases.holder_at(context.now, address),
    };
    match holder.filter(|holder| *holder != client && !is_listed(holder)) {
        Some(by) => Reservation::Taken { address, by },
        None => match beside(context, host, (subnet, address), leases) {
            Some(by) => Reservation::HeldByOtherInterface { address, by },
            None => Reservation::Free(address),
        },
    }
}

/// The other interface of the host on which its system uses the address; `Some(None)` where there must be
/// one. A machine whose firmware asks runs no system, and what its firmware held it gives up to its system.
fn beside(
    context: &RequestContext<'_>,
    host: &Host,
    (subnet, address): (&Subnet, Ipv4Addr),
    leases: &LeaseTable,
) -> Option<Option<HardwareAddr>> {
    if host.macs.len() < 2 || context.stage.is_in_boot() {
        return None;
    }
    let (now, client) = (context.now, context.request.hardware);
    if leases.holder_at(now, address).is_some() {
        let is_other = |by: &HardwareAddr| *by != client && by.mac().is_some_and(|mac| host.macs.contains(&mac));
        return leases.lasting_holder_at(now, address).filter(is_other).map(Some);
    }
    // After a restart no disk tells who has the address; but who has another one beside it was given that
    // because the address was in use.
    let has_another = || {
        let mut own = leases.held_by(now, client);
        own.any(|own| own != address && subnet.cidr.contains(own))
    };
    (leases.may_have_forgotten(now, subnet.lease) && has_another()).then_some(None)
}

/// Why a host that asks in `subnet` gets another address than its own, which comes first; `None` for who
/// gets its own, and who has none.
pub(super) fn reservation_unavailable(
    context: &RequestContext<'_>,
    subnet: &Subnet,
    leases: &LeaseTable,
) -> Option<(Ipv4Addr, ReservationUnavailable)> {
    let host = context.who.host()?;
    match reservation(context, subnet, leases) {
        Reservation::Free(_) => None,
        Reservation::Taken { address, by } => Some((address, ReservationUnavailable::Leased { by })),
        Reservation::HeldByOtherInterface { address, by } => {
            Some((address, ReservationUnavailable::OtherInterface { by }))
        }
        Reservation::None => {
            let mut wire = iter::once(subnet).chain(route::beside(context, subnet));
            let address = host.address?;
            let is_elsewhere = !wire.any(|subnet| subnet.cidr.contains(address));
            is_elsewhere.then_some((address, ReservationUnavailable::OtherSubnet { here: subnet.cidr }))
        }
    }
}

/// Why there is no address to offer.
pub(super) enum NoAddress {
    /// The subnet has no pool: that is how it is meant.
    NoPool(Reason),
    /// Every address of the pool is in use.
    PoolExhausted(Reason),
    /// Its attachment point holds all the offers that it may.
    QuotaExceeded(OverQuota),
}

/// The address to offer, or why there is none.
pub(super) fn to_offer(
    context: &RequestContext<'_>,
    subnet: &Subnet,
    leases: &mut LeaseTable,
) -> Result<Offer, NoAddress> {
    if let Reservation::Free(address) = reservation(context, subnet, leases) {
        return Ok(Offer {
            address,
            freshness: Freshness::Known,
            evicted_from: None,
        });
    }
    let is_listed = context.who.host().is_some();
    let kept = subnet.kept.iter().filter(|_| is_listed);
    let pool: &[AddressRange] = &subnet.pool.iter().chain(kept).copied().collect::<Vec<_>>();
    let port = (!is_listed).then(|| Arc::new(attachment_point(context)));
    let seeker = AddressRequest {
        client: context.request.hardware,
        wanted: context.request.requested_address,
        unlisted_at: port.as_ref(),
    };
    let usable = |address| is_usable(context, subnet, address);
    leases.offer(context.now, pool, seeker, usable).map_err(|over_quota| {
        let own = match reservation_unavailable(context, subnet, leases) {
            Some((address, why)) => NoOwnAddress::Unavailable { address, why },
            None => NoOwnAddress::Unreserved,
        };
        let cidr = subnet.cidr;
        match (over_quota, subnet.pool.is_empty() && subnet.kept.is_empty()) {
            (Some(over_quota), _) => NoAddress::QuotaExceeded(over_quota),
            (None, true) => NoAddress::NoPool(Reason::NoPool { own, subnet: cidr }),
            (None, false) => NoAddress::PoolExhausted(Reason::PoolUsedUp { own, subnet: cidr }),
        }
    })
}

/// No subnet of the wire has an address. A crowd in the way is worth more words than a pool that is used
/// up, and that more than a subnet that has none.
pub(super) fn no_offer(context: &RequestContext<'_>, lacks: Vec<NoAddress>) -> Outcome {
    let weight = |lack: &NoAddress| match lack {
        NoAddress::QuotaExceeded(_) => 2,
        NoAddress::PoolExhausted(_) => 1,
        NoAddress::NoPool(_) => 0,
    };
    match lacks.into_iter().rev().max_by_key(weight) {
        Some(NoAddress::QuotaExceeded(over_quota)) => {
            let reason = Reason::OfferQuota {
                port: Arc::clone(&over_quota.port),
                offers: over_quota.offers,
            };
            Outcome {
                over_quota: Some(over_quota),
                ..context.ignored(reason)
            }
        }
        Some(NoAddress::PoolExhausted(reason)) => context.no_reply(Step::PoolExhausted { reason }),
        Some(NoAddress::NoPool(reason)) => context.ignored(reason),
        None => context.ignored(Reason::NoSubnetHere),
    }
}

/// Where a machine's packet came in.
fn attachment_point(context: &RequestContext<'_>) -> AttachmentPoint {
    let agent = context.request.relay_agent.as_ref();
    AttachmentPoint {
        interface: Arc::clone(&context.ingress.interface),
        relay: context.request.relay,
        switch_port: agent.and_then(|agent| Some(agent.ports().first()?.as_str().into())),
    }
}

/// Whether the pool may lease `address` to a machine that has no reservation. Who has an address that
/// is kept for others since may stay.
pub(super) fn is_leasable(
    context: &RequestContext<'_>,
    subnet: &Subnet,
    leases: &LeaseTable,
    address: Ipv4Addr,
) -> bool {
    let is_in = |ranges: &[AddressRange]| ranges.iter().any(|range| range.contains(address));
    let is_kept_for_it = || {
        let holds = leases.holder_at(context.now, address) == Some(context.request.hardware);
        is_in(&subnet.kept) && (context.who.host().is_some() || holds)
    };
    (is_in(&subnet.pool) || is_kept_for_it()) && is_usable(context, subnet, address)
}

/// Addresses in a pool that are in use all the same. `config` refuses most of these; an
/// interface may get its address later.
fn is_usable(context: &RequestContext<'_>, subnet: &Subnet, address: Ipv4Addr) -> bool {
    subnet.cidr.is_host_address(address)
        && !context.ingress.is_own(address)
        && subnet.router != Some(address)
        && context.snapshot.hosts.by_address(address).is_none()
}
