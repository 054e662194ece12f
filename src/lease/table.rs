//! The lease table: one entry an address, one client an entry.

mod clock;
mod durable;
mod selection;

pub use selection::{AddressRequest, Freshness, Offer};

use super::{
    Lease, LeaseChange, LeaseRecord, LeaseState,
    calendar::Calendar,
    offers::Offers,
    ports::PortBindings,
    ranges::{Ranges, ReuseOrder, ReusePriority},
};
use crate::model::{HardwareAddr, Now, limits};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    time::Duration,
};

/// What an entry is doing until it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HoldState {
    Offered,
    /// Offered as soon as a probe finds it unused.
    Probing {
        since: Duration,
    },
    Leased,
    /// In use by reservation: not to be leased to anybody else, and on no disk.
    Reserved(Tenure),
    /// Released: ended from the moment it was.
    Released,
    Quarantined,
}

/// How long a client means to use an address that is reserved for its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tenure {
    /// Firmware or a loader: until whatever boots next asks for itself.
    Boot,
    /// A system, which renews it.
    System,
}

#[derive(Clone, Copy, Debug)]
struct LeaseEntry {
    /// `None` only in quarantine.
    client: Option<HardwareAddr>,
    holding: HoldState,
    /// Monotonic; the entry is free for others from here on.
    ends: Duration,
    /// Monotonic; until when the disk says that it is the client's. Zero where it says nothing.
    committed: Duration,
    priority: ReusePriority,
}

impl LeaseEntry {
    fn reuse_order(&self) -> ReuseOrder {
        (self.priority, self.ends)
    }

    fn is_running(&self, now: Now) -> bool {
        self.ends > now.monotonic
    }

    fn is_probed_for(&self, client: HardwareAddr) -> bool {
        self.client == Some(client) && matches!(self.holding, HoldState::Probing { .. })
    }
}

/// The find that leases were lost.
#[derive(Clone, Copy, Debug)]
struct StoreLoss {
    /// Monotonic; when this table was told.
    told: Duration,
    /// How much time had passed by then.
    before: Duration,
}

/// Every dynamic lease and offer.
#[derive(Clone, Debug, Default)]
pub struct LeaseTable {
    entries: BTreeMap<Ipv4Addr, LeaseEntry>,
    /// The same entries by client, so that a returning one finds its address.
    by_client: BTreeSet<(HardwareAddr, Ipv4Addr)>,
    ranges: Ranges,
    offers: Offers,
    /// At which switch ports hosts that belong to one were given their addresses.
    pub ports: PortBindings,
    /// When this table began with what the disk had; `None` where it began with nothing.
    restored: Option<Duration>,
    /// The same, where leases were given from there before.
    resumed: Option<Duration>,
    /// That leases were found lost.
    lost: Option<StoreLoss>,
    /// By which ends are written to disk.
    calendar: Calendar,
    /// How often the calendar went on by a leap.
    leaps: u64,
    /// What is on disk does not know of the last one.
    is_undated: bool,
    /// It is on its way there.
    is_being_redated: bool,
    /// Leases that ended while the daemon was not running, if the clock was right.
    uncertain: Vec<clock::UncertainLease>,
}

impl LeaseTable {
    /// Puts back what the store kept. Records that make no sense are returned with the reason.
    ///
    /// What remains of a lease is counted by the calendar on disk, by which it is `now`, and cut at [`limits::LEASE_MAX`]: a calendar that was wrong may not hold an address for ever.
    /// Leases that ended meanwhile come back in the order in which they ended, so that the ones that
    /// ended longest ago are given to others first.
    pub fn restore(&mut self, now: Now, mut records: Vec<LeaseRecord>) -> Vec<(LeaseRecord, &'static str)> {
        let mut refused = Vec::new();
        self.restored = Some(now.monotonic);
        self.calendar = Calendar::resumed(now);
        records.sort_by_key(|record| (record.expires, record.address));
        for (place, record) in (0..).zip(records) {
            match self.invalid_reason(&record) {
                Some(reason) => refused.push((record, reason)),
                None => self.restore_one(now, &record, Duration::from_nanos(place)),
            }
        }
        refused
    }

    /// Who holds `address` now: who was acknowledged it, not who was merely offered it.
    pub fn client_at(&self, now: Now, address: Ipv4Addr) -> Option<HardwareAddr> {
        self.entries
            .get(&address)
            .filter(|entry| entry.holding == HoldState::Leased && entry.is_running(now))
            .and_then(|entry| entry.client)
    }

    /// Who was acknowledged `address` and may use it still, by lease or by reservation.
    pub fn holder_at(&self, now: Now, address: Ipv4Addr) -> Option<HardwareAddr> {
        self.entries
            .get(&address)
            .filter(|entry| {
                matches!(entry.holding, HoldState::Leased | HoldState::Reserved(_)) && entry.is_running(now)
            })
            .and_then(|entry| entry.client)
    }

