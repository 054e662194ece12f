//! Subnets and pools: what overlaps, and where an address may lie.

use super::{causes::Whose, options::NamedOptions, problems::Problems, raw::RawSubnet};
use crate::boot::snapshot::{BootSettings, Origin, PortsFrom, Sourced, Subnet};
use crate::model::{AddressRange, Cidr, limits::POOL_RESERVE_DIVISOR};
use crate::proto::dhcp::option_body::{CLASSLESS_ROUTES, route_routers};
use std::{fmt::Display, net::Ipv4Addr, time::Duration};

/// How long a lease lasts where the subnet does not say.
const LEASE_DEFAULT: Duration = Duration::from_secs(3600);
/// Shorter leases would have a site full of machines renewing all the time.
const LEASE_SHORTEST: Duration = Duration::from_secs(30);

/// Judges the subnets and gives those that served addresses can be checked against.
pub(super) fn validate(raw: &[RawSubnet], problems: &mut Problems) -> Vec<Subnet> {
    for (index, subnet) in raw.iter().enumerate() {
        if let Some(first) = raw[..index]
            .iter()
            .find(|first| first.cidr.value.overlaps(subnet.cidr.value))
        {
            let message = format_args!("subnet {} overlaps {}", subnet.cidr.value, first.cidr.value);
            problems.error(&subnet.cidr.origin, message, super::first_defined(&first.cidr.origin));
        }
        validate_router(subnet, problems);
        validate_pools(subnet, problems);
        validate_own_routes(subnet, problems);
        validate_name_servers(subnet, problems);
        if let Some(lease) = subnet.lease.as_ref().filter(|lease| lease.value < LEASE_SHORTEST) {
            let message = format_args!(
                "leases in {} last less than {} s",
                subnet.cidr.value,
                LEASE_SHORTEST.as_secs()
            );
            problems.error(&lease.origin, message, "use a longer `lease`, such as 1h");
        }
    }
    raw.iter().map(subnet).collect()
}

fn subnet(raw: &RawSubnet) -> Subnet {
    Subnet {
        cidr: raw.cidr.value,
        network: raw.network.clone(),
        selectable: raw.selectable,
        router: raw.router.as_ref().map(|router| router.value),
        dns: raw.dns.clone(),
        domain: raw.domain.clone(),
        pool: raw.pool.iter().map(|pool| pool.value).collect(),
        kept: Vec::new(),
        ports_from: raw.ports_from.clone().unwrap_or_else(|| PortsFrom {
            // Its router is the relay, nearly always.
            relays: raw
                .router
                .iter()
                .map(|router| Cidr::containing(router.value, 32))
                .collect(),
            switches: false,
        }),
        lease: raw.lease.as_ref().map_or(LEASE_DEFAULT, |lease| lease.value),
        probe: raw.probe,
        options: raw.options.clone(),
    }
}

/// Keeps the end of every pool for `hosts` listed hosts without an address of their own, but never
/// more than a quarter of it: unlisted machines must not starve the listed ones.
pub(super) fn keep_for_listed(subnets: &mut [Subnet], hosts: u64) {
    for subnet in subnets {
        let addresses: u64 = subnet.pool.iter().map(|range| range.len()).sum();
        let mut wanted = hosts.min(addresses / POOL_RESERVE_DIVISOR);
        let mut open = Vec::new();
        for range in std::mem::take(&mut subnet.pool).into_iter().rev() {
            let (rest, last) = range.split_last(wanted);
            wanted -= last.map_or(0, AddressRange::len);
            open.extend(rest);
            subnet.kept.extend(last);
        }
        open.reverse();
        subnet.pool = open;
    }
}

