//! Who waits for a permit: a line for each client address, and the first of each that may have one.
//!
//! Thousands may wait, of one address that has all it may have too. Whoever gives a permit back looks at none of
//! these, because everybody's permits go through one lock.

use super::{PermitRequest, Rank};
use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

/// Machines before strangers, by rank, and then who came first.
pub(super) type QueueKey = (bool, Rank, u64);

/// All who wait; `W` is what one of them is handed its permit by.
#[derive(Debug)]
pub(super) struct WaitQueue<W> {
    lines: HashMap<IpAddr, ClientLine<W>>,
    /// The first of each line whose address may have more permits.
    ready: BTreeMap<QueueKey, IpAddr>,
}

/// Who waits at one address, in the order of their turns.
#[derive(Debug)]
struct ClientLine<W> {
    waiters: BTreeMap<QueueKey, (PermitRequest, W)>,
    /// Its key in `ready`.
    ready: Option<QueueKey>,
}

impl<W> Default for WaitQueue<W> {
    fn default() -> Self {
        WaitQueue {
            lines: HashMap::new(),
            ready: BTreeMap::new(),
        }
    }
}

impl<W> WaitQueue<W> {
    /// One more waits; `has_room` says of each address whether it may have more permits than it has.
    pub(super) fn insert(&mut self, turn: QueueKey, (request, hand): (PermitRequest, W), has_room: bool) {
        let client = request.client;
        let line = self.lines.entry(client).or_insert_with(|| ClientLine {
            waiters: BTreeMap::new(),
            ready: None,
        });
        line.waiters.insert(turn, (request, hand));
        self.update(client, || has_room);
    }

    /// Takes one out of the line, if it still waits.
    pub(super) fn remove(&mut self, (client, turn): (IpAddr, QueueKey), has_room: bool) -> Option<(PermitRequest, W)> {
        let removed = self.lines.get_mut(&client)?.waiters.remove(&turn);
        self.update(client, || has_room);
        removed
    }

    /// An address has more permits than before, or fewer.
    pub(super) fn update(&mut self, client: IpAddr, has_room: impl FnOnce() -> bool) {
        let Some(line) = self.lines.get_mut(&client) else {
            return;
        };
        let first = line.waiters.first_key_value().map(|(turn, _)| *turn);
        let ready = first.filter(|_| has_room());
        if line.ready != ready {
            if let Some(former) = std::mem::replace(&mut line.ready, ready) {
                self.ready.remove(&former);
            }
            self.ready.extend(ready.map(|turn| (turn, client)));
        }
        if first.is_none() {
            self.lines.remove(&client);
        }
    }

    /// The first of those whose address may have more permits; of strangers only where they may have more together.
    pub(super) fn first(&self, is_for_strangers: bool) -> Option<(IpAddr, QueueKey)> {
        let (turn, client) = self.ready.first_key_value()?;
        let (is_stranger, _, _) = turn;
        (is_for_strangers || !is_stranger).then_some((*client, *turn))
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.ready.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn client(number: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, number])
    }

    fn waiter(number: u8) -> (PermitRequest, ()) {
        (PermitRequest::unevictable(client(number)), ())
    }

    #[test]
    fn who_waits_at_an_address_that_has_all_it_may_have_is_not_looked_at() {
        let mut queue = WaitQueue::default();
        (0..4000).for_each(|turn| queue.insert((false, Rank::Second, turn), waiter(1), false));
        queue.insert((false, Rank::Second, 4000), waiter(2), true);
        assert_eq!(queue.ready.len(), 1);
        assert_eq!(queue.first(true), Some((client(2), (false, Rank::Second, 4000))));
        queue.update(client(1), || true);
        assert_eq!(queue.first(true), Some((client(1), (false, Rank::Second, 0))));
        assert_eq!(queue.ready.len(), 2);
    }

    proptest! {
        /// Whatever came and went: the first is who would be found by looking at all.
        #[test]
        fn the_first_is_the_first_of_all_who_may_have_one(
            steps in proptest::collection::vec((0..4_u8, 0..5_u8, any::<bool>(), any::<bool>()), 1..60)
        ) {
            let mut queue = WaitQueue::default();
            let mut waiting: Vec<(QueueKey, u8)> = Vec::new();
            let mut rooms = [true; 5];
            for (count, (step, number, is_stranger, flag)) in (0..).zip(steps) {
                let room = |rooms: &[bool; 5], of: u8| rooms[usize::from(of)];
                match step {
                    0 | 1 => {
                        let rank = if flag { Rank::First } else { Rank::Second };
                        let turn = (is_stranger, rank, count);
                        queue.insert(turn, waiter(number), room(&rooms, number));
                        waiting.push((turn, number));
                    }
                    2 => if !waiting.is_empty() {
                        let (turn, of) = waiting.swap_remove(usize::from(number) % waiting.len());
                        prop_assert!(queue.remove((client(of), turn), room(&rooms, of)).is_some());
                        prop_assert!(queue.remove((client(of), turn), room(&rooms, of)).is_none());
                    },
                    _ => {
                        rooms[usize::from(number)] = flag;
                        queue.update(client(number), || flag);
                    }
                }
                for for_strangers in [true, false] {
                    let may = |(turn, of): &&(QueueKey, u8)| room(&rooms, *of) && (for_strangers || !turn.0);
                    let expected = waiting.iter().filter(may).min().map(|(turn, of)| (client(*of), *turn));
                    prop_assert_eq!(queue.first(for_strangers), expected);
                }
            }
            for (turn, of) in waiting {
                queue.remove((client(of), turn), rooms[usize::from(of)]);
            }
            prop_assert!(queue.is_empty());
        }
    }
}
