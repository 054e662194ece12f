//! Whose next boot may install: the state of every host that was armed once.
//!
//! An install destroys a disk. So it happens to an *armed* host alone, and once:
//!
//! - A person arms a host, or it is armed when it appears in the inventory for the first time ([`served`]). It is armed
//!   until its time is up. What is armed is the machine that is listed then ([`Fingerprint`]): another one under its
//!   name is not armed, nor is the machine under another name.
//! - DHCP may offer an armed host its loader as often as it asks: that consumes nothing. The install begins when the
//!   host itself, from its own address, is handed its script; nobody else is handed it. It is `installing` then, and
//!   has a token. The same boot may fetch the script again.
//! - An install that began has until its profile's `install_timeout` from when it was last heard of, whether or not
//!   the time for which the host was armed is up. A machine that is switched off and on before its
//!   installer says that it began gets the install again, with another token, [`crate::model::limits::INSTALL_TRIES_MAX`] times in all: an
//!   installer that never says anything would otherwise go round for ever.
//! - It ends when it says `done` or `failed`, when nothing was heard of it in time, when it was begun too often, and
//!   when its machine comes for it once more although its installer had begun: the disk is half written then, and a
//!   person decides. The host boots its disk from then on, until it is armed again. A `done` that is on disk is never undone.
//!
//! A state that makes a host install counts once it is on disk; one that keeps it from installing counts at once.
//! Times are the calendar's on disk (`LeaseTable::date`), so that no clock that is set arms for longer.

mod disks;
mod fingerprint;
mod foresight;
mod heard;
mod record;
pub mod served;
mod sweep;

pub use disks::{DiskReport, DiskReportChange};
pub use fingerprint::{Fingerprint, HostKey};
pub use foresight::{KnownInstalls, KnownState, StateInBrief, is_install_target};
pub use record::{Credential, HostRecord, HostState, Install};

use crate::boot::{event::InstallEvent, snapshot::Host};
use crate::model::{
    By, InstallNews, InstallStep, Name, Token, WallTime,
    limits::{HOST_RECORDS_MAX, INSTALL_TIMEOUT_DEFAULT},
};
use std::{collections::HashMap, net::Ipv4Addr, sync::Arc, time::Duration};

/// The state of every host that was armed once.
#[derive(Clone, Debug, Default)]
pub struct Arming {
    hosts: HashMap<Name, Entry>,
    /// Which machines told of their disks.
    disk_reports: disks::DiskReports,
}

#[derive(Clone, Debug)]
struct Entry {
    record: Arc<HostRecord>,
    /// What counts until the record is on disk, where it is on its way there and arms the host.
    before: Option<Option<Arc<HostRecord>>>,
    /// It counts, and the disk did not take it: it is written again, so that a restart does not take it back.
    is_unwritten: bool,
    /// Its firmware or its loader asked by DHCP since it was handed its script: the next one is another boot's.
    is_rebooted: bool,
}

/// What the store is to do about a host's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArmingChange {
    /// Keep it, in place of the one before.
    Put {
        /// The state.
        record: Arc<HostRecord>,
        /// What that is news of; `None` where it was so before.
        news: Option<InstallNews>,
    },
    /// Drop it.
    Forget(Name),
}

/// How a host stands with an install.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It may install.
    Open,
    /// It was never armed, or is no more.
    NotArmed,
    /// It is installed.
    Installed,
    /// Its install failed.
    Failed,
}

/// What whoever is handed an install is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandedInstall {
    /// Its token; `None` where it was begun too often, and is not handed out.
    pub token: Option<Token>,
    /// What is to be on disk before it goes out.
    pub change: ArmingChange,
}

/// Why a host is not armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotArmable {
    /// More hosts have a state than are kept.
    TooMany,
    /// It is being installed: what is at work would be refused, and its host installed once more.
    UnderWay,
}

impl ArmingChange {
    /// The state that it sets.
    pub fn record(&self) -> Option<&HostRecord> {
        match self {
            ArmingChange::Put { record, .. } => Some(record),
            ArmingChange::Forget(_) => None,
        }
    }

    /// What happened, where it is news.
    pub fn event(&self) -> Option<InstallEvent> {
        match self {
            ArmingChange::Put { record, news } => news.map(|news| record.event(news)),
            ArmingChange::Forget(_) => None,
        }
    }
}

/// How long nothing may be heard of a host's install.
pub fn install_timeout(host: &Host) -> Duration {
    let own = host.settings.install_timeout.as_ref();
    own.map_or(INSTALL_TIMEOUT_DEFAULT, |own| own.value)
}

fn after(now: WallTime, time: Duration) -> WallTime {
    WallTime(now.0.saturating_add(time.as_secs()))
}

