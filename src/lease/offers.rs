//! Which offers are held for strangers, by where those came in.
//!
//! An offer costs its asker one packet from an invented MAC, and holds an address. So the offers of one
//! pool are counted by attachment point, and a port with many of them gives way to one with few. Offers to
//! listed hosts, and addresses that a client had before, are not counted and never give way.

use crate::model::{limits, text};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::Ipv4Addr,
    ops::Bound,
    sync::Arc,
    time::Duration,
};

/// Where a machine's packets come in, as finely as we are told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct AttachmentPoint {
    /// The interface of ours.
    pub interface: Arc<str>,
    /// The relay that passed them on.
    pub relay: Option<Ipv4Addr>,
    /// The switch port that option 82 names.
    pub switch_port: Option<Arc<str>>,
}

impl AttachmentPoint {
    /// How many offers of one pool it may hold at once.
    fn offers_max(&self) -> usize {
        match self.switch_port {
            Some(_) => limits::OFFERS_PER_SWITCH_PORT_MAX,
            None => limits::OFFERS_PER_INTERFACE_MAX,
        }
    }

    /// Whether it may take an address from `other`, when both are at the same pool. On one wire anybody
    /// can write an option 82: the names that it invents must not gain over those who name no port.
    fn may_evict(&self, other: &AttachmentPoint) -> bool {
        let is_same_wire = self.interface == other.interface && self.relay == other.relay;
        !(is_same_wire && self.switch_port.is_some() && other.switch_port.is_none())
    }
}

impl fmt::Display for AttachmentPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "interface {}", self.interface)?;
        if let Some(relay) = self.relay {
            write!(f, ", relay {relay}")?;
        }
        match &self.switch_port {
            Some(port) => write!(f, ", switch port {}", text::escape(port.as_bytes())),
            None => Ok(()),
        }
    }
}

/// An attachment point that holds more offers than others, or than it may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverQuota {
    /// The port.
    pub port: Arc<AttachmentPoint>,
    /// How many offers it holds.
    pub offers: usize,
}

/// A port at one pool, which is named by its first address.
type QuotaKey = (Ipv4Addr, Arc<AttachmentPoint>);

/// The offers held for strangers.
#[derive(Clone, Debug, Default)]
pub(super) struct Offers {
    at: BTreeMap<Ipv4Addr, (Duration, QuotaKey)>,
    /// By place: when they end, the oldest first.
    held: BTreeMap<QuotaKey, BTreeSet<(Duration, Ipv4Addr)>>,
    /// Pool, number of offers, port. `None` stands before every port, and only ever in a search.
    by_number: BTreeSet<(Ipv4Addr, usize, Option<Arc<AttachmentPoint>>)>,
}

impl Offers {
    /// Counts the offer of `address`, which ends at `ends`.
    pub(super) fn add(&mut self, address: Ipv4Addr, ends: Duration, place: &QuotaKey) {
        self.at.insert(address, (ends, place.clone()));
        self.change(place, |held| {
            held.insert((ends, address));
        });
    }

    /// Forgets the offer of `address`: it was taken, taken back, or given to another client.
    pub(super) fn forget(&mut self, address: Ipv4Addr) {
        if let Some((ends, place)) = self.at.remove(&address) {
            self.change(&place, |held| {
                held.remove(&(ends, address));
            });
        }
    }

    /// The crowd that a place is, where it holds all the offers it may.
    pub(super) fn full(&mut self, now: Duration, place: &QuotaKey) -> Option<OverQuota> {
        let offers = self.number(now, place);
        (offers >= place.1.offers_max()).then(|| OverQuota {
            port: Arc::clone(&place.1),
            offers,
        })
    }

    /// The oldest offer of a place: when it ends, and its address.
    pub(super) fn oldest(&self, place: &QuotaKey) -> Option<(Duration, Ipv4Addr)> {
        self.held.get(place)?.first().copied()
    }

    /// The port that holds most offers of `pool` and would still hold no fewer than `port` after one had
    /// gone from it to `port`; `None` for a listed host, which may have anybody's.
    pub(super) fn largest_holder(
        &mut self,
        now: Duration,
        pool: Ipv4Addr,
        port: Option<&Arc<AttachmentPoint>>,
    ) -> Option<OverQuota> {
        let own = port.map_or(0, |port| self.number(now, &(pool, Arc::clone(port))));
        let fewest = port.map_or(1, |_| own + 2);
        let mut above = (pool, usize::MAX, None);
        loop {
            let searched = (Bound::Included((pool, fewest, None)), Bound::Excluded(above));
            let found = self.by_number.range(searched).next_back()?.clone();
            let largest_holder = found.2.clone()?;
            let offers = self.number(now, &(pool, Arc::clone(&largest_holder)));
            // Offers that had ended were counted until now: what is left has a place of its own below.
            if offers == found.1 && port.is_none_or(|port| port.may_evict(&largest_holder)) {
                return Some(OverQuota {
                    port: largest_holder,
                    offers,
                });
            }
            above = found;
        }
    }

    /// How many offers a place holds now. Each offer that has ended is dropped once.
    fn number(&mut self, now: Duration, place: &QuotaKey) -> usize {
        while let Some((_, address)) = self.oldest(place).filter(|(ends, _)| *ends <= now) {
            self.forget(address);
        }
        self.held.get(place).map_or(0, BTreeSet::len)
    }

    fn change(&mut self, place: &QuotaKey, change: impl FnOnce(&mut BTreeSet<(Duration, Ipv4Addr)>)) {
        let (pool, port) = place;
        let held = self.held.entry(place.clone()).or_default();
        let before = held.len();
        change(held);
        let after = held.len();
        self.by_number.remove(&(*pool, before, Some(Arc::clone(port))));
        if after == 0 {
            self.held.remove(place);
        } else {
            self.by_number.insert((*pool, after, Some(Arc::clone(port))));
        }
    }
}
