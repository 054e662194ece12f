//! What every server knows in common: the generation in force, leases, what machines told of themselves, what
//! happens to them, and what is counted. No sockets here: `net` and `daemon` stand above.
//!
//! - [`arming`] ends what hosts are armed for once its time is up, and says so; `token` draws what their installs show.
//! - [`commit`] is where changes become durable; [`calendar`] keeps their ends on disk right when this host's
//!   clock is set.
//! - `hot_images` is how much memory copies of image files may take and do.
//! - [`events`] is the one door for everything that happens to a machine, and [`log`] its lines.
//! - [`counters`] counts, and [`transfers`] knows how far each transfer is.
//! - [`ports`] has the disk know at which switch ports addresses were given.
//! - [`recorder`] keeps the packets of machines' boots.
//! - [`relays`] knows who passes requests on.
//! - `rendering` is the threads that render texts.
//! - `tables` is what is known of machines and artifacts, and the order in which it is locked.
//! - [`clock`] is the only place that reads one.
//!
//! Architecture invariant: the lease table's lock is never held across an `await`, and no sentence is made under it.

pub mod arming;
pub mod calendar;
pub mod clock;
pub mod commit;
pub mod counters;
pub mod events;
pub mod followed;
pub mod hot_images;
pub mod log;
pub mod ports;
pub mod recorder;
pub mod relays;
mod rendering;
mod tables;
mod token;
pub mod transfers;

pub use clock::Clock;
pub use commit::{CommitLog, Durable};
pub use counters::{Counter, Counters};
pub use events::{Events, Subscription};
pub use log::LogThrottle;
pub use tables::LeaseGuard;

use crate::boot::{
    arming::{Arming, ArmingChange},
    change::Change,
    event::{Machine, RequestedFile, Stage, Subject},
    explain::ScratchTables,
    identity_cache::IdentityCache,
    resource::{Decided, FileRequest, InventoryResources, Resources, is_client_address, machine_at},
    snapshot::Snapshot,
    verification::{Verification, VerifiedStamp},
};
use crate::lease::LeaseTable;
use crate::model::MacAddr;
use arc_swap::ArcSwap;
use hot_images::HotImages;
use recorder::Recorder;
use relays::Relays;
use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
};
use tables::{HandedOver, Tables};
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
    /// What is known of machines and artifacts.
    tables: Tables,
    /// What paths stand for.
    pub resources: Box<dyn Resources>,
    /// What happens to machines: the one door to the log, and to whoever listens.
    pub events: Events,
    /// When an exhausted pool is logged again.
    pub exhausted: LogThrottle,
    /// When it is logged again that an attachment point holds too many offers.
    pub crowded: LogThrottle,
    /// When it is logged again that machines wait for image files.
    pub busy: LogThrottle,
    /// When it is logged again that machines wait for an image that is still being verified.
    pub unverified: LogThrottle,
    /// When other things that concern many machines are logged again.
    pub log_throttles: LogThrottles,
    /// Whoever waits for an artifact to be verified is told of every one that was read to its end.
    pub verified: Notify,
    /// Whoever looks after the interfaces is told of every generation: what is served there is up to both.
    pub generation_changed: Notify,
    /// The time that decisions are made at.
    pub clock: Clock,
    /// What was counted since the start.
    pub counters: Counters,
    /// Files on their way, and how far each is.
    pub transfers: Transfers,
    /// Who passes requests on.
    pub relays: Relays,
    /// The packets of machines' boots; switched off until it is told how many bytes they may take.
    pub recorder: Recorder,
    /// The memory that copies of image files take; none may be made until it is told how many bytes.
    pub hot_images: HotImages,
    /// Whom to tell that bytes of an artifact were read that are not its own.
    doubted: OnceLock<Box<dyn Fn() + Send + Sync>>,
    /// The threads that render texts.
    pub(in crate::state) rendering: rendering::Rendering,
}

impl Shared {
    /// What is known at a start: a generation, and what is on disk of leases.
    pub fn new(clock: Clock, snapshot: Snapshot, leases: LeaseTable, commit_log: Box<dyn CommitLog>) -> Shared {
        Shared::restored(clock, snapshot, (leases, Arming::default()), commit_log)
    }

