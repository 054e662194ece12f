//! A generation of the inventory, checked and indexed: what every decision is made from.
//!
//! Immutable once built. `config` is the only module that builds one from files; tests build their
//! own from inventory text through the same door.

mod hosts;

pub use crate::boot::paths::Ports;
use crate::boot::{loader::Loaders, quirks::Quirks, render::Templates};
use crate::model::{AddressRange, Arch, BootTarget, Cidr, Cpu, HardwareAddr, MacAddr, Name, Probe, Uuid};
use crate::proto::dhcp::RawOption;
pub use hosts::Hosts;
use std::{collections::BTreeMap, net::Ipv4Addr, path::PathBuf, sync::Arc, time::Duration};

/// One accepted version of the inventory with everything that decisions need.
pub struct Snapshot {
    /// Counts accepted versions from 1.
    pub generation: u64,
    /// Where our own servers listen, for the URLs we hand out.
    pub ports: Ports,
    /// The subnets we serve; none overlaps another.
    pub subnets: Vec<Subnet>,
    /// The machines that are listed.
    pub hosts: Hosts,
    /// Settings for unlisted machines; the first match wins.
    pub rules: Vec<Rule>,
    /// What becomes of a machine that neither a host nor a rule names.
    pub unknown: UnknownPolicy,
    /// The images by name.
    pub images: BTreeMap<Name, Image>,
    /// The loaders found, by architecture.
    pub loaders: Loaders,
    /// Rows for firmware that needs something of its own.
    pub quirks: Quirks,
    /// The compiled scripts and answers.
    pub templates: Templates,
}

impl Snapshot {
    /// The subnet that holds an address.
    pub fn subnet_of(&self, address: Ipv4Addr) -> Option<&Subnet> {
        self.subnets.iter().find(|subnet| subnet.cidr.contains(address))
    }

    /// Whether the inventory names that very address as a router, or as a relay whose word counts: of a network
    /// of relays anybody can make up addresses.
    pub fn names_router(&self, address: Ipv4Addr) -> bool {
        let mut subnets = self.subnets.iter();
        subnets.any(|subnet| subnet.router == Some(address) || subnet.ports_from.names(address))
    }

    /// The artifact of that image and file.
    pub fn artifact(&self, image: &str, file: &str) -> Option<(&Image, &Artifact)> {
        let image = self.images.get(image)?;
        let artifact = image.artifacts().find(|artifact| artifact.file == file)?;
        Some((image, artifact))
    }

    /// The loader that the settings name for firmware of that kind; the first of theirs where the kind is
    /// not known.
    pub fn named_loader<'s>(&self, settings: Option<&'s BootSettings>, arch: Option<Arch>) -> Option<&'s str> {
        let named = settings.map_or(&[][..], |settings| &settings.loaders);
        let runs = |file: &str| arch.is_none_or(|arch| self.loaders.runs_on(file, arch));
        named.iter().map(|loader| loader.value.as_str()).find(|file| runs(file))
    }
}

/// An IPv4 subnet of the inventory and what its machines are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// The addresses.
    pub cidr: Cidr,
    /// The wire it is on, where other subnets are on it too (a shared network).
    pub network: Option<Name>,
    /// Whether machines on other wires may ask for it by option 118 (RFC 3011).
    pub selectable: bool,
    /// Option 3.
    pub router: Option<Ipv4Addr>,
    /// Option 6, in order.
    pub dns: Vec<Ipv4Addr>,
    /// Option 15.
    pub domain: Option<String>,
    /// Dynamic addresses; none is a host's.
    pub pool: Vec<AddressRange>,
    /// The part of the inventory's pool that is kept for listed hosts without an address of their own,
    /// whoever else has used up the rest.
    pub kept: Vec<AddressRange>,
    /// Whose word on switch ports (option 82) is believed.
    pub ports_from: PortsFrom,
    /// How long a lease lasts (option 51).
    pub lease: Duration,
    /// How an address of the pool is probed before a machine is offered it for the first time.
    pub probe: Option<Probe>,
    /// Further options by number; a host's own stand before them.
    pub options: BTreeMap<u8, Sourced<RawOption>>,
}

/// Whose word on switch ports (option 82) is believed in a subnet: any machine can write that option itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortsFrom {
    /// Relays, by the address that they put into their requests (`giaddr`).
    pub relays: Vec<Cidr>,
    /// Switches on this wire that add it themselves (DHCP snooping), to what comes without a relay.
    pub switches: bool,
}

impl PortsFrom {
    /// Whether nobody is believed.
    pub fn is_nobody(&self) -> bool {
        self.relays.is_empty() && !self.switches
    }

    /// Whether that address stands there by itself, and not only in a network.
    fn names(&self, relay: Ipv4Addr) -> bool {
        let mut alone = self.relays.iter().filter(|known| known.prefix() == 32);
        alone.any(|known| known.contains(relay))
    }

    /// Whether the relay with that address is one of them.
    pub fn has_relay(&self, relay: Ipv4Addr) -> bool {
        self.relays.iter().any(|known| known.contains(relay))
    }
}

