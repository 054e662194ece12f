//! The configured interfaces as they are now: they appear late, lose and change addresses, and come
//! back with another index.

use crate::config::nearest;
use crate::model::{Cidr, Mode, OwnAddress, WallTime};
use nix::{ifaddrs::getifaddrs, net::if_::InterfaceFlags};
use std::{collections::BTreeMap, fmt, io, net::Ipv4Addr, sync::Arc};

/// What an interface's link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Switched off on this machine.
    Off,
    /// Switched on, and without a carrier.
    NoCarrier,
    /// It carries packets.
    Up,
}

impl Link {
    /// From the kernel's flags (netdevice(7)).
    pub(super) fn of(flags: InterfaceFlags) -> Link {
        match (
            flags.contains(InterfaceFlags::IFF_UP),
            flags.contains(InterfaceFlags::IFF_RUNNING),
        ) {
            (false, _) => Link::Off,
            (true, false) => Link::NoCarrier,
            (true, true) => Link::Up,
        }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Link::Off => "off",
            Link::NoCarrier => "no carrier",
            Link::Up => "up",
        })
    }
}

/// One interface at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name, such as `eno2`.
    pub name: Arc<str>,
    /// The kernel's number for it: another one means another interface of the same name.
    pub index: u32,
    /// Its link.
    pub link: Link,
    /// Whether the kernel asks by ARP who has an address on it: not on loopback, tunnels and the like, where a
    /// datagram leaves at once.
    pub has_arp: bool,
    /// Its IPv4 addresses, the primary one first.
    pub addresses: Arc<[OwnAddress]>,
    /// The addresses of the other interfaces that are served.
    pub elsewhere: Arc<[OwnAddress]>,
}

impl Interface {
    /// The address to answer from when `asked` was: that one if it is the interface's, else (for a
    /// broadcast) the primary one. `None` while the interface has no address.
    pub fn answering(&self, asked: Ipv4Addr) -> Option<OwnAddress> {
        self.own(asked).or_else(|| self.addresses.first().copied())
    }

    /// What is wrong with its link, if anything is.
    pub(super) fn link_problem(&self) -> Option<String> {
        match self.link {
            Link::Up => None,
            Link::Off => Some(format!(
                "is switched off; `ip link set {} up` switches it on",
                self.name
            )),
            Link::NoCarrier => Some("has no link: see to its cable and the port at the other end".to_owned()),
        }
    }

    /// The address, if it is the interface's own.
    pub fn own(&self, asked: Ipv4Addr) -> Option<OwnAddress> {
        self.addresses.iter().find(|own| own.address == asked).copied()
    }
}

/// An interface that is to be served, as it stands now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceState {
    /// Its name in the settings.
    pub name: String,
    /// Whether we are the network's DHCP server, or a proxyDHCP server there.
    pub mode: Mode,
    /// What of it is there.
    pub presence: Presence,
    /// Since when that is so.
    pub since: WallTime,
}

/// What of an interface is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// No interface has that name.
    Missing {
        /// Those that there are.
        there: Vec<String>,
    },
    /// It is there, and its ports can't be had.
    Unserved {
        /// What is missing.
        reason: String,
    },
    /// It is served, as far as its link and its addresses allow.
    Served(Interface),
}

impl Presence {
    /// Whether this is what was there before, whatever other interfaces came and went meanwhile.
    pub fn is_as_before(&self, before: &Presence) -> bool {
        match (self, before) {
            (Presence::Missing { .. }, Presence::Missing { .. }) => true,
            (Presence::Unserved { reason }, Presence::Unserved { reason: before }) => reason == before,
            (Presence::Served(now), Presence::Served(before)) => {
                (now.index, now.link, &now.addresses) == (before.index, before.link, &before.addresses)
            }
            (Presence::Missing { .. } | Presence::Unserved { .. } | Presence::Served(_), _) => false,
        }
    }
}

impl InterfaceState {
    /// Why no machine is served there, in words; `None` where machines can be.
    pub fn problem(&self) -> Option<String> {
        match &self.presence {
            Presence::Missing { there } => Some(missing(&self.name, there)),
            Presence::Unserved { reason } => Some(reason.clone()),
            Presence::Served(interface) => interface
                .link_problem()
                .or_else(|| interface.addresses.is_empty().then(|| NO_ADDRESS.to_owned())),
        }
    }
}

/// The error for an interface without an address.
pub(super) const NO_ADDRESS: &str = "has no IPv4 address: no request is answered until it has one";

