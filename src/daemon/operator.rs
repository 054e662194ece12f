//! What the daemon answers on the admin socket.

use super::{
    artifacts, log,
    reload::{Reloaded, Reloader, Trigger},
};
use crate::admin::{
    Operator,
    answer::{Accepted, Held, Host, Interface, Lease, Problem, Refusal, Status, Transfer},
};
use crate::boot::{
    machine::{Identity, identify},
    resource::Transport,
    snapshot::{self, Snapshot, Sourced},
};
use crate::lease::{self, LeaseTable};
use crate::model::{BootTarget, MacAddr, Name, Now, WallTime};
use crate::net::{
    Shared,
    interface::{Presence, Standing},
    transfers,
};
use crate::store::writer::LeaseWriter;
use std::{sync::Arc, time::Duration};

/// Everything an operator can ask after.
pub(super) struct Desk {
    pub(super) reloader: Arc<Reloader>,
    pub(super) shared: Arc<Shared>,
    pub(super) writer: Arc<LeaseWriter>,
}

impl Desk {
    fn transfers(&self) -> Vec<Transfer> {
        let now = self.shared.clock.monotonic();
        let under_way = self.shared.transfers.under_way();
        under_way.iter().map(|one| transfer(now, one)).collect()
    }
}

impl Operator for Desk {
    async fn reload(&self) -> Result<Accepted, Refusal> {
        match self.reloader.reload(Trigger::Operator).await {
            Reloaded::Accepted(accepted) => Ok(accepted),
            Reloaded::Refused(refusal) => Err(refusal),
            // Only a watcher's reload looks whether anything changed.
            Reloaded::Unchanged => Ok(Accepted {
                generation: self.shared.snapshot.load().generation,
                hosts: self.shared.snapshot.load().hosts.len(),
                warnings: Vec::new(),
                restart_needed_for: Vec::new(),
            }),
        }
    }

    fn status(&self) -> Result<Status, Problem> {
        let snapshot = self.shared.snapshot.load();
        let standing = self.reloader.standing();
        let counters = self.shared.counters.snapshot();
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            config: self.reloader.config_file().to_owned(),
            generation: snapshot.generation,
            since: standing.since,
            hosts: snapshot.hosts.len(),
            leases: self.shared.lease_table().acknowledged(self.shared.clock.now()).count(),
            leases_writable: self.writer.is_healthy(),
            artifacts: artifacts::known(&snapshot, &self.shared.ledger()),
            interfaces: self.shared.interfaces.load().iter().map(interface).collect(),
            restart_needed_for: standing.restart_needed_for,
            unwatched: standing.unwatched,
            last_refusal: standing.last_refusal,
            kept_files: standing.kept_files,
            transfers: self.transfers(),
            counters: counters
                .into_iter()
                .chain([("log_lost", log::lost())])
                .map(|(name, count)| (name.to_owned(), count))
                .collect(),
        })
    }

    fn hosts(&self) -> Result<Vec<Host>, Problem> {
        let snapshot = self.shared.snapshot.load();
        let now = self.shared.clock.now();
        let leases = self.shared.lease_table();
        let hosts = snapshot.hosts.iter();
        Ok(hosts.map(|listed| host(listed, held(now, &leases, listed))).collect())
    }

    fn leases(&self) -> Result<Vec<Lease>, Problem> {
        let snapshot = self.shared.snapshot.load();
        let now = self.shared.clock.now();
        let running: Vec<lease::Lease> = self.shared.lease_table().acknowledged(now).collect();
        Ok(running
            .iter()
            .filter_map(|running| lease(&snapshot, now, running))
            .collect())
    }
}

fn interface(standing: &Standing) -> Interface {
    let served = match &standing.presence {
        Presence::Served(interface) => Some(interface),
        Presence::Missing { .. } | Presence::Unserved { .. } => None,
    };
    let addresses = served.into_iter().flat_map(|served| served.addresses.iter());
    Interface {
        name: standing.name.clone(),
        mode: standing.mode.to_string(),
        link: served.map(|served| served.link.to_string()),
        addresses: addresses.map(|own| own.address).collect(),
        problem: standing.problem(),
        since: standing.since,
    }
}

fn transfer(now: Duration, under_way: &transfers::Transfer) -> Transfer {
    Transfer {
        machine: under_way.machine.clone(),
        client: under_way.client,
        transport: match under_way.transport {
            Transport::Http => "http".to_owned(),
            Transport::Tftp => "tftp".to_owned(),
        },
        what: under_way.what.clone(),
        sent_bytes: under_way.sent(),
        length_bytes: under_way.length,
        age_s: now.saturating_sub(under_way.began).as_secs(),
    }
}

/// The addresses that a host's interfaces have.
fn held(now: Now, leases: &LeaseTable, listed: &snapshot::Host) -> Vec<Held> {
    let of = |mac: &MacAddr| {
        let mac = *mac;
        let addresses = leases.held_by(now, mac.into());
        addresses.map(move |address| Held {
            mac: mac.to_string(),
            address,
        })
    };
    listed.macs.iter().flat_map(of).collect()
}

fn host(listed: &snapshot::Host, holds: Vec<Held>) -> Host {
    let settings = &listed.settings;
    let text = |name: &Option<Sourced<Name>>| name.as_ref().map(|name| name.value.to_string());
    let boot = settings.boot.as_ref().map_or(BootTarget::Local, |boot| boot.value);
    Host {
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
fn lease(snapshot: &Snapshot, now: Now, running: &lease::Lease) -> Option<Lease> {
    let hardware = running.client?;
    let client = Identity::of_hardware(hardware);
    let host = identify(snapshot, &client).host();
    Some(Lease {
        address: running.address,
        client: hardware.to_string(),
        host: host.map(|host| host.name.to_string()),
        expires: WallTime(now.wall.0.saturating_add(running.remaining.as_secs())),
    })
}