    /// The same, but for who was acknowledged it as firmware: that gives way to its host's system, and to the
    /// firmware of its other interfaces.
    pub fn lasting_holder_at(&self, now: Now, address: Ipv4Addr) -> Option<HardwareAddr> {
        let is_lasting = |entry: &&LeaseEntry| entry.holding != HoldState::Reserved(Tenure::Boot);
        let lasting = self.entries.get(&address).filter(is_lasting);
        lasting.and_then(|_| self.holder_at(now, address))
    }

    /// Whether a client may hold an address by reservation unknown to us, since before the last restart: such a
    /// hold is on no disk, and its holder renews it within the lease time `lasting`.
    pub fn may_have_forgotten(&self, now: Now, lasting: Duration) -> bool {
        self.restored
            .is_some_and(|restored| now.monotonic.saturating_sub(restored) < lasting)
    }

    /// Takes that the disk lost leases, and it is unknown which: that was found so long ago.
    pub fn lose(&mut self, now: Now, passed: Duration) {
        self.lost = Some(StoreLoss {
            told: now.monotonic,
            before: passed,
        });
    }

    /// Whether a machine may use an address by a lease that the disk lost: they last so long.
    pub fn may_have_lost(&self, now: Now, lasting: Duration) -> bool {
        self.since_loss(now).is_some_and(|passed| passed < lasting)
    }

    /// How long ago it was found that the disk lost leases; `None` where it never did.
    pub fn since_loss(&self, now: Now) -> Option<Duration> {
        let StoreLoss { told, before } = self.lost?;
        Some(now.monotonic.saturating_sub(told).saturating_add(before))
    }

