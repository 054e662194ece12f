//! Events as people read them: every sentence is made here, and nowhere under a lock.

mod faults;

use super::{
    BootAction, BootDecision, BootFile, FilePart, MachineKey, Mismatch, RequestedFile, ReservationUnavailable,
    ScriptChoice, Step,
};
use crate::boot::paths;
use crate::model::{CallbackWord, Dialect, MacAddr, Name, limits::CONFLICT_LOG_INTERVAL, text};
use std::{
    fmt::{self, Display, Formatter},
    net::Ipv4Addr,
};

impl Display for MachineKey {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            MachineKey::Host(name) => name.fmt(f),
            MachineKey::Hardware(hardware) => f.write_str(&hardware.hyphenated()),
            MachineKey::Address(address) => address.fmt(f),
            MachineKey::Unknown => f.write_str("unknown"),
        }
    }
}

/// The step in a sentence.
impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Step::Offered { address, boot } => write!(f, "offered {address}: {boot}"),
            Step::ProxyOffered { boot } => write!(f, "proxyDHCP offer: {boot}"),
            Step::Acknowledged { address, boot } => write!(f, "acknowledged {address}: {boot}"),
            Step::AckShortened { address, remaining } => write!(
                f,
                "acknowledged {address}, lease shortened to {} s: the store did not take a later end",
                remaining.as_secs()
            ),
            Step::ReservationUnavailable { given, own, why } => reservation_unavailable(f, *given, *own, why),
            Step::ReservationConflict { address, by } => reservation_conflict(f, *address, *by),
            Step::Refused { reason } => write!(f, "refused: {reason}"),
            Step::WrongPort { reason } => write!(f, "not answered: {reason}"),
            Step::Released { address } => write!(f, "released {address}"),
            Step::Declined { address } => write!(f, "declined {address}: another machine uses it"),
            Step::AddressInUse { address, by } => in_use(f, *address, *by),
            Step::NoIpv6Router => {
                f.write_str("answered its IPv6 router solicitation: no router is here, so that it waits for none")
            }
            Step::Sent { file, part, bytes } => write!(f, "sent {file}{}, {bytes} bytes", Part(part)),
            Step::Failed { file, part, reason } => write!(f, "failed {file}{}: {reason}", Part(part)),
            Step::OptionalMissing { file } => write!(f, "optional file not found: {file}"),
            Step::Waits { file, reason } => write!(f, "waits with its connection open for {file}: {reason}"),
            Step::ComeBack { file, reason } => write!(f, "answered 503 (retry later) for {file}: {reason}"),
            Step::SizeAsked { file } => write!(f, "asked for the size of {file}"),
            Step::Logged(said) => said.fmt(f),
            Step::Install(event) => event.fmt(f),
            Step::StartedOver { file } => write!(f, "started over{}", During(file)),
            Step::Evicted { file, reason } => write!(f, "evicted{}: {reason}", During(file)),
            Step::TurnedAway { reason } => write!(f, "not served: {reason}"),
            Step::LoaderLoop { loader, times } => write!(
                f,
                "loaded {loader} {times} times and never asked for its script: the loader does not start (Secure Boot takes \
                 a signed one only), or its network driver finds no network; look at the machine's console, and try \
                 another loader (paths.loaders, a host's or a quirk's `loader`)"
            ),
            Step::ChoseOtherServer { server } => {
                write!(f, "ignored: it took the offer of another DHCP server, {server}")
            }
            Step::Ignored { reason } | Step::PoolExhausted { reason } => write!(f, "ignored: {reason}"),
        }
    }
}

fn reservation_unavailable(
    f: &mut Formatter<'_>,
    given: Ipv4Addr,
    own: Ipv4Addr,
    why: &ReservationUnavailable,
) -> fmt::Result {
    let advice = match why {
        ReservationUnavailable::OtherSubnet { .. } => "; is it in the wrong rack, or at the wrong port of a switch?",
        ReservationUnavailable::OtherInterface { .. } => {
            "; give each of its interfaces that runs at once a host of its own"
        }
        ReservationUnavailable::Leased { .. } => " until that lease ends",
    };
    write!(f, "gets {given} and not its own address: {own} {why}{advice}")
}

fn reservation_conflict(f: &mut Formatter<'_>, address: Ipv4Addr, by: Option<MacAddr>) -> fmt::Result {
    write!(f, "declined its own address {address}: ")?;
    match by {
        Some(mac) => write!(f, "{mac} uses it")?,
        None => f.write_str("another machine uses it, and does not answer our ARP request")?,
    }
    write!(
        f,
        ". Take that machine off the address, or give this host another one. It may ask again and again; that is \
         logged every {} minutes",
        CONFLICT_LOG_INTERVAL.as_secs() / 60
    )
}

fn in_use(f: &mut Formatter<'_>, address: Ipv4Addr, by: Option<MacAddr>) -> fmt::Result {
    write!(f, "not offered {address}: ")?;
    match by {
        Some(mac) => mac.fmt(f)?,
        None => f.write_str("another machine")?,
    }
    f.write_str(" answers there. Take the address out of the pool, or that machine off it")
}

/// ` (bytes 0-99 of 700)`, or nothing for the whole.
struct Part<'a>(&'a Option<FilePart>);

impl Display for Part<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(FilePart { start, end, of }) => write!(f, " (bytes {start}-{} of {of})", end.saturating_sub(1)),
            None => Ok(()),
        }
    }
}

/// ` while it was sent loader snponly.efi`, or nothing where nothing was.
struct During<'a>(&'a Option<RequestedFile>);

impl Display for During<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(file) => write!(f, " while it was sent {file}"),
            None => Ok(()),
        }
    }
}

