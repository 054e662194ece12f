//! Which address a machine gets: its reservation, or a lease from the subnet's pool.

use super::Asked;
use crate::boot::snapshot::Subnet;
use crate::lease::{Crowd, Freshness, LeaseTable, Offer, PortOfEntry, Seeker};
use crate::model::{AddressRange, HardwareAddr};
use std::{net::Ipv4Addr, sync::Arc};

/// What the inventory reserves for a machine in one subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reservation {
    /// Nothing: it gets a lease.
    None,
    /// This address. It needs no lease record: the inventory is its record.
    Free(Ipv4Addr),
    /// An address that is leased to somebody else until that lease ends, which happens when the
    /// inventory reserves an address that was a pool's.
    Taken { address: Ipv4Addr, by: HardwareAddr },
}

/// What is reserved here for the machine that asks.
pub(super) fn reservation(asked: &Asked<'_>, subnet: &Subnet, leases: &LeaseTable) -> Reservation {
    let Some(host) = asked.who.host() else {
        return Reservation::None;
    };
    let Some(address) = host.address.filter(|address| subnet.cidr.contains(*address)) else {
        return Reservation::None;
    };
    let is_listed = |client: &HardwareAddr| client.mac().is_some_and(|mac| host.macs.contains(&mac));
    let client = asked.request.hardware;
    // The host's UUID or serial number is anybody's to say, and boards are sold with the same one:
    // where MACs are listed the reservation is theirs, and elsewhere one machine's at a time.
    let holder = match (host.macs.is_empty(), is_listed(&client)) {
        (false, false) => return Reservation::None,
        (false, true) => leases.client_at(asked.now, address),
        (true, _) => leases.holder_at(asked.now, address),
    };
    match holder.filter(|holder| *holder != client && !is_listed(holder)) {
        Some(by) => Reservation::Taken { address, by },
        None => Reservation::Free(address),
    }
}

/// Why there is no address to offer.
pub(super) enum Lack {
    /// The subnet has no pool: that is how it is meant.
    NoPool(String),
    /// Every address of the pool is in use.
    Exhausted(String),
    /// Its port of entry holds all the offers that it may.
    Crowded(Crowd),
}

/// The address to offer, or why there is none.
pub(super) fn to_offer(asked: &Asked<'_>, subnet: &Subnet, leases: &mut LeaseTable) -> Result<Offer, Lack> {
    let reserved = reservation(asked, subnet, leases);
    if let Reservation::Free(address) = reserved {
        return Ok(Offer {
            address,
            freshness: Freshness::Known,
            displaced: None,
        });
    }
    let is_listed = asked.who.host().is_some();
    let kept = subnet.kept.iter().filter(|_| is_listed);
    let pool: &[AddressRange] = &subnet.pool.iter().chain(kept).copied().collect::<Vec<_>>();
    let port = (!is_listed).then(|| Arc::new(port_of_entry(asked)));
    let seeker = Seeker {
        client: asked.request.hardware,
        wanted: asked.request.requested_address,
        stranger_at: port.as_ref(),
    };
    let usable = |address| is_usable(asked, subnet, address);
    leases.offer(asked.now, pool, seeker, usable).map_err(|crowd| {
        let whose = match reserved {
            Reservation::Taken { address, by } => format!("its address {address} is leased to {by}"),
            Reservation::None | Reservation::Free(_) => "it has no address of its own".to_owned(),
        };
        match (crowd, subnet.pool.is_empty() && subnet.kept.is_empty()) {
            (Some(crowd), _) => Lack::Crowded(crowd),
            (None, true) => Lack::NoPool(format!("{whose}, and {} has no pool", subnet.cidr)),
            (None, false) => Lack::Exhausted(format!("{whose}, and the pool of {} is used up", subnet.cidr)),
        }
    })
}

/// Where a machine's packet came in.
fn port_of_entry(asked: &Asked<'_>) -> PortOfEntry {
    let agent = asked.request.relay_agent.as_ref();
    PortOfEntry {
        interface: Arc::clone(&asked.ingress.interface),
        relay: asked.request.relay,
        switch_port: agent.and_then(|agent| Some(agent.ports().first()?.as_str().into())),
    }
}

/// Whether the pool may lease `address` to a machine that has no reservation. Who has an address that
/// is kept for others since may stay.
pub(super) fn is_leasable(asked: &Asked<'_>, subnet: &Subnet, leases: &LeaseTable, address: Ipv4Addr) -> bool {
    let is_in = |ranges: &[AddressRange]| ranges.iter().any(|range| range.contains(address));
    let is_kept_for_it = || {
        let holds = leases.holder_at(asked.now, address) == Some(asked.request.hardware);
        is_in(&subnet.kept) && (asked.who.host().is_some() || holds)
    };
    (is_in(&subnet.pool) || is_kept_for_it()) && is_usable(asked, subnet, address)
}

/// Addresses in a pool that are somebody's all the same. `config` refuses most of these; an
/// interface may get its address later.
fn is_usable(asked: &Asked<'_>, subnet: &Subnet, address: Ipv4Addr) -> bool {
    subnet.cidr.is_host_address(address)
        && !asked.ingress.is_own(address)
        && subnet.router != Some(address)
        && asked.snapshot.hosts.by_address(address).is_none()
}
