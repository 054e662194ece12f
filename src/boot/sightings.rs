//! What each machine has said of itself so far.
//!
//! Every stage of a boot knows something the others don't: firmware its architecture, iPXE its
//! serial number, an installer nothing but its MAC. What was said earlier is put together here, so
//! that a host listed by serial, or a rule on the vendor, still holds when the answer is fetched.

use crate::boot::{event::Stage, machine::Identity};
use crate::model::{
    MacAddr, Now,
    limits::{BOOT_LASTS, SIGHTINGS_MAX},
};
use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    net::Ipv4Addr,
    time::Duration,
};

/// What one DHCP request taught for the later stages of its machine's boot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    /// As a guest: the address that another server gives to a machine, as the machine says.
    pub address: Option<(Ipv4Addr, MacAddr)>,
    /// Where a machine arrived that may be a host by its switch port: no later stage tells it.
    pub arrived: Option<(MacAddr, Vec<String>)>,
    /// Firmware, which fetches files next, and the largest TFTP block it can take, in bytes.
    pub block_max: Option<(MacAddr, Option<u16>)>,
    /// Firmware that was told to load GRUB or PXELINUX, which ask for their script without saying what
    /// machine they are on.
    pub firmware: Option<Identity>,
    /// Where a machine stands in its boot now that it was answered, and the monotonic time.
    pub stands: Option<(MacAddr, Stage, Duration)>,
}

/// The identities seen, by MAC, and the addresses that machines have from other servers.
#[derive(Debug, Default)]
pub struct Sightings {
    seen: Recent<MacAddr, Identity>,
    heard: Recent<Ipv4Addr, MacAddr>,
    blocks: Recent<MacAddr, u16>,
    stands: Recent<MacAddr, (Stage, Duration)>,
}

/// The last [`SIGHTINGS_MAX`] things noted; the longest unnoted go first.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    values: HashMap<K, (u64, V)>,
    order: BTreeMap<u64, K>,
    turn: u64,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Recent {
            values: HashMap::new(),
            order: BTreeMap::new(),
            turn: 0,
        }
    }
}

impl<K: Copy + Eq + Hash, V> Recent<K, V> {
    pub(super) fn note(&mut self, key: K, value: V) {
        self.turn += 1;
        if let Some((turn, _)) = self.values.insert(key, (self.turn, value)) {
            self.order.remove(&turn);
        }
        self.order.insert(self.turn, key);
        if self.values.len() > SIGHTINGS_MAX
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.values.remove(&oldest);
        }
    }

    /// Drops the longest unnoted until there are no more than `most`, and none of them `is_past`.
    pub(super) fn shed(&mut self, most: usize, is_past: impl Fn(&V) -> bool) {
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

impl Sightings {
    /// Adds what a request says to what its machine said before, and returns the whole. What is
    /// said now wins. Without a MAC there is nothing to join it to.
    pub fn learn(&mut self, said: Identity) -> Identity {
        let Some(mac) = said.mac else { return said };
        let whole = self.joined(said);
        self.seen.note(mac, whole.clone());
        whole
    }

    /// Notes what a DHCP request taught.
    pub fn note(&mut self, learned: Learned) {
        if let Some((address, mac)) = learned.address {
            self.hear(address, mac);
        }
        if let Some((mac, ports)) = learned.arrived {
            self.arrive(mac, ports);
        }
        if let Some((mac, bytes_max)) = learned.block_max {
            self.limit_blocks(mac, bytes_max);
        }
        if let Some(said) = learned.firmware {
            self.learn(said);
        }
        if let Some((mac, stage, at)) = learned.stands {
            self.stands.note(mac, (stage, at));
        }
    }

    /// Where a machine stood when DHCP answered it last.
    pub fn stage(&self, mac: MacAddr) -> Option<Stage> {
        self.stands.get(mac).map(|(stage, _)| *stage)
    }

    /// Whether a machine is in its boot: firmware or a loader was answered last, and not long ago.
    pub fn is_in_boot(&self, now: Now, mac: MacAddr) -> bool {
        let is_recent = |at: Duration| now.monotonic.saturating_sub(at) <= BOOT_LASTS;
        self.stands
            .get(mac)
            .is_some_and(|(stage, at)| stage.is_in_boot() && is_recent(*at))
    }

    /// Notes the largest TFTP block, in bytes, that a quirk allows to a machine, or that none does.
    pub fn limit_blocks(&mut self, mac: MacAddr, bytes_max: Option<u16>) {
        match bytes_max {
            Some(bytes) => self.blocks.note(mac, bytes),
            None => self.blocks.forget(mac),
        }
    }

    /// The largest TFTP block, in bytes, that a quirk allows to a machine.
    pub fn block_limit(&self, mac: MacAddr) -> Option<u16> {
        self.blocks.get(mac).copied()
    }

    /// Notes which machine has `address` from another DHCP server.
    pub fn hear(&mut self, address: Ipv4Addr, mac: MacAddr) {
        self.heard.note(address, mac);
    }

    /// Notes at which switch port a machine arrived: DHCP alone tells. Of one that arrived at none
    /// that matters, only that is noted which makes good what was noted before.
    pub fn arrive(&mut self, mac: MacAddr, ports: Vec<String>) {
        if ports.is_empty() && self.seen.get(mac).is_none_or(|known| known.ports.is_empty()) {
            return;
        }
        let arrived = Identity { ports, ..self.of(mac) };
        self.seen.note(mac, arrived);
    }

    /// The machine that has `address` from another DHCP server, as far as was heard.
    pub fn heard_at(&self, address: Ipv4Addr) -> Option<MacAddr> {
        self.heard.get(address).copied()
    }

    /// What a request says, joined to what its machine said before; nothing is remembered of it.
    pub fn joined(&self, said: Identity) -> Identity {
        match said.mac.and_then(|mac| self.seen.get(mac)) {
            Some(before) => merge(said, before),
            None => said,
        }
    }

    /// All that the machine with this MAC has said; its MAC alone where it has said nothing.
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
    fn a_later_stage_adds_to_what_an_earlier_one_said() {
        let mut sightings = Sightings::default();
        sightings.learn(Identity {
            mac: Some(mac(1)),
            vendor: Some("ACME".into()),
            ..Identity::default()
        });
        let whole = sightings.learn(Identity {
            mac: Some(mac(1)),
            serial: Some("S1".into()),
            ..Identity::default()
        });
        assert_eq!(whole.vendor.as_deref(), Some("ACME"));
        assert_eq!(sightings.of(mac(1)).serial.as_deref(), Some("S1"));
    }

    #[test]
    fn a_flood_of_forged_machines_takes_bounded_memory_and_the_latest_stay() {
        let mut sightings = Sightings::default();
        let flood = u32::try_from(SIGHTINGS_MAX).unwrap() + 10;
        for last in 0..flood {
            sightings.learn(Identity {
                mac: Some(mac(last)),
                serial: Some("S".into()),
                ..Identity::default()
            });
        }
        assert_eq!(sightings.seen.values.len(), SIGHTINGS_MAX);
        assert_eq!(sightings.seen.order.len(), SIGHTINGS_MAX);
        assert!(sightings.of(mac(0)).serial.is_none());
        assert!(sightings.of(mac(flood - 1)).serial.is_some());
    }
}
