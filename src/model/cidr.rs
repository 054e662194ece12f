//! IPv4 subnets and address ranges.

use serde::Serialize;
use std::{fmt, net::Ipv4Addr, str::FromStr};

/// Why a text is not a subnet or an address range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CidrError(String);

impl fmt::Display for CidrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CidrError {}

/// An IPv4 subnet: its network address and prefix length (0 to 32).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cidr {
    network: Ipv4Addr,
    prefix: u8,
}

impl Cidr {
    /// The subnet of `prefix` bits that `address` lies in; prefixes over 32 count as 32.
    pub fn containing(address: Ipv4Addr, prefix: u8) -> Cidr {
        let prefix = prefix.min(32);
        Cidr {
            network: Ipv4Addr::from_bits(address.to_bits() & mask_bits(prefix)),
            prefix,
        }
    }

    /// The network address, all host bits zero.
    pub fn network(self) -> Ipv4Addr {
        self.network
    }

    /// The prefix length in bits.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The subnet mask (option 1).
    pub fn mask(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(mask_bits(self.prefix))
    }

    /// The all-ones address (option 28).
    pub fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits() | !mask_bits(self.prefix))
    }

    /// Whether `address` lies in this subnet, its network and broadcast address included.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask_bits(self.prefix) == self.network.to_bits()
    }

    /// Whether a machine may have `address` here: inside, and neither the network nor the
    /// broadcast address (a /31 and a /32 have neither, RFC 3021).
    pub fn is_host_address(self, address: Ipv4Addr) -> bool {
        self.contains(address) && (self.prefix >= 31 || (address != self.network && address != self.broadcast()))
    }

    /// Whether two subnets share an address.
    pub fn overlaps(self, other: Cidr) -> bool {
        self.contains(other.network) || other.contains(self.network)
    }
}

fn mask_bits(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, prefix) = text
            .split_once('/')
            .ok_or_else(|| CidrError(format!("`{text}` has no prefix length; write it as 192.0.2.0/24")))?;
        let address: Ipv4Addr = address
            .parse()
            .map_err(|_| CidrError(format!("`{address}` is not an IPv4 address")))?;
        let prefix: u8 = prefix
            .parse()
            .ok()
            .filter(|bits| *bits <= 32)
            .ok_or_else(|| CidrError(format!("`/{prefix}` is not a prefix length from 0 to 32")))?;
        let cidr = Cidr::containing(address, prefix);
        if cidr.network != address {
            return Err(CidrError(format!("`{text}` has host bits set; the subnet is {cidr}")));
        }
        Ok(cidr)
    }
}

impl Serialize for Cidr {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

/// A run of addresses, both ends included: `192.0.2.100-192.0.2.199`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddressRange {
    first: Ipv4Addr,
    last: Ipv4Addr,
}

impl AddressRange {
    /// The lowest address.
    pub fn first(self) -> Ipv4Addr {
        self.first
    }

    /// The highest address.
    pub fn last(self) -> Ipv4Addr {
        self.last
    }

    /// Whether `address` lies in the range.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        (self.first..=self.last).contains(&address)
    }

    /// Whether two ranges share an address.
    pub fn overlaps(self, other: AddressRange) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// How many addresses it holds.
    pub fn len(self) -> u64 {
        u64::from(self.last.to_bits()) - u64::from(self.first.to_bits()) + 1
    }

    /// A range is never empty: both ends are included.
    pub fn is_empty(self) -> bool {
        false
    }

    /// The range without its last `count` addresses, and those; `None` for a part without any.
    pub fn split_last(self, count: u64) -> (Option<AddressRange>, Option<AddressRange>) {
        let range = |first: u64, last: u64| {
            let (first, last) = (self.nth(first)?, self.nth(last)?);
            Some(AddressRange { first, last })
        };
        match (self.len(), count) {
            (_, 0) => (Some(self), None),
            (length, count) if count >= length => (None, Some(self)),
            (length, count) => (range(0, length - count - 1), range(length - count, length - 1)),
        }
    }

    /// The `index`-th address (from 0) of the range.
    pub fn nth(self, index: u64) -> Option<Ipv4Addr> {
        let bits = u64::from(self.first.to_bits()).checked_add(index)?;
        let address = Ipv4Addr::from_bits(u32::try_from(bits).ok()?);
        self.contains(address).then_some(address)
    }
}

impl FromStr for AddressRange {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = |part: &str| -> Result<Ipv4Addr, CidrError> {
            let part = part.trim();
            part.parse().map_err(|_| {
                CidrError(format!(
                    "`{part}` is not an IPv4 address; write a range as 192.0.2.100-192.0.2.199"
                ))
            })
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let range = AddressRange {
            first: parse(first)?,
            last: parse(last)?,
        };
        if range.first > range.last {
            return Err(CidrError(format!("the range `{text}` runs backwards")));
        }
        Ok(range)
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// An address of one of our interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnAddress {
    /// The address.
    pub address: Ipv4Addr,
    /// The subnet it is in.
    pub cidr: Cidr,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_knows_its_mask_broadcast_and_members() {
        let cidr: Cidr = "192.0.2.0/24".parse().unwrap();
        assert_eq!(cidr.mask(), Ipv4Addr::new(255, 255, 255, 0));
        assert_eq!(cidr.broadcast(), Ipv4Addr::new(192, 0, 2, 255));
        assert!(cidr.is_host_address(Ipv4Addr::new(192, 0, 2, 1)));
        assert!(!cidr.is_host_address(Ipv4Addr::new(192, 0, 2, 255)));
        assert!(!cidr.contains(Ipv4Addr::new(192, 0, 3, 1)));
    }

    #[test]
    fn the_shortest_and_longest_prefix_do_not_overflow() {
        assert!("0.0.0.0/0".parse::<Cidr>().unwrap().contains(Ipv4Addr::BROADCAST));
        let one: Cidr = "192.0.2.7/32".parse().unwrap();
        assert!(one.is_host_address(Ipv4Addr::new(192, 0, 2, 7)));
    }

    #[test]
    fn host_bits_are_an_error_that_names_the_subnet() {
        let error = "192.0.2.9/24".parse::<Cidr>().unwrap_err();
        assert!(error.to_string().contains("the subnet is 192.0.2.0/24"));
    }

    #[test]
    fn a_range_is_split_before_its_last_addresses() {
        let range: AddressRange = "192.0.2.254-192.0.3.1".parse().unwrap();
        let split = |count| {
            let (rest, last) = range.split_last(count);
            (rest.map(|range| range.to_string()), last.map(|range| range.to_string()))
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(split(0), (some("192.0.2.254-192.0.3.1"), None));
        assert_eq!(split(1), (some("192.0.2.254-192.0.3.0"), some("192.0.3.1-192.0.3.1")));
        assert_eq!(
            split(3),
            (some("192.0.2.254-192.0.2.254"), some("192.0.2.255-192.0.3.1"))
        );
        assert_eq!(split(9), (None, some("192.0.2.254-192.0.3.1")));
    }

    #[test]
    fn a_range_may_be_one_address_and_never_runs_backwards() {
        let one: AddressRange = "192.0.2.5".parse().unwrap();
        assert_eq!(one.len(), 1);
        assert_eq!(one.nth(1), None);
        assert!("192.0.2.9-192.0.2.1".parse::<AddressRange>().is_err());
    }
}
