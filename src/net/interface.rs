//! The configured interfaces as they are now: they appear late, lose and change addresses, and come
//! back with another index.

use crate::model::{Cidr, OwnAddress};
use nix::ifaddrs::getifaddrs;
use std::{collections::BTreeMap, io, net::Ipv4Addr, sync::Arc};

/// One interface at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name, such as `eno2`.
    pub name: Arc<str>,
    /// The kernel's number for it: another one means another interface of the same name.
    pub index: u32,
    /// Its IPv4 addresses, the primary one first.
    pub addresses: Arc<[OwnAddress]>,
}

impl Interface {
    /// The address to answer from when `asked` was: that one if it is the interface's, else (for a
    /// broadcast) the primary one. `None` while the interface has no address.
    pub fn answering(&self, asked: Ipv4Addr) -> Option<OwnAddress> {
        self.own(asked).or_else(|| self.addresses.first().copied())
    }

    /// The address, if it is the interface's own.
    pub fn own(&self, asked: Ipv4Addr) -> Option<OwnAddress> {
        self.addresses.iter().find(|own| own.address == asked).copied()
    }
}

/// Those of `names` that exist now.
pub fn survey(names: &[String]) -> io::Result<BTreeMap<String, Interface>> {
    let mut found: BTreeMap<String, Interface> = BTreeMap::new();
    let all: Vec<_> = getifaddrs()?
        .filter(|entry| names.contains(&entry.interface_name))
        .collect();
    for entry in &all {
        // The link-layer entry stands for the interface itself, addresses or none.
        if let Some(link) = entry.address.as_ref().and_then(|address| address.as_link_addr()) {
            let interface = Interface {
                name: entry.interface_name.as_str().into(),
                index: u32::try_from(link.ifindex()).unwrap_or(0),
                addresses: Arc::default(),
            };
            found.insert(entry.interface_name.clone(), interface);
        }
    }
    let mut addresses: BTreeMap<&str, Vec<OwnAddress>> = BTreeMap::new();
    for entry in &all {
        let address = entry.address.as_ref().and_then(|address| address.as_sockaddr_in());
        let mask = entry.netmask.as_ref().and_then(|mask| mask.as_sockaddr_in());
        if let (Some(address), Some(mask)) = (address, mask) {
            let prefix = mask.ip().to_bits().leading_ones();
            addresses.entry(&entry.interface_name).or_default().push(OwnAddress {
                address: address.ip(),
                cidr: Cidr::containing(address.ip(), u8::try_from(prefix).unwrap_or(32)),
            });
        }
    }
    for (name, interface) in &mut found {
        interface.addresses = addresses.remove(name.as_str()).unwrap_or_default().into();
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_found_and_a_missing_one_is_not() {
        let found = survey(&["lo".to_owned(), "none-such0".to_owned()]).unwrap();
        let lo = &found["lo"];
        assert_eq!(found.len(), 1);
        assert_eq!(lo.index, 1);
        assert_eq!(lo.addresses[0].cidr.to_string(), "127.0.0.0/8");
    }

    #[test]
    fn the_address_that_was_asked_answers_and_for_a_broadcast_the_primary_one() {
        let own = |text: &str| OwnAddress {
            address: text.parse().unwrap(),
            cidr: Cidr::containing(text.parse().unwrap(), 24),
        };
        let interface = Interface {
            name: "eno2".into(),
            index: 3,
            addresses: [own("192.0.2.1"), own("198.51.100.1")].into(),
        };
        let answering = |asked: Ipv4Addr| interface.answering(asked).map(|own| own.address.to_string());
        assert_eq!(answering(Ipv4Addr::new(198, 51, 100, 1)).unwrap(), "198.51.100.1");
        assert_eq!(answering(Ipv4Addr::BROADCAST).unwrap(), "192.0.2.1");
    }
}
