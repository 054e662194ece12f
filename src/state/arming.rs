//! What changes of hosts' installs, on its way to the disk and to whoever listens: what time alone changes, and what
//! people, the inventory and machines do.

use super::{Shared, tables::HandedOver};
use crate::boot::{
    arming::{Arming, ArmingChange, NotArmable},
    change::Change,
    event::{Event, Machine, MachineKey, Stage, Step},
    snapshot::Host,
};
use crate::model::{
    By, Name, WallTime,
    limits::{ARMING_POLL_INTERVAL, HOST_RECORDS_MAX},
};
use crate::store::StoreError;
use std::{fmt, sync::Arc, time::Duration};
use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

/// Why nothing was changed of a host's install.
#[derive(Clone, Debug)]
pub enum ArmingError {
    /// The disk did not take it.
    NotStored(StoreError),
    /// More hosts have a state than are kept.
    TooMany,
    /// One of them began to install just now.
    UnderWay(Name),
}

impl fmt::Display for ArmingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArmingError::NotStored(error) => error.fmt(f),
            ArmingError::TooMany => write!(f, "{HOST_RECORDS_MAX} hosts have a state already, as many as are kept"),
            ArmingError::UnderWay(host) => write!(f, "host {host} is being installed since just now"),
        }
    }
}

impl std::error::Error for ArmingError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ArmingError::NotStored(error) => Some(error),
            ArmingError::TooMany | ArmingError::UnderWay(_) => None,
        }
    }
}

/// Ends what hosts are armed for once its time is up, for ever.
pub async fn keep(shared: Arc<Shared>) {
    let mut turn = interval(ARMING_POLL_INTERVAL);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turn.tick().await;
        shared.sweep_arming().await;
    }
}

impl Shared {
    /// Ends what hosts are armed for whose time is up, or who are not what they were.
    pub async fn sweep_arming(&self) {
        let snapshot = self.snapshot.load_full();
        let (changes, handed_over) = {
            let mut leases = self.lease_table();
            let date = leases.date(self.clock.now());
            let changes = leases.arming().sweep(date, &snapshot);
            if changes.is_empty() {
                return;
            }
            let all = changes.iter().cloned().map(Change::Arming).collect();
            let handed_over = leases.log().append(all);
            (changes, handed_over)
        };
        for change in &changes {
            self.publish_arming(change);
        }
        if let Err(error) = self.counting(&changes, handed_over).await {
            debug!("how hosts stand with their installs is not on disk, and written again: {error}");
        }
    }

    /// Arms hosts for so long, with what else has to be on disk then: all of it is there once this is done, or
    /// nothing of it counts.
    ///
    /// # Errors
    /// See [`ArmingError`].
    pub async fn arm(
        &self,
        hosts: &[Arc<Host>],
        (lasting, by): (Duration, By),
        along: Vec<Change>,
    ) -> Result<(), ArmingError> {
        let (armed, handed_over) = {
            let mut leases = self.lease_table();
            let date = leases.date(self.clock.now());
            let until = WallTime(date.0.saturating_add(lasting.as_secs()));
            let mut armed = Vec::new();
            for host in hosts {
                match leases.arming().arm(date, host, (until, by.clone())) {
                    Ok(change) => armed.push(change),
                    Err(why) => {
                        settle(leases.arming(), &armed, false);
                        return Err(match why {
                            NotArmable::TooMany => ArmingError::TooMany,
                            NotArmable::UnderWay => ArmingError::UnderWay(host.name.clone()),
                        });
                    }
                }
            }
            let all = armed.iter().cloned().map(Change::Arming);
            let handed_over = leases.log().append(along.into_iter().chain(all).collect());
            (armed, handed_over)
        };
        let stored = match handed_over {
            Ok(durable) => durable.await,
            Err(error) => Err(error),
        };
        settle(self.lease_table().arming(), &armed, stored.is_ok());
        stored.map_err(ArmingError::NotStored)?;
        for change in &armed {
            self.publish_arming(change);
        }
        Ok(())
    }

    /// Disarms hosts, at once; those that were armed, once that is on disk.
    ///
    /// # Errors
    /// The disk did not take it, which is tried again: none of them installs before a restart.
    pub async fn disarm(&self, hosts: &[Name], by: &By) -> Result<Vec<Name>, ArmingError> {
        let (changes, handed_over) = {
            let mut leases = self.lease_table();
            let date = leases.date(self.clock.now());
            let each = hosts.iter();
            let changes: Vec<ArmingChange> = each
                .filter_map(|host| leases.arming().disarm(date, host, by.clone()))
                .collect();
            if changes.is_empty() {
                return Ok(Vec::new());
            }
            let all = changes.iter().cloned().map(Change::Arming).collect();
            let handed_over = leases.log().append(all);
            (changes, handed_over)
        };
        for change in &changes {
            self.publish_arming(change);
        }
        let written = self.counting(&changes, handed_over).await;
        written.map_err(ArmingError::NotStored)?;
        let records = changes.iter().filter_map(ArmingChange::record);
        Ok(records.map(|record| record.name.clone()).collect())
    }

    /// Waits until states that count at once are on disk too; those that it does not take are written again.
    async fn counting(&self, changes: &[ArmingChange], handed_over: HandedOver) -> Result<(), StoreError> {
        let written = match handed_over {
            Ok(durable) => durable.await,
            Err(error) => Err(error),
        };
        if written.is_err() {
            self.not_written(changes);
        }
        written
    }

    /// Has states that count, and that the disk did not take, written again.
    pub(super) fn not_written(&self, changes: &[ArmingChange]) {
        let mut leases = self.lease_table();
        for change in changes {
            leases.arming().not_written(change);
        }
    }

    /// Says what happened to a host's install, where it is news.
    pub(super) fn publish_arming(&self, change: &ArmingChange) {
        if let (Some(record), Some(event)) = (change.record(), change.event()) {
            self.publish(Event {
                at: self.clock.now(),
                machine: Machine {
                    key: MachineKey::Host(record.name.clone()),
                    ..Machine::default()
                },
                stage: Stage::Unknown,
                quirks: Arc::default(),
                step: Step::Install(event),
            });
        }
    }
}

fn settle(arming: &mut Arming, changes: &[ArmingChange], is_durable: bool) {
    for change in changes {
        arming.settle(change, is_durable);
    }
}