    /// Every dynamic address of the table in order, ended ones included.
    pub fn iter(&self, now: Now) -> impl Iterator<Item = Lease> + '_ {
        let dynamic = self
            .entries
            .iter()
            .filter(|(_, entry)| !matches!(entry.holding, HoldState::Reserved(_)));
        dynamic.map(move |(address, entry)| Lease {
            address: *address,
            client: entry.client,
            state: match (entry.is_running(now), entry.holding) {
                (false, _) | (true, HoldState::Released) => LeaseState::Ended,
                (true, HoldState::Offered | HoldState::Probing { .. }) => LeaseState::Offered,
                (true, HoldState::Leased | HoldState::Reserved(_)) => LeaseState::Leased,
                (true, HoldState::Quarantined) => LeaseState::Quarantined,
            },
            remaining: entry.ends.saturating_sub(now.monotonic),
        })
    }

    /// The addresses that are `client`'s: leased or offered now, or ended and given to no other since.
    pub fn addresses_of(&self, client: HardwareAddr) -> impl Iterator<Item = Ipv4Addr> + '_ {
        self.by_client
            .range((client, Ipv4Addr::UNSPECIFIED)..=(client, Ipv4Addr::BROADCAST))
            .map(|(_, address)| *address)
    }

    /// The addresses that `client` holds: acknowledged, by lease or by reservation, and not ended.
    pub fn held_by(&self, now: Now, client: HardwareAddr) -> impl Iterator<Item = Ipv4Addr> + '_ {
        self.addresses_of(client)
            .filter(move |address| self.holder_at(now, *address).is_some())
    }

    /// Whether `client` was once acknowledged `address`, which no other client was given since.
    pub fn was_acknowledged(&self, client: HardwareAddr, address: Ipv4Addr) -> bool {
        let entry = self.entries.get(&address);
        entry.is_some_and(|entry| entry.client == Some(client) && entry.priority == ReusePriority::Lease)
    }

    /// Whether `client` could be given `address`: it is the client's own, or no client holds it.
    pub fn is_available(&self, now: Now, client: HardwareAddr, address: Ipv4Addr) -> bool {
        self.entries
            .get(&address)
            .is_none_or(|entry| entry.client == Some(client) || !entry.is_running(now))
    }

    /// Notes that `client` was acknowledged `address` by reservation, for `lasting`. It is not
    /// written to disk: it only keeps the address from others for as long as it is in use, should
    /// the reservation go meanwhile or another machine claim to be the same host.
    ///
    /// A lease that another client has or had of it is over: what is returned takes its record off the disk.
    #[must_use]
    pub fn hold(
        &mut self,
        now: Now,
        client: HardwareAddr,
        address: Ipv4Addr,
        lasting: Duration,
        tenure: Tenure,
    ) -> Option<LeaseChange> {
        let is_others = |entry: &&LeaseEntry| entry.holding == HoldState::Leased && entry.client != Some(client);
        let ousted = self.entries.get(&address).filter(is_others);
        let change = ousted.map(|_| LeaseChange::Remove(address));
        let ends = now.monotonic + lasting.min(limits::LEASE_MAX);
        let is_its = |entry: &&LeaseEntry| entry.client == Some(client) && entry.is_running(now);
        let leased = |entry: &&LeaseEntry| entry.holding == HoldState::Leased && is_its(entry);
        // A lease from before the reservation stays what it is, because its record is on disk; but
        // it lasts as long as the client was told now.
        let entry = match self.entries.get(&address).filter(leased) {
            Some(leased) => LeaseEntry {
                ends: leased.ends.max(ends),
                ..*leased
            },
            None => LeaseEntry {
                client: Some(client),
                holding: HoldState::Reserved(tenure),
                ends,
                committed: Duration::ZERO,
                priority: ReusePriority::Lease,
            },
        };
        self.put(address, entry);
        change
    }

    /// Leases `address` to `client` for `lasting`, or prolongs its lease; the record must be durable
    /// before the client is told. `None` when another client holds the address.
    pub fn lease(
        &mut self,
        now: Now,
        client: HardwareAddr,
        address: Ipv4Addr,
        lasting: Duration,
    ) -> Option<LeaseRecord> {
        if !self.is_available(now, client, address) {
            return None;
        }
        let lasting = lasting.min(limits::LEASE_MAX);
        let kept = self.entries.get(&address).filter(|entry| entry.client == Some(client));
        let committed = kept.map_or(Duration::ZERO, |entry| entry.committed);
        let entry = LeaseEntry {
            client: Some(client),
            holding: HoldState::Leased,
            ends: now.monotonic + lasting,
            committed,
            priority: ReusePriority::Lease,
        };
        self.put(address, entry);
        Some(LeaseRecord {
            address,
            client,
            expires: self.end_on_disk(now, lasting),
        })
    }

    /// Ends `client`'s lease of `address`, which it may get again as long as no other client needs it.
    /// False when the address is not the client's.
    pub fn release(&mut self, now: Now, client: HardwareAddr, address: Ipv4Addr) -> bool {
        self.end(now, client, address, HoldState::Released, now.monotonic)
    }

    /// Takes `client`'s word that another machine uses `address`: no client gets it for
    /// [`limits::DECLINE_QUARANTINE`], unless its pool has nothing else. False when the address is not
    /// the client's to decline.
    pub fn decline(&mut self, now: Now, client: HardwareAddr, address: Ipv4Addr) -> bool {
        let ends = now.monotonic + limits::DECLINE_QUARANTINE;
        self.end(now, client, address, HoldState::Quarantined, ends)
    }

    /// Takes back what was offered to `client` and not acknowledged: it went elsewhere.
    pub fn withdraw_offers(&mut self, now: Now, client: HardwareAddr) {
        let offered: Vec<Ipv4Addr> = self
            .addresses_of(client)
            .filter(|address| {
                let entry = self.entries.get(address);
                entry.is_some_and(|entry| matches!(entry.holding, HoldState::Offered | HoldState::Probing { .. }))
            })
            .collect();
        for address in offered {
            self.end(now, client, address, HoldState::Released, now.monotonic);
        }
    }

    fn end(&mut self, now: Now, client: HardwareAddr, address: Ipv4Addr, holding: HoldState, ends: Duration) -> bool {
        let Some(entry) = self.entries.get(&address) else {
            return false;
        };
        if entry.client != Some(client) || !entry.is_running(now) {
            return false;
        }
        let entry = LeaseEntry {
            client: (holding != HoldState::Quarantined).then_some(client),
            holding,
            ends,
            committed: Duration::ZERO,
            priority: match holding {
                HoldState::Quarantined => ReusePriority::Declined,
                HoldState::Offered
                | HoldState::Probing { .. }
                | HoldState::Leased
                | HoldState::Reserved(_)
                | HoldState::Released => entry.priority,
            },
        };
        self.put(address, entry);
        true
    }

    fn put(&mut self, address: Ipv4Addr, entry: LeaseEntry) {
        let old = self.entries.insert(address, entry);
        let before = old.and_then(|old| old.client);
        if before != entry.client {
            if let Some(client) = before {
                self.by_client.remove(&(client, address));
            }
            if let Some(client) = entry.client {
                self.by_client.insert((client, address));
            }
        }
        self.offers.forget(address);
        self.ranges
            .moved(address, old.map(|old| old.reuse_order()), entry.reuse_order());
    }

    fn invalid_reason(&self, record: &LeaseRecord) -> Option<&'static str> {
        let address = record.address;
        if address.is_unspecified() || address.is_loopback() || address.is_multicast() || address.is_broadcast() {
            return Some("no machine can have this address");
        }
        if record.client.as_bytes().is_empty() {
            return Some("it names no client");
        }
        if self.entries.contains_key(&address) {
            return Some("the address is already in the table");
        }
        None
    }

    /// Puts back one lease; one that has ended did so at `ended` on our clock, which is its turn.
    fn restore_one(&mut self, now: Now, record: &LeaseRecord, ended: Duration) {
        let remaining = Duration::from_secs(record.expires.0.saturating_sub(now.wall.0));
        let ends = match remaining {
            Duration::ZERO => ended.min(now.monotonic),
            remaining => now.monotonic + remaining.min(limits::LEASE_MAX),
        };
        let entry = LeaseEntry {
            client: Some(record.client),
            holding: HoldState::Leased,
            ends,
            committed: ends,
            priority: ReusePriority::Lease,
        };
        self.put(record.address, entry);
    }
}
