//! What the servers are told by the settings.

use crate::boot::snapshot::Ports;
use crate::model::SharedAddresses;

/// What the servers listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenConfig {
    /// The ports that machines are told of.
    pub ports: Ports,
    /// Image files that go out by HTTP at once.
    pub bulk_streams: usize,
    /// Whether TFTP's transfers go over its request port: for clients behind a NAT or a firewall that
    /// lets no answer in from another port.
    pub tftp_single_port: bool,
    /// Addresses that many machines ask from: the limits of one hold for each of them.
    pub shared_addresses: SharedAddresses,
    /// Whether machines in their boot are told that there is no IPv6 router, where there is none.
    pub router_advertisements: bool,
    /// Whether machines may log to us.
    pub syslog: bool,
}
