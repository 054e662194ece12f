//! `GET /status`: how the daemon is.

use super::{Problem, ReloadRefusal, Timestamp};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
};

/// How the daemon is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The version of the API.
    pub api: u32,
    /// The daemon's own version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// The configuration it reads.
    pub config: PathBuf,
    /// The generation in force.
    pub generation: u64,
    /// Since when it is.
    pub since: Timestamp,
    /// Hosts in the inventory.
    pub hosts: usize,
    /// Leases that have not ended.
    pub leases: usize,
    /// Whether leases can be written; none is acknowledged while they can't.
    pub leases_writable: bool,
    /// Why they can't, if they can't.
    pub lease_write_failure: Option<LeaseWriteFailure>,
    /// The artifacts of images.
    pub artifacts: ArtifactStatus,
    /// The interfaces it is told to serve.
    pub interfaces: Vec<InterfaceStatus>,
    /// Settings of the files that hold only after a restart.
    pub restart_needed_for: Vec<String>,
    /// Folders whose changes are not seen at once.
    pub unwatched: Vec<Problem>,
    /// Why the files as they are now are not in force, if they are not.
    pub last_refusal: Option<ReloadRefusal>,
    /// The files in force, where those on disk were refused at the start already.
    pub last_good: Option<LastGoodFiles>,
    /// The generation whose files are in force in place of those on disk, because an operator took it back.
    #[serde(default)]
    pub rolled_back_to: Option<u64>,
    /// Files on their way, the oldest first.
    pub transfers: Vec<TransferStatus>,
    /// Relays, and switches that tell ports, that passed requests on since the start.
    #[serde(default)]
    pub relays: Vec<RelayStatus>,
    /// Everything that is counted, since the start; `render_threads_stuck` is how many are now, and
    /// `hot_image_bytes` how many bytes copies of image files have in memory now.
    pub counters: BTreeMap<String, u64>,
    /// Why requests came to nothing or had to wait, by the reason's name in the log, since the start.
    pub reasons: BTreeMap<String, u64>,
}

/// A relay, or a switch that writes into what passes through it, as its requests have it: nobody vouches for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayStatus {
    /// The relay's address (`giaddr`); nothing where it is a switch on the daemon's own wire.
    pub relay: Option<Ipv4Addr>,
    /// An address of the network that it speaks for; its own where it names none.
    pub link: Option<Ipv4Addr>,
    /// The inventory's subnet for that.
    pub subnet: Option<String>,
    /// The switch that the machines are at, where it is named.
    pub switch: Option<String>,
    /// The first of the ports that it told.
    pub ports: Vec<String>,
    /// Whether one of them names a VLAN in place of a port.
    pub names_a_vlan: bool,
    /// Whether the inventory believes ports that are told for that subnet (`ports_from`).
    pub is_believed: bool,
    /// Whether another server gives the addresses there (`mode = "proxy"`): machines are told what to boot without a
    /// subnet.
    #[serde(default)]
    pub is_proxied: bool,
    /// Machines that it spoke for, 8 at most.
    pub machines: usize,
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
    pub since: Timestamp,
}

/// Why the last write of leases did not reach the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseWriteFailure {
    /// `full` where the disk has no room, `unavailable` where it can't be used, `corrupt` where what is on it makes
    /// no sense.
    pub reason: String,
    /// The same for people, and what to do.
    pub message: String,
}

/// A file on its way to a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferStatus {
    /// The machine: a host's name, or a MAC.
    pub machine: String,
    /// The address that it goes to.
    pub client: IpAddr,
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

/// Files that were accepted once and kept, and are served in place of those on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastGoodFiles {
    /// When they were accepted.
    pub accepted: Timestamp,
    /// The folder they lie in.
    pub folder: PathBuf,
}
