//! The sessions of one lane, and who gives way when there is no place for another.
//!
//! A request costs its sender one packet with any source address, and holds a place until its
//! client was given up. So a session whose client was never heard gives its place to a newcomer,
//! the oldest first: forged requests keep no machine from booting, neither all machines at once nor one
//! in whose name they are sent. A client that answered once keeps its place; but one whose address has no
//! lease and no reservation gives it to a machine ([`crate::net::eviction`]).

use crate::model::SharedAddresses;
use crate::net::eviction::{ClientClass, EvictionPriority, EvictionQueue, unknown_clients_share};
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddrV4},
    time::Duration,
};

/// The sessions under way, by the client's address and port.
pub(super) struct Sessions<S> {
    all_max: usize,
    /// For one machine; an address that many share has as many times that.
    per_machine_max: usize,
    shared: SharedAddresses,
    entries: BTreeMap<SocketAddrV4, SessionEntry<S>>,
    /// Those that may have to give way.
    evictable: EvictionQueue<SocketAddrV4>,
    /// How many are strangers', and how many may be.
    unknown_clients: usize,
    unknown_clients_max: usize,
    begun: u64,
}

/// One session in the table.
pub(super) struct SessionEntry<S> {
    /// No two sessions have the same: a word about one that has ended is not taken for its
    /// successor's.
    pub(super) number: u64,
    /// Whether the client ever answered.
    heard: bool,
    /// What is known of its address.
    class: ClientClass,
    /// Until when the kernel is taken to know who has that, by monotonic time.
    pub(super) neighbour_until: Duration,
    pub(super) session: S,
}

/// Whether there is a place for another session.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission<S> {
    /// There is.
    Free,
    /// There is now, because this one gave way, whose client was never heard.
    EvictedSilent(S),
    /// The same for one of this client, which has so many.
    EvictedOwn(usize, S),
    /// There is now, because this one gave way, which is under way to a stranger.
    EvictedUnknown(SocketAddrV4, S),
    /// There is none: all are taken.
    Full,
    /// There is none for this client, which has so many.
    ClientFull(usize),
}

