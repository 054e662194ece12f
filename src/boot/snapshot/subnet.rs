//! A subnet of the inventory: its addresses, and what its machines are told.

use super::{PortsFrom, Sourced};
use crate::model::{AddressRange, Cidr, Name, Probe};
use crate::proto::dhcp::RawOption;
use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

/// An IPv4 subnet of the inventory and what its machines are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// The addresses.
    pub cidr: Cidr,
    /// The wire it is on, where other subnets are on it too (a shared network).
    pub network: Option<Name>,
    /// Whether machines on other wires may ask for it by option 118 (RFC 3011).
    pub selectable: bool,
    /// Option 3.
    pub router: Option<Ipv4Addr>,
    /// Option 6, in order.
    pub dns: Vec<Ipv4Addr>,
    /// Option 15.
    pub domain: Option<String>,
    /// Dynamic addresses; none is a host's.
    pub pool: Vec<AddressRange>,
    /// The part of the inventory's pool that is kept for listed hosts without an address of their own,
    /// whoever else has used up the rest.
    pub kept: Vec<AddressRange>,
    /// Whose word on switch ports (option 82) is believed.
    pub ports_from: PortsFrom,
    /// How long a lease lasts (option 51).
    pub lease: Duration,
    /// How an address of the pool is probed before a machine is offered it for the first time.
    pub probe: Option<Probe>,
    /// Further options by number; a host's own stand before them.
    pub options: BTreeMap<u8, Sourced<RawOption>>,
}
