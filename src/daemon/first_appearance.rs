//! Arms a host that appears in the inventory for the first time: one that this store has been serving without.

use crate::admin::api::InstallTarget;
use crate::boot::{
    arming::{
        Arming,
        served::{Newcomers, ServedHosts, ServedRecord},
    },
    change::Change,
    snapshot::{Host, Snapshot},
};
use crate::model::{
    BootTarget, By, Name,
    limits::{ARMED_FOR_FIRST_APPEARANCE, SERVED_KEYS_MAX},
    text::counted,
};
use crate::state::{Shared, arming::ArmingError};
use crate::store::{
    Store, StoreError,
    records::{arming, birth::EpochId, served},
};
use std::sync::Arc;
use tokio::sync::Mutex;

/// What this store has been serving, and who is new to it.
pub(super) struct FirstAppearance {
    served: Mutex<ServedHosts>,
}

/// Whose next boot may install, and which hosts were served, as the disk has it.
///
/// # Errors
///
/// The store can't be read or written.
pub(super) fn restore(store: &dyn Store, epoch: EpochId) -> Result<(Arming, ServedHosts), StoreError> {
    let (records, others) = arming::load(store, epoch)?;
    if others > 0 {
        tracing::warn!(
            event = "host_states_dropped",
            "the state of {} can't be read, or was written before the store lost something: none of them is armed",
            counted(others, "host")
        );
    }
    let open = records.iter().filter(|record| record.state.is_open()).count();
    if open > 0 {
        tracing::info!(
            event = "armed_restored",
            hosts = open,
            "{} armed or installing",
            counted(open, "host")
        );
    }
    Ok((
        Arming::restored(records),
        ServedHosts::restored(served::load(store, epoch)?),
    ))
}

impl FirstAppearance {
    /// After what was served before.
    pub(super) fn new(served: ServedHosts) -> FirstAppearance {
        FirstAppearance {
            served: Mutex::new(served),
        }
    }

    /// A generation has taken the place of the one before: who installs now and did not then, once whoever is armed and
    /// is another machine since, or gone, is disarmed.
    pub(super) async fn take_over(&self, shared: &Shared, before: &Snapshot) -> Vec<InstallTarget> {
        let armed = self.learn(shared).await;
        shared.sweep_arming();
        let targets = install_targets(before, &shared.snapshot.load(), &armed);
        for target in &targets {
            tracing::warn!(
                event = "install_target",
                machine = target.host,
                armed = target.armed,
                "{target}"
            );
        }
        targets
    }

    /// Arms those hosts of the generation in force that appear for the first time and are set to install; which, once it is on
    /// disk. Every host counts as served from then on.
    pub(super) async fn learn(&self, shared: &Shared) -> Vec<Name> {
        let snapshot = shared.snapshot.load_full();
        let mut served = self.served.lock().await;
        let Newcomers {
            hosts,
            records,
            is_full,
        } = served.newcomers(&snapshot);
        if is_full {
            tracing::error!(
                event = "served_full",
                "more hosts were served than are kept ({SERVED_KEYS_MAX} names, MACs and the like): nobody is armed any \
                 more by appearing for the first time; arm them by hand"
            );
            return Vec::new();
        }
        let installs: Vec<Arc<Host>> = hosts.into_iter().filter(|host| is_install_target(host)).collect();
        match keep(shared, &installs, &records).await {
            Ok(()) => {
                for record in &records {
                    served.note(record);
                }
                installs.iter().map(|host| host.name.clone()).collect()
            }
            Err(error) => {
                log_unlearned(&installs, &error);
                Vec::new()
            }
        }
    }
}

async fn keep(shared: &Shared, installs: &[Arc<Host>], records: &[ServedRecord]) -> Result<(), ArmingError> {
    if installs.is_empty() && records.is_empty() {
        return Ok(());
    }
    let along = records.iter().cloned().map(Change::Served).collect();
    shared
        .arm(installs, (ARMED_FOR_FIRST_APPEARANCE, By::Inventory), along)
        .await
}

fn log_unlearned(installs: &[Arc<Host>], error: &ArmingError) {
    let hosts = installs.iter().map(|host| host.name.as_str());
    let hosts = hosts.collect::<Vec<&str>>().join(", ");
    tracing::error!(
        event = "hosts_not_learned",
        hosts,
        "which hosts are served is not on disk, so that nobody is armed by appearing for the first time: {error}"
    );
}

/// Whether a host installs as soon as it is armed.
fn is_install_target(host: &Host) -> bool {
    let is_set = host.settings.boot.as_ref().map(|boot| boot.value) == Some(BootTarget::Install);
    is_set && !host.locked && host.settings.script.is_some()
}

/// The hosts that are set to install now, and were not before.
fn install_targets(before: &Snapshot, now: &Snapshot, armed: &[Name]) -> Vec<InstallTarget> {
    let was = |name: &Name| {
        before
            .hosts
            .by_name(name.as_str())
            .is_some_and(|host| is_install_target(host))
    };
    let new = now
        .hosts
        .iter()
        .filter(|host| is_install_target(host) && !was(&host.name));
    new.map(|host| InstallTarget {
        host: host.name.to_string(),
        armed: armed.contains(&host.name),
    })
    .collect()
}