impl Arming {
    /// What the disk has.
    pub fn restored(records: impl IntoIterator<Item = HostRecord>) -> Arming {
        let entry = |record: HostRecord| (record.name.clone(), Entry::restored(record));
        Arming {
            hosts: records.into_iter().map(entry).collect(),
            ..Arming::default()
        }
    }

    /// A host's state, if it has one and is the machine that it speaks of.
    pub fn record(&self, host: &Host) -> Option<&Arc<HostRecord>> {
        let entry = self.hosts.get(host.name.as_str())?;
        let counts = match &entry.before {
            None => Some(&entry.record),
            Some(before) => before.as_ref(),
        };
        counts.filter(|record| record.machine == Fingerprint::of(host))
    }

    /// Whether something is known of a host's installs: of its name, or of its machine by whatever name.
    pub fn knows(&self, host: &Host) -> bool {
        let machine = Fingerprint::of(host);
        self.hosts.contains_key(host.name.as_str()) || self.hosts.values().any(|entry| entry.record.machine == machine)
    }

    /// How a host stands: what every boot is decided by.
    pub fn standing(&self, now: WallTime, host: &Host) -> Standing {
        let Some(record) = self.record(host) else {
            return Standing::NotArmed;
        };
        match &record.state {
            HostState::Armed { until } if now < *until => Standing::Open,
            HostState::Installing(install) if now < install.deadline => Standing::Open,
            HostState::Armed { .. } | HostState::Local => Standing::NotArmed,
            HostState::Installed { .. } => Standing::Installed,
            HostState::Failed { .. } | HostState::Installing(_) => Standing::Failed,
        }
    }

    /// Arms a host. That counts once it is settled: [`Arming::settle`].
    ///
    /// # Errors
    /// See [`NotArmable`].
    pub fn arm(&mut self, now: WallTime, host: &Host, (until, by): (WallTime, By)) -> Result<ArmingChange, NotArmable> {
        if self.hosts.len() >= HOST_RECORDS_MAX && !self.hosts.contains_key(host.name.as_str()) {
            return Err(NotArmable::TooMany);
        }
        let is_under_way = |record: &Arc<HostRecord>| matches!(record.state, HostState::Installing(_));
        if self.record(host).is_some_and(is_under_way) {
            return Err(NotArmable::UnderWay);
        }
        let state = HostState::Armed { until };
        let record = Arc::new(HostRecord::of(host, state, now, by));
        let former = self.hosts.remove(host.name.as_str());
        let before = former.and_then(|former| former.before.unwrap_or(Some(former.record)));
        let entry = Entry {
            before: Some(before),
            ..Entry::on_disk(Arc::clone(&record))
        };
        self.hosts.insert(host.name.clone(), entry);
        Ok(ArmingChange::Put {
            record,
            news: Some(InstallNews::Armed),
        })
    }

    /// What armed a host is on disk, or never will be: what was before counts on then.
    pub fn settle(&mut self, change: &ArmingChange, is_durable: bool) {
        let ArmingChange::Put { record, .. } = change else {
            return;
        };
        let Some(entry) = self.hosts.get_mut(record.name.as_str()) else {
            return;
        };
        if !Arc::ptr_eq(&entry.record, record) {
            return;
        }
        match (entry.before.take(), is_durable) {
            (_, true) | (None, false) => {}
            (Some(Some(before)), false) => entry.record = before,
            (Some(None), false) => drop(self.hosts.remove(record.name.as_str())),
        }
    }

    /// The disk did not take a state that counts all the same: [`Arming::sweep`] has it written again.
    pub fn not_written(&mut self, change: &ArmingChange) {
        if let ArmingChange::Put { record, .. } = change
            && let Some(entry) = self.hosts.get_mut(record.name.as_str())
            && Arc::ptr_eq(&entry.record, record)
        {
            entry.is_unwritten = true;
        }
    }

    /// Disarms a host, at once; `None` where it is not armed.
    pub fn disarm(&mut self, now: WallTime, name: &Name, by: By) -> Option<ArmingChange> {
        let entry = self.hosts.get_mut(name.as_str())?;
        let is_open = entry.record.state.is_open();
        is_open.then(|| entry.put(HostState::Local, now, by, Some(InstallNews::Disarmed)))
    }

