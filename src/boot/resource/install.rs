//! The script that installs: to the host itself, at its own address, and to nobody else. With it the install begins.
//!
//! A datagram may come from anybody, whatever address stands in it. So a request by TFTP begins nothing: what it would
//! begin is tried on a copy of the host's state, and counts once what it was sent is acknowledged ([`Hearing`]). Nor
//! does a request from an address that is the host's by a broadcast alone, as it is beside another DHCP server: our
//! wire is asked first who has that.

use super::{Hearing, Inquiry, Promise, Refusal, requester::is_proven};
use crate::boot::{
    arming::HandedInstall,
    change::Change,
    event::{MachineKey, Mismatch, Reason},
    gate::{Gate, gate},
    machine::{identify, mismatch},
    method::Method,
    paths,
    snapshot::Host,
    world::World,
};
use crate::model::{BootTarget, MacAddr, Token};
use std::{net::IpAddr, sync::Arc};

impl<'a> Inquiry<'a> {
    /// Begins the install whose script is asked for, or goes on with it. What it was begun for too often boots its
    /// disk.
    pub(super) fn take_up_install(&mut self, world: &mut World<'a, '_>, draw_token: fn() -> Token) {
        let Some(host) = self.installs().cloned() else { return };
        if self.is_answer() {
            self.go_on_with_install(world, &host);
            return;
        }
        if !self.is_script_to_be_sent() || self.authorise_script().is_err() {
            return;
        }
        if self.request.method == Method::Head {
            // As long as the one that it would get.
            self.install = Some(Token::SAMPLE);
            return;
        }
        // Whoever is known by IPv4 alone is not authorised over IPv6.
        let IpAddr::V4(address) = self.request.peer else { return };
        let date = world.date();
        let draw = || match self.request.hearing {
            Hearing::Acknowledged { token: Some(token), .. } => token,
            _ => draw_token(),
        };
        if self.is_proven_to_hear() {
            if let Some(HandedInstall { token, change }) = world.arming.hand_out(date, (&host, address), draw) {
                self.install = token;
                self.change = Some(Change::Arming(change));
            }
            self.gate = gate(world, self.who);
            return;
        }
        let mut tried = world.arming.copy_of(&host);
        if let Some(HandedInstall { token, .. }) = tried.hand_out(date, (&host, address), draw) {
            self.install = token;
            self.promise = Some(Promise { token });
        }
        let tried = World {
            now: world.now,
            snapshot: world.snapshot,
            leases: &mut *world.leases,
            arming: &mut tried,
        };
        self.gate = gate(&tried, self.who);
    }

    /// Whether who asks is known to receive what is sent to its address, and to have that.
    fn is_proven_to_hear(&self) -> bool {
        match self.request.hearing {
            Hearing::Proven => !self.is_hearsay,
            Hearing::Unproven { .. } => false,
            Hearing::Acknowledged { .. } => true,
        }
    }

    /// An answer of an install under way has its URLs, and is a sign of life.
    fn go_on_with_install(&mut self, world: &mut World<'a, '_>, host: &Host) {
        if self.authorise_install().is_err() {
            return;
        }
        let date = world.date();
        self.install = world.arming.token(host);
        if self.request.method == Method::Head {
            return;
        }
        match self.is_proven_to_hear() {
            true => world.arming.answer_fetched(date, host),
            false => self.promise = Some(Promise { token: self.install }),
        }
    }

    /// Whether the script or the answer goes to the host that it is for: what its address is known by is what the
    /// inventory lists of it.
    pub(super) fn authorise_install(&self) -> Result<(), Refusal> {
        let Some(host) = self.who.host() else { return Ok(()) };
        let is_host = |other: Option<&Arc<Host>>| other.is_some_and(|other| other.name == host.name);
        let claimed_itself = || self.subject.hardware().is_some() && self.subject.hardware() == self.peer.hardware();
        let peer = identify(self.snapshot, &self.peer);
        let holder = match self.link_of_another(host) {
            Some(link) => MachineKey::Hardware(link.into()),
            None if (is_host(peer.host()) || claimed_itself()) && is_proven(host, &self.peer) => {
                return self.check_port(self.who);
            }
            None => self.peer.key(peer),
        };
        Err(Refusal::Forbidden(Reason::InstallOfAnother {
            host: host.name.clone(),
            peer: self.request.peer,
            holder,
        }))
    }

    /// The MAC on our wire of whoever has the address that asks, where that is none of the host's and nothing but a
    /// broadcast says that the address is: without TFTP's options it is sent the first block of what it asks for before it
    /// was heard, and a secret may stand in that. A host that lists no interface is the machine that the broadcast
    /// speaks of.
    fn link_of_another(&self, host: &Host) -> Option<MacAddr> {
        let (Hearing::Acknowledged { link, .. } | Hearing::Unproven { link }) = self.request.hearing else {
            return None;
        };
        let is_its = |link: &MacAddr| match host.lists_hardware() {
            true => host.lists(&(*link).into()),
            false => self.peer.mac == Some(*link),
        };
        link.filter(|link| self.is_hearsay && !is_its(link))
    }

    /// Whether the script that installs goes to who asks: a NIC that was moved, or a MAC that was copied, brings no
    /// other machine its host's install. What a machine says of itself is no proof; that it says otherwise is enough.
    pub(super) fn authorise_script(&self) -> Result<(), Refusal> {
        self.authorise_install()?;
        let Some(host) = self.who.host() else { return Ok(()) };
        let is_other = |mismatch: &Mismatch| match mismatch {
            Mismatch::OtherUuid { .. } => true,
            Mismatch::OtherSerial { observed, listed } => !observed.eq_ignore_ascii_case(listed),
            Mismatch::PortUnbelieved { .. } | Mismatch::UuidOfAnother { .. } | Mismatch::SerialOfAnother { .. } => {
                false
            }
        };
        match mismatch(self.snapshot, self.who, &self.subject).filter(is_other) {
            None => Ok(()),
            Some(mismatch) => Err(Refusal::Forbidden(Reason::OtherHardware {
                host: host.name.clone(),
                mismatch,
            })),
        }
    }

    /// The host that the request is about, where it installs now.
    pub(super) fn installs(&self) -> Option<&'a Arc<Host>> {
        match self.gate {
            Gate::Network {
                target: BootTarget::Install,
                ..
            } => self.who.host(),
            _ => None,
        }
    }

    /// Whether its script is asked for, and there is one in that language.
    fn is_script_to_be_sent(&self) -> bool {
        match (self.script, self.gate) {
            (Some(wanted), Gate::Network { script, .. }) => {
                self.snapshot.templates.has_script_for(script.as_str(), wanted.dialect)
            }
            _ => false,
        }
    }

    /// Whether a file of an answer is asked for, or the metadata.
    fn is_answer(&self) -> bool {
        let Ok(path) = &self.path else { return false };
        let is_one = path.components().next() == Some(paths::ANSWER) || self.metadata_path(path).is_some();
        self.script.is_none() && is_one
    }
}
