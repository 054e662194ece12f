//! What decisions are made from: one moment, one generation, and what is known of machines then.
//!
//! Whoever asks for a decision holds the locks of these tables, and nothing here knows of any. DHCP decides by the
//! lease table; files are decided by what machines told of themselves, and by what is known of artifacts' bytes, too.

use crate::boot::{identity_cache::IdentityCache, snapshot::Snapshot, verification::Verification};
use crate::lease::LeaseTable;
use crate::model::Now;

/// What every decision is made from.
pub struct World<'s, 't> {
    /// This moment.
    pub now: Now,
    /// The generation in force.
    pub snapshot: &'s Snapshot,
    /// Every lease and offer.
    pub leases: &'t mut LeaseTable,
}

/// What a request for a file is decided from.
pub struct FileWorld<'s, 't> {
    /// What every decision is made from.
    pub world: World<'s, 't>,
    /// What machines told of themselves.
    pub identities: &'t mut IdentityCache,
    /// What is known of the bytes of artifacts.
    pub verification: &'t Verification,
}
