//! The stages of a boot.

use crate::model::Dialect;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// Where in its boot a machine stands when it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// A PC BIOS PXE ROM.
    BiosPxe,
    /// UEFI's PXE stack.
    UefiPxe,
    /// UEFI's HTTP boot.
    UefiHttp,
    /// iPXE that can't fetch what we serve and wants one of ours.
    BareIpxe,
    /// iPXE, ready for its script.
    Ipxe,
    /// GRUB, which fetches its configuration, a kernel and an initrd.
    Grub,
    /// PXELINUX, the same; and firmware that reads PXELINUX's configuration itself.
    Pxelinux,
    /// A Raspberry Pi's boot ROM.
    RaspberryPi,
    /// An installer or a running system.
    System,
    /// Not told: a file was asked for, and a file request says nothing of its stage.
    Unknown,
}

impl Stage {
    /// Every one.
    pub const ALL: [Stage; 10] = [
        Stage::BiosPxe,
        Stage::UefiPxe,
        Stage::UefiHttp,
        Stage::BareIpxe,
        Stage::Ipxe,
        Stage::Grub,
        Stage::Pxelinux,
        Stage::RaspberryPi,
        Stage::System,
        Stage::Unknown,
    ];

    /// Its name in logs, in JSON and on disk.
    pub fn name(self) -> &'static str {
        match self {
            Stage::BiosPxe => "bios-pxe",
            Stage::UefiPxe => "uefi-pxe",
            Stage::UefiHttp => "uefi-http",
            Stage::BareIpxe => "bare-ipxe",
            Stage::Ipxe => "ipxe",
            Stage::Grub => "grub",
            Stage::Pxelinux => "pxelinux",
            Stage::RaspberryPi => "raspberry-pi",
            Stage::System => "system",
            Stage::Unknown => "-",
        }
    }

    /// Whether it is the machine's firmware that asks, and no loader yet.
    pub fn is_firmware(self) -> bool {
        matches!(
            self,
            Stage::BiosPxe | Stage::UefiPxe | Stage::UefiHttp | Stage::RaspberryPi
        )
    }

    /// That of a loader at its script.
    pub fn of_loader(dialect: Dialect) -> Stage {
        match dialect {
            Dialect::Ipxe => Stage::Ipxe,
            Dialect::Grub => Stage::Grub,
            Dialect::Pxelinux => Stage::Pxelinux,
        }
    }

    /// Whether a machine that sends such a DHCP request is in its boot: it fetches files next, and a running
    /// system does not.
    pub fn is_in_boot(self) -> bool {
        match self {
            Stage::BiosPxe
            | Stage::UefiPxe
            | Stage::UefiHttp
            | Stage::BareIpxe
            | Stage::Ipxe
            | Stage::Grub
            | Stage::Pxelinux
            | Stage::RaspberryPi => true,
            Stage::System | Stage::Unknown => false,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Stage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One that a newer version wrote is unknown.
impl<'de> Deserialize<'de> for Stage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Stage, D::Error> {
        let name = Cow::<str>::deserialize(deserializer)?;
        let known = Stage::ALL.into_iter().find(|stage| stage.name() == name);
        Ok(known.unwrap_or(Stage::Unknown))
    }
}
