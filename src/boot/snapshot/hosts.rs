//! The hosts of one generation, and every way to find one. Does not own: who a machine is (`machine`).

use super::Host;
use crate::boot::event::Mismatch;
use crate::model::{HardwareAddr, MacAddr, Name, Uuid};
use std::{
    collections::{HashMap, HashSet},
    net::Ipv4Addr,
    sync::Arc,
};

/// The listed hosts and every way to find one.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    all: Vec<Arc<Host>>,
    by_name: HashMap<Name, usize>,
    by_mac: HashMap<MacAddr, usize>,
    by_link: HashMap<HardwareAddr, usize>,
    by_uuid: HashMap<Uuid, usize>,
    by_serial: HashMap<String, usize>,
    by_address: HashMap<Ipv4Addr, usize>,
    by_port: HashMap<String, usize>,
    /// The first and the last three bytes of every MAC.
    halves: HashSet<[u8; 3]>,
}

impl Hosts {
    /// Indexes hosts that `config` has checked for duplicates; where two claim a key, the first
    /// keeps it.
    pub fn new(hosts: Vec<Host>) -> Hosts {
        let mut index = Hosts {
            all: Vec::with_capacity(hosts.len()),
            by_name: HashMap::with_capacity(hosts.len()),
            by_mac: HashMap::with_capacity(hosts.len()),
            ..Hosts::default()
        };
        for (place, host) in hosts.into_iter().enumerate() {
            index.by_name.entry(host.name.clone()).or_insert(place);
            for mac in &host.macs {
                index.by_mac.entry(*mac).or_insert(place);
                let [a, b, c, d, e, f] = mac.0;
                index.halves.extend([[a, b, c], [d, e, f]]);
            }
            for link in &host.links {
                index.by_link.entry(*link).or_insert(place);
            }
            if let Some(uuid) = host.uuid {
                index.by_uuid.entry(uuid).or_insert(place);
            }
            if let Some(serial) = &host.serial {
                index.by_serial.entry(serial.clone()).or_insert(place);
            }
            if let Some(address) = host.address {
                index.by_address.entry(address).or_insert(place);
            }
            // Where a host lists MACs, the port is a lock and no name.
            if let Some(port) = host.port.as_ref().filter(|_| !host.lists_hardware()) {
                index.by_port.entry(port.to_ascii_lowercase()).or_insert(place);
            }
            index.all.push(Arc::new(host));
        }
        // Behind those that are listed: what an InfiniBand port calls itself on Ethernet is told by its GUID.
        for (place, host) in index.all.iter().enumerate() {
            for mac in host.links.iter().filter_map(HardwareAddr::mac_of_guid) {
                index.by_mac.entry(mac).or_insert(place);
            }
        }
        index
    }

    /// In the order of the inventory.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Host>> {
        self.all.iter()
    }

    /// How many are listed.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether none is listed.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The host of that name.
    pub fn by_name(&self, name: &str) -> Option<&Arc<Host>> {
        self.by_name.get(name).map(|place| &self.all[*place])
    }

    /// The host that owns the MAC.
    pub fn by_mac(&self, mac: MacAddr) -> Option<&Arc<Host>> {
        self.by_mac.get(&mac).map(|place| &self.all[*place])
    }

    /// Whether three bytes begin or end any host's MAC.
    pub fn has_mac_half(&self, half: [u8; 3]) -> bool {
        self.halves.contains(&half)
    }

    /// The host that owns the interface, which has no MAC.
    pub fn by_link(&self, link: HardwareAddr) -> Option<&Arc<Host>> {
        self.by_link.get(&link).map(|place| &self.all[*place])
    }

    /// The host that is known by the SMBIOS UUID.
    pub fn by_uuid(&self, uuid: Uuid) -> Option<&Arc<Host>> {
        self.with_uuid(uuid).filter(|host| !host.lists_hardware())
    }

    /// The host that is known by the serial number.
    pub fn by_serial(&self, serial: &str) -> Option<&Arc<Host>> {
        self.with_serial(serial).filter(|host| !host.lists_hardware())
    }

    /// That a machine which is no listed host says the UUID or serial number of one.
    pub fn of_another(&self, uuid: Option<Uuid>, serial: Option<&str>) -> Option<Mismatch> {
        let name = |host: &Arc<Host>| host.name.clone();
        let by_uuid = uuid.and_then(|uuid| self.with_uuid(uuid)).map(name);
        let by_serial = || serial.and_then(|serial| self.with_serial(serial)).map(name);
        by_uuid
            .map(|host| Mismatch::UuidOfAnother { host })
            .or_else(|| by_serial().map(|host| Mismatch::SerialOfAnother { host }))
    }

    /// In either byte order: tools print the first three fields one way or the other, and so do boards.
    fn with_uuid(&self, uuid: Uuid) -> Option<&Arc<Host>> {
        let place = self.by_uuid.get(&uuid).or_else(|| self.by_uuid.get(&uuid.swapped()))?;
        Some(&self.all[*place])
    }

    /// The host that lists the serial number, whether or not its machine is known by that.
    pub fn with_serial(&self, serial: &str) -> Option<&Arc<Host>> {
        self.by_serial.get(serial).map(|place| &self.all[*place])
    }

    /// The host that is whatever machine stands at the switch port.
    pub fn by_port(&self, port: &str) -> Option<&Arc<Host>> {
        self.by_port
            .get(&port.to_ascii_lowercase())
            .map(|place| &self.all[*place])
    }

    /// Whether any host is known by its switch port alone.
    pub fn has_any_by_port(&self) -> bool {
        !self.by_port.is_empty()
    }

    /// The host whose reservation is `address`.
    pub fn by_address(&self, address: Ipv4Addr) -> Option<&Arc<Host>> {
        self.by_address.get(&address).map(|place| &self.all[*place])
    }
}
