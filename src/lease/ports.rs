//! At which switch port a machine was given its address, for hosts that belong to one.
//!
//! Only requests that a relay or a switch passes on tell a port (option 82). What comes later does not: a
//! renewal goes straight to us, and so does whoever asks for a file. For these counts what was told when the
//! address was given. It outlives a restart, because a host renews, and is in the middle of its boot, then too.

use crate::model::{HardwareAddr, Now, WallTime, limits};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    time::Duration,
};

/// A switch port as it is remembered: the inventory's name for it, whatever its case. Two names of one
/// inventory are never taken for each other but by a chance of one in 2^64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortId(pub u64);

impl PortId {
    /// That of a port by its name (FNV-1a, 64 bits).
    pub fn of(port: &str) -> PortId {
        let bytes = port.bytes().map(|byte| u64::from(byte.to_ascii_lowercase()));
        PortId(bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ byte).wrapping_mul(0x0000_0100_0000_01b3)
        }))
    }
}

/// Where a machine was given its address, as it is kept on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRecord {
    /// The address: the record's key.
    pub address: Ipv4Addr,
    /// Whose it is.
    pub client: HardwareAddr,
    /// The port.
    pub port: PortId,
    /// Until when it counts, by the calendar.
    pub expires: WallTime,
}

/// What the store is to do about a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortChange {
    /// Keep it, in place of the one before.
    Put(PortRecord),
    /// Drop the one of this address.
    Remove(Ipv4Addr),
}

