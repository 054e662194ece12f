//! Which part we have on a network: its DHCP server, or the guest beside one.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What we are on one interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The network's DHCP server: we give the addresses.
    #[default]
    Dhcp,
    /// ProxyDHCP (PXE 2.1): another server gives the addresses, we say what to boot.
    Proxy,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Dhcp => "dhcp",
            Mode::Proxy => "proxy",
        })
    }
}

/// An interface that is served, and as what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServedInterface {
    /// Its name, such as `eno2`.
    pub name: String,
    /// What we are on it.
    pub mode: Mode,
}

impl fmt::Display for ServedInterface {
    /// The name; a guest's says so.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mode {
            Mode::Dhcp => f.write_str(&self.name),
            Mode::Proxy => write!(f, "{} (proxy)", self.name),
        }
    }
}