    /// The same, with what is on disk of hosts that were armed.
    pub fn restored(
        clock: Clock,
        snapshot: Snapshot,
        (leases, arming): (LeaseTable, Arming),
        commit_log: Box<dyn CommitLog>,
    ) -> Shared {
        Shared {
            snapshot: ArcSwap::from_pointee(snapshot),
            tables: Tables::new(leases, arming, commit_log),
            resources: Box::new(InventoryResources),
            events: Events::default(),
            exhausted: LogThrottle::default(),
            crowded: LogThrottle::default(),
            busy: LogThrottle::default(),
            unverified: LogThrottle::default(),
            log_throttles: LogThrottles::default(),
            verified: Notify::new(),
            generation_changed: Notify::new(),
            clock,
            counters: Counters::default(),
            transfers: Transfers::default(),
            relays: Relays::default(),
            recorder: Recorder::default(),
            hot_images: HotImages::default(),
            doubted: OnceLock::new(),
            rendering: rendering::Rendering::default(),
        }
    }

    /// Answers from another generation from now on; the one before.
    pub fn put_in_force(&self, snapshot: Arc<Snapshot>) -> Arc<Snapshot> {
        let before = self.snapshot.swap(snapshot);
        self.generation_changed.notify_one();
        before
    }

    /// The lease table, locked.
    pub fn lease_table(&self) -> LeaseGuard<'_> {
        self.tables.leases()
    }

    /// What machines told of themselves, locked for `work` alone, which captures nothing: it may lock no other table.
    ///
    /// ```compile_fail,E0308
    /// # use bootwright::state::Shared;
    /// fn deadlocks(shared: &Shared) {
    ///     shared.identities((), |_, ()| drop(shared.lease_table()));
    /// }
    /// ```
    pub fn identities<A, R>(&self, argument: A, work: fn(&mut IdentityCache, A) -> R) -> R {
        self.tables.identities(argument, work)
    }

    /// What is known of the bytes of artifacts, locked for `work` alone, which captures nothing.
    pub fn verification<A, R>(&self, argument: A, work: fn(&mut Verification, A) -> R) -> R {
        self.tables.verification(argument, work)
    }

    /// Has the one who verifies artifacts hear of it when bytes of one were read that are not its own.
    pub fn when_doubted(&self, told: impl Fn() + Send + Sync + 'static) {
        // There is one.
        drop(self.doubted.set(Box::new(told)));
    }

    /// Other bytes of an artifact were read than `verified` vouches for: it is read anew, and not served meanwhile.
    pub fn doubt(&self, verified: &VerifiedStamp) {
        verified.doubt();
        if let Some(told) = self.doubted.get() {
            told();
        }
    }

    /// Whether a machine has an address, as far as is known.
    pub fn is_client_address(&self, address: IpAddr) -> bool {
        let snapshot = self.snapshot.load();
        let mut tables = self.tables.machines();
        let (world, identities) = tables.lend(self.clock.now(), &snapshot);
        is_client_address(&world, identities, address)
    }

    /// A request that nobody looks at any closer, as the machine's that holds its client's address.
    pub fn unread(&self, file: RequestedFile, peer: impl Into<IpAddr>) -> Subject {
        Subject {
            machine: self.machine_at(peer),
            stage: Stage::Unknown,
            file,
        }
    }

    /// Copies of everything that decisions on one machine are made from, for whoever tries one: nothing comes back.
    pub fn scratch_tables(&self, mac: MacAddr) -> ScratchTables {
        self.tables.scratch(mac)
    }

    /// The machine that holds an address.
    pub fn machine_at(&self, address: impl Into<IpAddr>) -> Machine {
        let snapshot = self.snapshot.load();
        let mut tables = self.tables.machines();
        let (world, identities) = tables.lend(self.clock.now(), &snapshot);
        machine_at(&world, identities, address.into())
    }

    /// What a request comes to, as far as no template has to be rendered for it, with the change that it makes on its
    /// way to the disk. The locks are held until it is known who asks, and no longer.
    fn decide(
        &self,
        snapshot: &Snapshot,
        ask: &FileRequest<'_>,
    ) -> (Decided, Option<(Option<ArmingChange>, HandedOver)>) {
        let (inquiry, handed_over) = {
            let mut tables = self.tables.files();
            let inquiry = self.resources.begin(tables.lend(self.clock.now(), snapshot), ask);
            let changes = inquiry.changes();
            let handed_over = (!changes.is_empty()).then(|| {
                let of_install = changes.iter().find_map(|change| match change {
                    Change::Arming(change) => Some(change.clone()),
                    _ => None,
                });
                (of_install, tables.hand_over(changes))
            });
            (inquiry, handed_over)
        };
        (inquiry.that_keeps_texts().decide(), handed_over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::snapshot;

    /// What the servers of an empty room share.
    pub(in crate::state) fn shared_with(commit_log: Box<dyn CommitLog>) -> Arc<Shared> {
        Arc::new(Shared::new(
            Clock::start(),
            snapshot(),
            LeaseTable::default(),
            commit_log,
        ))
    }
}
