//! Whose an event is.

use crate::model::{HardwareAddr, Name, Uuid};
use serde::{Serialize, Serializer};
use std::net::{IpAddr, Ipv4Addr};

/// The machine that an event is about, as far as the request tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// What it is known by.
    pub key: MachineKey,
    /// Its link-layer address.
    pub hardware: Option<HardwareAddr>,
    /// Its UUID.
    pub uuid: Option<Uuid>,
    /// The relay that passed its request on.
    pub relay: Option<Ipv4Addr>,
}

impl Machine {
    /// The same; one of which nothing is known by the address that it asks from, which is all there is to find
    /// its lines by.
    #[must_use]
    pub fn or_at(self, address: impl Into<IpAddr>) -> Machine {
        match self.key {
            MachineKey::Unknown => Machine {
                key: MachineKey::Address(address.into()),
                ..self
            },
            MachineKey::Host(_) | MachineKey::Hardware(_) | MachineKey::Address(_) => self,
        }
    }
}

/// What a machine is known by in logs, paths and templates. As text it is the host's name, or the link-layer
/// address with hyphens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MachineKey {
    /// A host of the inventory.
    Host(Name),
    /// An unlisted machine, by its link-layer address.
    Hardware(HardwareAddr),
    /// Nobody knows who has the address that asks.
    Address(IpAddr),
    /// Nothing is known of it.
    #[default]
    Unknown,
}

impl Serialize for MachineKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
