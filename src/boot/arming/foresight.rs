//! Who may install once another inventory is in force: the daemon's own steps at a reload, tried on a copy of what it
//! knows. The daemon arms by the same function, and so nobody is armed whom a plan did not name.

use super::{
    Arming, Credential, Fingerprint, HostRecord, HostState, Install,
    served::{Newcomers, ServedHosts},
};
use crate::boot::snapshot::{Host, Snapshot};
use crate::model::{BootTarget, By, InstallFailure, InstallStep, Token, WallTime, limits::ARMED_FOR_FIRST_APPEARANCE};
use serde::{Deserialize, Serialize};
use std::{net::Ipv4Addr, sync::Arc};

/// What a daemon knows of installs at one moment, as far as it decides who installs next. No token is in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KnownInstalls {
    /// That moment, by the calendar on disk.
    pub date: WallTime,
    /// How each host stands that was armed once.
    pub states: Vec<KnownState>,
    /// Which hosts were served.
    pub served: ServedHosts,
}

/// How one host stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownState {
    /// Its name.
    pub host: String,
    /// Which machine that is.
    pub machine: u64,
    /// How it stands.
    #[serde(flatten)]
    pub state: StateInBrief,
}

/// The states of a host, without what only its installer may know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum StateInBrief {
    /// See [`HostState::Armed`].
    Armed {
        /// Until when.
        until: WallTime,
    },
    /// See [`HostState::Installing`].
    Installing {
        /// When it has failed.
        deadline: WallTime,
    },
    /// See [`HostState::Installed`].
    Installed,
    /// See [`HostState::Failed`].
    Failed,
    /// See [`HostState::Local`].
    Local,
}

impl StateInBrief {
    /// Whether its next boot from the network may install.
    pub fn is_open(self) -> bool {
        match self {
            StateInBrief::Armed { .. } | StateInBrief::Installing { .. } => true,
            StateInBrief::Installed | StateInBrief::Failed | StateInBrief::Local => false,
        }
    }
}

/// Whether a host installs as soon as it is armed.
pub fn is_install_target(host: &Host) -> bool {
    let is_set = host.settings.boot.as_ref().map(|boot| boot.value) == Some(BootTarget::Install);
    is_set && !host.locked && host.settings.script.is_some()
}

impl Arming {
    /// Whether a host that appears for the first time is armed by that. One that a person armed before it was known
    /// to be served may be installed by now.
    pub fn is_armed_by_appearing(&self, host: &Host) -> bool {
        is_install_target(host) && !self.knows(host)
    }

    /// What is known of one host: what is tried on it counts nowhere.
    #[must_use]
    pub fn copy_of(&self, host: &Host) -> Arming {
        let own = self.hosts.get_key_value(host.name.as_str());
        Arming {
            hosts: own
                .map(|(name, entry)| (name.clone(), entry.clone()))
                .into_iter()
                .collect(),
            ..Arming::default()
        }
    }

    /// How every host stands once all that is on its way to the disk is there.
    pub fn in_brief(&self) -> Vec<KnownState> {
        let records = self.hosts.values().map(|entry| &entry.record);
        records.map(|record| KnownState::of(record)).collect()
    }
}

impl KnownInstalls {
    /// What is known once a candidate took the place of the inventory in force: whoever appears in it for the first
    /// time is armed, and whoever is another machine by then, or gone, is not armed any more.
    pub fn after_taking(&self, candidate: &Snapshot) -> (Arming, Vec<Arc<Host>>) {
        let mut arming = self.arming();
        let Newcomers { hosts, is_full, .. } = self.served.newcomers(candidate);
        let appearing = hosts
            .into_iter()
            .filter(|host| !is_full && arming.is_armed_by_appearing(host));
        let appearing: Vec<Arc<Host>> = appearing.collect();
        let until = WallTime(self.date.0.saturating_add(ARMED_FOR_FIRST_APPEARANCE.as_secs()));
        for host in &appearing {
            if let Ok(change) = arming.arm(self.date, host, (until, By::Inventory)) {
                arming.settle(&change, true);
            }
        }
        let _ = arming.sweep(self.date, candidate);
        (arming, appearing)
    }

    /// As it is before.
    pub fn arming(&self) -> Arming {
        Arming::restored(self.states.iter().filter_map(KnownState::record))
    }
}

impl KnownState {
    fn of(record: &HostRecord) -> KnownState {
        KnownState {
            host: record.name.as_str().into(),
            machine: record.machine.0,
            state: match &record.state {
                HostState::Armed { until } => StateInBrief::Armed { until: *until },
                HostState::Installing(install) => StateInBrief::Installing {
                    deadline: install.deadline,
                },
                HostState::Installed { .. } => StateInBrief::Installed,
                HostState::Failed { .. } => StateInBrief::Failed,
                HostState::Local => StateInBrief::Local,
            },
        }
    }

    /// A record that stands as this one; what its installer knows is made up.
    fn record(&self) -> Option<HostRecord> {
        let by = Credential {
            token: Token::SAMPLE,
            address: Ipv4Addr::UNSPECIFIED,
        };
        let state = match self.state {
            StateInBrief::Armed { until } => HostState::Armed { until },
            StateInBrief::Installing { deadline } => HostState::Installing(Install {
                credential: by,
                tries: 1,
                last: InstallStep::Script,
                deadline,
            }),
            StateInBrief::Installed => HostState::Installed { by },
            StateInBrief::Failed => HostState::Failed {
                why: InstallFailure::Silent,
                last: InstallStep::Script,
                by: None,
            },
            StateInBrief::Local => HostState::Local,
        };
        Some(HostRecord {
            name: self.host.parse().ok()?,
            machine: Fingerprint(self.machine),
            state,
            since: WallTime(0),
            by: By::Inventory,
        })
    }
}
