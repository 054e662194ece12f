//! What is known of each machine's identity so far, from its earlier requests.
//!
//! Every stage of a boot knows something the others don't: firmware its architecture, iPXE its
//! serial number, an installer nothing but its MAC. Earlier requests are merged here, so
//! that a host listed by serial, or a rule on the vendor, still holds when the answer is fetched.

use crate::boot::{event::Stage, machine::Identity};
use crate::model::{
    MacAddr, Now,
    limits::{BOOT_TTL, IDENTITY_CACHE_MAX},
};
use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    net::Ipv4Addr,
    time::Duration,
};

/// What one DHCP request taught for the later stages of its machine's boot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// As a proxyDHCP server: the address that another server gave to a machine, from the machine's own REQUEST.
    pub address: Option<(Ipv4Addr, MacAddr)>,
    /// Where a machine arrived that may be a host by its switch port: no later stage tells it.
    pub observed_port: Option<ObservedPort>,
    /// Firmware, which fetches files next, and the largest TFTP block it can take, in bytes.
    pub block_max: Option<(MacAddr, Option<u16>)>,
    /// Firmware that was told to load GRUB or PXELINUX, which ask for their script without saying what
    /// machine they are on.
    pub firmware: Option<Identity>,
    /// Where a machine stands in its boot now that it was answered, and the monotonic time.
    pub boot_stage: Option<(MacAddr, Stage, Duration)>,
}

/// At which switch port a machine was heard, by those of its names that make it a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedPort {
    /// The machine, or whoever writes its hardware address.
    pub mac: MacAddr,
    /// Empty where no port makes it a host.
    pub ports: Vec<String>,
    /// It was given an address there. Anybody can write another machine's hardware address, so without that it takes
    /// nothing from a boot that began at another port.
    pub is_given: bool,
}

/// The identities seen, by MAC, and the addresses that machines have from other servers.
#[derive(Clone, Debug, Default)]
pub struct IdentityCache {
    seen: RecentMap<MacAddr, Identity>,
    addresses: RecentMap<Ipv4Addr, MacAddr>,
    blocks: RecentMap<MacAddr, u16>,
    boot_stage: RecentMap<MacAddr, (Stage, Duration)>,
}

/// The last [`IDENTITY_CACHE_MAX`] things noted; the longest unnoted go first. Not the
/// crate `lru`, which would save twenty lines: what decides is safe code alone, and its list of raw pointers was
/// unsound three times (RUSTSEC-2021-0130, 2026-0002, 2026-0253).
#[derive(Clone, Debug)]
pub(super) struct RecentMap<K, V> {
    values: HashMap<K, (u64, V)>,
    order: BTreeMap<u64, K>,
    turn: u64,
}

impl<K, V> Default for RecentMap<K, V> {
    fn default() -> Self {
        RecentMap {
            values: HashMap::new(),
            order: BTreeMap::new(),
            turn: 0,
        }
    }
}

impl<K: Copy + Eq + Hash, V> RecentMap<K, V> {
    pub(super) fn record(&mut self, key: K, value: V) {
        self.turn += 1;
        if let Some((turn, _)) = self.values.insert(key, (self.turn, value)) {
            self.order.remove(&turn);
        }
        self.order.insert(self.turn, key);
        if self.values.len() > IDENTITY_CACHE_MAX
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.values.remove(&oldest);
        }
    }

    /// Drops the longest unnoted until there are no more than `most`, and none of them `is_past`.
    pub(super) fn evict(&mut self, most: usize, is_past: impl Fn(&V) -> bool) {
        while let Some(oldest) = self.order.first_entry() {
            let key = *oldest.get();
            let is_kept = |(_, value): &(u64, V)| !is_past(value);
            if self.values.len() <= most && self.values.get(&key).is_some_and(is_kept) {
                return;
            }
            oldest.remove();
            self.values.remove(&key);
        }
    }

    pub(super) fn get(&self, key: K) -> Option<&V> {
        self.values.get(&key).map(|(_, value)| value)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn forget(&mut self, key: K) {
        if let Some((turn, _)) = self.values.remove(&key) {
            self.order.remove(&turn);
        }
    }
}

