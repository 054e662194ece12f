//! What a machine is told to load, and what it says of itself that does not fit the inventory.

use super::fault::{DiskReason, Near, PortDoubt};
use crate::boot::paths::{self, Ports};
use crate::model::{Arch, Name, Uuid};
use serde::Serialize;
use std::{net::Ipv4Addr, sync::Arc};

/// What a machine is told to load, and what people should know of it besides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BootDecision {
    /// What it is told.
    pub boot: BootAction,
    /// What it says of itself that does not fit the inventory.
    pub mismatch: Option<Mismatch>,
}

/// What a machine is told to load, or why nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum BootAction {
    /// A loader.
    Loader {
        /// As it stands in the reply.
        file: BootFile,
    },
    /// iPXE's script.
    Script {
        /// Its URL.
        file: BootFile,
    },
    /// A Raspberry Pi's ROM asks for files with fixed names.
    RaspberryPi,
    /// Firmware that reads `pxelinux.cfg` itself.
    Pxelinux {
        /// From where.
        server: Ipv4Addr,
    },
    /// Its disk.
    Disk {
        /// Why.
        why: DiskReason,
    },
    /// Nothing: nobody listed it, and such machines get a lease only.
    LeaseOnly {
        /// The host whose MAC differs in one digit.
        near: Near,
    },
    /// Nothing: unknown machines are ignored.
    Ignore,
    /// Nothing: it is not firmware that asks.
    NotFirmware,
    /// Nothing: no loader was found for it.
    NoLoader {
        /// What it is, as far as that is known.
        arch: Option<Arch>,
        /// What it sent in option 93.
        option_93: Arc<[u16]>,
    },
}

impl BootAction {
    /// What it is, in a word: the log's field `boot`.
    pub fn name(&self) -> &'static str {
        match self {
            BootAction::Loader { .. } => "loader",
            BootAction::Script { .. } => "script",
            BootAction::RaspberryPi => "raspberry_pi",
            BootAction::Pxelinux { .. } => "pxelinux",
            BootAction::Disk { .. } => "disk",
            BootAction::LeaseOnly { .. } => "lease_only",
            BootAction::Ignore => "silence",
            BootAction::NotFirmware => "not_firmware",
            BootAction::NoLoader { .. } => "no_loader",
        }
    }

    /// The boot file.
    pub fn file(&self) -> Option<&BootFile> {
        match self {
            BootAction::Loader { file } | BootAction::Script { file } => Some(file),
            BootAction::RaspberryPi
            | BootAction::Pxelinux { .. }
            | BootAction::Disk { .. }
            | BootAction::LeaseOnly { .. }
            | BootAction::Ignore
            | BootAction::NotFirmware
            | BootAction::NoLoader { .. } => None,
        }
    }
}

/// A boot file as a reply names it: option 67.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum BootFile {
    /// A loader by its name, which firmware fetches by TFTP.
    Name {
        /// The loader.
        loader: Arc<str>,
    },
    /// A loader by its URL.
    Url {
        /// The loader.
        loader: Arc<str>,
        /// Our address.
        server: Ipv4Addr,
        /// Our ports.
        ports: Ports,
        /// HTTP; else TFTP.
        is_http: bool,
    },
    /// iPXE's script by its URL.
    Script {
        /// Our address.
        server: Ipv4Addr,
        /// Our ports.
        ports: Ports,
    },
}

impl BootFile {
    /// What stands in the reply.
    pub fn text(&self) -> String {
        match self {
            BootFile::Name { loader } => str::to_owned(loader),
            BootFile::Url {
                loader,
                server,
                ports,
                is_http: true,
            } => paths::loader_url(*server, *ports, loader),
            BootFile::Url {
                loader, server, ports, ..
            } => paths::loader_tftp_url(*server, *ports, loader),
            BootFile::Script { server, ports } => paths::script_url(*server, *ports),
        }
    }
}

/// What does not fit between a machine's own words and the inventory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "mismatch", rename_all = "snake_case")]
pub enum Mismatch {
    /// Its switch port is a host's, and is not believed.
    PortUnbelieved {
        /// That host.
        host: Name,
        /// Why not.
        doubt: PortDoubt,
    },
    /// It says the UUID of a host that lists other addresses.
    UuidOfAnother {
        /// That host.
        host: Name,
    },
    /// It says the serial number of a host that lists other addresses.
    SerialOfAnother {
        /// That host.
        host: Name,
    },
    /// It says another UUID than is listed.
    OtherUuid {
        /// What it says.
        observed: Uuid,
        /// What is listed.
        listed: Uuid,
    },
    /// It says another serial number than is listed.
    OtherSerial {
        /// What it says.
        observed: Arc<str>,
        /// What is listed.
        listed: Arc<str>,
    },
}
