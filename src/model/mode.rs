//! What we are on a network: its DHCP server, or a proxyDHCP server beside another one.

use std::fmt;

/// What we are on one interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The network's DHCP server: we give the addresses.
    #[default]
    Dhcp,
    /// ProxyDHCP (PXE 2.1): another server gives the addresses, we say what to boot.
    Proxy,
}

/// An interface that is served, and as what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServedInterface {
    /// Its name, such as `eno2`.
    pub name: String,
    /// What we are on it.
    pub mode: Mode,
    /// Whether addresses may be given there though it leads to more than machines: it has the default route, or is
    /// wireless.
    pub allow_default_route: bool,
}

impl fmt::Display for Mode {
    /// The word of the settings.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Dhcp => "dhcp",
            Mode::Proxy => "proxy",
        })
    }
}

/// What makes an interface one that leads to more than machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uplink {
    /// The default route of IPv4 goes over it.
    DefaultRoute,
    /// It is wireless.
    Wireless,
}

impl fmt::Display for Uplink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Uplink::DefaultRoute => "has this machine's default route",
            Uplink::Wireless => "is wireless",
        })
    }
}
