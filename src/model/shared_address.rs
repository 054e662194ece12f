//! Addresses that many machines share: a rack behind a NAT asks from one.

use crate::model::Cidr;
use std::net::IpAddr;

/// How many machines may stand behind an address, where that is not one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SharedAddresses(Vec<(Cidr, usize)>);

impl SharedAddresses {
    /// No address is shared.
    pub const NONE: SharedAddresses = SharedAddresses(Vec::new());

    /// So many machines behind each address of each network.
    pub fn new(networks: Vec<(Cidr, usize)>) -> SharedAddresses {
        SharedAddresses(networks)
    }

    /// Whether the operator named `address`: it is a known client, although DHCP did not assign it.
    pub fn names(&self, address: impl Into<IpAddr>) -> bool {
        let IpAddr::V4(address) = address.into() else {
            return false;
        };
        self.0.iter().any(|(network, _)| network.contains(address))
    }

    /// How many machines may ask from `address`: what the smallest network that it lies in says, or one.
    pub fn machines_at(&self, address: impl Into<IpAddr>) -> usize {
        let IpAddr::V4(address) = address.into() else {
            return 1;
        };
        let around = self.0.iter().filter(|(network, _)| network.contains(address));
        let smallest = around.max_by_key(|(network, _)| network.prefix());
        smallest.map_or(1, |(_, machines)| (*machines).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_network_says_how_many_machines_an_address_has() {
        let shared = SharedAddresses::new(vec![
            ("192.0.2.7/32".parse().unwrap(), 48),
            ("192.0.2.0/24".parse().unwrap(), 24),
        ]);
        let at = |address: &str| shared.machines_at(address.parse::<IpAddr>().unwrap());
        assert_eq!((at("192.0.2.7"), at("192.0.2.8"), at("198.51.100.1")), (48, 24, 1));
    }
}
