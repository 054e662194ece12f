//! One virtual server: what it does next on its way from power-on to its kernel.
//!
//! DHCP as firmware → the loader → DHCP as iPXE → the script → what the script fetches → up. The
//! machine says each step and takes what came of it; whoever carries it talks.

use super::{
    FleetFirmware,
    report::{FailureCause, StormStage, Times},
};
use crate::model::{MacAddr, limits::STORM_SCRIPTS_MAX};
use crate::proto::{
    dhcp::client::{ClientKind, ServerReply},
    ipxe::{FileTransport, FileUrl, IpxeScript, IpxeSettings, ScriptRequest, expand},
};
use std::{net::Ipv4Addr, time::Duration};

/// What a machine does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextAction {
    /// A DHCP exchange.
    Lease(ClientKind),
    /// A file; of a script the text is wanted, of others only that it came completely.
    Fetch(FileUrl),
    /// Its kernel runs.
    Up,
}

/// A machine on its way up.
#[derive(Clone, Debug)]
pub struct VirtualMachine {
    mac: MacAddr,
    server: Ipv4Addr,
    firmware: FleetFirmware,
    stage: StormStage,
    /// What iPXE knows by name.
    settings: IpxeSettings,
    /// The file that is fetched, of stages that fetch one.
    place: Option<FileUrl>,
    script: Option<IpxeScript>,
    scripts: u32,
    is_up: bool,
    began: Duration,
    times: Times,
}

impl VirtualMachine {
    /// A machine that powers on now and follows nothing that is not on `server`.
    pub fn new(now: Duration, mac: MacAddr, firmware: FleetFirmware, server: Ipv4Addr) -> VirtualMachine {
        let (platform, arch) = match firmware {
            FleetFirmware::Bios => ("pcbios", "i386"),
            FleetFirmware::Uefi => ("efi", "x86_64"),
        };
        let mac_text = mac.to_string();
        let settings = [
            ("mac", mac_text.as_str()),
            ("net0/mac", mac_text.as_str()),
            ("platform", platform),
            ("buildarch", arch),
            ("manufacturer", "Bootwright"),
            ("product", "storm"),
        ];
        VirtualMachine {
            mac,
            server,
            firmware,
            stage: StormStage::Firmware,
            settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            place: None,
            script: None,
            scripts: 0,
            is_up: false,
            began: now,
            times: Times::default(),
        }
    }

    /// Its MAC.
    pub fn mac(&self) -> MacAddr {
        self.mac
    }

    /// What it plays.
    pub fn firmware(&self) -> FleetFirmware {
        self.firmware
    }

    /// Where it stands.
    pub fn stage(&self) -> StormStage {
        self.stage
    }

    /// Where the file of its stage is, of a stage that fetches one.
    pub fn place(&self) -> Option<&FileUrl> {
        self.place.as_ref()
    }

    /// What its stages took.
    pub fn times(&self) -> Times {
        self.times
    }

    /// Whether the text of the file that is fetched decides what comes next.
    pub fn wants_text(&self) -> bool {
        self.stage == StormStage::Script
    }

    /// The next step.
    pub fn step(&self) -> NextAction {
        match (&self.place, self.stage) {
            _ if self.is_up => NextAction::Up,
            (_, StormStage::Firmware) => NextAction::Lease(ClientKind::Firmware),
            (_, StormStage::Ipxe) => NextAction::Lease(ClientKind::Ipxe),
            (Some(place), _) => NextAction::Fetch(place.clone()),
            // Stages that fetch are entered with a place; without one there is nothing left to do.
            (None, StormStage::Loader | StormStage::Script | StormStage::Kernel | StormStage::Initrd) => NextAction::Up,
        }
    }

    /// Takes the ACK of an exchange.
    ///
    /// # Errors
    /// When the ACK names no file, or one of another server.
    pub fn leased(&mut self, now: Duration, answer: &ServerReply) -> Result<(), FailureCause> {
        self.settings.insert("ip".to_owned(), answer.address.to_string());
        self.settings
            .insert("next-server".to_owned(), answer.next_server.to_string());
        let file = answer.boot_file.as_deref().ok_or(FailureCause::NoBootFile)?;
        let file = std::str::from_utf8(file).map_err(|_| FailureCause::NoBootFile)?;
        let next = match self.stage {
            StormStage::Firmware => StormStage::Loader,
            _ => StormStage::Script,
        };
        // EDK2 asks siaddr, and where that is 0.0.0.0 the server itself.
        let next_server = if answer.next_server.is_unspecified() {
            answer.server
        } else {
            answer.next_server
        };
        let file = if next == StormStage::Script {
            expand(file, &self.settings)
        } else {
            file.to_owned()
        };
        let place = if file.contains("://") {
            FileUrl::url(&file).ok_or(FailureCause::Elsewhere)?
        } else {
            FileUrl::tftp(next_server, &file)
        };
        self.enter(now, next, Some(place))
    }

