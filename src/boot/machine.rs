//! Identifies the machine behind a request: a listed host, a rule that matches, or an unknown machine.

use crate::boot::{
    event::{Machine, MachineKey, Mismatch},
    snapshot::{BootSettings, Host, Hosts, Rule, RuleMatch, Snapshot},
};
use crate::model::{Arch, Cpu, HardwareAddr, MacAddr, Uuid, text};
use std::sync::Arc;

/// What one request lets us know of the machine behind it. Every field but the MAC may be missing
/// at any stage: firmware leaves out option 97, only iPXE's script request knows the serial.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The interface that asks.
    pub mac: Option<MacAddr>,
    /// The same where it has no MAC: an InfiniBand port, or a client that is known by its identifier.
    pub link: Option<HardwareAddr>,
    /// Option 97 or iPXE's `${uuid}`.
    pub uuid: Option<Uuid>,
    /// iPXE's `${serial}`.
    pub serial: Option<String>,
    /// Option 93 or iPXE's `${buildarch}` and `${platform}`.
    pub arch: Option<Arch>,
    /// The switch port it arrived at, in every way of writing it (option 82).
    pub ports: Vec<String>,
    /// Option 60, or iPXE's `${manufacturer}`; the client's own words.
    pub vendor: Option<String>,
}

/// The machine as the inventory knows it.
#[derive(Clone, Copy, Debug)]
pub enum Who<'s> {
    /// Listed by MAC, switch port, UUID or serial.
    Host(&'s Arc<Host>),
    /// Not listed, but a rule speaks of it.
    Rule(&'s Rule),
    /// Neither.
    Unknown,
}

impl<'s> Who<'s> {
    /// What it boots, where the inventory says anything.
    pub fn settings(self) -> Option<&'s BootSettings> {
        match self {
            Who::Host(host) => Some(&host.settings),
            Who::Rule(rule) => Some(&rule.settings),
            Who::Unknown => None,
        }
    }

    /// The listed host, if it is one.
    pub fn host(self) -> Option<&'s Arc<Host>> {
        match self {
            Who::Host(host) => Some(host),
            Who::Rule(_) | Who::Unknown => None,
        }
    }
}

impl Identity {
    /// What a machine is known by in logs, paths and templates: its host, or its link-layer address.
    pub fn key(&self, who: Who<'_>) -> MachineKey {
        match (who.host(), self.hardware()) {
            (Some(host), _) => MachineKey::Host(host.name.clone()),
            (None, Some(hardware)) => MachineKey::Hardware(hardware),
            (None, None) => MachineKey::Unknown,
        }
    }

    /// The machine as events show it.
    pub fn machine(&self, who: Who<'_>) -> Machine {
        Machine {
            key: self.key(who),
            hardware: self.hardware(),
            uuid: self.uuid,
            relay: None,
        }
    }

    /// The interface as events show it.
    pub fn hardware(&self) -> Option<HardwareAddr> {
        self.mac.map(HardwareAddr::from).or(self.link)
    }

    /// All that is known of whoever has a hardware address.
    pub fn of_hardware(hardware: HardwareAddr) -> Identity {
        let mac = hardware.mac();
        let is_told = mac.is_none() && !hardware.as_bytes().is_empty();
        Identity {
            mac,
            link: is_told.then_some(hardware),
            ..Identity::default()
        }
    }
}

/// Who is asking. The MAC decides before the switch port, that before the UUID, and the UUID before
/// the serial number: a MAC is on every packet, and a switch port does not lie. A UUID and a serial number
/// name only a host that lists no address: boards are sold with the same ones, and who says one is not
/// another machine's host for it ([`mismatch`] says it).
pub fn identify<'s>(snapshot: &'s Snapshot, identity: &Identity) -> Who<'s> {
    let listed = IdentityKind::ALL
        .iter()
        .find_map(|kind| kind.host(&snapshot.hosts, identity));
    if let Some(host) = listed {
        return Who::Host(host);
    }
    let mut rules = snapshot.rules.iter();
    rules
        .find(|rule| unmet(&rule.matches, identity).is_none())
        .map_or(Who::Unknown, Who::Rule)
}