    /// Hands a host its install, which it asks for from `address`; `None` where it may not install. `draw` makes the
    /// token of another attempt.
    pub fn hand_out(
        &mut self,
        now: WallTime,
        (host, address): (&Host, Ipv4Addr),
        draw: impl FnOnce() -> Token,
    ) -> Option<HandedInstall> {
        if self.standing(now, host) != Standing::Open {
            return None;
        }
        let entry = self.hosts.get_mut(host.name.as_str())?;
        let former = Arc::clone(&entry.record);
        let deadline = after(now, install_timeout(host));
        let under_way = match &former.state {
            HostState::Installing(install) => Some(install),
            _ => None,
        };
        if let Some(same) = under_way.filter(|install| entry.is_same_boot(install, address)) {
            let install = Install {
                deadline,
                ..same.clone()
            };
            return Some(HandedInstall {
                token: Some(same.credential.token),
                change: entry.put(HostState::Installing(install), former.since, former.by.clone(), None),
            });
        }
        let tries = under_way.map_or(0, |install| install.tries).saturating_add(1);
        if let Some((install, why)) = under_way.and_then(|install| Some((install, install.why_not_again()?))) {
            let failed = HostState::Failed {
                why,
                last: install.last.clone(),
                by: None,
            };
            return Some(HandedInstall {
                token: None,
                change: entry.put(failed, now, By::Machine { address }, Some(InstallNews::Failed)),
            });
        }
        let token = draw();
        let install = Install {
            credential: Credential { token, address },
            tries,
            last: InstallStep::Script,
            deadline,
        };
        let state = HostState::Installing(install);
        Some(HandedInstall {
            token: Some(token),
            change: entry.put(state, now, former.by.clone(), Some(InstallNews::Begun)),
        })
    }

    /// The token of the host's install, where one is under way.
    pub fn token(&self, host: &Host) -> Option<Token> {
        match &self.record(host)?.state {
            HostState::Installing(install) => Some(install.credential.token),
            _ => None,
        }
    }

    /// The same with no token in it that any install has: what is made of it may be shown.
    #[must_use]
    pub fn without_tokens(mut self) -> Arming {
        let plain = |record: &mut Arc<HostRecord>| {
            let state = record.state.without_token();
            *record = Arc::new(HostRecord {
                state,
                ..HostRecord::clone(record)
            });
        };
        for entry in self.hosts.values_mut() {
            plain(&mut entry.record);
            entry.before.iter_mut().flatten().for_each(plain);
        }
        self
    }

    /// The firmware or the loader of a host asks by DHCP: what it was handed before was another boot's, or came to
    /// nothing.
    pub fn power_on(&mut self, host: &Host) {
        if let Some(entry) = self.hosts.get_mut(host.name.as_str()) {
            entry.is_rebooted = true;
        }
    }

    /// An install fetched its answer: it goes on. Nobody waits for that to be on disk.
    pub fn answer_fetched(&mut self, now: WallTime, host: &Host) {
        let Some(entry) = self.hosts.get_mut(host.name.as_str()) else {
            return;
        };
        if let HostState::Installing(install) = &entry.record.state
            && install.last == InstallStep::Script
        {
            let install = Install {
                last: InstallStep::Answer,
                deadline: after(now, install_timeout(host)),
                ..install.clone()
            };
            entry.record = Arc::new(HostRecord {
                state: HostState::Installing(install),
                ..HostRecord::clone(&entry.record)
            });
        }
    }
}

impl HostRecord {
    fn of(host: &Host, state: HostState, since: WallTime, by: By) -> HostRecord {
        HostRecord {
            name: host.name.clone(),
            machine: Fingerprint::of(host),
            state,
            since,
            by,
        }
    }
}

impl Entry {
    /// What the disk has. Whether the machine was started anew while nothing was served, it does not say: one whose
    /// installer was at work is taken for that.
    fn restored(record: HostRecord) -> Entry {
        let is_rebooted = matches!(&record.state, HostState::Installing(install) if install.last.is_of_installer());
        Entry {
            is_rebooted,
            ..Entry::on_disk(Arc::new(record))
        }
    }

    fn on_disk(record: Arc<HostRecord>) -> Entry {
        Entry {
            record,
            before: None,
            is_unwritten: false,
            is_rebooted: false,
        }
    }

    /// Whether the script is asked for once more by the boot that was handed it. What is not on disk went to nobody: an
    /// iPXE that asks again and again while the disk is full, by DHCP too, begins no install with each.
    fn is_same_boot(&self, install: &Install, address: Ipv4Addr) -> bool {
        (self.is_unwritten || !self.is_rebooted) && install.credential.address == address
    }

    /// Another state of the same machine, which counts at once.
    fn put(&mut self, state: HostState, since: WallTime, by: By, news: Option<InstallNews>) -> ArmingChange {
        let record = Arc::new(HostRecord {
            name: self.record.name.clone(),
            machine: self.record.machine,
            state,
            since,
            by,
        });
        *self = Entry::on_disk(Arc::clone(&record));
        ArmingChange::Put { record, news }
    }
}

#[cfg(test)]
mod tests;
