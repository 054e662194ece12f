//! What the daemon tells an operator, as JSON: the same types on both ends of the socket.

use crate::config::Diagnostic;
use crate::model::WallTime;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, net::Ipv4Addr, path::PathBuf};

/// How the daemon is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The daemon's own version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// The configuration it reads.
    pub config: PathBuf,
    /// The generation in force.
    pub generation: u64,
    /// Since when it is.
    pub since: WallTime,
    /// Hosts in the inventory.
    pub hosts: usize,
    /// Leases that have not ended.
    pub leases: usize,
    /// Whether leases can be written; none is acknowledged while they can't.
    pub leases_writable: bool,
    /// The artifacts of images.
    pub artifacts: ArtifactStatus,
    /// The interfaces it is told to serve.
    pub interfaces: Vec<InterfaceStatus>,
    /// Settings of the files that hold only after a restart.
    pub restart_needed_for: Vec<String>,
    /// Folders whose changes are not seen at once.
    #[serde(default)]
    pub unwatched: Vec<Problem>,
    /// Why the files as they are now are not in force, if they are not.
    pub last_refusal: Option<ReloadRefusal>,
    /// The files in force, where those on disk were refused at the start already.
    pub last_good: Option<LastGoodFiles>,
    /// Files on their way, the oldest first.
    pub transfers: Vec<TransferStatus>,
    /// Everything that is counted, since the start.
    pub counters: BTreeMap<String, u64>,
    /// Why requests came to nothing or had to wait, by the reason's name in the log, since the start.
    #[serde(default)]
    pub reasons: BTreeMap<String, u64>,
}

/// An interface that is to be served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceStatus {
    /// Its name in the settings.
    pub name: String,
    /// `dhcp` or `proxy`.
    pub mode: String,
    /// `up`, `no carrier` or `off`; nothing where it is not served.
    pub link: Option<String>,
    /// Its IPv4 addresses.
    pub addresses: Vec<Ipv4Addr>,
    /// Why no machine is served there, if none is.
    pub problem: Option<String>,
    /// Since when it stands so.
    pub since: WallTime,
}

/// A file on its way to a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferStatus {
    /// The machine: a host's name, or a MAC.
    pub machine: String,
    /// The address that it goes to.
    pub client: Ipv4Addr,
    /// `http` or `tftp`.
    pub transport: String,
    /// The file, as the log names it.
    pub what: String,
    /// Bytes sent so far; of a range only its own.
    pub sent_bytes: u64,
    /// Bytes of the whole transfer.
    pub length_bytes: u64,
    /// Seconds since it began.
    pub age_s: u64,
}

/// The artifacts of images, by what is known of their bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactStatus {
    /// How many have the bytes of their sha256, and are served.
    pub verified: usize,
    /// The others.
    pub unserved: Vec<UnservedArtifact>,
}

/// An artifact that is not served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnservedArtifact {
    /// Its image.
    pub image: String,
    /// Its file in there.
    pub file: String,
    /// The file's length in bytes.
    pub bytes: u64,
    /// How many of them have been read to verify it.
    pub bytes_read: u64,
    /// What is wrong with it; nothing while it is being verified.
    pub problem: Option<Problem>,
}

/// A reload that took effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadAccepted {
    /// The generation in force now.
    pub generation: u64,
    /// Hosts in its inventory.
    pub hosts: usize,
    /// What is odd, and served all the same.
    pub warnings: Vec<Problem>,
    /// Settings that changed and hold only after a restart.
    pub restart_needed_for: Vec<String>,
}

/// A reload that was refused: the generation before it stays in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadRefusal {
    /// When it was refused.
    pub at: WallTime,
    /// The generation that stays in force.
    pub generation: u64,
    /// Everything that is wrong.
    pub errors: Vec<Problem>,
}

/// The last accepted version of the operator's files, which is served in place of the refused one on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastGoodFiles {
    /// When they were accepted.
    pub accepted: WallTime,
    /// The folder they lie in.
    pub folder: PathBuf,
}

/// One thing that is wrong or odd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What is wrong.
    pub message: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The file, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The column in characters, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
}

impl Problem {
    /// A problem that is in no file.
    pub fn new(message: impl Into<String>) -> Problem {
        Problem {
            message: message.into(),
            help: None,
            file: None,
            line: None,
            column: None,
        }
    }
}

impl From<&Diagnostic> for Problem {
    fn from(diagnostic: &Diagnostic) -> Self {
        let Diagnostic {
            message,
            help,
            file,
            place,
        } = diagnostic;
        Problem {
            message: message.clone(),
            help: help.clone(),
            file: Some(file.clone()),
            line: place.map(|(line, _)| line),
            column: place.map(|(_, column)| column),
        }
    }
}

/// `inventory.toml:41:9: what is wrong; what to do`.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
            if let (Some(line), Some(column)) = (self.line, self.column) {
                write!(f, "{line}:{column}:")?;
            }
            f.write_str(" ")?;
        }
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
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
    #[serde(default)]
    pub holds: Vec<HeldAddress>,
    /// What it boots: `live`, `local`, …
    pub boot: String,
    /// Its image.
    pub image: Option<String>,
    /// Its script.
    pub script: Option<String>,
    /// The loaders it is given in place of iPXE, each where its firmware runs it.
    #[serde(default)]
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

/// One lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseStatus {
    /// The address.
    pub address: Ipv4Addr,
    /// Whose it is: a link-layer address.
    pub client: String,
    /// The host of that MAC, if one is listed.
    pub host: Option<String>,
    /// When it ends.
    pub expires: WallTime,
}

/// `1 host`, `2 hosts`: a number and its noun.
pub fn counted(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}
