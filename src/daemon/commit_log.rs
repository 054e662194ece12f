//! The servers' commit log is the store's writer.

use super::uptime;
use crate::boot::change::Change;
use crate::lease::{LeaseChange, LeaseRecord, PortChange, PortRecord};
use crate::model::WallTime;
use crate::state::{CommitLog, Durable};
use crate::store::{
    StoreError, Write,
    records::{arming, birth::EpochId, calendar, disks, leases, lost, ports, served},
    writer::{Committing, StoreWriter},
};
use std::sync::Arc;

/// The writer, shared with whoever asks after its health.
pub(super) struct StoreLog {
    pub(super) writer: Arc<StoreWriter>,
    /// This host's boot.
    pub(super) boot: Option<u128>,
    /// The store's epoch: who is armed is believed in that one alone.
    pub(super) epoch: EpochId,
}

impl CommitLog for StoreLog {
    fn append(&self, changes: Vec<Change>) -> Result<Durable, StoreError> {
        let (count, epoch) = (changes.len(), self.epoch);
        let writes = move || changes.iter().map(|change| write(change, epoch)).collect();
        durable(self.writer.leases(count, writes))
    }

    fn redate(
        &self,
        date: WallTime,
        (records, ports): (Vec<LeaseRecord>, Vec<PortRecord>),
        lost: Option<WallTime>,
    ) -> Result<Durable, StoreError> {
        let mark = calendar::put(&uptime::mark(date, self.boot));
        let lost = lost.map(|date| lost::put(lost::LossRecord::At(date)));
        let (count, epoch) = (records.len() + ports.len(), self.epoch);
        durable(self.writer.leases_whatever_waits(count, move || {
            let leases = records.into_iter().map(LeaseChange::Put).map(Change::Lease);
            let ports = ports.into_iter().map(PortChange::Put).map(Change::Port);
            leases
                .chain(ports)
                .map(|change| write(&change, epoch))
                .chain([mark])
                .chain(lost)
                .collect()
        }))
    }
}

/// The write that a change is.
fn write(change: &Change, epoch: EpochId) -> Write {
    match change {
        Change::Lease(change) => leases::write(change),
        Change::Port(change) => ports::write(change),
        Change::Arming(change) => arming::write(change, epoch),
        Change::Disks(change) => disks::write(change),
        Change::Served(record) => served::write(record, epoch),
    }
}

/// What the servers wait for: that it is on disk, whichever commit it was.
fn durable(handed_over: Result<Committing, StoreError>) -> Result<Durable, StoreError> {
    let committing = handed_over?;
    Ok(Box::pin(async move { committing.await.map(drop) }))
}
