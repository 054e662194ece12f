//! Which transfer or connection is evicted when all slots are taken: one order for TFTP's transfers and HTTP's
//! connections.
//!
//! A slot is cheap to take: one forged TFTP packet is enough, or one HTTP connection whose client reads or sends a byte
//! now and then. So unknown clients (addresses that DHCP did not assign, which anyone may set by hand) share a part of
//! the slots and no more. Clients that sent nothing since their request are evicted first, then unknown clients, the
//! oldest first.

use crate::model::limits::UNKNOWN_CLIENTS_SHARE_DIVISOR;
use crate::state::Shared;
use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::Notify;

/// What is known of an address that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientClass {
    /// DHCP did not assign it, as far as is known.
    Unknown,
    /// DHCP assigned it to a machine.
    Known,
}

/// What is known of an address that asks for a place.
pub fn class_of(shared: &Shared, client: impl Into<IpAddr>) -> ClientClass {
    match shared.is_client_address(client.into()) {
        true => ClientClass::Known,
        false => ClientClass::Unknown,
    }
}

/// Which slots are evicted first, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EvictionPriority {
    /// An unknown client that has sent nothing since its request.
    SilentUnknown,
    /// Any client that has sent nothing since its request: the sender of a datagram can be forged.
    Silent,
    /// An unknown client that did send something.
    Unknown,
}

/// The slots that may be evicted, the oldest first. Slots are numbered in the order in which they were taken.
#[derive(Debug)]
pub struct EvictionQueue<K> {
    places: BTreeMap<(EvictionPriority, u64), K>,
}

impl<K> Default for EvictionQueue<K> {
    fn default() -> EvictionQueue<K> {
        EvictionQueue {
            places: BTreeMap::new(),
        }
    }
}

impl<K> EvictionQueue<K> {
    /// The place with that number may be given up.
    pub fn enter(&mut self, firmness: EvictionPriority, number: u64, holder: K) {
        self.places.insert((firmness, number), holder);
    }

    /// Whoever holds it was heard: from now on it is held as firmly as its standing says.
    pub fn hear(&mut self, standing: ClientClass, number: u64) {
        let silent = [EvictionPriority::SilentUnknown, EvictionPriority::Silent];
        let heard = silent
            .into_iter()
            .find_map(|firmness| self.places.remove(&(firmness, number)));
        if let (Some(holder), ClientClass::Unknown) = (heard, standing) {
            self.enter(EvictionPriority::Unknown, number, holder);
        }
    }

    /// The place is free again.
    pub fn remove(&mut self, number: u64) -> Option<K> {
        let all = [
            EvictionPriority::SilentUnknown,
            EvictionPriority::Silent,
            EvictionPriority::Unknown,
        ];
        all.into_iter()
            .find_map(|firmness| self.places.remove(&(firmness, number)))
    }

    /// Who gives way to a newcomer: a stranger whose share is used up takes another silent unknown client's place.
    pub fn first(&self, newcomer: ClientClass, is_share_used: bool) -> Option<(EvictionPriority, u64, &K)> {
        let at_most = match (newcomer, is_share_used) {
            (ClientClass::Known, _) => EvictionPriority::Unknown,
            (ClientClass::Unknown, false) => EvictionPriority::Silent,
            (ClientClass::Unknown, true) => EvictionPriority::SilentUnknown,
        };
        let ((firmness, number), holder) = self.places.first_key_value()?;
        (*firmness <= at_most).then_some((*firmness, *number, holder))
    }

    /// Whether none has to be.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

/// How many of so many places addresses that DHCP did not assign may have together.
pub fn unknown_clients_share(all_max: usize) -> usize {
    (all_max / UNKNOWN_CLIENTS_SHARE_DIVISOR).max(1)
}

/// Tells who holds a place that it is another's now.
#[derive(Clone, Debug, Default)]
pub struct EvictionNotice(Arc<NoticeState>);

#[derive(Debug, Default)]
struct NoticeState {
    is_evicted: AtomicBool,
    notify: Notify,
}

impl EvictionNotice {
    /// The place is needed for another client.
    pub fn notify(&self) {
        self.0.is_evicted.store(true, Ordering::Release);
        self.0.notify.notify_one();
    }

    /// Whether that was logged.
    pub fn is_evicted(&self) -> bool {
        self.0.is_evicted.load(Ordering::Acquire)
    }

    /// Waits until it is. For one who waits.
    pub async fn evicted(&self) {
        self.0.notify.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_never_heard_gives_way_before_who_was_and_machines_that_were_never() {
        let mut yielding = EvictionQueue::default();
        yielding.enter(EvictionPriority::Silent, 1, "a machine's");
        yielding.enter(EvictionPriority::Silent, 2, "forged in a machine's name");
        yielding.enter(EvictionPriority::SilentUnknown, 3, "a stranger's");
        yielding.enter(EvictionPriority::SilentUnknown, 4, "a silent stranger's");
        yielding.hear(ClientClass::Known, 1);
        yielding.hear(ClientClass::Unknown, 3);
        let mut order = Vec::new();
        while let Some((_, number, _)) = yielding.first(ClientClass::Known, false) {
            order.push(yielding.remove(number).unwrap());
        }
        assert_eq!(
            order,
            ["a silent stranger's", "forged in a machine's name", "a stranger's"]
        );
        assert!(yielding.is_empty());
    }

    #[test]
    fn a_stranger_takes_nobodys_place_who_was_heard() {
        let mut yielding = EvictionQueue::default();
        yielding.enter(EvictionPriority::SilentUnknown, 1, ());
        yielding.hear(ClientClass::Unknown, 1);
        yielding.enter(EvictionPriority::Silent, 2, ());
        let first = |newcomer, is_share_used| yielding.first(newcomer, is_share_used).map(|(_, number, ())| number);
        assert_eq!(first(ClientClass::Unknown, true), None);
        assert_eq!(first(ClientClass::Unknown, false), Some(2));
    }
}
