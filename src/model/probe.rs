//! How an address is probed before a machine is offered it.

/// What is asked of an address, to hear whether another machine uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// An ARP probe (RFC 5227): everything on the wire answers it, whatever its firewall says.
    Arp,
    /// An ICMP echo request: it passes routers, and some machines leave it unanswered.
    Ping,
}