/// What becomes of a machine that neither a host nor a rule names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownPolicy {
    /// A dynamic lease, a loader and the script that shows the machine's identity.
    Discover,
    /// A dynamic lease and nothing to boot.
    Lease,
    /// Silence.
    Ignore,
}

/// Where in the operator's files a value stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The file as the operator named it.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

/// A value and where it was written; `explain` shows both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sourced<T> {
    /// The value in force.
    pub value: T,
    /// Where it stands.
    pub origin: Origin,
}

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

/// What a machine boots, after inheritance.
#[derive(Clone, Debug, Default)]
pub struct BootSettings {
    /// The boot target; local where none is configured.
    pub boot: Option<Sourced<BootTarget>>,
    /// The image's name; it is in `Snapshot::images`.
    pub image: Option<Sourced<Name>>,
    /// The script's name; it is in `Snapshot::templates`.
    pub script: Option<Sourced<Name>>,
    /// The answer's name; it is in `Snapshot::templates`.
    pub answer: Option<Sourced<Name>>,
    /// Files in `Snapshot::loaders` in place of iPXE, each for the firmware that runs it.
    pub loaders: Vec<Sourced<String>>,
    /// Kernel parameters, the ancestors' first.
    pub cmdline: Vec<Sourced<String>>,
    /// DHCP options by number.
    pub options: BTreeMap<u8, Sourced<RawOption>>,
    /// Template variables by name.
    pub vars: BTreeMap<String, Sourced<Var>>,
}

impl BootSettings {
    /// Its own name servers (option 6), in place of its subnet's.
    pub fn dns(&self) -> Option<Vec<Ipv4Addr>> {
        let body = &self.options.get(&6)?.value.body;
        let (addresses, _) = body.as_chunks::<4>();
        Some(addresses.iter().copied().map(Ipv4Addr::from).collect())
    }

    /// Its own domain (option 15), in place of its subnet's.
    pub fn domain(&self) -> Option<&str> {
        std::str::from_utf8(&self.options.get(&15)?.value.body).ok()
    }
}

/// A template variable's value: what TOML can say without dates. No text in it has a control
/// character (checked by `config`).
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(untagged)]
pub enum Var {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A fraction.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Var>),
    /// A table.
    Table(BTreeMap<String, Var>),
}

/// Settings for unlisted machines.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What a machine must be for the rule to hold; all that is given must hold.
    pub matches: RuleMatch,
    /// What such a machine boots.
    pub settings: BootSettings,
    /// Where the rule is written.
    pub origin: Origin,
}

/// A rule's conditions; an absent one always holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleMatch {
    /// The instruction set.
    pub cpu: Option<Cpu>,
    /// Glob (`*`, `?`, ASCII case ignored) over the vendor class (option 60) or the manufacturer.
    pub vendor: Option<String>,
    /// Glob over the MAC as `52:54:00:00:00:07`.
    pub mac: Option<String>,
    /// Glob over the serial number.
    pub serial: Option<String>,
}

/// A named set of artifacts. What the bytes of their files are found to be stands in `boot::verification`.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its name: the folder's.
    pub name: Name,
    /// The instruction set its kernel is for.
    pub cpu: Option<Cpu>,
    /// The folder that every artifact lies beneath.
    pub root: PathBuf,
    /// The kernel, for scripts that boot one.
    pub kernel: Option<Artifact>,
    /// Initial RAM disks in the order the kernel must see them.
    pub initrds: Vec<Artifact>,
    /// A disk image.
    pub disk: Option<Artifact>,
    /// Kernel parameters that every boot of it needs.
    pub cmdline: Vec<String>,
}

impl Image {
    /// Every artifact: kernel, initrds, disk image.
    pub fn artifacts(&self) -> impl Iterator<Item = &Artifact> {
        self.kernel.iter().chain(&self.initrds).chain(&self.disk)
    }

    /// Where the file of one of its artifacts is.
    pub fn path(&self, artifact: &Artifact) -> PathBuf {
        self.root.join(&artifact.file)
    }
}

/// One file of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// Path beneath the image's folder, `/` between components, none of them `.` or `..`.
    pub file: String,
    /// The SHA-256 that the whole file must have.
    pub sha256: [u8; 32],
    /// Where that is written.
    pub declared_at: Origin,
    /// What the file was when the inventory was read; one that differs is not served.
    pub stamp: FileStamp,
}

/// What tells a file from the one that was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileStamp {
    /// Length in bytes.
    pub length: u64,
    /// Modification time in nanoseconds since 1970. Anybody who may write the file may set it back.
    pub modified_ns: i128,
    /// Time of the last change of anything about the file, in nanoseconds since 1970. Only the
    /// system sets it, so it tells of bytes that were written and whose time was put back.
    pub changed_ns: i128,
    /// Inode number.
    pub inode: u64,
}

impl FileStamp {
    /// That of a file which was not there: no file has it.
    pub const NO_FILE: FileStamp = FileStamp {
        length: 0,
        modified_ns: 0,
        changed_ns: 0,
        inode: 0,
    };
}
