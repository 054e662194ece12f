//! Which address of a range is given out next, without a search over the range.
//!
//! Every range that has been used has a cursor over its addresses that never had an entry, and its
//! entries in the order in which they may be used again. Both are rebuilt from the table when a
//! reload redraws a range.

use crate::model::AddressRange;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    time::Duration,
};

/// How much an entry is worth keeping for its client: the cheap ones are used again first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ReusePriority {
    /// It was only ever offered.
    Offer,
    /// Another machine uses it, or did: it has no client any more.
    Declined,
    /// A client had it.
    Lease,
}

/// When an entry may be used again: when its present state ends, by monotonic time.
pub(super) type ReuseOrder = (ReusePriority, Duration);

#[derive(Clone, Debug)]
struct RangeState {
    range: AddressRange,
    /// Addresses below this index have an entry or were skipped.
    cursor: u64,
    by_reuse: BTreeSet<(ReusePriority, Duration, Ipv4Addr)>,
}

/// The ranges in use, by their first address; none overlaps another.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranges(BTreeMap<Ipv4Addr, RangeState>);

impl Ranges {
    /// Makes `range` known. `entries` gives the table's entries inside a range, and is asked only
    /// when the range is new or was redrawn.
    pub(super) fn know(&mut self, range: AddressRange, entries: impl FnOnce() -> Vec<(Ipv4Addr, ReuseOrder)>) {
        let known = self.0.get(&range.first()).is_some_and(|state| state.range == range);
        if known {
            return;
        }
        self.0.retain(|_, state| !state.range.overlaps(range));
        let by_reuse = entries()
            .into_iter()
            .map(|(address, (priority, ends))| (priority, ends, address))
            .collect();
        let state = RangeState {
            range,
            cursor: 0,
            by_reuse,
        };
        self.0.insert(range.first(), state);
    }

    /// Moves an entry's turn: from `old` (`None`: it is new) to `new`.
    pub(super) fn moved(&mut self, address: Ipv4Addr, old: Option<ReuseOrder>, new: ReuseOrder) {
        let below = self.0.range_mut(..=address).next_back();
        let Some((_, state)) = below.filter(|(_, state)| state.range.contains(address)) else {
            return;
        };
        if let Some((priority, ends)) = old {
            state.by_reuse.remove(&(priority, ends, address));
        }
        state.by_reuse.insert((new.0, new.1, address));
    }

    /// The next address of a known range that never had an entry and that `usable` allows. The
    /// cursor passes each address once, so the work is constant over the range's life.
    pub(super) fn fresh(&mut self, range: AddressRange, usable: impl Fn(Ipv4Addr) -> bool) -> Option<Ipv4Addr> {
        let state = self.0.get_mut(&range.first())?;
        while let Some(address) = range.nth(state.cursor) {
            state.cursor += 1;
            if usable(address) {
                return Some(address);
            }
        }
        None
    }

    /// The entry of a known range that ended longest ago, offers before leases.
    pub(super) fn oldest_ended(
        &self,
        range: AddressRange,
        now: Duration,
        usable: impl Fn(Ipv4Addr) -> bool,
    ) -> Option<(ReuseOrder, Ipv4Addr)> {
        let state = self.0.get(&range.first())?;
        let lowest = Ipv4Addr::UNSPECIFIED;
        [ReusePriority::Offer, ReusePriority::Declined, ReusePriority::Lease]
            .into_iter()
            .find_map(|priority| {
                state
                    .by_reuse
                    .range((priority, Duration::ZERO, lowest)..=(priority, now, Ipv4Addr::BROADCAST))
                    .find(|(_, _, address)| usable(*address))
                    .map(|(priority, ends, address)| ((*priority, *ends), *address))
            })
    }
    /// The entry of a known range that is in quarantine, and longest.
    pub(super) fn oldest_declined(
        &self,
        range: AddressRange,
        usable: impl Fn(Ipv4Addr) -> bool,
    ) -> Option<(Duration, Ipv4Addr)> {
        let first = (ReusePriority::Declined, Duration::ZERO, Ipv4Addr::UNSPECIFIED);
        let last = (ReusePriority::Declined, Duration::MAX, Ipv4Addr::BROADCAST);
        let mut disputed = self.0.get(&range.first())?.by_reuse.range(first..=last);
        disputed
            .find(|(_, _, address)| usable(*address))
            .map(|(_, ends, address)| (*ends, *address))
    }
}
