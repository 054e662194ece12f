//! `GET /hosts`: the hosts of the inventory in force, all of them or those that are named.

use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// Which hosts are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostFilter {
    /// Their names or MACs; none of them asks for all hosts.
    #[serde(default)]
    pub host: Vec<String>,
}

/// One host of the inventory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostStatus {
    /// Its name.
    pub name: String,
    /// Its MACs, and its interfaces without one.
    pub macs: Vec<String>,
    /// Its reservation.
    pub address: Option<Ipv4Addr>,
    /// The addresses that its interfaces have from us now: not always its reservation.
    pub holds: Vec<HeldAddress>,
    /// What it boots: `live`, `local`, …
    pub boot: String,
    /// Its image.
    pub image: Option<String>,
    /// Its script.
    pub script: Option<String>,
    /// The loaders it is given in place of iPXE, each where its firmware runs it.
    pub loaders: Vec<String>,
    /// Whether it is locked to its disk.
    pub locked: bool,
    /// Where it is written: file and line.
    pub written: String,
}

/// An address that an interface of a host has from us.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldAddress {
    /// The interface.
    pub mac: String,
    /// The address.
    pub address: Ipv4Addr,
}
