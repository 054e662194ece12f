//! What decisions are made from: one moment, one generation, and what is known of machines then.
//!
//! Whoever asks for a decision holds the locks of these tables, and nothing here knows of any. DHCP decides by the
//! lease table and by who is armed; files are decided by what machines told of themselves, and by what is known of artifacts' bytes, too.

use crate::boot::{arming::Arming, identity_cache::IdentityCache, snapshot::Snapshot, verification::Verification};
use crate::lease::LeaseTable;
use crate::model::{Now, Token, WallTime};

/// What every decision is made from.
pub struct World<'s, 't> {
    /// This moment.
    pub now: Now,
    /// The generation in force.
    pub snapshot: &'s Snapshot,
    /// Every lease and offer.
    pub leases: &'t mut LeaseTable,
    /// Whose next boot may install.
    pub arming: &'t mut Arming,
}

impl World<'_, '_> {
    /// The date by what is on disk, which nobody can set.
    pub fn date(&self) -> WallTime {
        self.leases.date(self.now)
    }
}

/// What a request for a file is decided from.
pub struct FileWorld<'s, 't> {
    /// What every decision is made from.
    pub world: World<'s, 't>,
    /// What machines told of themselves.
    pub identities: &'t mut IdentityCache,
    /// What is known of the bytes of artifacts.
    pub verification: &'t Verification,
    /// Draws a token by lot.
    pub draw_token: fn() -> Token,
}