fn validate_router(subnet: &RawSubnet, problems: &mut Problems) {
    let Some(router) = &subnet.router else {
        return;
    };
    if !subnet.cidr.value.is_host_address(router.value) {
        let message = format_args!("router {} is no host address of {}", router.value, subnet.cidr.value);
        problems.error(
            &router.origin,
            message,
            "machines can only reach a router in their own subnet",
        );
    }
    if let Some(pool) = subnet.pool.iter().find(|pool| pool.value.contains(router.value)) {
        let message = format_args!("the pool {} has the router {} in it", pool.value, router.value);
        problems.error(
            &pool.origin,
            message,
            "leave the router out of the pool, or two machines will have its address",
        );
    }
}

fn validate_pools(subnet: &RawSubnet, problems: &mut Problems) {
    let cidr = subnet.cidr.value;
    for (index, pool) in subnet.pool.iter().enumerate() {
        let inside = cidr.is_host_address(pool.value.first()) && cidr.is_host_address(pool.value.last());
        if !inside {
            let message = format_args!(
                "the pool {} does not lie within the host addresses of {cidr}",
                pool.value
            );
            problems.error(
                &pool.origin,
                message,
                "pools leave out the network and the broadcast address",
            );
        }
        if let Some(first) = subnet.pool[..index]
            .iter()
            .find(|first| first.value.overlaps(pool.value))
        {
            let message = format_args!("the pool {} overlaps the pool {}", pool.value, first.value);
            problems.error(&pool.origin, message, super::first_defined(&first.origin));
        }
    }
}

/// Judges a subnet's routes: their routers must be where its machines are, and no other machine's address.
fn validate_own_routes(subnet: &RawSubnet, problems: &mut Problems) {
    let cidr = subnet.cidr.value;
    for (via, origin) in gateways(&subnet.options) {
        if !cidr.is_host_address(via) {
            let message = format_args!("a route goes via {via}, which is no host address of {cidr}");
            problems.error(origin, message, ROUTE_HELP);
        }
        if let Some(pool) = subnet.pool.iter().find(|pool| pool.value.contains(via)) {
            let message = format_args!("the pool {} has the router {via} of a route in it", pool.value);
            problems.error(&pool.origin, message, "leave that router out of the pool");
        }
    }
}

/// Warns of a name server that a machine may be given the address of.
fn validate_name_servers(subnet: &RawSubnet, problems: &mut Problems) {
    for server in &subnet.dns {
        if let Some(pool) = subnet.pool.iter().find(|pool| pool.value.contains(*server)) {
            let message = format_args!("the pool {} has the name server {server} in it", pool.value);
            problems.warn(
                &pool.origin,
                message,
                "leave it out of the pool, or a machine may be given its address",
            );
        }
    }
}