/// The error for a name that no interface has.
pub(super) fn missing(name: &str, there: &[String]) -> String {
    let guess = nearest(name, there.iter().map(String::as_str))
        .map_or(String::new(), |guess| format!("; did you mean `{guess}`?"));
    format!(
        "there is no such interface now, it is served when it appears; there are {}{guess}",
        there.join(", ")
    )
}

/// The names of all interfaces but the loopback, in order.
pub fn names() -> io::Result<Vec<String>> {
    let all = getifaddrs()?.filter(|entry| !entry.flags.contains(InterfaceFlags::IFF_LOOPBACK));
    let mut names: Vec<String> = all.map(|entry| entry.interface_name).collect();
    names.sort();
    names.dedup();
    Ok(names)
}

/// From the kernel's flags (netdevice(7)).
fn has_arp(flags: InterfaceFlags) -> bool {
    !flags.intersects(InterfaceFlags::IFF_LOOPBACK | InterfaceFlags::IFF_NOARP | InterfaceFlags::IFF_POINTOPOINT)
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
                link: Link::of(entry.flags),
                has_arp: has_arp(entry.flags),
                addresses: Arc::default(),
                elsewhere: Arc::default(),
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
        let others = addresses.iter().filter(|(other, _)| *other != name);
        interface.elsewhere = others.flat_map(|(_, own)| own).copied().collect();
        interface.addresses = addresses.get(name.as_str()).cloned().unwrap_or_default().into();
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
        assert!(!lo.has_arp, "who has an address on it is asked of nobody");
        assert_eq!(lo.addresses[0].cidr.to_string(), "127.0.0.0/8");
    }

    #[test]
    fn a_misspelt_name_is_told_from_an_interface_that_comes_later() {
        let there = ["eno1".to_owned(), "eno2".to_owned()];
        assert!(missing("eno22", &there).ends_with("there are eno1, eno2; did you mean `eno2`?"));
        assert!(missing("wlan0", &there).ends_with("there are eno1, eno2"));
        assert!(!names().unwrap().contains(&"lo".to_owned()));
    }

    #[test]
    fn what_other_interfaces_do_changes_nothing_of_how_long_one_stands() {
        let missing = |there: &[&str]| Presence::Missing {
            there: there.iter().map(ToString::to_string).collect(),
        };
        assert!(missing(&["eno1"]).is_as_before(&missing(&["eno1", "veth7"])));
        let served = |link, elsewhere: &[OwnAddress]| {
            Presence::Served(Interface {
                name: "eno2".into(),
                index: 3,
                link,
                has_arp: true,
                addresses: Arc::default(),
                elsewhere: elsewhere.into(),
            })
        };
        let other = OwnAddress {
            address: Ipv4Addr::new(198, 51, 100, 1),
            cidr: Cidr::containing(Ipv4Addr::new(198, 51, 100, 1), 24),
        };
        assert!(served(Link::Up, &[]).is_as_before(&served(Link::Up, &[other])));
        assert!(!served(Link::Up, &[]).is_as_before(&served(Link::NoCarrier, &[])));
        assert!(!served(Link::Up, &[]).is_as_before(&missing(&[])));
    }

    #[test]
    fn an_interface_is_worth_its_link_and_its_address() {
        let problem = |link, addresses: &[OwnAddress]| {
            let interface = Interface {
                name: "eno2".into(),
                index: 3,
                link,
                has_arp: true,
                addresses: addresses.into(),
                elsewhere: Arc::default(),
            };
            let standing = InterfaceState {
                name: "eno2".to_owned(),
                mode: Mode::Dhcp,
                presence: Presence::Served(interface),
                since: WallTime(0),
            };
            standing.problem()
        };
        let own = OwnAddress {
            address: Ipv4Addr::new(192, 0, 2, 1),
            cidr: Cidr::containing(Ipv4Addr::new(192, 0, 2, 1), 24),
        };
        assert_eq!(problem(Link::Up, &[own]), None);
        assert_eq!(problem(Link::Up, &[]).as_deref(), Some(NO_ADDRESS));
        assert!(problem(Link::NoCarrier, &[own]).unwrap().contains("no link"));
        assert!(problem(Link::Off, &[own]).unwrap().contains("ip link set eno2 up"));
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
            link: Link::Up,
            has_arp: true,
            addresses: [own("192.0.2.1"), own("198.51.100.1")].into(),
            elsewhere: Arc::default(),
        };
        let answering = |asked: Ipv4Addr| interface.answering(asked).map(|own| own.address.to_string());
        assert_eq!(answering(Ipv4Addr::new(198, 51, 100, 1)).unwrap(), "198.51.100.1");
        assert_eq!(answering(Ipv4Addr::BROADCAST).unwrap(), "192.0.2.1");
    }
}
