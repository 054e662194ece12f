//! What a decision changes of what is on disk. Whatever tells of it waits until it is there.

use crate::boot::arming::{ArmingChange, DiskReportChange, served::ServedRecord};
use crate::lease::{LeaseChange, PortChange};

/// One change of what is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Of a lease.
    Lease(LeaseChange),
    /// Of where an address was given.
    Port(PortChange),
    /// Of a host's install.
    Arming(ArmingChange),
    /// Of what a machine told of its disks.
    Disks(DiskReportChange),
    /// Of which hosts were served.
    Served(ServedRecord),
}
