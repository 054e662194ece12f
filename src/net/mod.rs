//! Sockets and the three servers: thin shells around `proto` and `boot`.
//!
//! A shell receives, asks a pure function, sends and counts; it decides nothing.
//!
//! - [`interface`] is the configured interfaces at one moment: they may appear late, lose their link, go
//!   away and change address. `link_events` is what the kernel tells of that.
//! - [`socket`] is the room of `unsafe`: sockets of one interface, and frames to clients that can't
//!   answer an ARP question yet.
//! - [`frame`] builds the packet in such a frame.
//! - [`holder`] names the process that holds a port we need.
//! - [`dhcp`], [`tftp`] and [`http`] are the servers of one interface; [`servers`] runs them on all.
//! - `threads` keeps HTTP away from everything that is in a hurry.
//! - `probe` asks an address whether somebody uses it, before a machine is offered it.
//! - `solicitations` tells machines in their boot that no IPv6 router is here; `forwarding` knows whether this
//!   host is one.
//! - `neighbours` knows whom on our wires the kernel can send to at once.
//! - `rogue` notices other DHCP servers by their replies.
//! - [`calendar`] keeps the ends of leases on disk right when this host's clock is set.
//! - [`intake`] takes what comes in, and rests after an error.
//! - [`files`] opens files beneath a root, and notices when one changes under a transfer;
//!   [`files::hot`] keeps those whole in memory that many machines fetch at once.
//! - [`limiter`] holds the limits in all and per client, and the line of who waits; [`tasks`] drains what is
//!   under way;
//!   [`eviction`] who gives way where all are taken; [`transfers`] knows how far each transfer is.
//!
//! Architecture invariant: every request is answered from one snapshot, loaded once; nothing is
//! dropped without a counter; the lease table's lock is never held across an `await`.

pub mod calendar;
mod clock;
mod counters;
pub mod dhcp;
pub mod eviction;
pub mod files;
mod forwarding;
pub mod frame;
pub mod holder;
pub mod http;
mod intake;
pub mod interface;
pub mod limiter;
mod link_events;
mod neighbours;
mod probe;
mod rendering;
mod report;
mod rogue;
mod served;
mod servers;
pub mod socket;
mod solicitations;
pub mod tasks;
pub mod tftp;
mod threads;
pub mod transfers;

pub use clock::Clock;
pub use counters::{Counter, Counters};
pub use report::report;
pub use servers::{BindError, ListenConfig, Servers};

use crate::boot::{
    conflicts::ReservationConflicts,
    event::Event,
    identity_cache::IdentityCache,
    loops::LoaderLoops,
    resource::{FileRequest, Inquiry, Resolved, Transport, is_client_address},
    snapshot::Snapshot,
    verification::Verification,
};
use crate::lease::{LeaseChange, LeaseRecord, LeaseTable, PortChange, PortRecord};
use crate::model::WallTime;
use arc_swap::ArcSwap;
use eviction::ClientClass;
use std::{
    future::Future,
    net::Ipv4Addr,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::Notify;
use transfers::Transfers;

/// Lease changes on their way to the disk: ready when all are durable, or with why they never will be.
pub type Durable = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// Where lease changes become durable.
pub trait LeaseLog: Send + Sync {
    /// Queues `changes` and returns at once: they are written in the order of the calls, which are
    /// made under the lease table's lock. The future is ready when they are on disk; dropping it does
    /// not take them back.
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

    /// Queues what is new of the switch ports at which addresses were given. Nobody waits for it: it is told anew with every
    /// renewal, and without it a host that belongs to a port is asked to say that again. A log that outlives
    /// nothing keeps none.
    fn keep(&self, _ports: Vec<PortChange>) {}
}

/// What is said now and then, however often it happens.
#[derive(Debug, Default)]
pub struct LogThrottle {
    due_s: AtomicU64,
}

impl LogThrottle {
    /// Whether it is time to say it, `every` so often; the next time is that much later. Two threads
    /// in the same instant may both say it.
    pub fn is_due(&self, clock: &Clock, every: Duration) -> bool {
        let now_s = clock.monotonic().as_secs();
        let is_due = now_s >= self.due_s.load(Ordering::Relaxed);
        if is_due {
            self.due_s.store(now_s + every.as_secs(), Ordering::Relaxed);
        }
        is_due
    }
}

/// When each thing is said again that concerns many machines, and would be said for every one of them.
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
    pub leases: Mutex<LeaseTable>,
    /// What machines said of themselves. Locked after the lease table where both are.
    pub identities: Mutex<IdentityCache>,
    /// What is known of the bytes of artifacts. Locked for a moment only, and last where others are.
    pub verification: Mutex<Verification>,
    /// Machines that may be caught between their firmware and their loader.
    pub loops: Mutex<LoaderLoops>,
    /// Hosts that decline their own address again and again.
    pub conflicts: Mutex<ReservationConflicts>,
    /// When an exhausted pool is said again.
    pub exhausted: LogThrottle,
    /// When it is said again that a port of entry holds too many offers.
    pub crowded: LogThrottle,
    /// When it is said again that machines wait for image files.
    pub busy: LogThrottle,
    /// When it is said again that machines wait for an image that is still being verified.
    pub unverified: LogThrottle,
    /// When other things that concern many machines are said again.
    pub log_throttles: LogThrottles,
    /// Whoever waits for an artifact to be verified is told of every one that was read to its end.
    pub verified: Notify,
    /// Where lease changes become durable.
    pub lease_log: Box<dyn LeaseLog>,
    /// The loaders that machines fetch.
    pub hot_files: Arc<files::hot::HotFiles>,
    /// How the interfaces stand that are to be served.
    pub interfaces: ArcSwap<Vec<interface::InterfaceState>>,
    /// The time that decisions are made at.
    pub clock: Clock,
    /// What was counted since the start.
    pub counters: Counters,
    /// Files on their way, and how far each is.
    pub transfers: Transfers,
    /// The threads that render texts.
    pub rendering: rendering::Rendering,
}