/// What a host is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityKind {
    /// The MAC of an interface.
    Mac,
    /// The address of an interface that has no MAC, or a client identifier.
    Link,
    /// The switch port (option 82).
    Port,
    /// The SMBIOS UUID.
    Uuid,
    /// The serial number.
    Serial,
}

impl IdentityKind {
    /// Each, the one that decides first at the front.
    pub const ALL: [IdentityKind; 5] = [
        IdentityKind::Mac,
        IdentityKind::Link,
        IdentityKind::Port,
        IdentityKind::Uuid,
        IdentityKind::Serial,
    ];

    /// The host that it makes of an identity.
    pub fn host<'s>(self, hosts: &'s Hosts, identity: &Identity) -> Option<&'s Arc<Host>> {
        match self {
            IdentityKind::Mac => hosts.by_mac(identity.mac?),
            IdentityKind::Link => hosts.by_link(identity.link?),
            IdentityKind::Port => identity.ports.iter().find_map(|port| hosts.by_port(port)),
            IdentityKind::Uuid => hosts.by_uuid(identity.uuid?),
            IdentityKind::Serial => hosts.by_serial(identity.serial.as_deref()?),
        }
    }
}

/// What does not fit between a machine's own words and the inventory, for the log: one that says the UUID
/// or serial number of a host with other addresses, or a host that says others than are listed.
pub fn mismatch(snapshot: &Snapshot, who: Who<'_>, identity: &Identity) -> Option<Mismatch> {
    let Some(host) = who.host() else {
        return snapshot.hosts.of_another(identity.uuid, identity.serial.as_deref());
    };
    let is_other = |listed: &Uuid, observed: &Uuid| listed != observed && listed.swapped() != *observed;
    if let Some((listed, observed)) = host
        .uuid
        .as_ref()
        .zip(identity.uuid.as_ref())
        .filter(|(listed, observed)| is_other(listed, observed))
    {
        return Some(Mismatch::OtherUuid {
            observed: *observed,
            listed: *listed,
        });
    }
    let (listed, observed) = host.serial.as_ref().zip(identity.serial.as_ref())?;
    (listed != observed).then(|| Mismatch::OtherSerial {
        observed: observed.as_str().into(),
        listed: listed.as_str().into(),
    })
}

/// A condition of a rule that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnmetCondition {
    /// `arch`.
    Cpu,
    /// `vendor`.
    Vendor,
    /// `mac`.
    Mac,
    /// `serial`.
    Serial,
}

/// The first condition of a rule that keeps it from speaking of the machine. A condition on something the request
/// does not tell does not hold: a rule is a promise about machines that are known to be so.
pub fn unmet(matches: &RuleMatch, identity: &Identity) -> Option<UnmetCondition> {
    let RuleMatch {
        cpu,
        vendor,
        mac,
        serial,
    } = matches;
    let cpu_holds = |wanted: Cpu| identity.arch.is_some_and(|arch| arch.cpu == wanted);
    let glob_holds = |pattern: &Option<String>, observed: Option<&str>| match pattern {
        None => true,
        Some(pattern) => observed.is_some_and(|observed| text::glob(pattern, observed)),
    };
    let mac_holds = || {
        let shown = identity.mac.filter(|_| mac.is_some()).map(|mac| mac.to_string());
        glob_holds(mac, shown.as_deref())
    };
    if !cpu.is_none_or(cpu_holds) {
        Some(UnmetCondition::Cpu)
    } else if !glob_holds(vendor, identity.vendor.as_deref()) {
        Some(UnmetCondition::Vendor)
    } else if !mac_holds() {
        Some(UnmetCondition::Mac)
    } else if !glob_holds(serial, identity.serial.as_deref()) {
        Some(UnmetCondition::Serial)
    } else {
        None
    }
}

/// A client's words as an identity's text: `None` when they are empty or have control characters,
/// because such a text must never reach a template or name a host.
pub fn client_text(sent: &str) -> Option<String> {
    let sent = sent.trim();
    (!sent.is_empty() && text::control_character(sent).is_none()).then(|| sent.to_owned())
}
