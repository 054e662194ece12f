//! Everything that is judged, as it was found. What could not be seen is `None`, and gets no verdict.

use super::{firewall::Ruleset, signature::Signatures};
use crate::boot::event::StepCode;
use crate::model::{Arch, Cidr, Mode, OwnAddress, Uplink, WallTime};
use std::net::Ipv4Addr;

/// What was found on this machine.
#[derive(Debug, Default)]
pub struct DoctorFacts {
    /// The operator's files.
    pub files: FilesFacts,
    /// The daemon, if it runs and answers.
    pub daemon: Option<DaemonFacts>,
    /// The interfaces of the settings.
    pub interfaces: Vec<InterfaceFacts>,
    /// The inventory's subnets; `None` where the inventory can't be used.
    pub subnets: Option<Vec<Cidr>>,
    /// The ports that are needed, on each interface that is there.
    pub ports: Vec<PortFacts>,
    /// TFTP's and HTTP's port.
    pub tftp_port: u16,
    /// HTTP's port.
    pub http_port: u16,
    /// Whether TFTP's transfers go over its request port.
    pub tftp_single_port: bool,
    /// The rules of the firewall; `None` where they could not be read.
    pub firewall: Option<Ruleset>,
    /// The DHCP servers that answered a probe, by interface; `None` where none was made.
    pub other_servers: Option<Vec<(String, Vec<DhcpServerFacts>)>>,
    /// The loaders that the inventory's machines are told.
    pub loaders: Vec<LoaderFacts>,
    /// The files of images.
    pub images: Option<ImageFacts>,
    /// The host's clock.
    pub clock: Option<ClockFacts>,
    /// The disks that are written.
    pub disks: Vec<DiskFacts>,
    /// The kernel's limits.
    pub limits: KernelLimits,
    /// Hosts of the inventory.
    pub hosts: usize,
    /// Relays that the daemon heard.
    pub relays: Vec<RelayFacts>,
    /// Boots that came to nothing for what a relay or a switch says.
    pub faults: Vec<BootFault>,
}

/// The operator's files.
#[derive(Debug, Default)]
pub struct FilesFacts {
    /// What makes them unusable, and what to do about it.
    pub errors: Vec<(String, Option<String>)>,
    /// How much is odd.
    pub warnings: usize,
}

/// The daemon, as it told.
#[derive(Debug)]
pub struct DaemonFacts {
    /// Its process.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// The generation in force.
    pub generation: u64,
    /// Whether it refuses the files as they are now.
    pub has_refused: bool,
    /// Why leases can't be written, if they can't.
    pub unwritable: Option<String>,
    /// Settings that hold only after a restart.
    pub restart_needed_for: Vec<String>,
}

/// An interface of the settings.
#[derive(Debug)]
pub struct InterfaceFacts {
    /// Its name.
    pub name: String,
    /// What we are on it.
    pub mode: Mode,
    /// Whether it may lead to more than machines.
    pub allow_default_route: bool,
    /// It, if it is there.
    pub seen: Option<InterfaceSeen>,
    /// The name of one that is there and nearly called the same.
    pub similar: Option<String>,
}

/// An interface that is there.
#[derive(Debug)]
pub struct InterfaceSeen {
    /// Whether it is switched on.
    pub is_on: bool,
    /// Whether it has a link.
    pub has_link: bool,
    /// The longest IP packet, in bytes; `None` where the kernel does not say.
    pub mtu: Option<u32>,
    /// Its IPv4 addresses.
    pub addresses: Vec<OwnAddress>,
    /// What makes it lead to more than machines.
    pub uplink: Option<Uplink>,
}

/// A port that a server of ours needs on an interface.
#[derive(Debug)]
pub struct PortFacts {
    /// The interface.
    pub interface: String,
    /// `udp` or `tcp`.
    pub protocol: &'static str,
    /// Its number.
    pub port: u16,
    /// What it is for.
    pub purpose: &'static str,
    /// Whether machines boot without it.
    pub is_dispensable: bool,
    /// Who has it.
    pub state: PortState,
}

/// Who has a port.
#[derive(Debug)]
pub enum PortState {
    /// Nobody.
    Free,
    /// Our daemon.
    Ours,
    /// Others, or somebody who can't be named.
    Held(Vec<PortHolder>),
    /// Others have it somewhere on this machine; whether on this interface could not be told.
    MaybeHeld(Vec<PortHolder>),
}

