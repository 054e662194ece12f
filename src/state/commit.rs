//! Where lease changes become durable: the contract between those who answer machines and the disk.

use crate::lease::{LeaseChange, LeaseRecord, PortChange, PortRecord};
use crate::model::WallTime;
use std::{future::Future, pin::Pin};

/// Lease changes on their way to the disk: ready when all are durable, or with why they never will be.
pub type Durable = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// Where lease changes become durable.
pub trait LeaseLog: Send + Sync {
    /// Queues `changes` and returns at once: they are written in the order of the calls. The future is ready when
    /// they are on disk; dropping it does not take them back.
    ///
    /// # Errors
    ///
    /// Why none of them was taken: too many wait already.
    fn append(&self, changes: Vec<LeaseChange>) -> Result<Durable, String>;

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
    ) -> Result<Durable, String> {
        // What outlives no restart needs no date.
        let _ = (date, ports, lost);
        self.append(records.into_iter().map(LeaseChange::Put).collect())
    }

    /// The same for what is new of the switch ports at which addresses were given. No machine waits for it. A log
    /// that outlives nothing keeps none.
    ///
    /// # Errors
    ///
    /// Why none of it was taken.
    fn keep(&self, ports: Vec<PortChange>) -> Result<Durable, String> {
        let _ = ports;
        Ok(Box::pin(std::future::ready(Ok(()))))
    }
}