impl PortChange {
    /// Of which address.
    fn address(&self) -> Ipv4Addr {
        match self {
            PortChange::Put(record) => record.address,
            PortChange::Remove(address) => *address,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct PortBinding {
    client: HardwareAddr,
    port: PortId,
    /// Monotonic.
    ends: Duration,
    /// Monotonic; until when the disk says so, or will where it takes what it was handed.
    committed: Duration,
    /// A machine with the client's hardware address was seen at another port since.
    is_doubtful: bool,
}

/// One that had ended at the start by a clock that may have been wrong.
#[derive(Clone, Copy, Debug)]
struct UncertainBinding {
    client: HardwareAddr,
    port: PortId,
    /// Its end by the calendar of when it was given.
    expires: WallTime,
    /// Monotonic; it has ended by then, however long the host was off.
    ended: Duration,
}

/// The ports at which addresses were given: one address a client. Here `now` is dated by the calendar of what
/// is on disk (`LeaseTable::dated`).
#[derive(Clone, Debug, Default)]
pub struct PortBindings {
    bindings: BTreeMap<Ipv4Addr, PortBinding>,
    /// The same by client.
    by_client: BTreeMap<HardwareAddr, Ipv4Addr>,
    /// Addresses of which the disk may say something else, because it did not take a change.
    unwritten: BTreeSet<Ipv4Addr>,
    /// Those that count again, should the clock be set back.
    uncertain: BTreeMap<Ipv4Addr, UncertainBinding>,
}

impl PortBindings {
    /// `client` was given `address` at `port`, for `lasting`; what the store is to do about that. What it has
    /// already, or nearly so, is not written again: a client repeats itself.
    pub fn note(
        &mut self,
        now: Now,
        (client, address): (HardwareAddr, Ipv4Addr),
        port: PortId,
        lasting: Duration,
    ) -> Vec<PortChange> {
        let lasting = lasting.min(limits::LEASE_MAX);
        let ends = now.monotonic + lasting;
        let mut changes = Vec::new();
        let before = self
            .bindings
            .get(&address)
            .copied()
            .filter(|stand| stand.client == client);
        if before.is_none() {
            changes.extend(self.forget_client(client));
            self.remove(address);
            changes.extend(self.make_room(now));
            // What the disk does not take is bounded with what there is.
            if self.bindings.len().max(self.unwritten.len()) >= limits::PORT_BINDINGS_MAX {
                return changes;
            }
        }
        let is_near = |committed: &Duration| committed.abs_diff(ends) <= lasting / 4;
        let kept = before.filter(|stand| stand.port == port).map(|stand| stand.committed);
        let kept = kept.filter(is_near);
        let stand = PortBinding {
            client,
            port,
            ends,
            committed: kept.unwrap_or(ends),
            is_doubtful: false,
        };
        self.bindings.insert(address, stand);
        self.by_client.insert(client, address);
        self.uncertain.remove(&address);
        if kept.is_none() {
            changes.push(PortChange::Put(record(now, address, &stand)));
        }
        changes
    }

    /// Takes that these changes are not on disk, and will not be.
    pub fn not_written(&mut self, changes: &[PortChange]) {
        self.unwritten.extend(changes.iter().map(PortChange::address));
    }

    /// Some of the changes that the disk did not take, by what counts now; they count as handed over. To be told
    /// again with [`PortBindings::not_written`] where it does not take them either.
    pub fn take_unwritten(&mut self, now: Now) -> Vec<PortChange> {
        let some = self.unwritten.iter().take(limits::PORT_CHANGES_RETRIED_AT_ONCE);
        let some: Vec<Ipv4Addr> = some.copied().collect();
        let mut changes = Vec::with_capacity(some.len());
        for address in some {
            self.unwritten.remove(&address);
            let stand = self.bindings.get_mut(&address);
            changes.push(match stand.filter(|stand| stand.ends > now.monotonic) {
                Some(stand) => {
                    stand.committed = stand.ends;
                    PortChange::Put(record(now, address, stand))
                }
                None => PortChange::Remove(address),
            });
        }
        changes
    }

    /// Who was given `address` at a port, and at which, as long as that counts.
    pub fn at(&self, now: Now, address: Ipv4Addr) -> Option<(HardwareAddr, PortId)> {
        let stand = self.bindings.get(&address).filter(|stand| stand.ends > now.monotonic)?;
        Some((stand.client, stand.port))
    }

    /// The same for who says no port and renews: it does not count while there is doubt about where it is.
    pub fn surely_at(&self, now: Now, address: Ipv4Addr) -> Option<(HardwareAddr, PortId)> {
        let is_sure = self.bindings.get(&address).is_some_and(|stand| !stand.is_doubtful);
        self.at(now, address).filter(|_| is_sure)
    }

    /// Which address `client` was given at a port, and at which, as long as that counts.
    pub fn of(&self, now: Now, client: HardwareAddr) -> Option<(Ipv4Addr, PortId)> {
        let address = *self.by_client.get(&client)?;
        self.at(now, address).map(|(_, port)| (address, port))
    }

    /// `client` has no address from a port any more.
    pub fn forget_client(&mut self, client: HardwareAddr) -> Option<PortChange> {
        let address = *self.by_client.get(&client)?;
        self.remove(address);
        Some(PortChange::Remove(address))
    }

    /// `client` no longer has `address`.
    pub fn give_up(&mut self, client: HardwareAddr, address: Ipv4Addr) -> Option<PortChange> {
        if self.uncertain.get(&address).is_some_and(|each| each.client == client) {
            return self.forget_uncertain(address);
        }
        let is_its = self.by_client.get(&client) == Some(&address);
        is_its.then(|| self.forget_client(client)).flatten()
    }

    /// `client` has `address` now, and not from a port: whoever had it before has it no longer.
    pub fn pass_on(&mut self, client: HardwareAddr, address: Ipv4Addr) -> Option<PortChange> {
        if self.uncertain.get(&address).is_some_and(|each| each.client != client) {
            return self.forget_uncertain(address);
        }
        let before = self.bindings.get(&address).map(|stand| stand.client)?;
        (before != client).then(|| self.forget_client(before)).flatten()
    }

    /// A machine with `client`'s hardware address was seen at a port with these names. Any machine can write that
    /// address, so what was given at another port still counts for the files of a boot that is under way; but
    /// no renewal is believed until the client is heard at its own port again.
    pub fn seen_at(&mut self, client: HardwareAddr, names: &[String]) {
        if names.is_empty() {
            return;
        }
        let address = self.by_client.get(&client);
        if let Some(stand) = address.and_then(|address| self.bindings.get_mut(address)) {
            stand.is_doubtful = !is_among(stand.port, names);
        }
    }

    /// `client` was given an address at a port with these names: what it was given at another counts no longer.
    pub fn moved_to(&mut self, client: HardwareAddr, names: &[String]) -> Option<PortChange> {
        let Some(stand) = self
            .by_client
            .get(&client)
            .and_then(|address| self.bindings.get(address))
        else {
            let elsewhere = |each: &UncertainBinding| !names.is_empty() && !is_among(each.port, names);
            let mut uncertain = self.uncertain.iter();
            let (address, _) = uncertain.find(|(_, each)| each.client == client && elsewhere(each))?;
            let address = *address;
            return self.forget_uncertain(address);
        };
        let is_elsewhere = !names.is_empty() && !is_among(stand.port, names);
        is_elsewhere.then(|| self.forget_client(client)).flatten()
    }

    /// Takes that the clock at the start, by which `records` are restored `now`, may be wrong: all that is sure is
    /// that it was `at_least` that late by their calendar. Those that ended between the two may count still, and
    /// stay on disk. Should the clock be set back, they do.
    pub fn mark_uncertain(&mut self, now: Now, at_least: WallTime, records: &[PortRecord]) {
        let ended_meanwhile = records
            .iter()
            .filter(|record| at_least < record.expires && record.expires <= now.wall);
        for record in ended_meanwhile.take(limits::PORT_BINDINGS_MAX) {
            let remaining = Duration::from_secs(record.expires.0 - at_least.0).min(limits::LEASE_MAX);
            let uncertain = UncertainBinding {
                client: record.client,
                port: record.port,
                expires: record.expires,
                ended: now.monotonic + remaining,
            };
            self.uncertain.insert(record.address, uncertain);
        }
    }

    /// Has those count again that have not ended by the clock as it was set, and whose client was given no other
    /// address at a port since; whether there are any.
    pub(super) fn revive(&mut self, now: Now) -> bool {
        let mut uncertain: Vec<_> = std::mem::take(&mut self.uncertain).into_iter().collect();
        // Of several of one client the latest counts.
        uncertain.sort_by_key(|(address, each)| (Reverse(each.expires), *address));
        let mut is_any = false;
        for (address, each) in uncertain {
            let remaining = Duration::from_secs(each.expires.0.saturating_sub(now.wall.0));
            let ends = each.ended.min(now.monotonic + remaining.min(limits::LEASE_MAX));
            let has_room = self.bindings.len() < limits::PORT_BINDINGS_MAX;
            if self.by_client.contains_key(&each.client) || each.ended <= now.monotonic {
                self.unwritten.insert(address);
            } else if ends > now.monotonic && has_room {
                let stand = PortBinding {
                    client: each.client,
                    port: each.port,
                    ends,
                    committed: ends,
                    is_doubtful: false,
                };
                self.bindings.insert(address, stand);
                self.by_client.insert(each.client, address);
                is_any = true;
            } else {
                // It may be set back further.
                self.uncertain.insert(address, each);
            }
        }
        is_any
    }

    /// Puts back what the store kept, as far as it still counts by the calendar; what the store is to drop.
    pub fn restore(&mut self, now: Now, records: impl IntoIterator<Item = PortRecord>) -> Vec<PortChange> {
        let mut records: Vec<PortRecord> = records.into_iter().collect();
        // Of several of one client the latest counts.
        records.sort_by_key(|record| (record.expires, record.address));
        let mut changes = Vec::new();
        for record in records {
            let remaining = Duration::from_secs(record.expires.0.saturating_sub(now.wall.0));
            if remaining.is_zero() {
                let is_uncertain = self.uncertain.contains_key(&record.address);
                changes.extend((!is_uncertain).then_some(PortChange::Remove(record.address)));
            } else {
                changes.extend(self.note(now, (record.client, record.address), record.port, remaining));
            }
        }
        changes.retain(|change| matches!(change, PortChange::Remove(_)));
        changes
    }

    /// Has none count for longer from now on than its address's `longest`; what the store is to do about that.
    pub fn shorten(&mut self, now: Now, longest: impl Fn(Ipv4Addr) -> Duration) -> Vec<PortChange> {
        for (address, each) in &mut self.uncertain {
            each.ended = each.ended.min(now.monotonic + longest(*address));
        }
        let mut changes = Vec::new();
        for (address, stand) in &mut self.bindings {
            let ends = now.monotonic + longest(*address);
            if stand.ends > ends {
                stand.ends = ends;
                stand.committed = ends;
                changes.push(PortChange::Put(record(now, *address, stand)));
            }
        }
        changes
    }

    /// All that count, as they are to stand on disk.
    pub fn records(&self, now: Now) -> Vec<PortRecord> {
        let running = self.bindings.iter().filter(|(_, stand)| stand.ends > now.monotonic);
        running.map(|(address, stand)| record(now, *address, stand)).collect()
    }

    /// Drops some of what has ended, where there is no room for more.
    fn make_room(&mut self, now: Now) -> Vec<PortChange> {
        if self.bindings.len() < limits::PORT_BINDINGS_MAX {
            return Vec::new();
        }
        let over = self.bindings.iter().filter(|(_, stand)| stand.ends <= now.monotonic);
        let some = over.take(limits::PORT_BINDINGS_EVICTED_AT_ONCE);
        let over: Vec<Ipv4Addr> = some.map(|(address, _)| *address).collect();
        for address in &over {
            self.remove(*address);
        }
        over.into_iter().map(PortChange::Remove).collect()
    }

    fn forget_uncertain(&mut self, address: Ipv4Addr) -> Option<PortChange> {
        let before = self.uncertain.remove(&address);
        before.map(|_| PortChange::Remove(address))
    }

    fn remove(&mut self, address: Ipv4Addr) {
        if let Some(stand) = self.bindings.remove(&address) {
            self.by_client.remove(&stand.client);
        }
    }
}

fn is_among(port: PortId, names: &[String]) -> bool {
    names.iter().any(|name| PortId::of(name) == port)
}

fn record(now: Now, address: Ipv4Addr, stand: &PortBinding) -> PortRecord {
    let remaining = stand.ends.saturating_sub(now.monotonic);
    PortRecord {
        address,
        client: stand.client,
        port: stand.port,
        expires: WallTime(now.wall.0.saturating_add(remaining.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::MacAddr;

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);

    fn now(monotonic_s: u64, wall: u64) -> Now {
        Now {
            monotonic: Duration::from_secs(monotonic_s),
            wall: WallTime(wall),
        }
    }

    fn client(number: u16) -> HardwareAddr {
        let [high, low] = number.to_be_bytes();
        MacAddr([2, 0, 0, 0, high, low]).into()
    }

    fn put(changes: &[PortChange]) -> PortRecord {
        match changes {
            [PortChange::Put(record)] => record.clone(),
            other => panic!("{other:?}"),
        }
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn what_was_told_when_an_address_was_given_counts_as_long_as_its_lease_and_over_a_restart() {
        let client = client(1);
        let port = PortId::of("sw7/Gi1/7");
        let mut given = PortBindings::default();
        let record = put(&given.note(now(100, 1000), (client, ADDRESS), port, MINUTE));
        assert_eq!(
            given.at(now(159, 1059), ADDRESS),
            Some((client, PortId::of("SW7/gi1/7")))
        );
        assert_eq!(given.at(now(160, 1060), ADDRESS), None);
        let mut restored = PortBindings::default();
        assert_eq!(restored.restore(now(0, 1050), [record.clone()]), []);
        assert_eq!(restored.at(now(9, 1059), ADDRESS), Some((client, port)));
        assert_eq!(restored.at(now(10, 1060), ADDRESS), None);
        let mut late = PortBindings::default();
        let dropped = late.restore(now(0, 1060), [record]);
        assert_eq!(dropped, [PortChange::Remove(ADDRESS)]);
        assert_eq!(late.at(now(0, 1060), ADDRESS), None);
    }

    #[test]
    fn what_is_on_disk_already_is_not_written_again() {
        let port = PortId::of("sw7/Gi1/7");
        let mut given = PortBindings::default();
        let mut note = |at: u64, port| given.note(now(at, 1000 + at), (client(1), ADDRESS), port, MINUTE);
        put(&note(0, port));
        assert_eq!((note(1, port), note(15, port)), (vec![], vec![]), "it repeats itself");
        assert_eq!(put(&note(30, port)).expires, WallTime(1090), "it renews");
        assert_eq!(put(&note(31, PortId::of("sw7/Gi1/9"))).expires, WallTime(1091));
        assert!(given.at(now(90, 1090), ADDRESS).is_some());
    }

    #[test]
    fn a_client_has_one_address_and_an_address_one_client() {
        let port = PortId::of("sw7/Gi1/7");
        let other = Ipv4Addr::new(192, 0, 2, 12);
        let mut given = PortBindings::default();
        given.note(now(0, 0), (client(1), ADDRESS), port, MINUTE);
        let changes = given.note(now(1, 1), (client(1), other), port, MINUTE);
        assert_eq!(changes[0], PortChange::Remove(ADDRESS));
        assert_eq!((changes.len(), given.at(now(1, 1), ADDRESS)), (2, None));
        put(&given.note(now(2, 2), (client(2), other), port, MINUTE));
        assert_eq!(given.at(now(2, 2), other), Some((client(2), port)));
        assert_eq!(given.forget_client(client(1)), None);
        assert_eq!(given.give_up(client(2), ADDRESS), None);
        assert_eq!(given.pass_on(client(2), other), None);
        assert_eq!(given.pass_on(client(1), other), Some(PortChange::Remove(other)));
        assert_eq!(given.at(now(2, 2), other), None);
    }

    #[test]
    fn what_a_full_table_does_not_take_is_not_written_and_what_ended_makes_room() {
        let port = PortId::of("sw7/Gi1/7");
        let mut given = PortBindings::default();
        let address = |number: u16| Ipv4Addr::from_bits(0x0a00_0000 + u32::from(number));
        let most = u16::try_from(limits::PORT_BINDINGS_MAX).unwrap();
        for number in 0..most {
            put(&given.note(now(0, 0), (client(number), address(number)), port, MINUTE));
        }
        assert_eq!(given.note(now(1, 1), (client(most), address(most)), port, MINUTE), []);
        let changes = given.note(now(60, 60), (client(most), address(most)), port, MINUTE);
        assert_eq!(
            changes.len(),
            limits::PORT_BINDINGS_EVICTED_AT_ONCE + 1,
            "the disk's queue has room for them"
        );
        assert_eq!(given.records(now(60, 60)).len(), 1);
    }

    #[test]
    fn what_had_ended_by_a_clock_that_was_ahead_counts_again_unless_somebody_has_it() {
        const DAY: u64 = 86_400;
        let address = |last: u8| Ipv4Addr::new(192, 0, 2, last);
        let record = |number: u16, last: u8, expires: u64| PortRecord {
            address: address(last),
            client: client(number),
            port: PortId::of("sw7/Gi1/7"),
            expires: WallTime(expires),
        };
        let records = [
            record(1, 1, 1000),
            record(1, 11, 1100),
            record(2, 12, 1100),
            record(3, 13, 1100),
            record(4, 14, 1100),
            record(5, 15, 1100),
            record(6, 16, 900),
            record(7, 17, 2000),
        ];
        let start = now(10, 1000 + DAY);
        let mut given = PortBindings::default();
        given.mark_uncertain(start, WallTime(950), &records);
        let dropped = given.restore(start, records);
        assert_eq!(dropped, [PortChange::Remove(address(16))], "it has surely ended");
        assert_eq!(given.at(start, address(11)), None);
        let port = PortId::of("sw7/Gi1/9");
        put(&given.note(start, (client(8), address(12)), port, MINUTE));
        given.note(start, (client(3), address(23)), port, MINUTE);
        assert_eq!(
            given.give_up(client(4), address(14)),
            Some(PortChange::Remove(address(14)))
        );
        assert_eq!(
            given.pass_on(client(9), address(15)),
            Some(PortChange::Remove(address(15)))
        );
        assert!(!given.revive(now(11, 998 + DAY)), "a second");
        let set = now(20, 1020);
        assert!(given.revive(set));
        let has = |last: u8| given.at(set, address(last)).map(|(client, _)| client);
        assert_eq!(
            [11, 12, 13, 14, 15, 17, 23].map(has),
            [
                Some(client(1)),
                Some(client(8)),
                None,
                None,
                None,
                Some(client(7)),
                Some(client(3))
            ]
        );
        let ends = now(10 + 150, 1);
        assert_eq!(given.at(ends, address(11)), None, "however long the host was off");
        let removed = [1, 13].map(|last| PortChange::Remove(address(last)));
        assert_eq!(given.take_unwritten(set), removed);
    }

    #[test]
    fn what_the_disk_did_not_take_is_handed_over_again_as_it_counts_then() {
        let port = PortId::of("sw7/Gi1/7");
        let [kept, gone, over] = [11, 12, 13].map(|last| Ipv4Addr::new(192, 0, 2, last));
        let mut given = PortBindings::default();
        let mut refused = given.note(now(0, 1000), (client(1), kept), port, MINUTE);
        refused.extend(given.note(now(0, 1000), (client(2), gone), port, MINUTE));
        refused.extend(given.note(now(0, 1000), (client(3), over), port, MINUTE / 2));
        refused.extend(given.forget_client(client(2)));
        given.not_written(&refused);
        let port = PortId::of("sw7/Gi1/9");
        put(&given.note(now(20, 1020), (client(1), kept), port, MINUTE));
        let again = given.take_unwritten(now(40, 1040));
        let record = PortRecord {
            address: kept,
            client: client(1),
            port,
            expires: WallTime(1080),
        };
        let removed = [gone, over].map(PortChange::Remove);
        assert_eq!((&again[0], &again[1..]), (&PortChange::Put(record), &removed[..]));
        assert_eq!(given.take_unwritten(now(40, 1040)), [], "it is under way");
        given.not_written(&again);
        assert_eq!(given.take_unwritten(now(41, 1041)), again);
    }

    #[test]
    fn what_a_disk_that_takes_nothing_is_owed_is_bounded() {
        let port = PortId::of("sw7/Gi1/7");
        let mut given = PortBindings::default();
        let most = u32::try_from(limits::PORT_BINDINGS_MAX).unwrap();
        for number in 0..=most {
            let address = Ipv4Addr::from_bits(0x0a00_0000 + number);
            let changes = given.note(now(0, 0), (client(1), address), port, MINUTE);
            given.not_written(&changes);
        }
        assert_eq!(given.records(now(0, 0)), [], "the last found no room");
        let mut handed_over = 0;
        loop {
            let some = given.take_unwritten(now(0, 0)).len();
            assert!(some <= limits::PORT_CHANGES_RETRIED_AT_ONCE);
            handed_over += some;
            if some == 0 {
                break;
            }
        }
        assert_eq!(handed_over, limits::PORT_BINDINGS_MAX);
    }

    #[test]
    fn ports_are_told_apart() {
        let names = ["sw1/Gi1/0/2", "sw1/Gi1/0/1", "sw2/Gi1/0/2", "Gi1/0/2", ""];
        for (at, name) in names.iter().enumerate() {
            for other in &names[at + 1..] {
                assert_ne!(PortId::of(name), PortId::of(other));
            }
        }
    }
}
