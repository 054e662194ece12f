//! How the daemon is.

use super::AdminService;
use crate::admin::{
    Answers, Caller, Document,
    api::{
        API_VERSION, AdminRefusal, InterfaceStatus, LeaseWriteFailure, NoParameters, RelayStatus, Status,
        TransferStatus,
    },
    routes::GetStatus,
};
use crate::boot::{resource::Transport, snapshot::Snapshot};
use crate::daemon::{artifacts, log};
use crate::net::interface::{InterfaceState, Presence};
use crate::state::{
    relays::{RelayKey, RelayWords},
    transfers::TransferProgress,
};
use std::{collections::BTreeMap, time::Duration};

impl Answers<GetStatus> for AdminService {
    fn answer(&self, NoParameters {}: NoParameters, _: &Caller) -> Result<Document<Status>, AdminRefusal> {
        let snapshot = self.shared.snapshot.load();
        let state = self.reloader.state();
        let lease_write_failure = self.writer.failure();
        // Machines wait for the table: nothing else of this is made under its lock.
        let leases = self.shared.lease_table().acknowledged(self.shared.clock.now()).count();
        Ok(Document(Status {
            api: API_VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            config: self.reloader.config_file().to_owned(),
            generation: snapshot.generation,
            since: state.since.into(),
            hosts: snapshot.hosts.len(),
            leases,
            leases_writable: lease_write_failure.is_none(),
            lease_write_failure: lease_write_failure.map(|error| LeaseWriteFailure {
                reason: error.fault().name().to_owned(),
                message: error.with_advice(),
            }),
            artifacts: artifacts::known(&self.shared, &snapshot),
            interfaces: self.standings.load().iter().map(interface).collect(),
            restart_needed_for: state.restart_needed_for,
            unwatched: state.unwatched,
            last_refusal: state.last_refusal,
            last_good: state.last_good,
            rolled_back_to: state.rolled_back_to,
            transfers: self.transfers(),
            relays: self.relays(&snapshot),
            counters: self.counters(),
            reasons: self.reasons(),
        }))
    }
}

impl AdminService {
    fn counters(&self) -> BTreeMap<String, u64> {
        let counted = self.shared.counters.snapshot().into_iter();
        counted
            .chain([
                ("log_lost", log::lost()),
                ("render_threads_stuck", self.shared.render_threads_stuck()),
                ("hot_image_bytes", self.shared.hot_images.held()),
            ])
            .map(|(name, count)| (name.to_owned(), count))
            .collect()
    }

    /// The reasons that came up.
    fn reasons(&self) -> BTreeMap<String, u64> {
        let all = self.shared.counters.reasons().into_iter();
        let counted = all.filter(|(_, count)| *count > 0);
        counted.map(|(name, count)| (name.to_owned(), count)).collect()
    }

    fn relays(&self, snapshot: &Snapshot) -> Vec<RelayStatus> {
        let all = self.shared.relays.all().into_iter();
        all.map(|(key, seen)| {
            let words = seen.words(&key);
            relay(snapshot, key, words)
        })
        .collect()
    }

    fn transfers(&self) -> Vec<TransferStatus> {
        let now = self.shared.clock.monotonic();
        let under_way = self.shared.transfers.under_way();
        under_way.iter().map(|one| transfer(now, one)).collect()
    }
}

/// Who passes requests on, and what the generation in force makes of it.
fn relay(snapshot: &Snapshot, key: RelayKey, words: RelayWords) -> RelayStatus {
    let subnet = key.link.and_then(|link| snapshot.subnet_of(link));
    // A switch on our own wire names no network: it is one of those whose machines are heard there.
    let is_believed = match key.relay {
        Some(relay) => subnet.is_some_and(|subnet| subnet.ports_from.has_relay(relay)),
        None => snapshot.subnets.iter().any(|subnet| subnet.ports_from.switches),
    };
    RelayStatus {
        relay: key.relay,
        link: key.link,
        subnet: subnet.map(|subnet| subnet.cidr.to_string()),
        switch: words.switch,
        ports: words.ports,
        names_a_vlan: words.names_a_vlan,
        is_believed,
        is_proxied: words.is_proxied,
        machines: words.machines,
    }
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
        since: state.since.into(),
    }
}

fn transfer(now: Duration, progress: &TransferProgress) -> TransferStatus {
    TransferStatus {
        machine: progress.machine.to_string(),
        client: progress.client,
        transport: match progress.transport {
            Transport::Http => "http".to_owned(),
            Transport::Tftp => "tftp".to_owned(),
        },
        what: progress.file.to_string(),
        sent_bytes: progress.sent(),
        length_bytes: progress.length,
        age_s: now.saturating_sub(progress.began).as_secs(),
    }
}
