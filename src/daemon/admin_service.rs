//! What the daemon answers on the admin socket.

use super::{
    artifacts, log,
    reload::{ReloadOutcome, Reloader, Trigger},
};
use crate::admin::{
    AdminApi,
    api::{
        HeldAddress, HostStatus, InterfaceStatus, LeaseStatus, Problem, ReloadAccepted, ReloadRefusal, Status,
        TransferStatus,
    },
};
use crate::boot::{
    machine::{Identity, identify},
    resource::Transport,
    snapshot::{self, Snapshot, Sourced},
};
use crate::lease::{self, LeaseTable};
use crate::model::{BootTarget, MacAddr, Name, Now, WallTime};
use crate::net::{
    Standings,
    interface::{InterfaceState, Presence},
};
use crate::state::{Shared, transfers};
use crate::store::writer::LeaseWriter;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Everything an operator can ask after.
pub(super) struct AdminService {
    pub(super) reloader: Arc<Reloader>,
    pub(super) shared: Arc<Shared>,
    pub(super) writer: Arc<LeaseWriter>,
    pub(super) standings: Standings,
}

impl AdminService {
    fn transfers(&self) -> Vec<TransferStatus> {
        let now = self.shared.clock.monotonic();
        let handle = self.shared.transfers.under_way();
        handle.iter().map(|one| transfer(now, one)).collect()
    }
}

impl AdminApi for AdminService {
    async fn reload(&self) -> Result<ReloadAccepted, ReloadRefusal> {
        match self.reloader.reload(Trigger::AdminApi).await {
            ReloadOutcome::Accepted(accepted) => Ok(accepted),
            ReloadOutcome::Refused(refusal) => Err(refusal),
            // Only a watcher's reload looks whether anything changed.
            ReloadOutcome::Unchanged => Ok(ReloadAccepted {
                generation: self.shared.snapshot.load().generation,
                hosts: self.shared.snapshot.load().hosts.len(),
                warnings: Vec::new(),
                restart_needed_for: Vec::new(),
            }),
        }
    }

    fn status(&self) -> Result<Status, Problem> {
        let snapshot = self.shared.snapshot.load();
        let state = self.reloader.state();
        let counters = self.shared.counters.snapshot();
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            config: self.reloader.config_file().to_owned(),
            generation: snapshot.generation,
            since: state.since,
            hosts: snapshot.hosts.len(),
            leases: self.shared.lease_table().acknowledged(self.shared.clock.now()).count(),
            leases_writable: self.writer.is_healthy(),
            artifacts: artifacts::known(&snapshot, &self.shared.verification()),
            interfaces: self.standings.load().iter().map(interface).collect(),
            restart_needed_for: state.restart_needed_for,
            unwatched: state.unwatched,
            last_refusal: state.last_refusal,
            last_good: state.last_good,
            transfers: self.transfers(),
            reasons: reasons(self.shared.counters.reasons()),
            counters: counters
                .into_iter()
                .chain([("log_lost", log::lost())])
                .map(|(name, count)| (name.to_owned(), count))
                .collect(),
        })
    }

    fn hosts(&self) -> Result<Vec<HostStatus>, Problem> {
        let snapshot = self.shared.snapshot.load();
        let now = self.shared.clock.now();
        let leases = self.shared.lease_table();
        let hosts = snapshot.hosts.iter();
        Ok(hosts.map(|listed| host(listed, held(now, &leases, listed))).collect())
    }

    fn leases(&self) -> Result<Vec<LeaseStatus>, Problem> {
        let snapshot = self.shared.snapshot.load();
        let now = self.shared.clock.now();
        let running: Vec<lease::Lease> = self.shared.lease_table().acknowledged(now).collect();
        Ok(running
            .iter()
            .filter_map(|running| lease(&snapshot, now, running))
            .collect())
    }
}

/// The reasons that came up.
fn reasons(all: Vec<(&'static str, u64)>) -> BTreeMap<String, u64> {
    let counted = all.into_iter().filter(|(_, count)| *count > 0);
    counted.map(|(name, count)| (name.to_owned(), count)).collect()
}

fn interface(state: &InterfaceState) -> InterfaceStatus {
    let served = match &state.presence {
        Presence::Served(interface) => Some(interface),
        Presence::Missing { .. } | Presence::Unserved { .. } => None,
    };
    let addresses = served.into_iter().flat_map(|served| served.addresses.iter());
    InterfaceStatus {
        name: state.name.clone(),
        mode: state.mode.to_string(),
        link: served.map(|served| served.link.to_string()),
        addresses: addresses.map(|own| own.address).collect(),
        problem: state.problem(),
        since: state.since,
    }
}

fn transfer(now: Duration, handle: &transfers::TransferProgress) -> TransferStatus {
    TransferStatus {
        machine: handle.machine.to_string(),
        client: handle.client,
        transport: match handle.transport {
            Transport::Http => "http".to_owned(),
            Transport::Tftp => "tftp".to_owned(),
        },
        what: handle.file.to_string(),
        sent_bytes: handle.sent(),
        length_bytes: handle.length,
        age_s: now.saturating_sub(handle.began).as_secs(),
    }
}

/// The addresses that a host's interfaces have.
fn held(now: Now, leases: &LeaseTable, listed: &snapshot::Host) -> Vec<HeldAddress> {
    let of = |mac: &MacAddr| {
        let mac = *mac;
        let addresses = leases.held_by(now, mac.into());
        addresses.map(move |address| HeldAddress {
            mac: mac.to_string(),
            address,
        })
    };
    listed.macs.iter().flat_map(of).collect()
}

fn host(listed: &snapshot::Host, holds: Vec<HeldAddress>) -> HostStatus {
    let settings = &listed.settings;
    let text = |name: &Option<Sourced<Name>>| name.as_ref().map(|name| name.value.to_string());
    let boot = settings.boot.as_ref().map_or(BootTarget::Local, |boot| boot.value);
    HostStatus {
        name: listed.name.to_string(),
        macs: listed
            .macs
            .iter()
            .map(ToString::to_string)
            .chain(listed.links.iter().map(ToString::to_string))
            .collect(),
        address: listed.address,
        holds,
        boot: boot.to_string(),
        image: text(&settings.image),
        script: text(&settings.script),
        loaders: settings.loaders.iter().map(|loader| loader.value.clone()).collect(),
        locked: listed.locked,
        written: format!("{}:{}", listed.origin.file, listed.origin.line),
    }
}

/// A lease that runs, with its end by this host's clock as it is now.
fn lease(snapshot: &Snapshot, now: Now, running: &lease::Lease) -> Option<LeaseStatus> {
    let hardware = running.client?;
    let client = Identity::of_hardware(hardware);
    let host = identify(snapshot, &client).host();
    Some(LeaseStatus {
        address: running.address,
        client: hardware.to_string(),
        host: host.map(|host| host.name.to_string()),
        expires: WallTime(now.wall.0.saturating_add(running.remaining.as_secs())),
    })
}
