//! What is asked, read from the words of a command or of a URL, and what is taken for what was left out: what the
//! machine told of itself last, what the inventory lists of it, and what most machines are.

use super::{ServedWire, wires::usual_relay, words::text_of};
use crate::boot::{
    event::Stage,
    identity_cache::IdentityCache,
    machine::client_text,
    snapshot::{Host, Snapshot},
};
use crate::model::{Arch, Cpu, Firmware, MacAddr, Name, Uuid, text};
use crate::proto::{dhcp::client::ClientKind, ipxe::IpxeSettings};
use serde::{Deserialize, Serialize};
use std::{fmt, net::Ipv4Addr, sync::Arc};

/// What is asked, in words: each once, or not at all but for the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QuestionWords {
    /// A host's name, or any MAC.
    pub machine: Vec<String>,
    /// An instruction set, or a number of DHCP option 93.
    pub arch: Vec<String>,
    /// Where in its boot it asks: the name of a [`Stage`].
    pub stage: Vec<String>,
    /// The switch port at which it stands, as a relay or a switch says it.
    pub port: Vec<String>,
    /// The relay that it is behind, or `none`.
    pub relay: Vec<String>,
    /// The UUID that it tells.
    pub uuid: Vec<String>,
    /// The serial number that it tells.
    pub serial: Vec<String>,
    /// Whether it is played as if it were armed (`true`).
    pub armed: Vec<String>,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootQuestion {
    /// The interface that asks.
    pub mac: MacAddr,
    /// The host that was named, or that lists the MAC.
    pub host: Option<Name>,
    /// Where in its boot the machine stands at its first packet.
    pub stage: Stage,
    /// Option 93.
    pub arch: u16,
    /// The circuit-id that a relay or a switch adds.
    pub circuit_id: Option<Vec<u8>>,
    /// The relay that it is behind.
    pub relay: Option<Ipv4Addr>,
    /// Option 97, and iPXE's `${uuid}`.
    pub uuid: Option<Uuid>,
    /// iPXE's `${serial}`.
    pub serial: Option<String>,
    /// iPXE's `${manufacturer}`.
    pub manufacturer: Option<String>,
    /// Whether it is played as if it were armed.
    pub is_armed: bool,
}

/// Why a question can't be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuestionError {
    /// Something is said more than once, or no machine is named.
    NotOnce(&'static str),
    /// No host has that name, and it is no MAC.
    UnknownHost(String),
    /// A word that means nothing there.
    Word {
        /// What it is for.
        what: &'static str,
        /// As it was written.
        written: String,
        /// What may stand there.
        help: &'static str,
    },
    /// The host has interfaces, and none of them is Ethernet's.
    NoEthernet(Name),
    /// No architecture has that instruction set and boots so.
    NoSuchArch(Cpu, Stage),
}

impl fmt::Display for QuestionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QuestionError::NotOnce(what) => write!(f, "one {what} is to be named"),
            QuestionError::UnknownHost(name) => {
                let name = text::escaped(name);
                write!(f, "the inventory has no host `{name}`, and that is no MAC address")
            }
            QuestionError::Word { what, written, .. } => {
                write!(f, "`{}` is no {what}", text::escaped(written))
            }
            QuestionError::NoEthernet(host) => write!(
                f,
                "host {host} lists interfaces without a MAC alone, and what is played here is a machine on Ethernet"
            ),
            QuestionError::NoSuchArch(cpu, stage) => {
                write!(
                    f,
                    "no firmware of {cpu} asks as {stage}; option 93 has no number for that"
                )
            }
        }
    }
}

impl std::error::Error for QuestionError {}

impl QuestionError {
    /// What to do.
    pub fn help(&self) -> &'static str {
        match self {
            QuestionError::NotOnce(_) => "name each thing once",
            QuestionError::UnknownHost(_) => "`bootwright hosts` lists them all; a MAC is written as 52:54:00:00:00:07",
            QuestionError::Word { help, .. } => help,
            QuestionError::NoEthernet(_) => "give the MAC that it has as an Ethernet interface",
            QuestionError::NoSuchArch(..) => "name another stage, or the number of option 93",
        }
    }
}

const STAGES: &str = "it is one of bios-pxe, uefi-pxe, uefi-http, bare-ipxe, ipxe, pxelinux, system";
const ARCHS: &str = "it is an instruction set (x86_64, arm64, riscv64, ...) or a number of DHCP option 93 (0 is a BIOS, \
                     7 UEFI x64, 11 UEFI arm64)";

fn once<'w>(words: &'w [String], what: &'static str) -> Result<Option<&'w str>, QuestionError> {
    match words {
        [] => Ok(None),
        [word] => Ok(Some(word)),
        _ => Err(QuestionError::NotOnce(what)),
    }
}