impl IdentityCache {
    /// Adds what a request tells to what its machine told before, and returns it all. What is
    /// sent now wins. Without a MAC there is nothing to join it to.
    pub fn update(&mut self, claimed: Identity) -> Identity {
        let Some(mac) = claimed.mac else { return claimed };
        let whole = self.merged(claimed);
        self.seen.record(mac, whole.clone());
        whole
    }

    /// Notes what a DHCP request taught.
    pub fn record(&mut self, learned: Observation) {
        if let Some((address, mac)) = learned.address {
            self.record_address(address, mac);
        }
        if let Some(observed) = learned.observed_port {
            self.record_port(observed);
        }
        if let Some((mac, bytes_max)) = learned.block_max {
            self.set_block_limit(mac, bytes_max);
        }
        if let Some(claimed) = learned.firmware {
            self.update(claimed);
        }
        if let Some((mac, stage, at)) = learned.boot_stage {
            self.boot_stage.record(mac, (stage, at));
        }
    }

    /// Where a machine stood when DHCP answered it last.
    pub fn stage(&self, mac: MacAddr) -> Option<Stage> {
        self.boot_stage.get(mac).map(|(stage, _)| *stage)
    }

    /// Whether a machine is in its boot: firmware or a loader was answered last, and not long ago.
    pub fn is_in_boot(&self, now: Now, mac: MacAddr) -> bool {
        let is_recent = |at: Duration| now.monotonic.saturating_sub(at) <= BOOT_TTL;
        self.boot_stage
            .get(mac)
            .is_some_and(|(stage, at)| stage.is_in_boot() && is_recent(*at))
    }

    /// Notes the largest TFTP block, in bytes, that a quirk allows to a machine, or that none does.
    pub fn set_block_limit(&mut self, mac: MacAddr, bytes_max: Option<u16>) {
        match bytes_max {
            Some(bytes) => self.blocks.record(mac, bytes),
            None => self.blocks.forget(mac),
        }
    }

    /// The largest TFTP block, in bytes, that a quirk allows to a machine.
    pub fn block_limit(&self, mac: MacAddr) -> Option<u16> {
        self.blocks.get(mac).copied()
    }

    /// Notes which machine has `address` from another DHCP server.
    pub fn record_address(&mut self, address: Ipv4Addr, mac: MacAddr) {
        self.addresses.record(address, mac);
    }

    /// Notes at which switch port a machine arrived: DHCP alone tells. Of one that arrived at none
    /// that matters, only that is noted which makes good what was noted before.
    pub fn record_port(&mut self, observed: ObservedPort) {
        let ObservedPort { mac, ports, is_given } = observed;
        let is_known = self.seen.get(mac).is_some_and(|known| !known.ports.is_empty());
        let is_news = if is_known { is_given } else { !ports.is_empty() };
        if !is_news {
            return;
        }
        let observed_port = Identity { ports, ..self.of(mac) };
        self.seen.record(mac, observed_port);
    }

    /// The machine that has `address` from another DHCP server, as far as was heard.
    pub fn address_holder(&self, address: Ipv4Addr) -> Option<MacAddr> {
        self.addresses.get(address).copied()
    }

    /// What a request tells, joined to what its machine told before; nothing is remembered of it.
    pub fn merged(&self, claimed: Identity) -> Identity {
        match claimed.mac.and_then(|mac| self.seen.get(mac)) {
            Some(before) => merge(claimed, before),
            None => claimed,
        }
    }

