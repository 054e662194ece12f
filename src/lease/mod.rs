//! Address pools and the lease table; no I/O and no clock.
//!
//! Owns who holds which dynamic address and until when, and which address a client is given next.
//! Does not own reservations (they are the inventory's), the decision to answer (`boot::engine`) or
//! durability (`store`).
//!
//! Life runs on monotonic time; the calendar stands only in a [`LeaseRecord`], and [`calendar`] says which. Invariant: an address
//! has one entry, and an entry one client, so one address never goes to two clients.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod calendar;
mod offers;
mod ports;
mod ranges;
mod table;
#[cfg(test)]
mod tests;

pub use calendar::{ClockMark, ClockStep};
pub use offers::{AttachmentPoint, OverQuota};
pub use ports::{PortBindings, PortChange, PortId, PortRecord};
pub use table::{AddressRequest, Freshness, LeaseTable, Offer, Tenure};

use crate::model::{HardwareAddr, WallTime};
use std::{fmt, net::Ipv4Addr, time::Duration};

/// One lease as it is kept on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRecord {
    /// The address: the record's key.
    pub address: Ipv4Addr,
    /// Whose it is.
    pub client: HardwareAddr,
    /// When it ends, by the calendar on disk: the host's, as long as its clock was never set back.
    pub expires: WallTime,
}

/// A change of the lease table that must be durable before its reply is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseChange {
    /// The lease is new or prolonged.
    Put(LeaseRecord),
    /// The lease is gone.
    Remove(Ipv4Addr),
}

/// One address of the table, as people are shown it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The address.
    pub address: Ipv4Addr,
    /// Whose it is or was; `None` where a machine without a lease was found using it.
    pub client: Option<HardwareAddr>,
    /// What the address is doing.
    pub state: LeaseState,
    /// How long that lasts; zero for what has ended.
    pub remaining: Duration,
}

/// What an address of the table is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LeaseState {
    /// Set aside for a client that has not asked for it yet.
    Offered,
    /// In use.
    Leased,
    /// Free for any client, kept for its last one as long as no other needs it.
    Ended,
    /// A client found another machine using it: out of use for a while.
    Quarantined,
}

impl fmt::Display for LeaseState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LeaseState::Offered => "offered",
            LeaseState::Leased => "leased",
            LeaseState::Ended => "ended",
            LeaseState::Quarantined => "quarantined",
        })
    }
}