/// Judges the routes of a host: in the subnet of its address, or of any where it has none.
pub(super) fn validate_routes(
    subnets: &[Subnet],
    (whose, address): (Whose<'_>, Option<Ipv4Addr>),
    settings: &BootSettings,
    problems: &mut Problems,
) {
    if !settings.options.contains_key(&CLASSLESS_ROUTES) {
        return;
    }
    let is_in = |subnet: &&Subnet| address.is_none_or(|address| subnet.cidr.contains(address));
    let own: Vec<&Subnet> = subnets.iter().filter(is_in).collect();
    for (via, origin) in gateways(&settings.options) {
        // What lies in no subnet has been reported.
        if own.is_empty() || own.iter().any(|subnet| subnet.cidr.is_host_address(via)) {
            continue;
        }
        let mut wrong = |of: &dyn Display| {
            let message = format_args!("{whose}: a route goes via {via}, which is no host address of {of}");
            problems.error(origin, message, ROUTE_HELP);
        };
        match (address, own.as_slice()) {
            (Some(_), [subnet, ..]) => wrong(&subnet.cidr),
            _ => wrong(&"any subnet"),
        }
    }
}

const ROUTE_HELP: &str = "machines can only reach a router in their own subnet";

/// The routers of option 121, and where it is written. 0.0.0.0 says that the destination is on the wire
/// itself (RFC 3442).
fn gateways(options: &NamedOptions) -> impl Iterator<Item = (Ipv4Addr, &Origin)> {
    let routes = options.get(&CLASSLESS_ROUTES).into_iter();
    routes
        .flat_map(|routes| route_routers(&routes.value.body).map(move |via| (via, &routes.origin)))
        .filter(|(via, _)| !via.is_unspecified())
}

/// Whether some subnet has the address in it.
pub(super) fn any_has(subnets: &[Subnet], address: Ipv4Addr) -> bool {
    subnets.iter().any(|subnet| subnet.cidr.contains(address))
}

/// Judges a reservation against the subnets.
pub(super) fn validate_reservation(
    subnets: &[Subnet],
    host: &str,
    address: &Sourced<Ipv4Addr>,
    problems: &mut Problems,
) {
    let wanted = address.value;
    let Some(subnet) = subnets.iter().find(|subnet| subnet.cidr.contains(wanted)) else {
        let message = format_args!("host {host}: address {wanted} lies in no subnet");
        match nearest(subnets, wanted) {
            Some(subnet) => problems.error(&address.origin, message, format_args!("nearest is {}", subnet.cidr)),
            None => problems.error(
                &address.origin,
                message,
                "the inventory has no [[subnet]] yet; write the one the machine is in",
            ),
        }
        return;
    };
    let cidr = subnet.cidr;
    if !cidr.is_host_address(wanted) {
        let message = format_args!("host {host}: {wanted} is the network or broadcast address of {cidr}");
        problems.error(&address.origin, message, "choose another address");
    } else if subnet.router == Some(wanted) {
        let message = format_args!("host {host}: {wanted} is the router of {cidr}");
        problems.error(&address.origin, message, "choose another address");
    } else if let Some(pool) = subnet.pool.iter().find(|pool| pool.contains(wanted)) {
        let message = format_args!("host {host}: address {wanted} lies inside the pool {pool}");
        problems.error(
            &address.origin,
            message,
            "choose one outside the pool, or make the pool smaller",
        );
    }
}

fn nearest(subnets: &[Subnet], address: Ipv4Addr) -> Option<&Subnet> {
    let bits = address.to_bits();
    subnets.iter().min_by_key(|subnet| {
        let below = subnet.cidr.network().to_bits().saturating_sub(bits);
        let above = bits.saturating_sub(subnet.cidr.broadcast().to_bits());
        below.max(above)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    fn split(pool: &[&str], hosts: u64) -> (Vec<String>, Vec<String>) {
        let mut subnets = [Subnet {
            pool: pool.iter().map(|range| range.parse().unwrap()).collect(),
            ..fixtures::subnet("192.0.2.0/24")
        }];
        keep_for_listed(&mut subnets, hosts);
        let shown = |ranges: &[AddressRange]| ranges.iter().map(ToString::to_string).collect();
        (shown(&subnets[0].pool), shown(&subnets[0].kept))
    }

    #[test]
    fn listed_hosts_without_an_address_keep_the_end_of_the_pool_and_never_more_than_a_quarter() {
        let text = |ranges: &[&str]| ranges.iter().map(|range| (*range).to_owned()).collect::<Vec<_>>();
        let pool = ["192.0.2.10-192.0.2.19", "192.0.2.30-192.0.2.31"];
        assert_eq!(split(&pool, 0), (text(&pool), text(&[])));
        let one = (
            text(&["192.0.2.10-192.0.2.19", "192.0.2.30-192.0.2.30"]),
            text(&["192.0.2.31-192.0.2.31"]),
        );
        assert_eq!(split(&pool, 1), one);
        let quarter = (
            text(&["192.0.2.10-192.0.2.18"]),
            text(&["192.0.2.30-192.0.2.31", "192.0.2.19-192.0.2.19"]),
        );
        assert_eq!(split(&pool, 1000), quarter);
        assert_eq!(split(&["192.0.2.10-192.0.2.12"], 5).1, text(&[]));
    }
}
