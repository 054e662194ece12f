//! `GET /hosts`: the hosts of the inventory in force, all of them or those that are named.

use super::{HostDisks, Timestamp};
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
    /// How it stands with its install, where it was or may be armed.
    #[serde(default)]
    pub install: Option<InstallStatus>,
    /// The disks that its machine told of last, and which of them an install would erase; none where it told of none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disks: Option<HostDisks>,
    /// Where it is written: file and line.
    pub written: String,
}

/// How a host stands with its install.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstallStatus {
    /// `new`, `armed`, `installing`, `installed`, `failed` or `local`.
    pub state: String,
    /// Since when; none where it never was anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Who brought that about; of an install, who armed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Until when it is armed; of an install, when it has failed unless it is heard of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The address that it installs from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
    /// How often the install was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tries: Option<u8>,
    /// How far it is, of a hundred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// What was seen of it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_step: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// An address that an interface of a host has from us.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldAddress {
    /// The interface.
    pub mac: String,
    /// The address.
    pub address: Ipv4Addr,
}