impl Shared {
    /// The lease table, locked. A panic under the lock leaves a table that is still sound for
    /// everybody else: each change of it is one step.
    pub fn lease_table(&self) -> MutexGuard<'_, LeaseTable> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What machines said of themselves, locked.
    pub fn identities(&self) -> MutexGuard<'_, IdentityCache> {
        self.identities.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of the bytes of artifacts, locked.
    pub fn verification(&self) -> MutexGuard<'_, Verification> {
        self.verification.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hosts that decline their own address, locked.
    pub(in crate::net) fn conflicts(&self) -> MutexGuard<'_, ReservationConflicts> {
        self.conflicts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what happened to a machine, and raises the alarm if it is going round in circles.
    pub fn report(&self, event: &Event) {
        if self.conflicts().is_repeat(self.clock.now(), event) {
            report::report_repeat(event);
        } else {
            report(event);
        }
        if !LoaderLoops::concerns(event) {
            return;
        }
        let alarm = {
            let mut loops = self.loops.lock().unwrap_or_else(PoisonError::into_inner);
            loops.observe(self.clock.now(), event)
        };
        if let Some(alarm) = alarm {
            self.counters.count(Counter::LoaderLoops);
            report(&alarm);
        }
    }

    /// What is known of an address that asks for a place.
    pub fn class(&self, client: Ipv4Addr) -> ClientClass {
        let snapshot = self.snapshot.load();
        let leases = self.lease_table();
        match is_client_address(self.clock.now(), &snapshot, &leases, &self.identities(), client) {
            true => ClientClass::Known,
            false => ClientClass::Unknown,
        }
    }

    /// A request that nobody looks at any closer, as the machine's that holds its client's address.
    pub fn unread(&self, what: &str, peer: Ipv4Addr) -> Resolved {
        let resolved = self.answer(&FileRequest {
            transport: Transport::Http,
            path: b"",
            query: None,
            peer,
            server: Ipv4Addr::UNSPECIFIED,
        });
        Resolved {
            what: format!("{what} of {peer}"),
            ..resolved
        }
    }

    /// Resolves one request for a file, from one snapshot; where a text is to be rendered, on this thread.
    fn answer(&self, ask: &FileRequest<'_>) -> Resolved {
        // Not a guard: rendering may take a while, and few guards are to be had at once.
        let snapshot = self.snapshot.load_full();
        // Without the locks: a template at the end of its fuel must not hold up anybody's lease.
        self.inquiry(&snapshot, ask).answer()
    }

    /// A request, once it is known who asks. The locks are held no longer.
    fn inquiry<'a>(&self, snapshot: &'a Snapshot, ask: &'a FileRequest<'a>) -> Inquiry<'a> {
        let leases = self.lease_table();
        let mut identities = self.identities();
        let verification = self.verification();
        Inquiry::begin(self.clock.now(), snapshot, &leases, &mut identities, &verification, ask)
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

    /// An empty room.
    pub(super) fn snapshot() -> Snapshot {
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
    pub(super) fn shared_with(lease_log: Box<dyn LeaseLog>) -> Arc<Shared> {
        Arc::new(Shared {
            snapshot: ArcSwap::from_pointee(snapshot()),
            leases: Mutex::default(),
            identities: Mutex::default(),
            verification: Mutex::default(),
            loops: Mutex::default(),
            conflicts: Mutex::default(),
            exhausted: LogThrottle::default(),
            crowded: LogThrottle::default(),
            busy: LogThrottle::default(),
            unverified: LogThrottle::default(),
            log_throttles: LogThrottles::default(),
            verified: Notify::new(),
            lease_log,
            hot_files: Arc::default(),
            interfaces: ArcSwap::default(),
            clock: Clock::start(),
            counters: Counters::default(),
            transfers: Transfers::default(),
            rendering: rendering::Rendering::default(),
        })
    }
}
