//! Which address of a pool a client is offered.

use super::{HoldState, LeaseEntry, LeaseTable};
use crate::lease::{AttachmentPoint, OverQuota, ranges::ReusePriority};
use crate::model::{AddressRange, HardwareAddr, Now, limits};
use std::{net::Ipv4Addr, sync::Arc, time::Duration};

/// Who seeks an address of a pool.
#[derive(Clone, Copy, Debug)]
pub struct AddressRequest<'a> {
    /// The client.
    pub client: HardwareAddr,
    /// The address it would like.
    pub wanted: Option<Ipv4Addr>,
    /// Where it comes in, if it is unlisted; `None` for a listed host.
    pub unlisted_at: Option<&'a Arc<AttachmentPoint>>,
}

/// Whether a client knows the address that it is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// It had it, or was offered it just now.
    Known,
    /// It is offered it for the first time.
    New,
    /// The same, and whether it is in use is being found out since then, by monotonic time.
    Probing {
        /// The start.
        since: Duration,
    },
}

/// An address that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The address.
    pub address: Ipv4Addr,
    /// Whether the client knows it.
    pub freshness: Freshness,
    /// The attachment point whose oldest offer had to give way for it.
    pub evicted_from: Option<OverQuota>,
}

impl LeaseTable {
    /// Sets an address of `pool` aside: the client's own from last time, else the one it wants, else one
    /// that no client ever had, by its hardware address where that is free, else the one that ended longest ago, else one that is offered to a stranger
    /// (below). Addresses that `usable` refuses are never chosen.
    ///
    /// Offers cost their askers nothing, so a flood of them must not keep out the machines that matter.
    /// A listed host takes the oldest offer of the attachment point that holds most. So does a stranger
    /// whose own port holds fewer; at the port that holds most, and at one that holds all it may, only
    /// an offer gives way that is older than [`limits::OFFER_EVICTION_AGE_MIN`]: its client would have taken it.
    ///
    /// The error is the port that is too crowded, or `None` where the pool is used up.
    pub fn offer(
        &mut self,
        now: Now,
        pool: &[AddressRange],
        seeker: AddressRequest<'_>,
        usable: impl Fn(Ipv4Addr) -> bool,
    ) -> Result<Offer, Option<OverQuota>> {
        let named = pool.first().ok_or(None)?.first();
        let place = seeker.unlisted_at.map(|port| (named, Arc::clone(port)));
        let allowed = |address: Ipv4Addr| pool.iter().any(|range| range.contains(address)) && usable(address);
        let plain = |address| (address, None);
        let chosen = match self.own(now, seeker.client, seeker.wanted, allowed) {
            Some(own) => plain(own),
            None => match place.as_ref().and_then(|place| self.offers.full(now.monotonic, place)) {
                Some(full) => {
                    let oldest = self
                        .oldest_evictable(now, place.as_ref())
                        .filter(|oldest| allowed(*oldest));
                    (oldest.ok_or_else(|| Some(full.clone()))?, Some(full))
                }
                None => match self.choose(now, pool, seeker, &usable) {
                    Some(free) => plain(free),
                    None => self.evict_offer(now, named, seeker.unlisted_at, allowed).ok_or(None)?,
                },
            },
        };
        let (address, evicted_from) = chosen;
        let freshness = self.record_offer(now, seeker.client, address, place.as_ref());
        Ok(Offer {
            address,
            freshness,
            evicted_from,
        })
    }

    /// Notes that `address`, which is offered, is not to be used before a probe found it unused.
    pub fn begin_probe(&mut self, now: Now, address: Ipv4Addr) {
        if let Some(entry) = self.entries.get_mut(&address) {
            entry.holding = HoldState::Probing { since: now.monotonic };
        }
    }

    /// Ends the trial of `address`: no machine uses it. False when it is no longer tried for `client`, and
    /// so is not to be offered.
    pub fn probe_passed(&mut self, client: HardwareAddr, address: Ipv4Addr) -> bool {
        let entry = self.entries.get_mut(&address);
        let tried = entry.filter(|entry| entry.is_probed_for(client));
        tried.map(|entry| entry.holding = HoldState::Offered).is_some()
    }

    /// Ends the trial of `address`: another machine uses it, and it is out of use as if `client` had declined
    /// it. False when it is no longer tried for `client`, who may be the one that uses it.
    pub fn conflict_found(&mut self, now: Now, client: HardwareAddr, address: Ipv4Addr) -> bool {
        let entry = self.entries.get(&address);
        entry.is_some_and(|entry| entry.is_probed_for(client)) && self.decline(now, client, address)
    }

    /// An address of the used-up pool `named` that is offered to a stranger who must give way.
    fn evict_offer(
        &mut self,
        now: Now,
        named: Ipv4Addr,
        port: Option<&Arc<AttachmentPoint>>,
        allowed: impl Fn(Ipv4Addr) -> bool,
    ) -> Option<(Ipv4Addr, Option<OverQuota>)> {
        while let Some(holder) = self.offers.largest_holder(now.monotonic, named, port) {
            let (_, address) = self.offers.oldest(&(named, Arc::clone(&holder.port)))?;
            if allowed(address) {
                return Some((address, Some(holder)));
            }
            // A reload took it out of the pool: it is not ours to give any more.
            self.offers.forget(address);
        }
        let place = port.map(|port| (named, Arc::clone(port)));
        let oldest = self.oldest_evictable(now, place.as_ref())?;
        allowed(oldest).then_some((oldest, None))
    }