fn read<T>(
    words: &[String],
    (what, help): (&'static str, &'static str),
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, QuestionError> {
    let Some(written) = once(words, what)? else {
        return Ok(None);
    };
    match parse(written) {
        Some(read) => Ok(Some(read)),
        None => Err(QuestionError::Word {
            what,
            written: written.into(),
            help,
        }),
    }
}

/// An instruction set, or a number.
enum WrittenArch {
    Cpu(Cpu),
    Number(u16),
}

fn arch(written: &str) -> Option<WrittenArch> {
    let number = || written.parse().ok().map(WrittenArch::Number);
    match written {
        "bios" => Some(WrittenArch::Number(0)),
        _ => Cpu::from_name(written).map(WrittenArch::Cpu).or_else(number),
    }
}

/// Stages that a machine asks for by DHCP.
fn stage(written: &str) -> Option<Stage> {
    let asked = |stage: &Stage| match stage {
        Stage::BiosPxe
        | Stage::UefiPxe
        | Stage::UefiHttp
        | Stage::BareIpxe
        | Stage::Ipxe
        | Stage::Pxelinux
        | Stage::System => true,
        // The ROM of a Pi is known by its MAC, and GRUB asks nothing by DHCP.
        Stage::Grub | Stage::RaspberryPi | Stage::Unknown => false,
    };
    let mut stages = Stage::ALL.into_iter().filter(asked);
    stages.find(|stage| stage.name() == written)
}

/// A circuit-id: the text itself, or its bytes as `0x0004000a0107`.
fn circuit_id(written: &str) -> Option<Vec<u8>> {
    let Some(digits) = written.strip_prefix("0x") else {
        return (!written.is_empty() && written.len() <= 253).then(|| written.as_bytes().to_vec());
    };
    // A number may have a sign, and a digit has none.
    let digits = Some(digits).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
    let pair = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(pair).collect();
    bytes.filter(|bytes| !bytes.is_empty() && bytes.len() <= 253)
}

impl BootQuestion {
    /// The interface that is asked after: enough to know which tables the rest is read with.
    ///
    /// # Errors
    /// See [`QuestionError`].
    pub fn mac(words: &QuestionWords, snapshot: &Snapshot) -> Result<MacAddr, QuestionError> {
        let machine = once(&words.machine, "machine")?.ok_or(QuestionError::NotOnce("machine"))?;
        machine_of(snapshot, machine).map(|(mac, _)| mac)
    }

    /// Reads a question, and fills in what was left out.
    ///
    /// # Errors
    /// See [`QuestionError`].
    pub fn read(
        words: &QuestionWords,
        (snapshot, identities): (&Snapshot, &IdentityCache),
        wires: &[ServedWire],
    ) -> Result<BootQuestion, QuestionError> {
        let machine = once(&words.machine, "machine")?.ok_or(QuestionError::NotOnce("machine"))?;
        let (mac, host) = machine_of(snapshot, machine)?;
        let known = identities.of(mac);
        let stage = read(&words.stage, ("stage", STAGES), stage)?;
        let arch = read(&words.arch, ("architecture", ARCHS), arch)?;
        let (stage, arch) = firmware(snapshot, host, (stage, arch, known.arch))?;
        let uuid = read(
            &words.uuid,
            ("UUID", "write it as 11223344-5566-7788-99aa-bbccddeeff00"),
            |written| written.parse().ok(),
        )?;
        let help = "write what the machine shows, without control characters";
        let serial = read(&words.serial, ("serial number", help), client_text)?;
        let relay_help = "write the relay's address (giaddr), or none";
        let relay = read(&words.relay, ("relay", relay_help), |written| match written {
            "none" => Some(None),
            _ => written.parse().ok().map(Some),
        })?;
        let port_help = "write it as the switch sends it, or its bytes as 0x0004000a0107, two digits each";
        let port = read(&words.port, ("switch port", port_help), circuit_id)?;
        let armed = read(&words.armed, ("answer to armed", "it is true or false"), |written| {
            written.parse().ok()
        })?;
        Ok(BootQuestion {
            mac,
            host: host.map(|host| host.name.clone()),
            stage,
            arch,
            circuit_id: port.or_else(|| circuit_id(host?.port.as_deref()?)),
            relay: relay.unwrap_or_else(|| usual_relay(snapshot, wires, host.map(|host| &**host))),
            uuid: uuid.or_else(|| host?.uuid).or(known.uuid),
            serial: serial.or_else(|| host?.serial.clone()).or(known.serial),
            // What DHCP sent is option 60's, which names no maker.
            manufacturer: known.vendor.filter(|vendor| !vendor.contains("Client:Arch:")),
            is_armed: armed.unwrap_or(false),
        })
    }

    /// What iPXE knows of itself and of its network.
    pub(super) fn ipxe_settings(&self, address: Option<Ipv4Addr>, server: Ipv4Addr) -> IpxeSettings {
        let arch = Arch::from_option_93(self.arch);
        let (platform, build) = match arch {
            Some(Arch {
                firmware: Firmware::Bios | Firmware::BiosHttp,
                ..
            }) => ("pcbios", "i386"),
            Some(Arch { cpu: Cpu::X86, .. }) => ("efi", "i386"),
            Some(Arch { cpu, .. }) => ("efi", cpu.name()),
            None => ("efi", ""),
        };
        let mut settings = IpxeSettings::new();
        let mut set = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                settings.insert(name.into(), value);
            }
        };
        set("mac", Some(text_of(self.mac)));
        set("net0/mac", Some(text_of(self.mac)));
        set("uuid", self.uuid.map(text_of));
        set("serial", self.serial.clone());
        set("manufacturer", self.manufacturer.clone());
        set("platform", Some(platform.into()));
        set("buildarch", Some(build.into()));
        set("ip", address.map(text_of));
        set("next-server", Some(text_of(server)));
        settings
    }

    /// Who sends its first packet.
    pub(super) fn client(&self) -> ClientKind {
        match self.stage {
            Stage::UefiHttp => ClientKind::HttpFirmware,
            Stage::BareIpxe => ClientKind::BareIpxe,
            Stage::Ipxe => ClientKind::Ipxe,
            Stage::Pxelinux => ClientKind::UBoot,
            Stage::System => ClientKind::System,
            Stage::BiosPxe | Stage::UefiPxe | Stage::RaspberryPi | Stage::Grub | Stage::Unknown => ClientKind::Firmware,
        }
    }
}

