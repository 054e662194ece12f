//! Who gives way when every place is taken: one order for TFTP's transfers and HTTP's connections.
//!
//! Whoever reaches us may take a place, and a place is cheap to take: by one forged packet of TFTP, by one
//! connection of HTTP whose client then reads or says a byte now and then. So addresses that nobody was given by
//! DHCP, which anybody may set by hand, have a share of the places and no more; and who was never heard
//! since, and after them such addresses, give their places to others, the oldest first.

use crate::model::limits::STRANGERS_SHARE_DIVISOR;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::Notify;

/// Why a transfer or a connection ends that gave way.
pub const GAVE_WAY: &str = "nobody was given its address by DHCP, and its place was needed for a machine";

/// What is known of an address that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody was given it by DHCP, as far as is known.
    Stranger,
    /// It is a machine's.
    Known,
}

/// Of several places that may be missed, in the order in which they are given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Firmness {
    /// A stranger's that was not heard since it took it.
    SilentStranger,
    /// Anybody's that was not heard: where a sender can be forged, in a machine's name too.
    Silent,
    /// A stranger's that was heard.
    Stranger,
}

/// Those who may have to give way, the oldest first. Places have numbers, and later ones higher numbers.
#[derive(Debug)]
pub struct Yielding<K> {
    places: BTreeMap<(Firmness, u64), K>,
}

impl<K> Default for Yielding<K> {
    fn default() -> Yielding<K> {
        Yielding {
            places: BTreeMap::new(),
        }
    }
}

impl<K> Yielding<K> {
    /// The place with that number may be given up.
    pub fn enter(&mut self, firmness: Firmness, number: u64, holder: K) {
        self.places.insert((firmness, number), holder);
    }

    /// Whoever holds it was heard: from now on it is held as firmly as its standing says.
    pub fn hear(&mut self, standing: Standing, number: u64) {
        let silent = [Firmness::SilentStranger, Firmness::Silent];
        let heard = silent
            .into_iter()
            .find_map(|firmness| self.places.remove(&(firmness, number)));
        if let (Some(holder), Standing::Stranger) = (heard, standing) {
            self.enter(Firmness::Stranger, number, holder);
        }
    }

    /// The place is nobody's any more.
    pub fn leave(&mut self, number: u64) -> Option<K> {
        let all = [Firmness::SilentStranger, Firmness::Silent, Firmness::Stranger];
        all.into_iter()
            .find_map(|firmness| self.places.remove(&(firmness, number)))
    }

    /// Who gives way to a newcomer: a stranger whose share is used up takes another silent stranger's place.
    pub fn first(&self, newcomer: Standing, is_share_used: bool) -> Option<(Firmness, u64, &K)> {
        let at_most = match (newcomer, is_share_used) {
            (Standing::Known, _) => Firmness::Stranger,
            (Standing::Stranger, false) => Firmness::Silent,
            (Standing::Stranger, true) => Firmness::SilentStranger,
        };
        let ((firmness, number), holder) = self.places.first_key_value()?;
        (*firmness <= at_most).then_some((*firmness, *number, holder))
    }

    /// Whether nobody has to.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

/// How many of so many places addresses that nobody was given by DHCP may have together.
pub fn share_of_strangers(all_max: usize) -> usize {
    (all_max / STRANGERS_SHARE_DIVISOR).max(1)
}

/// Tells who holds a place that it is another's now.
#[derive(Clone, Debug, Default)]
pub struct Leave(Arc<Told>);

#[derive(Debug, Default)]
struct Told {
    is_told: AtomicBool,
    notify: Notify,
}

impl Leave {
    /// The place is needed for somebody else.
    pub fn tell(&self) {
        self.0.is_told.store(true, Ordering::Release);
        self.0.notify.notify_one();
    }

    /// Whether that was said.
    pub fn is_told(&self) -> bool {
        self.0.is_told.load(Ordering::Acquire)
    }

    /// Waits until it is. For one who waits.
    pub async fn told(&self) {
        self.0.notify.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_never_heard_gives_way_before_who_was_and_machines_that_were_never() {
        let mut yielding = Yielding::default();
        yielding.enter(Firmness::Silent, 1, "a machine's");
        yielding.enter(Firmness::Silent, 2, "forged in a machine's name");
        yielding.enter(Firmness::SilentStranger, 3, "a stranger's");
        yielding.enter(Firmness::SilentStranger, 4, "a silent stranger's");
        yielding.hear(Standing::Known, 1);
        yielding.hear(Standing::Stranger, 3);
        let mut order = Vec::new();
        while let Some((_, number, _)) = yielding.first(Standing::Known, false) {
            order.push(yielding.leave(number).unwrap());
        }
        assert_eq!(
            order,
            ["a silent stranger's", "forged in a machine's name", "a stranger's"]
        );
        assert!(yielding.is_empty());
    }

    #[test]
    fn a_stranger_takes_nobodys_place_who_was_heard() {
        let mut yielding = Yielding::default();
        yielding.enter(Firmness::SilentStranger, 1, ());
        yielding.hear(Standing::Stranger, 1);
        yielding.enter(Firmness::Silent, 2, ());
        let first = |newcomer, is_share_used| yielding.first(newcomer, is_share_used).map(|(_, number, ())| number);
        assert_eq!(first(Standing::Stranger, true), None);
        assert_eq!(first(Standing::Stranger, false), Some(2));
    }
}
