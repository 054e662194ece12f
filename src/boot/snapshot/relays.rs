//! Whose word on switch ports is believed. Does not own: which host belongs to which port (`hosts`).

use crate::model::Cidr;
use std::net::Ipv4Addr;

/// Whose word on switch ports (option 82) is believed in a subnet: any machine can write that option itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortsFrom {
    /// Relays, by the address that they put into their requests (`giaddr`).
    pub relays: Vec<Cidr>,
    /// Switches on this wire that add it themselves (DHCP snooping), to what comes without a relay.
    pub switches: bool,
}

impl PortsFrom {
    /// Whether no relay and no switch is believed.
    pub fn is_nobody(&self) -> bool {
        self.relays.is_empty() && !self.switches
    }

    /// Whether that address stands there by itself, and not only in a network.
    pub(super) fn names(&self, relay: Ipv4Addr) -> bool {
        let mut alone = self.relays.iter().filter(|known| known.prefix() == 32);
        alone.any(|known| known.contains(relay))
    }

    /// Whether the relay with that address is one of them.
    pub fn has_relay(&self, relay: Ipv4Addr) -> bool {
        self.relays.iter().any(|known| known.contains(relay))
    }
}
