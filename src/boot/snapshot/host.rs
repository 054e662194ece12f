//! One listed machine. Does not own: how it is found (`hosts`).

use super::{BootSettings, Origin};
use crate::model::{HardwareAddr, MacAddr, Name, Uuid};
use std::net::Ipv4Addr;

/// One server in the inventory.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its name, unique in the inventory.
    pub name: Name,
    /// Its interfaces' addresses; each belongs to one host.
    pub macs: Vec<MacAddr>,
    /// Its interfaces without a MAC: InfiniBand ports, and clients known by their identifier alone.
    pub links: Vec<HardwareAddr>,
    /// Its SMBIOS UUID.
    pub uuid: Option<Uuid>,
    /// Its chassis serial number.
    pub serial: Option<String>,
    /// The one switch port it may boot on, as `RelayAgent::ports` writes it.
    pub port: Option<String>,
    /// What it is called by DHCP (option 12) and by its answers, where that is not its name.
    pub hostname: Option<String>,
    /// Its reservation.
    pub address: Option<Ipv4Addr>,
    /// `locked = true`: its disk, whatever else is configured.
    pub locked: bool,
    /// Everything profiles and the host itself say, resolved.
    pub settings: BootSettings,
    /// Where the host is written.
    pub origin: Origin,
}

impl Host {
    /// Whether `client` is one of its interfaces.
    pub fn lists(&self, client: &HardwareAddr) -> bool {
        let of_port = |mac| self.links.iter().any(|link| link.mac_of_guid() == Some(mac));
        let by_mac = client.mac().is_some_and(|mac| self.macs.contains(&mac) || of_port(mac));
        by_mac || self.links.contains(client)
    }

    /// Whether it lists any interface; else it is known by its port, UUID or serial number.
    pub fn lists_hardware(&self) -> bool {
        !self.macs.is_empty() || !self.links.is_empty()
    }

    /// What it calls itself: by DHCP (option 12), and once it is installed.
    pub fn host_name(&self) -> &str {
        self.hostname.as_deref().unwrap_or(self.name.as_str())
    }
}
