//! What every server knows in common: the generation in force, leases, what machines told of themselves, what
//! happens to them, and what is counted. No sockets here: `net` and `daemon` stand above.
//!
//! - [`commit`] is where lease changes become durable; [`calendar`] keeps their ends on disk right when this host's
//!   clock is set.
//! - [`events`] is the one door for everything that happens to a machine, and [`log`] its lines.
//! - [`counters`] counts, and [`transfers`] knows how far each transfer is.
//! - [`ports`] has the disk know at which switch ports addresses were given.
//! - `rendering` is the threads that render texts.
//! - [`clock`] is the only place that reads one.
//!
//! Architecture invariant: the lease table's lock is never held across an `await`, and no sentence is made under it.

pub mod calendar;
pub mod clock;
pub mod commit;
pub mod counters;
pub mod events;
pub mod log;
pub mod ports;
mod rendering;
pub mod transfers;

pub use clock::Clock;
pub use commit::{Durable, LeaseLog};
pub use counters::{Counter, Counters};
pub use events::{Events, Subscription};
pub use log::LogThrottle;

use crate::boot::{
    event::{Machine, RequestedFile, Stage, Subject},
    identity_cache::IdentityCache,
    resource::{FileRequest, Inquiry, is_client_address, machine_at},
    snapshot::Snapshot,
    verification::Verification,
    world::{FileWorld, World},
};
use crate::lease::LeaseTable;
use arc_swap::ArcSwap;
use std::{
    net::Ipv4Addr,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;
use transfers::Transfers;

/// When each thing is logged again that concerns many machines, and would be logged for every one of them.
#[derive(Debug, Default)]
pub struct LogThrottles {
    /// So many machines wait for image files that no other may.
    pub too_many_wait: LogThrottle,
    /// No more HTTP connections are taken.
    pub http_full: LogThrottle,
    /// HTTP connections give way.
    pub http_evicted: LogThrottle,
    /// No more TFTP transfers are begun.
    pub tftp_full: LogThrottle,
    /// Threads that render are stuck, and not replaced.
    pub render_thread_stuck: LogThrottle,
}

/// What every server shares.
pub struct Shared {
    /// The generation that answers; swapped whole by a reload.
    pub snapshot: ArcSwap<Snapshot>,
    /// Every dynamic lease and offer.
    leases: Mutex<LeaseTable>,
    /// What machines told of themselves. Locked after the lease table where both are.
    identities: Mutex<IdentityCache>,
    /// What is known of the bytes of artifacts. Locked for a moment only, and last where others are.
    verification: Mutex<Verification>,
    /// What happens to machines: the one door to the log, and to whoever listens.
    pub events: Events,
    /// When an exhausted pool is logged again.
    pub exhausted: LogThrottle,
    /// When it is logged again that a port of entry holds too many offers.
    pub crowded: LogThrottle,
    /// When it is logged again that machines wait for image files.
    pub busy: LogThrottle,
    /// When it is logged again that machines wait for an image that is still being verified.
    pub unverified: LogThrottle,
    /// When other things that concern many machines are logged again.
    pub log_throttles: LogThrottles,
    /// Whoever waits for an artifact to be verified is told of every one that was read to its end.
    pub verified: Notify,
    /// Where lease changes become durable.
    pub lease_log: Box<dyn LeaseLog>,
    /// The time that decisions are made at.
    pub clock: Clock,
    /// What was counted since the start.
    pub counters: Counters,
    /// Files on their way, and how far each is.
    pub transfers: Transfers,
    /// The threads that render texts.
    pub(in crate::state) rendering: rendering::Rendering,
}

impl Shared {
    /// What is known at a start: a generation, and the leases on disk.
    pub fn new(clock: Clock, snapshot: Snapshot, leases: LeaseTable, lease_log: Box<dyn LeaseLog>) -> Shared {
        Shared {
            snapshot: ArcSwap::from_pointee(snapshot),
            leases: Mutex::new(leases),
            identities: Mutex::default(),
            verification: Mutex::default(),
            events: Events::default(),
            exhausted: LogThrottle::default(),
            crowded: LogThrottle::default(),
            busy: LogThrottle::default(),
            unverified: LogThrottle::default(),
            log_throttles: LogThrottles::default(),
            verified: Notify::new(),
            lease_log,
            clock,
            counters: Counters::default(),
            transfers: Transfers::default(),
            rendering: rendering::Rendering::default(),
        }
    }

    /// The lease table, locked. A panic under the lock leaves a table that is still sound for
    /// everybody else: each change of it is one step.
    pub fn lease_table(&self) -> MutexGuard<'_, LeaseTable> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What machines told of themselves, locked.
    pub fn identities(&self) -> MutexGuard<'_, IdentityCache> {
        self.identities.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of the bytes of artifacts, locked.
    pub fn verification(&self) -> MutexGuard<'_, Verification> {
        self.verification.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a machine has an address, as far as is known.
    pub fn is_client_address(&self, address: Ipv4Addr) -> bool {
        let snapshot = self.snapshot.load();
        let mut leases = self.lease_table();
        is_client_address(&self.world(&snapshot, &mut leases), &self.identities(), address)
    }

    /// A request that nobody looks at any closer, as the machine's that holds its client's address.
    pub fn unread(&self, file: RequestedFile, peer: Ipv4Addr) -> Subject {
        Subject {
            machine: self.machine_at(peer),
            stage: Stage::Unknown,
            file,
        }
    }

    /// The machine that holds an address.
    pub fn machine_at(&self, address: Ipv4Addr) -> Machine {
        let snapshot = self.snapshot.load();
        let mut leases = self.lease_table();
        machine_at(&self.world(&snapshot, &mut leases), &self.identities(), address)
    }

    /// A request, once it is known who asks. The locks are held no longer.
    fn inquiry<'a>(&self, snapshot: &'a Snapshot, ask: &'a FileRequest<'a>) -> Inquiry<'a> {
        let mut leases = self.lease_table();
        let mut identities = self.identities();
        let verification = self.verification();
        let files = FileWorld {
            world: self.world(snapshot, &mut leases),
            identities: &mut identities,
            verification: &verification,
        };
        Inquiry::begin(files, ask)
    }

    /// What is decided from now.
    pub fn world<'s, 't>(&self, snapshot: &'s Snapshot, leases: &'t mut LeaseTable) -> World<'s, 't> {
        World {
            now: self.clock.now(),
            snapshot,
            leases,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::{
        loader::Loaders,
        render::Templates,
        snapshot::{Hosts, Ports, UnknownPolicy},
    };
    use std::sync::Arc;

    /// An empty room.
    pub(in crate::state) fn snapshot() -> Snapshot {
        Snapshot {
            generation: 1,
            ports: Ports { http: 80, tftp: 69 },
            subnets: Vec::new(),
            hosts: Hosts::default(),
            rules: Vec::new(),
            unknown: UnknownPolicy::Discover,
            images: Default::default(),
            loaders: Loaders::default(),
            quirks: Default::default(),
            templates: Templates::new(),
        }
    }

    /// What the servers of an empty room share.
    pub(in crate::state) fn shared_with(lease_log: Box<dyn LeaseLog>) -> Arc<Shared> {
        Arc::new(Shared::new(
            Clock::start(),
            snapshot(),
            LeaseTable::default(),
            lease_log,
        ))
    }
}
