//! The servers' commit log is the store's writer.

use super::uptime;
use crate::boot::change::Change;
use crate::lease::{LeaseChange, LeaseRecord, PortChange, PortRecord};
use crate::model::WallTime;
use crate::state::{CommitLog, Durable};
use crate::store::{
    StoreError, Write,
    records::{calendar, leases, lost, ports},
    writer::{Committing, StoreWriter},
};
use std::sync::Arc;

/// The writer, shared with whoever asks after its health.
pub(super) struct StoreLog {
    pub(super) writer: Arc<StoreWriter>,
    /// This host's boot.
    pub(super) boot: Option<u128>,
}

impl CommitLog for StoreLog {
    fn append(&self, changes: Vec<Change>) -> Result<Durable, String> {
        let count = changes.len();
        durable(self.writer.leases(count, move || changes.iter().map(write).collect()))
    }

    fn redate(
        &self,
        date: WallTime,
        (records, ports): (Vec<LeaseRecord>, Vec<PortRecord>),
        lost: Option<WallTime>,
    ) -> Result<Durable, String> {
        let mark = calendar::put(&uptime::mark(date, self.boot));
        let lost = lost.map(|date| lost::put(lost::LossRecord::At(date)));
        let count = records.len() + ports.len();
        durable(self.writer.leases_whatever_waits(count, move || {
            let leases = records.into_iter().map(LeaseChange::Put).map(Change::Lease);
            let ports = ports.into_iter().map(PortChange::Put).map(Change::Port);
            leases
                .chain(ports)
                .map(|change| write(&change))
                .chain([mark])
                .chain(lost)
                .collect()
        }))
    }
}

/// The write that a change is.
fn write(change: &Change) -> Write {
    match change {
        Change::Lease(change) => leases::write(change),
        Change::Port(change) => ports::write(change),
    }
}

/// What the servers are told: they act alike upon every reason.
fn durable(handed_over: Result<Committing, StoreError>) -> Result<Durable, String> {
    let committing = handed_over.map_err(|error| error.to_string())?;
    Ok(Box::pin(async move {
        committing.await.map(drop).map_err(|error| error.to_string())
    }))
}