/// A process that has a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortHolder {
    /// Its name, such as `dnsmasq`.
    pub name: String,
    /// Its number.
    pub pid: u32,
}

/// A DHCP server that answered.
#[derive(Debug)]
pub struct DhcpServerFacts {
    /// Its address (option 54).
    pub address: Ipv4Addr,
    /// Whether it tells machines what to boot.
    pub boots: bool,
}

/// What the machines of one architecture load first.
#[derive(Debug)]
pub struct LoaderFacts {
    /// The architecture.
    pub arch: Arch,
    /// The file, if there is one.
    pub file: Option<String>,
    /// What it is.
    pub state: LoaderState,
}

/// What a loader is.
#[derive(Debug)]
pub enum LoaderState {
    /// There is none.
    Missing,
    /// It can't be read, and why.
    Unreadable(String),
    /// A program of BIOS, where nothing is signed.
    Unsignable,
    /// An EFI program, with what is known of who signed it.
    Efi(Signatures),
}

/// The files of images.
#[derive(Debug)]
pub struct ImageFacts {
    /// How many are as they should be.
    pub sound: usize,
    /// How many of those were read to their end: now, or by the daemon since they changed.
    pub read: usize,
    /// Those that are not served, and why; nothing while they are being verified.
    pub unserved: Vec<(String, Option<String>)>,
}

/// The host's clock.
#[derive(Debug)]
pub struct ClockFacts {
    /// What it says.
    pub now: WallTime,
    /// Whether something keeps it right; `None` where that is not known.
    pub is_synchronised: Option<bool>,
    /// When the newest of the operator's files was written.
    pub newest_file: Option<WallTime>,
}

/// A folder that is written, and its disk.
#[derive(Debug)]
pub struct DiskFacts {
    /// What lies there.
    pub purpose: &'static str,
    /// The folder.
    pub folder: String,
    /// Bytes that are free for us.
    pub free: u64,
    /// Whether nothing can be written there.
    pub is_read_only: bool,
    /// Files that may be made still; `None` where the file system does not count them.
    pub inodes_free: Option<u64>,
    /// Bytes that must be free.
    pub needed: u64,
    /// Bytes that should be.
    pub wanted: u64,
}

/// The kernel's limits; `None` for what is not seen from here.
#[derive(Debug, Default)]
pub struct KernelLimits {
    /// Files that the daemon may open.
    pub open_files: Option<u64>,
    /// Files that all may open (`fs.file-max`).
    pub open_files_all: Option<u64>,
    /// `net.core.rmem_max`, in bytes.
    pub rmem_max: Option<u64>,
    /// Whether whoever runs the daemon may go beyond that.
    pub is_root: bool,
    /// `net.ipv4.neigh.default.gc_thresh3`.
    pub neighbours_max: Option<u64>,
    /// `net.netfilter.nf_conntrack_max`; nothing where connections are not followed.
    pub conntrack_max: Option<u64>,
}

/// A relay that the daemon heard, or a switch that tells ports.
#[derive(Clone, Debug, Default)]
pub struct RelayFacts {
    /// The relay's address (`giaddr`); `None` of a switch on our own wire.
    pub address: Option<Ipv4Addr>,
    /// An address of the network that it speaks for.
    pub link: Option<Ipv4Addr>,
    /// The inventory's subnet for it.
    pub subnet: Option<String>,
    /// The switch, where it is named.
    pub switch: Option<String>,
    /// The first of the ports that it told.
    pub ports: Vec<String>,
    /// Whether one of them names a VLAN in place of a port.
    pub names_a_vlan: bool,
    /// Whether the inventory goes by its ports.
    pub is_believed: bool,
    /// Whether another server gives the addresses there, and no subnet is needed.
    pub is_proxied: bool,
    /// Machines that it spoke for, as far as they were counted.
    pub machines: usize,
}

/// A boot that came to nothing for what a relay or a switch says.
#[derive(Debug)]
pub struct BootFault {
    /// Its machine.
    pub machine: String,
    /// The reason, in a word.
    pub code: StepCode,
    /// The reason's sentence.
    pub sentence: String,
}