impl<S> Sessions<S> {
    /// So many places in all, and so many for one machine.
    pub(super) fn new(all_max: usize, per_machine_max: usize, shared: SharedAddresses) -> Sessions<S> {
        Sessions {
            all_max,
            per_machine_max,
            shared,
            entries: BTreeMap::new(),
            evictable: EvictionQueue::default(),
            unknown_clients: 0,
            unknown_clients_max: unknown_clients_share(all_max),
            begun: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn get_mut(&mut self, client: SocketAddrV4) -> Option<&mut SessionEntry<S>> {
        self.entries.get_mut(&client)
    }

    /// The same for a packet of the client's; one that `says` that it is there was heard.
    pub(super) fn session_for(&mut self, client: SocketAddrV4, says: bool) -> Option<&mut SessionEntry<S>> {
        let entry = self.entries.get_mut(&client)?;
        if says && !entry.heard {
            entry.heard = true;
            self.evictable.hear(entry.class, entry.number);
        }
        Some(entry)
    }

    /// The client's session if it is still the one with that number.
    pub(super) fn get_numbered(&mut self, client: SocketAddrV4, number: u64) -> Option<&mut S> {
        let entry = self.entries.get_mut(&client)?;
        (entry.number == number).then_some(&mut entry.session)
    }

    /// Puts a session in; its number. There must be room.
    pub(super) fn insert(&mut self, client: SocketAddrV4, class: ClientClass, session: S) -> u64 {
        let number = self.begun;
        self.begun += 1;
        let entry = SessionEntry {
            number,
            heard: false,
            neighbour_until: Duration::ZERO,
            class: self.class_of(*client.ip(), class),
            session,
        };
        let class = entry.class;
        let firmness = match class {
            ClientClass::Known => EvictionPriority::Silent,
            ClientClass::Unknown => {
                self.unknown_clients += 1;
                EvictionPriority::SilentUnknown
            }
        };
        self.evictable.enter(firmness, number, client);
        self.entries.insert(client, entry);
        number
    }

    /// Takes a session out.
    pub(super) fn remove(&mut self, client: SocketAddrV4) -> Option<S> {
        let entry = self.entries.remove(&client)?;
        self.evictable.remove(entry.number);
        if entry.class == ClientClass::Unknown {
            self.unknown_clients -= 1;
        }
        Some(entry.session)
    }

    /// Makes room for another session of `client`, whose port has none.
    pub(super) fn make_room(&mut self, client: Ipv4Addr, class: ClientClass) -> Admission<S> {
        let class = self.class_of(client, class);
        let own = self.own(client).count();
        let own_max = self.per_machine_max.saturating_mul(self.shared.machines_at(client));
        let is_share_used = class == ClientClass::Unknown && self.unknown_clients >= self.unknown_clients_max;
        if own < own_max && self.entries.len() < self.all_max && !is_share_used {
            return Admission::Free;
        }
        let unheard_own = self.own(client).filter(|(_, entry)| !entry.heard);
        let oldest_own = unheard_own.min_by_key(|(_, entry)| entry.number);
        let oldest = match oldest_own.map(|(client, _)| *client) {
            Some(client) => Some((EvictionPriority::Silent, client)),
            None if own < own_max => {
                let first = self.evictable.first(class, is_share_used);
                first.map(|(firmness, _, client)| (firmness, *client))
            }
            None => None,
        };
        let gone = oldest.and_then(|(firmness, client)| Some((firmness, client, self.remove(client)?)));
        match gone {
            Some((EvictionPriority::Unknown, client, session)) => Admission::EvictedUnknown(client, session),
            Some((_, _, session)) if own >= own_max => Admission::EvictedOwn(own, session),
            Some((EvictionPriority::SilentUnknown | EvictionPriority::Silent, _, session)) => {
                Admission::EvictedSilent(session)
            }
            None if own < own_max => Admission::Full,
            None => Admission::ClientFull(own),
        }
    }

    /// An address that the operator named is a known client.
    fn class_of(&self, client: Ipv4Addr, class: ClientClass) -> ClientClass {
        match self.shared.names(client) {
            true => ClientClass::Known,
            false => class,
        }
    }

    fn own(&self, client: Ipv4Addr) -> impl Iterator<Item = (&SocketAddrV4, &SessionEntry<S>)> {
        let ports = SocketAddrV4::new(client, 0)..=SocketAddrV4::new(client, u16::MAX);
        self.entries.range(ports)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(ip: u8, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, ip), port)
    }

    /// Begins a session that is its client's name; what became of its wish for room.
    fn begin(sessions: &mut Sessions<SocketAddrV4>, client: SocketAddrV4) -> Admission<SocketAddrV4> {
        begin_as(sessions, client, ClientClass::Known)
    }

    fn begin_as(
        sessions: &mut Sessions<SocketAddrV4>,
        client: SocketAddrV4,
        class: ClientClass,
    ) -> Admission<SocketAddrV4> {
        let room = sessions.make_room(*client.ip(), class);
        if matches!(
            room,
            Admission::Free | Admission::EvictedSilent(_) | Admission::EvictedOwn(..) | Admission::EvictedUnknown(..)
        ) {
            sessions.insert(client, class, client);
        }
        room
    }

    fn hear(sessions: &mut Sessions<SocketAddrV4>, client: SocketAddrV4) {
        assert!(sessions.session_for(client, true).is_some());
    }

    #[test]
    fn forged_requests_of_many_addresses_keep_nobody_out() {
        let mut sessions = Sessions::new(4, 2, SharedAddresses::NONE);
        for ip in 10..14 {
            assert_eq!(begin(&mut sessions, client(ip, 2000)), Admission::Free);
        }
        assert_eq!(
            begin(&mut sessions, client(99, 2000)),
            Admission::EvictedSilent(client(10, 2000)),
            "the oldest"
        );
        hear(&mut sessions, client(99, 2000));
        for ip in 20..60 {
            assert!(matches!(
                begin(&mut sessions, client(ip, 2000)),
                Admission::EvictedSilent(_)
            ));
        }
        let honest = sessions.get_mut(client(99, 2000));
        assert!(honest.is_some(), "a client that answered keeps its place");
    }

    #[test]
    fn forged_requests_in_one_machines_name_do_not_keep_it_out() {
        let mut sessions = Sessions::new(9, 2, SharedAddresses::NONE);
        begin(&mut sessions, client(11, 1));
        for port in 1..=2 {
            begin(&mut sessions, client(10, port));
        }
        assert_eq!(
            begin(&mut sessions, client(10, 2000)),
            Admission::EvictedOwn(2, client(10, 1))
        );
        assert!(
            sessions.get_mut(client(11, 1)).is_some(),
            "nor cost anybody else a place"
        );
    }

    #[test]
    fn one_client_never_takes_more_than_its_places_from_the_others() {
        let mut sessions = Sessions::new(9, 2, SharedAddresses::NONE);
        begin(&mut sessions, client(11, 1));
        for port in 1..=2 {
            begin(&mut sessions, client(10, port));
            hear(&mut sessions, client(10, port));
        }
        assert_eq!(begin(&mut sessions, client(10, 3)), Admission::ClientFull(2));
        assert!(sessions.get_mut(client(11, 1)).is_some());
    }

    #[test]
    fn a_rack_behind_one_address_has_the_places_of_all_its_machines() {
        let shared = SharedAddresses::new(vec![("192.0.2.10/32".parse().unwrap(), 3)]);
        let mut sessions = Sessions::new(90, 2, shared);
        for (ip, permits) in [(10, 6), (11, 2)] {
            for port in 1..=permits {
                assert_eq!(begin(&mut sessions, client(ip, port)), Admission::Free);
                hear(&mut sessions, client(ip, port));
            }
            assert_eq!(
                begin(&mut sessions, client(ip, 99)),
                Admission::ClientFull(permits.into())
            );
        }
    }

    #[test]
    fn clients_that_answered_are_never_displaced() {
        let mut sessions = Sessions::new(2, 2, SharedAddresses::NONE);
        for ip in 1..=2 {
            begin(&mut sessions, client(ip, 1));
            hear(&mut sessions, client(ip, 1));
        }
        assert_eq!(begin(&mut sessions, client(3, 1)), Admission::Full);
        sessions.remove(client(1, 1));
        assert_eq!(begin(&mut sessions, client(3, 1)), Admission::Free);
    }

    #[test]
    fn slow_clients_of_addresses_that_nobody_leased_keep_no_machine_out() {
        let mut sessions = Sessions::new(4, 2, SharedAddresses::NONE);
        for ip in 50..52 {
            assert_eq!(
                begin_as(&mut sessions, client(ip, 1), ClientClass::Unknown),
                Admission::Free
            );
            hear(&mut sessions, client(ip, 1));
        }
        let another = begin_as(&mut sessions, client(52, 1), ClientClass::Unknown);
        assert_eq!(another, Admission::Full, "they have a share");
        for (ip, expected) in [
            (1, Admission::Free),
            (2, Admission::Free),
            (3, Admission::EvictedUnknown(client(50, 1), client(50, 1))),
            (4, Admission::EvictedUnknown(client(51, 1), client(51, 1))),
            (5, Admission::Full),
        ] {
            assert_eq!(begin(&mut sessions, client(ip, 1)), expected);
            if expected != Admission::Full {
                hear(&mut sessions, client(ip, 1));
            }
        }
        assert_eq!(sessions.unknown_clients, 0);
    }

    #[test]
    fn nothing_is_left_of_sessions_that_ended() {
        let mut sessions = Sessions::new(2, 2, SharedAddresses::NONE);
        for port in 1..100 {
            begin(&mut sessions, client(1, port));
            hear(&mut sessions, client(1, port));
            assert_eq!(sessions.remove(client(1, port)), Some(client(1, port)));
        }
        assert!(sessions.is_empty() && sessions.evictable.is_empty());
    }

    #[test]
    fn a_word_about_a_session_that_ended_is_not_its_successors() {
        let mut sessions = Sessions::new(2, 2, SharedAddresses::NONE);
        let first = sessions.insert(client(1, 1), ClientClass::Known, client(1, 1));
        sessions.remove(client(1, 1));
        let second = sessions.insert(client(1, 1), ClientClass::Known, client(1, 1));
        assert!(sessions.get_numbered(client(1, 1), first).is_none());
        assert!(sessions.get_numbered(client(1, 1), second).is_some());
    }
}