impl Display for ReservationUnavailable {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
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

impl Display for BootDecision {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.boot.fmt(f)?;
        match &self.mismatch {
            Some(mismatch) => write!(f, " ({mismatch})"),
            None => Ok(()),
        }
    }
}

impl Display for BootAction {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            BootAction::Loader { file } => write!(f, "loader {}", file.text()),
            BootAction::Script {
                file: BootFile::Script { server, ports },
            } => write!(f, "script {}/{}", paths::http_base(*server, *ports), paths::SCRIPT),
            BootAction::Script { file } => write!(f, "script {}", file.text()),
            BootAction::RaspberryPi => {
                f.write_str("a Raspberry Pi's own files: where paths.loaders has none, it ends there")
            }
            BootAction::Pxelinux { server } => write!(f, "its own pxelinux.cfg, by TFTP from {server}"),
            BootAction::Disk { why } => write!(f, "its disk: {why}"),
            BootAction::LeaseOnly { near } => {
                write!(
                    f,
                    "nothing: no host or rule names it{near}, and unknown machines get a lease only"
                )
            }
            BootAction::Ignore => f.write_str("nothing: unknown machines are ignored"),
            BootAction::NotFirmware => f.write_str("nothing: it is not firmware that asks"),
            BootAction::NoLoader { arch: Some(arch), .. } => write!(f, "no loader for {arch} in paths.loaders"),
            BootAction::NoLoader { arch: None, option_93 } => {
                f.write_str("no loader for architecture ")?;
                listed(f, option_93)?;
                f.write_str(" of option 93 in paths.loaders")
            }
        }
    }
}

/// `a, b, c`.
fn listed(f: &mut Formatter<'_>, all: &[impl Display]) -> fmt::Result {
    for (place, one) in all.iter().enumerate() {
        f.write_str(if place == 0 { "" } else { ", " })?;
        one.fmt(f)?;
    }
    Ok(())
}

impl Display for Mismatch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let of_another = |f: &mut Formatter<'_>, what: &str, host: &Name| {
            write!(f, "its {what} is that of host `{host}`, which lists other addresses")
        };
        match self {
            Mismatch::PortUnbelieved { host, doubt } => {
                write!(
                    f,
                    "its switch port is that of host `{host}`, and is not trusted: {doubt}"
                )
            }
            Mismatch::UuidOfAnother { host } => of_another(f, "UUID", host),
            Mismatch::SerialOfAnother { host } => of_another(f, "serial number", host),
            Mismatch::OtherUuid { observed, listed } => {
                write!(f, "it reports the UUID {observed}, and the inventory lists {listed}")
            }
            Mismatch::OtherSerial { observed, listed } => {
                let observed = text::escape(observed.as_bytes());
                write!(
                    f,
                    "it reports the serial number {observed}, and the inventory lists {listed}"
                )
            }
        }
    }
}

/// What it is called in logs: a kind and a name, and why a script is this one.
impl Display for RequestedFile {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.short().fmt(f)?;
        match self {
            RequestedFile::Script { choice, mismatch, .. } => {
                match choice {
                    ScriptChoice::Named => {}
                    ScriptChoice::Disk(why) => write!(f, " (its disk: {why})")?,
                    ScriptChoice::Unlisted(near) => near.fmt(f)?,
                }
                mismatch.as_ref().map_or(Ok(()), |mismatch| write!(f, " ({mismatch})"))
            }
            RequestedFile::Answer { is_empty: true, .. } => f.write_str(" (empty: its folder has none)"),
            RequestedFile::Answer { .. }
            | RequestedFile::Loader { .. }
            | RequestedFile::Artifact { .. }
            | RequestedFile::Metadata { .. }
            | RequestedFile::Autoexec
            | RequestedFile::Callback { .. }
            | RequestedFile::Order
            | RequestedFile::SshKeys
            | RequestedFile::Disks
            | RequestedFile::Path { .. }
            | RequestedFile::HttpRequest { .. }
            | RequestedFile::TftpWrite { .. }
            | RequestedFile::DhcpReply => Ok(()),
        }
    }
}

impl RequestedFile {
    /// Its kind and name alone: the log's field `file`.
    pub fn short(&self) -> impl Display {
        Short(self)
    }
}

struct Short<'a>(&'a RequestedFile);

impl Display for Short<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            RequestedFile::Loader { file } => write!(f, "loader {file}"),
            RequestedFile::Script { script, dialect, .. } => match dialect {
                Dialect::Ipxe => write!(f, "script {script}"),
                other @ (Dialect::Grub | Dialect::Pxelinux) => write!(f, "script {script} ({})", other.extension()),
            },
            RequestedFile::Answer { file, .. } => write!(f, "answer {file}"),
            RequestedFile::Metadata { path } => write!(f, "metadata {path}"),
            RequestedFile::Artifact { image, file } => write!(f, "image {image}/{file}"),
            RequestedFile::Autoexec => f.write_str(paths::AUTOEXEC),
            RequestedFile::Callback { word } => write!(f, "callback {}", word.map_or("of no kind", CallbackWord::name)),
            RequestedFile::Order => f.write_str("order"),
            RequestedFile::SshKeys => f.write_str("ssh keys"),
            RequestedFile::Disks => f.write_str("word of its disks"),
            RequestedFile::Path { path } => f.write_str(path),
            RequestedFile::HttpRequest { peer } => write!(f, "an HTTP request of {peer}"),
            RequestedFile::TftpWrite { peer } => write!(f, "a TFTP request to write of {peer}"),
            RequestedFile::DhcpReply => f.write_str("the DHCP reply"),
        }
    }
}