/// The interface that a name or a MAC means, and the host that is listed with it.
fn machine_of<'s>(snapshot: &'s Snapshot, named: &str) -> Result<(MacAddr, Option<&'s Arc<Host>>), QuestionError> {
    if let Some(host) = snapshot.hosts.by_name(named) {
        return match host.macs.first() {
            Some(mac) => Ok((*mac, Some(host))),
            None if !host.links.is_empty() => Err(QuestionError::NoEthernet(host.name.clone())),
            None => Ok((nobodys_mac(snapshot), Some(host))),
        };
    }
    match named.parse::<MacAddr>() {
        Ok(mac) => Ok((mac, snapshot.hosts.by_mac(mac))),
        Err(_) => Err(QuestionError::UnknownHost(named.into())),
    }
}

/// A MAC that no host lists: of a host that is known by what it tells of itself, whatever its MAC.
fn nobodys_mac(snapshot: &Snapshot) -> MacAddr {
    let macs = (0..=u8::MAX).map(|last| MacAddr([2, 0, 0, 0xff, 0xff, last]));
    let unlisted = macs.filter(|mac| snapshot.hosts.by_mac(*mac).is_none()).last();
    unlisted.unwrap_or(MacAddr([2, 0, 0, 0xff, 0xff, 0xff]))
}

/// The stage and the number of option 93, by what is said, else by what the machine told last, else by its image.
fn firmware(
    snapshot: &Snapshot,
    host: Option<&Arc<Host>>,
    (stage, arch, known): (Option<Stage>, Option<WrittenArch>, Option<Arch>),
) -> Result<(Stage, u16), QuestionError> {
    let image = || {
        let image = host?.settings.image.as_ref()?;
        snapshot.images.get(&image.value)?.cpu
    };
    let cpu = match arch {
        Some(WrittenArch::Number(number)) => {
            let stage = stage.unwrap_or(match Arch::from_option_93(number).map(|arch| arch.firmware) {
                Some(Firmware::Bios) => Stage::BiosPxe,
                Some(Firmware::UefiHttp | Firmware::BiosHttp) => Stage::UefiHttp,
                Some(Firmware::Pxelinux) => Stage::Pxelinux,
                Some(Firmware::Uefi | Firmware::RaspberryPi) | None => Stage::UefiPxe,
            });
            return Ok((stage, number));
        }
        Some(WrittenArch::Cpu(cpu)) => Some(cpu),
        None => None,
    };
    let told = known.filter(|known| cpu.is_none_or(|cpu| cpu == known.cpu));
    let cpu = cpu.or(told.map(|told| told.cpu)).or_else(image).unwrap_or(Cpu::X86_64);
    let usual = match told.map(|told| told.firmware) {
        Some(Firmware::Bios | Firmware::BiosHttp) => Stage::BiosPxe,
        Some(Firmware::UefiHttp) => Stage::UefiHttp,
        Some(Firmware::Pxelinux) => Stage::Pxelinux,
        None if cpu.boots_by_pxelinux_alone() => Stage::Pxelinux,
        Some(Firmware::Uefi | Firmware::RaspberryPi) | None => Stage::UefiPxe,
    };
    let stage = stage.unwrap_or(usual);
    let firmwares: &[Firmware] = match stage {
        Stage::BiosPxe => &[Firmware::Bios],
        Stage::UefiHttp => &[Firmware::UefiHttp],
        Stage::Pxelinux => &[Firmware::Pxelinux],
        Stage::UefiPxe | Stage::RaspberryPi | Stage::Grub => &[Firmware::Uefi],
        // What started them, they say themselves.
        Stage::BareIpxe | Stage::Ipxe | Stage::System | Stage::Unknown => match told.map(|told| told.firmware) {
            Some(Firmware::Bios) => &[Firmware::Bios],
            _ => &[Firmware::Uefi, Firmware::Bios, Firmware::Pxelinux],
        },
    };
    let number = firmwares.iter().find_map(|firmware| {
        Arch {
            firmware: *firmware,
            cpu,
        }
        .option_93()
    });
    number
        .map(|number| (stage, number))
        .ok_or(QuestionError::NoSuchArch(cpu, stage))
}
