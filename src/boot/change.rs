//! What a decision changes of what is on disk. Whatever tells of it waits until it is there.

use crate::lease::{LeaseChange, PortChange};

/// One change of what is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Of a lease.
    Lease(LeaseChange),
    /// Of where an address was given.
    Port(PortChange),
}
