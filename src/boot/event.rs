//! What happened to a machine, said once: the log line now, the attempt later.

use crate::model::{Cidr, Dialect, HardwareAddr, MacAddr};
use std::{fmt, net::Ipv4Addr, time::Duration};

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
        f.write_str(match self {
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
        })
    }
}

/// One step of one machine's boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The machine's name (see `Identity::name`).
    pub machine: String,
    /// Its link-layer address, where the request tells.
    pub hardware: Option<HardwareAddr>,
    /// Where it stands.
    pub stage: Stage,
    /// The quirks that matched its request.
    pub quirks: Vec<String>,
    /// What it did or got.
    pub step: Step,
}

/// What a machine did or got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// DISCOVER answered.
    Offered {
        /// The address.
        address: Ipv4Addr,
        /// What it is told to load, or why nothing.
        boot: String,
    },
    /// DISCOVER answered as a guest: another server gives the address.
    ProxyOffered {
        /// What it is told to load.
        boot: String,
    },
    /// REQUEST or INFORM answered.
    Acknowledged {
        /// The address.
        address: Ipv4Addr,
        /// What it is told to load, or why nothing.
        boot: String,
    },
    /// A host was given another address than its own.
    ReservationUnavailable {
        /// What it was given.
        given: Ipv4Addr,
        /// Its own.
        own: Ipv4Addr,
        /// Why it does not get that.
        why: ReservationUnavailable,
    },
    /// REQUEST answered with what is on disk already: a later end could not be written.
    AckShortened {
        /// The address.
        address: Ipv4Addr,
        /// How long its lease runs still.
        remaining: Duration,
    },
    /// REQUEST refused.
    Refused {
        /// Why.
        reason: String,
    },
    /// RELEASE taken.
    Released {
        /// The address.
        address: Ipv4Addr,
    },
    /// DECLINE taken: somebody else uses the address.
    Declined {
        /// The address.
        address: Ipv4Addr,
    },
    /// DECLINE of an address that is reserved for the host: it stays so, and only people can say who is to have
    /// it.
    ReservationConflict {
        /// The address.
        address: Ipv4Addr,
        /// Who uses it, where that was found out.
        by: Option<MacAddr>,
    },
    /// A probe found that somebody uses an address that was about to be offered.
    AddressInUse {
        /// The address.
        address: Ipv4Addr,
        /// Who answered, where that can be told.
        by: Option<MacAddr>,
    },
    /// It asked for an IPv6 router and was told that none is here, so that it waits for none.
    NoIpv6Router,
    /// A file, script or answer went out whole.
    Sent {
        /// What it is, such as `script debian-installer`.
        what: String,
        /// Bytes of the body.
        bytes: u64,
    },
    /// A transfer ended before its end, or a file request was refused.
    Failed {
        /// What was asked for, escaped.
        what: String,
        /// Why.
        reason: String,
    },
    /// A file that is not there was asked for, and the loader goes on without it.
    OptionalMissing {
        /// What was asked for, escaped.
        what: String,
    },
    /// A host asked from a switch port that is not its own, and got no answer.
    WrongPort {
        /// Where it belongs and where it is.
        reason: String,
    },
    /// The same loader went out again and again, and the machine never asked for its script.
    LoaderLoop {
        /// The loader.
        loader: String,
        /// How often in a row.
        times: u32,
    },
    /// A REQUEST took another DHCP server's offer, and ours is free again.
    ChoseOtherServer {
        /// That server.
        server: Ipv4Addr,
    },
    /// A machine without an address of its own found its pool used up.
    PoolExhausted {
        /// Which pool, and what else stood in the way.
        reason: String,
    },
    /// A packet got no answer.
    Ignored {
        /// Why.
        reason: String,
    },
}

/// Why a host does not get its own address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReservationUnavailable {
    /// It asks from a subnet that does not hold it.
    OtherSubnet {
        /// Where it is.
        here: Cidr,
    },
    /// Its system uses it on another interface; which one, a restart may have forgotten.
    OtherInterface {
        /// That interface.
        by: Option<HardwareAddr>,
    },
    /// It was a pool's, and is leased to somebody else still.
    Leased {
        /// To whom.
        by: HardwareAddr,
    },
}

impl fmt::Display for ReservationUnavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReservationUnavailable::OtherSubnet { here } => write!(f, "is not in {here}, where it asks from"),
            ReservationUnavailable::OtherInterface { by: Some(by) } => {
                write!(f, "is in use by its other interface {by}")
            }
            ReservationUnavailable::OtherInterface { by: None } => {
                f.write_str("is in use by another of its interfaces")
            }
            ReservationUnavailable::Leased { by } => write!(f, "is leased to {by}"),
        }
    }
}