    /// Takes the end of a fetch that worked; `text` where [`VirtualMachine::wants_text`].
    ///
    /// # Errors
    /// When a script is none, boots nothing, or leads to another server.
    pub fn fetched(&mut self, now: Duration, text: &[u8]) -> Result<(), FailureCause> {
        match self.stage {
            StormStage::Loader => return self.enter(now, StormStage::Ipxe, None),
            StormStage::Script => {
                self.scripts += 1;
                let from = self.place.clone().ok_or(FailureCause::NoScript)?;
                self.script = Some(IpxeScript::read(from, text, self.settings.clone())?);
            }
            StormStage::Firmware | StormStage::Ipxe | StormStage::Kernel | StormStage::Initrd => {}
        }
        let script = self.script.as_mut().ok_or(FailureCause::NoScript)?;
        match script.next_want()? {
            ScriptRequest::Kernel(place) => self.enter(now, StormStage::Kernel, Some(place)),
            ScriptRequest::Initrd(place) => self.enter(now, StormStage::Initrd, Some(place)),
            ScriptRequest::Chain(_) if self.scripts >= STORM_SCRIPTS_MAX => Err(FailureCause::BootsNothing),
            ScriptRequest::Chain(place) => self.enter(now, StormStage::Script, Some(place)),
            ScriptRequest::Boot => {
                self.times.add(self.stage, now.saturating_sub(self.began));
                self.is_up = true;
                Ok(())
            }
        }
    }

    fn enter(&mut self, now: Duration, stage: StormStage, place: Option<FileUrl>) -> Result<(), FailureCause> {
        self.times.add(self.stage, now.saturating_sub(self.began));
        (self.stage, self.began) = (stage, now);
        self.place = place;
        match &self.place {
            Some(place) if !place.is_on(self.server) => Err(FailureCause::Elsewhere),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether its loader comes by TFTP from EDK2, which asks for the size first.
    pub fn probes_size(&self) -> bool {
        self.stage == StormStage::Loader
            && self.firmware == FleetFirmware::Uefi
            && self
                .place
                .as_ref()
                .is_some_and(|place| place.transport == FileTransport::Tftp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::dhcp::client::ServerReplyKind;

    const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn ack(file: Option<&str>) -> ServerReply {
        ServerReply {
            kind: ServerReplyKind::Ack,
            xid: 1,
            mac: MacAddr([2, 0, 0, 0, 0, 1]),
            address: Ipv4Addr::new(198, 51, 100, 100),
            next_server: SERVER,
            server: SERVER,
            boot_file: file.map(|file| file.as_bytes().to_vec()),
            lease: Duration::ZERO,
        }
    }

    fn machine() -> VirtualMachine {
        VirtualMachine::new(at(0), MacAddr([2, 0, 0, 0, 0, 1]), FleetFirmware::Uefi, SERVER)
    }

    fn fetch(machine: &VirtualMachine) -> String {
        match machine.step() {
            NextAction::Fetch(place) => place.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_machine_goes_from_power_on_to_its_kernel() {
        let mut machine = machine();
        assert_eq!(machine.step(), NextAction::Lease(ClientKind::Firmware));
        machine.leased(at(1), &ack(Some("snponly.efi"))).unwrap();
        assert_eq!(fetch(&machine), "tftp://192.0.2.1/snponly.efi");
        assert!(machine.probes_size());
        machine.fetched(at(3), b"").unwrap();
        assert_eq!(machine.step(), NextAction::Lease(ClientKind::Ipxe));
        machine
            .leased(
                at(4),
                &ack(Some("http://192.0.2.1/boot.ipxe?mac=${mac:hexhyp}&uuid=${uuid}")),
            )
            .unwrap();
        assert_eq!(
            fetch(&machine),
            "http://192.0.2.1/boot.ipxe?mac=02-00-00-00-00-01&uuid="
        );
        assert!(machine.wants_text());
        machine
            .fetched(at(5), b"#!ipxe\ninitrd a\ninitrd b\nkernel k\nboot\n")
            .unwrap();
        for (now, file) in [(7, "a"), (9, "b"), (10, "k")] {
            assert_eq!(fetch(&machine), format!("http://192.0.2.1/{file}"));
            machine.fetched(at(now), b"").unwrap();
        }
        assert_eq!(machine.step(), NextAction::Up);
        let times = machine.times();
        assert_eq!(times.of(StormStage::Loader), Some(at(2)));
        assert_eq!(times.of(StormStage::Initrd), Some(at(4)), "both initrds");
        assert_eq!(times.of(StormStage::Kernel), Some(at(1)));
    }

    #[test]
    fn what_points_elsewhere_is_not_followed() {
        let mut elsewhere = ack(Some("snponly.efi"));
        elsewhere.next_server = Ipv4Addr::new(192, 0, 2, 9);
        assert_eq!(machine().leased(at(1), &elsewhere), Err(FailureCause::Elsewhere));
        for file in ["http://192.0.2.9/x", "http://boot.example/x", "https://192.0.2.1/x"] {
            assert_eq!(
                machine().leased(at(1), &ack(Some(file))),
                Err(FailureCause::Elsewhere),
                "{file}"
            );
        }
        let mut machine = machine();
        machine.leased(at(1), &ack(Some("snponly.efi"))).unwrap();
        machine.fetched(at(1), b"").unwrap();
        machine.leased(at(1), &ack(Some("boot.ipxe"))).unwrap();
        let away = machine.fetched(at(1), b"#!ipxe\nkernel http://192.0.2.9/linux\nboot\n");
        assert_eq!(away, Err(FailureCause::Elsewhere));
    }

    #[test]
    fn an_ack_without_a_file_and_scripts_without_end_are_failures() {
        assert_eq!(machine().leased(at(1), &ack(None)), Err(FailureCause::NoBootFile));
        let mut machine = machine();
        machine.leased(at(1), &ack(Some("snponly.efi"))).unwrap();
        machine.fetched(at(1), b"").unwrap();
        machine.leased(at(1), &ack(Some("http://192.0.2.1/a"))).unwrap();
        let mut chained = 0;
        while machine.fetched(at(1), b"#!ipxe\nchain b\n").is_ok() {
            chained += 1;
        }
        assert_eq!(chained + 1, STORM_SCRIPTS_MAX);
    }
}