    /// The oldest offer of a place, if its client had time enough to take it.
    fn oldest_evictable(&self, now: Now, place: Option<&(Ipv4Addr, Arc<AttachmentPoint>)>) -> Option<Ipv4Addr> {
        let (ends, address) = self.offers.oldest(place?)?;
        let is_optional = ends + limits::OFFER_EVICTION_AGE_MIN > now.monotonic + limits::OFFER_TTL;
        (!is_optional).then_some(address)
    }

    /// Offers `address` to `client`, unless it has it.
    fn record_offer(
        &mut self,
        now: Now,
        client: HardwareAddr,
        address: Ipv4Addr,
        place: Option<&(Ipv4Addr, Arc<AttachmentPoint>)>,
    ) -> Freshness {
        let kept = self.entries.get(&address).filter(|entry| entry.client == Some(client));
        let running = kept.filter(|entry| entry.is_running(now));
        match running.map(|entry| entry.holding) {
            Some(HoldState::Leased | HoldState::Reserved(_)) => return Freshness::Known,
            Some(HoldState::Probing { since }) => return Freshness::Probing { since },
            Some(HoldState::Offered | HoldState::Released | HoldState::Quarantined) | None => {}
        }
        let is_known = running.is_some() || kept.is_some_and(|entry| entry.priority == ReusePriority::Lease);
        let entry = LeaseEntry {
            client: Some(client),
            holding: HoldState::Offered,
            ends: now.monotonic + limits::OFFER_TTL,
            committed: Duration::ZERO,
            priority: kept.map_or(ReusePriority::Offer, |entry| entry.priority),
        };
        self.put(address, entry);
        if let Some(place) = place.filter(|_| entry.priority == ReusePriority::Offer) {
            self.offers.add(address, entry.ends, place);
        }
        if is_known { Freshness::Known } else { Freshness::New }
    }

    /// An address that no client holds.
    fn choose(
        &mut self,
        now: Now,
        pool: &[AddressRange],
        seeker: AddressRequest<'_>,
        usable: impl Fn(Ipv4Addr) -> bool,
    ) -> Option<Ipv4Addr> {
        let allowed = |address: &Ipv4Addr| pool.iter().any(|range| range.contains(*address)) && usable(*address);
        let is_free = |address: &Ipv4Addr| self.is_available(now, seeker.client, *address);
        if let Some(wanted) = seeker.wanted.filter(allowed).filter(is_free) {
            return Some(wanted);
        }
        let LeaseTable { entries, ranges, .. } = self;
        for range in pool {
            ranges.know(*range, || {
                let inside = entries.range(range.first()..=range.last());
                inside.map(|(address, entry)| (*address, entry.reuse_order())).collect()
            });
        }
        let fresh = |address: Ipv4Addr| !entries.contains_key(&address) && usable(address);
        let first = candidates(pool, seeker.client).find(|address| fresh(*address));
        let next = || pool.iter().find_map(|range| ranges.fresh(*range, fresh));
        first.or_else(next).or_else(|| {
            pool.iter()
                .filter_map(|range| ranges.oldest_ended(*range, now.monotonic, &usable))
                .min()
                .map(|(_, address)| address)
                // A machine that declines whatever it gets must not use up the pool for the others.
                .or_else(|| {
                    let disputed = pool.iter().filter_map(|range| ranges.oldest_declined(*range, &usable));
                    disputed.min().map(|(_, address)| address)
                })
        })
    }

    /// Of the client's own addresses the running one, else the wanted one, else any.
    fn own(
        &self,
        now: Now,
        client: HardwareAddr,
        wanted: Option<Ipv4Addr>,
        allowed: impl Fn(Ipv4Addr) -> bool,
    ) -> Option<Ipv4Addr> {
        self.addresses_of(client)
            .filter(|address| allowed(*address))
            .max_by_key(|address| {
                let running = self.entries.get(address).is_some_and(|entry| entry.is_running(now));
                (running, Some(*address) == wanted)
            })
    }
}

/// The first addresses of a pool for a client: always the same for the same client. An offer is on no disk,
/// so a table that begins anew makes it again, and not to another client first.
fn candidates(pool: &[AddressRange], client: HardwareAddr) -> impl Iterator<Item = Ipv4Addr> + '_ {
    let addresses: u64 = pool.iter().map(|range| range.len()).sum();
    let place = move |reuse_order| hash(client, reuse_order).checked_rem(addresses);
    (0..limits::OFFER_CANDIDATES)
        .filter_map(place)
        .filter_map(move |place| nth(pool, place))
}

/// The address at a place of a pool, counted over its ranges.
fn nth(pool: &[AddressRange], mut place: u64) -> Option<Ipv4Addr> {
    for range in pool {
        if place < range.len() {
            return range.nth(place);
        }
        place -= range.len();
    }
    None
}

/// FNV-1a over a client's hardware address, and what spreads its high bits over the low ones; the same in
/// every version of this program.
fn hash(client: HardwareAddr, reuse_order: u8) -> u64 {
    let bytes = client.as_bytes().iter().chain([&reuse_order]);
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd) >> 29
}
