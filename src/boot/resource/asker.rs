//! Who asks for a file, and which machine it is for: what the lease table and the sightings know.

use super::{Ask, Inquiry, is_script};
use crate::boot::{
    ledger::{Ledger, Standing},
    machine::{Identity, identify},
    paths,
    request_path::RequestPath,
    sightings::Sightings,
    snapshot::{Artifact, Host, Image, Snapshot},
};
use crate::lease::LeaseTable;
use crate::model::{MacAddr, Now};
use std::net::Ipv4Addr;

impl<'a> Inquiry<'a> {
    /// Finds out who asks and for whom: the part of a request that needs the shared tables.
    pub fn begin(
        now: Now,
        snapshot: &'a Snapshot,
        leases: &LeaseTable,
        sightings: &mut Sightings,
        ledger: &Ledger,
        ask: &'a Ask<'a>,
    ) -> Inquiry<'a> {
        let peer = holder(now, snapshot, leases, sightings, ask.peer);
        let mut inquiry = Inquiry {
            snapshot,
            ask,
            path: RequestPath::parse(ask.transport, ask.path),
            subject: Identity::default(),
            block_max: peer.mac.and_then(|mac| sightings.block_limit(mac)),
            peer,
            artifact: None,
        };
        inquiry.subject = inquiry.subject(sightings);
        inquiry.artifact = inquiry.named_artifact(ledger);
        inquiry
    }

    /// The machine that is asked for: the one that asks, where the path names no other.
    fn subject(&self, sightings: &mut Sightings) -> Identity {
        let Ok(path) = &self.path else {
            return self.peer.clone();
        };
        match path.components().collect::<Vec<_>>()[..] {
            ref components if is_script(components) => self.asking(sightings),
            [paths::ANSWER, machine, ..] => self.named(sightings, machine),
            _ => self.peer.clone(),
        }
    }

    /// The artifact that the path names.
    fn named_artifact(&self, ledger: &Ledger) -> Option<(&'a Image, &'a Artifact, Standing)> {
        let mut components = self.path.as_ref().ok()?.as_str().splitn(3, '/');
        let (paths::IMAGE, image, file) = (components.next()?, components.next()?, components.next()?) else {
            return None;
        };
        let (image, artifact) = self.snapshot.artifact(image, file)?;
        Some((image, artifact, ledger.standing(image, artifact)))
    }

    /// Who asks for a script: who the query says, or else the holder of the address.
    ///
    /// What a query says is remembered only where it comes from the address of the machine that it
    /// speaks of: anybody may ask for any machine's script, and nobody may change what is known of
    /// another machine, or push it out of the memory with invented ones.
    fn asking(&self, sightings: &mut Sightings) -> Identity {
        let said = RequestPath::identity(self.ask.query.unwrap_or_default());
        match said.mac {
            None => self.peer.clone(),
            Some(mac) if self.is_of_peer(mac) => sightings.learn(said),
            Some(_) => sightings.joined(said),
        }
    }

    /// Whether an interface is the one that asks, or another of the same listed host.
    fn is_of_peer(&self, mac: MacAddr) -> bool {
        self.peer.mac.is_some_and(|peer| {
            let host = self.snapshot.hosts.by_mac(mac);
            peer == mac || host.is_some_and(|host| host.macs.contains(&peer))
        })
    }

    /// The identity of the machine that an answer's path names.
    fn named(&self, sightings: &Sightings, machine: &str) -> Identity {
        match machine.parse::<MacAddr>() {
            Ok(mac) => sightings.of(mac),
            Err(_) => self.listed(sightings, machine),
        }
    }

    /// The identity of a host by its name: of the machine that asks where that is the host, so that
    /// the answer knows the interface it was asked from.
    fn listed(&self, sightings: &Sightings, name: &str) -> Identity {
        let Some(host) = self.snapshot.hosts.by_name(name) else {
            return Identity::default();
        };
        let asks_itself = identify(self.snapshot, &self.peer)
            .host()
            .is_some_and(|peer| peer.name == host.name);
        match host.macs.first() {
            _ if asks_itself => self.peer.clone(),
            Some(mac) => sightings.of(*mac),
            None => Identity {
                uuid: host.uuid,
                serial: host.serial.clone(),
                ..Identity::default()
            },
        }
    }
}

/// The machine that holds `address`: by its lease, by what was heard of another server, or by its
/// reservation.
fn holder(now: Now, snapshot: &Snapshot, leases: &LeaseTable, sightings: &Sightings, address: Ipv4Addr) -> Identity {
    let leased = leases.holder_at(now, address).and_then(|client| client.mac());
    let reserved = || {
        snapshot
            .hosts
            .by_address(address)
            .and_then(|host| host.macs.first().copied())
    };
    leased
        .or_else(|| sightings.heard_at(address))
        .or_else(reserved)
        .map_or_else(Identity::default, |mac| sightings.of(mac))
}

/// Whether `peer` is known for `host` by more than its own words. A UUID or a serial number is
/// anybody's to say, so where the inventory lists MACs, one of them must hold the address that asks.
pub(super) fn is_beyond_words(host: &Host, peer: &Identity) -> bool {
    host.macs.is_empty() || peer.mac.is_some_and(|mac| host.macs.contains(&mac))
}
