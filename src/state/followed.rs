//! The machines whose boot is followed, for whoever publishes what they do: a running system that renews its address
//! is most of what a room says, and of no boot.
//!
//! It may take a machine for one of them that is none, by chance, and never misses one that is.

use crate::boot::event::MachineKey;
use crate::model::{MacAddr, Name, limits::FOLLOWED_SLOTS};
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

/// A machine that is followed.
#[derive(Clone, Copy, Debug, Hash)]
pub enum Followed<'k> {
    /// A host of the inventory.
    Host(&'k Name),
    /// An unlisted machine.
    Mac(MacAddr),
}

impl<'k> Followed<'k> {
    /// By what it is known, where that is enough to find it again.
    pub fn of(key: &'k MachineKey) -> Option<Followed<'k>> {
        match key {
            MachineKey::Host(name) => Some(Followed::Host(name)),
            MachineKey::Hardware(hardware) => hardware.mac().map(Followed::Mac),
            MachineKey::Address(_) | MachineKey::Unknown => None,
        }
    }

    /// The word and the bit that stand for it.
    fn slot(self) -> (usize, u64) {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        let slot = usize::try_from(hasher.finish() % FOLLOWED_SLOTS as u64).unwrap_or(0);
        (slot / 64, 1 << (slot % 64))
    }
}

/// Which machines are followed. Whoever is noted stays until the second [`FollowedMachines::renew`] after that.
#[derive(Debug)]
pub struct FollowedMachines {
    sets: [Box<[AtomicU64]>; 2],
    /// The set that machines are noted in.
    current: AtomicUsize,
}

impl Default for FollowedMachines {
    fn default() -> Self {
        let set = || (0..FOLLOWED_SLOTS.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        FollowedMachines {
            sets: [set(), set()],
            current: AtomicUsize::new(0),
        }
    }
}

impl FollowedMachines {
    /// Follows a machine.
    pub fn note(&self, machine: Followed<'_>) {
        let (word, bit) = machine.slot();
        let word = &self.sets[self.current.load(Ordering::Acquire)][word];
        if word.load(Ordering::Relaxed) & bit == 0 {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Whether a machine is followed.
    pub fn contains(&self, machine: Followed<'_>) -> bool {
        let (word, bit) = machine.slot();
        self.sets.iter().any(|set| set[word].load(Ordering::Relaxed) & bit != 0)
    }

    /// Follows these, and those that were noted since the last time. One caller at a time.
    pub fn renew<'k>(&self, machines: impl Iterator<Item = Followed<'k>>) {
        let next = 1 - self.current.load(Ordering::Acquire);
        for word in &self.sets[next] {
            word.store(0, Ordering::Relaxed);
        }
        self.current.store(next, Ordering::Release);
        for machine in machines {
            self.note(machine);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::HardwareAddr;

    fn mac(number: u8) -> MacAddr {
        MacAddr([0x52, 0x54, 0, 0, 0, number])
    }

    #[test]
    fn a_machine_that_was_noted_stays_until_the_second_renewal_and_one_that_is_named_again_longer() {
        let followed = FollowedMachines::default();
        let name: Name = "r1u07".parse().unwrap();
        let host = Followed::Host(&name);
        followed.note(host);
        followed.note(Followed::Mac(mac(1)));
        followed.renew([Followed::Mac(mac(1))].into_iter());
        assert!(followed.contains(host));
        followed.renew([Followed::Mac(mac(1))].into_iter());
        assert!(!followed.contains(host));
        assert!(followed.contains(Followed::Mac(mac(1))));
        assert!(!followed.contains(Followed::Mac(mac(2))));
    }

    #[test]
    fn a_machine_of_which_only_the_address_is_known_is_none() {
        let address = MachineKey::Address([192, 0, 2, 9].into());
        assert!(Followed::of(&address).is_none());
        assert!(Followed::of(&MachineKey::Unknown).is_none());
        let hardware = MachineKey::Hardware(HardwareAddr::from(mac(1)));
        assert!(matches!(Followed::of(&hardware), Some(Followed::Mac(found)) if found == mac(1)));
    }
}