    /// A copy of what is known of one machine: the rest can be very much.
    pub fn of_machine(&self, mac: MacAddr) -> IdentityCache {
        let mut copy = IdentityCache::default();
        if let Some(known) = self.seen.get(mac) {
            copy.seen.record(mac, known.clone());
        }
        if let Some(bytes) = self.blocks.get(mac) {
            copy.blocks.record(mac, *bytes);
        }
        if let Some(stage) = self.boot_stage.get(mac) {
            copy.boot_stage.record(mac, *stage);
        }
        for (address, (_, holder)) in &self.addresses.values {
            if *holder == mac {
                copy.addresses.record(*address, mac);
            }
        }
        copy
    }

    /// All that the machine with this MAC has told; its MAC alone where it has told nothing.
    pub fn of(&self, mac: MacAddr) -> Identity {
        self.seen.get(mac).cloned().unwrap_or_else(|| Identity {
            mac: Some(mac),
            ..Identity::default()
        })
    }
}

fn merge(now: Identity, before: &Identity) -> Identity {
    Identity {
        mac: now.mac,
        link: now.link,
        uuid: now.uuid.or(before.uuid),
        serial: now.serial.or_else(|| before.serial.clone()),
        ports: if now.ports.is_empty() {
            before.ports.clone()
        } else {
            now.ports
        },
        arch: now.arch.or(before.arch),
        vendor: now.vendor.or_else(|| before.vendor.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(last: u32) -> MacAddr {
        let [a, b, c, d] = last.to_be_bytes();
        MacAddr([0x52, 0x54, a, b, c, d])
    }

    #[test]
    fn a_later_stage_adds_to_what_an_earlier_one_sent() {
        let mut identities = IdentityCache::default();
        identities.update(Identity {
            mac: Some(mac(1)),
            vendor: Some("ACME".into()),
            ..Identity::default()
        });
        let whole = identities.update(Identity {
            mac: Some(mac(1)),
            serial: Some("S1".into()),
            ..Identity::default()
        });
        assert_eq!(whole.vendor.as_deref(), Some("ACME"));
        assert_eq!(identities.of(mac(1)).serial.as_deref(), Some("S1"));
    }

    #[test]
    fn the_copy_of_a_machine_has_all_of_it_and_nobody_else() {
        let mut identities = IdentityCache::default();
        for last in 1..=3 {
            let address = Ipv4Addr::new(192, 0, 2, u8::try_from(last).unwrap());
            identities.record(Observation {
                address: Some((address, mac(last))),
                block_max: Some((mac(last), Some(512))),
                boot_stage: Some((mac(last), Stage::Ipxe, Duration::ZERO)),
                firmware: Some(Identity {
                    mac: Some(mac(last)),
                    serial: Some("S".into()),
                    ..Identity::default()
                }),
                ..Observation::default()
            });
        }
        let copy = identities.of_machine(mac(2));
        assert_eq!(copy.of(mac(2)), identities.of(mac(2)));
        assert_eq!(
            (copy.stage(mac(2)), copy.block_limit(mac(2))),
            (Some(Stage::Ipxe), Some(512))
        );
        assert_eq!(copy.address_holder(Ipv4Addr::new(192, 0, 2, 2)), Some(mac(2)));
        assert_eq!((copy.seen.len(), copy.addresses.len()), (1, 1));
    }

    #[test]
    fn a_flood_of_forged_machines_takes_bounded_memory_and_the_latest_stay() {
        let mut identities = IdentityCache::default();
        let flood = u32::try_from(IDENTITY_CACHE_MAX).unwrap() + 10;
        for last in 0..flood {
            identities.update(Identity {
                mac: Some(mac(last)),
                serial: Some("S".into()),
                ..Identity::default()
            });
        }
        assert_eq!(identities.seen.values.len(), IDENTITY_CACHE_MAX);
        assert_eq!(identities.seen.order.len(), IDENTITY_CACHE_MAX);
        assert!(identities.of(mac(0)).serial.is_none());
        assert!(identities.of(mac(flood - 1)).serial.is_some());
    }
}
