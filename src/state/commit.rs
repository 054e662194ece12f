//! Where changes become durable: the contract between those who answer machines and the disk.

use crate::boot::change::Change;
use crate::lease::{LeaseChange, LeaseRecord, PortRecord};
use crate::model::WallTime;
use crate::store::StoreError;
use std::{future::Future, pin::Pin};

/// Changes on their way to the disk: ready when all are durable, or with why they never will be.
pub type Durable = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

/// Where changes become durable.
pub trait CommitLog: Send + Sync {
    /// Queues `changes` and returns at once: they are written in the order of the calls. The future is ready when
    /// they are on disk; dropping it does not take them back.
    ///
    /// # Errors
    ///
    /// Why none of them was taken: too many wait already, or nobody writes any more.
    fn append(&self, changes: Vec<Change>) -> Result<Durable, StoreError>;

    /// The same for the date by which the ends on disk are written, for the leases and switch ports whose ends
    /// were written by another, and for when it was found by that date that leases were lost: in one commit.
    ///
    /// # Errors
    ///
    /// Why it was not taken.
    fn redate(
        &self,
        date: WallTime,
        (records, ports): (Vec<LeaseRecord>, Vec<PortRecord>),
        lost: Option<WallTime>,
    ) -> Result<Durable, StoreError> {
        // What outlives no restart needs no date.
        let _ = (date, ports, lost);
        let leases = records.into_iter().map(LeaseChange::Put);
        self.append(leases.map(Change::Lease).collect())
    }
}
