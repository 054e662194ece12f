//! What changes by time alone, and by the inventory.

use super::{Arming, ArmingChange, Fingerprint, HostRecord, HostState};
use crate::boot::snapshot::{Host, Snapshot};
use crate::model::{BootTarget, By, InstallFailure, InstallNews, Name, WallTime, limits::HOST_RECORDS_MAX};
use std::sync::Arc;

impl Arming {
    /// What the disk did not take before, what changes by time alone, and by an inventory in which an armed host is
    /// another machine, is set to something else, or is gone.
    pub fn sweep(&mut self, now: WallTime, snapshot: &Snapshot) -> Vec<ArmingChange> {
        let mut changes = Vec::new();
        for entry in self.hosts.values_mut() {
            if entry.before.is_some() {
                continue;
            }
            let record = Arc::clone(&entry.record);
            match &record.state {
                HostState::Armed { until } if now >= *until => {
                    changes.push(entry.put(HostState::Local, now, By::Time, Some(InstallNews::Expired)));
                }
                HostState::Armed { .. } if !is_listed(snapshot, &record) => {
                    changes.push(entry.put(HostState::Local, now, By::Inventory, Some(InstallNews::Disarmed)));
                }
                HostState::Installing(install) if now >= install.deadline => {
                    let failed = HostState::Failed {
                        why: InstallFailure::Silent,
                        last: install.last.clone(),
                        by: None,
                    };
                    changes.push(entry.put(failed, now, By::Time, Some(InstallNews::Failed)));
                }
                _ if std::mem::take(&mut entry.is_unwritten) => changes.push(ArmingChange::Put { record, news: None }),
                _ => {}
            }
        }
        changes.extend(self.forget_unlisted(snapshot));
        changes
    }

    /// Hosts whose install is under way and that an inventory does not list as that machine by that name: renamed, gone,
    /// or another one. Their installer is refused by it, with whatever it asks for or has to say, and what is on their
    /// disk stays as it is. An inventory that lists them again before the install has failed goes on with it.
    pub fn interrupted_by(&self, now: WallTime, snapshot: &Snapshot) -> Vec<Name> {
        let is_under_way = |record: &HostRecord| match &record.state {
            HostState::Installing(install) => now < install.deadline,
            HostState::Armed { .. } | HostState::Installed { .. } | HostState::Failed { .. } | HostState::Local => {
                false
            }
        };
        let is_its = |record: &HostRecord| {
            let host = snapshot.hosts.by_name(record.name.as_str());
            host.is_some_and(|host| record.machine == Fingerprint::of(host))
        };
        let records = self.hosts.values().map(|entry| &entry.record);
        let interrupted = records.filter(|record| is_under_way(record) && !is_its(record));
        let mut names: Vec<Name> = interrupted.map(|record| record.name.clone()).collect();
        names.sort_unstable();
        names
    }

    /// Makes room: hosts that are in no inventory any more, where too many are known.
    fn forget_unlisted(&mut self, snapshot: &Snapshot) -> Vec<ArmingChange> {
        if self.hosts.len() < HOST_RECORDS_MAX {
            return Vec::new();
        }
        let is_gone =
            |record: &HostRecord| !record.state.is_open() && snapshot.hosts.by_name(record.name.as_str()).is_none();
        let gone = self
            .hosts
            .values()
            .map(|entry| &entry.record)
            .filter(|record| is_gone(record));
        let gone: Vec<Name> = gone.map(|record| record.name.clone()).collect();
        for name in &gone {
            self.hosts.remove(name);
        }
        gone.into_iter().map(ArmingChange::Forget).collect()
    }
}

/// Whether the machine that a state speaks of is listed by its name still, to install, and not locked. One that is set
/// to its disk for a while was kept from installing: it is not armed by being set back, or by a profile that is.
fn is_listed(snapshot: &Snapshot, record: &HostRecord) -> bool {
    let host = snapshot.hosts.by_name(record.name.as_str());
    let installs = |host: &Host| host.settings.boot.as_ref().map(|boot| boot.value) == Some(BootTarget::Install);
    host.is_some_and(|host| !host.locked && installs(host) && record.machine == Fingerprint::of(host))
}
