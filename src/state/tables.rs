//! The tables that every server shares, and the one order in which they are locked: nobody ever waits for whom it
//! keeps waiting.
//!
//! The lease table comes first, and its guard alone hands changes to the disk: in the order in which they were made.
//! Who needs later tables with it takes all of them at once. By itself a later table is lent to a function that
//! captures nothing, and so can lock no other.

use super::{CommitLog, Durable, token};
use crate::boot::{
    arming::Arming,
    change::Change,
    explain::ScratchTables,
    identity_cache::IdentityCache,
    snapshot::Snapshot,
    verification::Verification,
    world::{FileWorld, World},
};
use crate::lease::LeaseTable;
use crate::model::{MacAddr, Now};
use crate::store::StoreError;
use std::{
    ops::{Deref, DerefMut},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What is changed by what machines do, and is to be on disk before they are told: locked together, because every
/// packet is decided by both.
#[derive(Default)]
struct Durables {
    leases: LeaseTable,
    arming: Arming,
}

/// The tables, in the order in which they are locked.
pub(super) struct Tables {
    /// Every dynamic lease and offer, and whose next boot may install.
    durables: Mutex<Durables>,
    /// What machines told of themselves.
    identities: Mutex<IdentityCache>,
    /// What is known of the bytes of artifacts.
    verification: Mutex<Verification>,
    /// Where changes become durable.
    log: Box<dyn CommitLog>,
}

/// Changes that are on their way to the disk, or why they are not.
pub(super) type HandedOver = Result<Durable, StoreError>;

/// The lease table, and with it whose next boot may install, locked.
pub struct LeaseGuard<'l> {
    durables: MutexGuard<'l, Durables>,
    log: &'l dyn CommitLog,
}

/// What tells machines by their addresses, locked.
pub(super) struct MachineTables<'l> {
    leases: LeaseGuard<'l>,
    identities: MutexGuard<'l, IdentityCache>,
}

/// What requests for files are decided from, locked.
pub(super) struct FileTables<'l> {
    machines: MachineTables<'l>,
    verification: MutexGuard<'l, Verification>,
}

impl Tables {
    pub(super) fn new(leases: LeaseTable, arming: Arming, log: Box<dyn CommitLog>) -> Tables {
        Tables {
            durables: Mutex::new(Durables { leases, arming }),
            identities: Mutex::default(),
            verification: Mutex::default(),
            log,
        }
    }

    pub(super) fn leases(&self) -> LeaseGuard<'_> {
        LeaseGuard {
            durables: lock(&self.durables),
            log: &*self.log,
        }
    }

    pub(super) fn machines(&self) -> MachineTables<'_> {
        MachineTables {
            leases: self.leases(),
            identities: lock(&self.identities),
        }
    }

    pub(super) fn files(&self) -> FileTables<'_> {
        FileTables {
            machines: self.machines(),
            verification: lock(&self.verification),
        }
    }

    /// Copies of what one machine is decided from, without the tokens of installs. Everybody else waits while the leases
    /// are copied, of which all say which address is free (6 ms for 100,000), and for nothing else: each table is copied by
    /// itself.
    pub(super) fn scratch(&self, mac: MacAddr) -> ScratchTables {
        let (leases, arming) = {
            let guard = self.leases();
            let Durables { leases, arming } = &*guard.durables;
            (leases.clone(), arming.clone())
        };
        ScratchTables {
            leases,
            arming: arming.without_tokens(),
            identities: lock(&self.identities).of_machine(mac),
            verification: lock(&self.verification).clone(),
        }
    }

    pub(super) fn identities<A, R>(&self, argument: A, work: fn(&mut IdentityCache, A) -> R) -> R {
        work(&mut lock(&self.identities), argument)
    }

    pub(super) fn verification<A, R>(&self, argument: A, work: fn(&mut Verification, A) -> R) -> R {
        work(&mut lock(&self.verification), argument)
    }
}

impl LeaseGuard<'_> {
    /// Where changes of the tables are handed to the disk.
    pub fn log(&self) -> &dyn CommitLog {
        self.log
    }

    /// What is decided from now.
    pub fn world<'s>(&mut self, now: Now, snapshot: &'s Snapshot) -> World<'s, '_> {
        let Durables { leases, arming } = &mut *self.durables;
        World {
            now,
            snapshot,
            leases,
            arming,
        }
    }

    /// Whose next boot may install.
    pub fn arming(&mut self) -> &mut Arming {
        &mut self.durables.arming
    }
}

impl Deref for LeaseGuard<'_> {
    type Target = LeaseTable;

    fn deref(&self) -> &LeaseTable {
        &self.durables.leases
    }
}

impl DerefMut for LeaseGuard<'_> {
    fn deref_mut(&mut self) -> &mut LeaseTable {
        &mut self.durables.leases
    }
}

impl MachineTables<'_> {
    /// What is decided from now, and what machines told of themselves.
    pub(super) fn lend<'s>(&mut self, now: Now, snapshot: &'s Snapshot) -> (World<'s, '_>, &mut IdentityCache) {
        (self.leases.world(now, snapshot), &mut self.identities)
    }
}

impl FileTables<'_> {
    /// What requests for files are decided from now.
    pub(super) fn lend<'s>(&mut self, now: Now, snapshot: &'s Snapshot) -> FileWorld<'s, '_> {
        let (world, identities) = self.machines.lend(now, snapshot);
        FileWorld {
            world,
            identities,
            verification: &self.verification,
            draw_token: token::draw,
        }
    }

    /// Hands changes that were decided from them to the disk.
    pub(super) fn hand_over(&self, changes: Vec<Change>) -> HandedOver {
        self.machines.leases.log().append(changes)
    }
}

/// A panic under the lock leaves a table that is still sound for everybody else: each change of it is one step.
fn lock<T>(table: &Mutex<T>) -> MutexGuard<'_, T> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}
