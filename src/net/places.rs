//! Places that are taken and given back: so many in all, so many for one client address; and the line of
//! those who wait for one.

use crate::model::SharedAddresses;
use nix::sys::resource::{Resource, getrlimit};
use std::{
    collections::{BTreeMap, HashMap},
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::oneshot, time::timeout};

/// A counted number of places.
#[derive(Clone, Debug)]
pub struct Places(Arc<Kept>);

#[derive(Debug)]
struct Kept {
    all_max: usize,
    /// For one machine; an address that many share has as many times that.
    per_machine_max: usize,
    shared: SharedAddresses,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_client: HashMap<Ipv4Addr, usize>,
    /// Who waits, in the order of their turns.
    line: BTreeMap<Turn, Waiting>,
    /// Everybody who ever waited.
    waited: u64,
}

/// One in the line.
#[derive(Debug)]
struct Waiting {
    client: Ipv4Addr,
    hand: oneshot::Sender<Place>,
}

/// Who of those that wait goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Who gives up in seconds.
    First,
    /// Everybody else.
    Second,
}

/// By rank, and then who came first.
type Turn = (Rank, u64);

/// A server's part of the file descriptors that the process may have. A tenth is left for everything
/// else, because without a descriptor no connection is accepted and no inventory read.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Tenths of all descriptors.
    tenths: u64,
    /// Descriptors that one place takes at most.
    each: u64,
}

impl Part {
    /// A TFTP transfer takes its file.
    pub const TFTP: Part = Part { tenths: 5, each: 1 };
    /// An HTTP connection takes its socket and a file.
    pub const HTTP: Part = Part { tenths: 4, each: 2 };
}

/// As many of `wanted` places as there are descriptors for.
pub fn affordable(wanted: usize, part: Part) -> usize {
    let (open_files, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((u64::MAX, u64::MAX));
    within(wanted, part, open_files)
}

fn within(wanted: usize, part: Part, open_files: u64) -> usize {
    let places = open_files / 10 * part.tenths / part.each;
    wanted.min(usize::try_from(places).unwrap_or(usize::MAX)).max(1)
}

/// One place; dropping it gives it back, to who waits for it.
#[derive(Debug)]
pub struct Place {
    client: Ipv4Addr,
    kept: Arc<Kept>,
}

/// A turn in the line; dropping it leaves the line.
struct Ticket {
    turn: Turn,
    kept: Arc<Kept>,
}

impl Places {
    /// So many places in all, and so many for one machine: for one client's address, or for each of the
    /// machines that share it.
    pub fn new(all_max: usize, per_machine_max: usize, shared: &SharedAddresses) -> Places {
        Places(Arc::new(Kept {
            all_max,
            per_machine_max,
            shared: shared.clone(),
            counts: Mutex::default(),
        }))
    }

    /// How many there are for `client`, whoever else has any.
    pub fn of(&self, client: Ipv4Addr) -> usize {
        self.0.of(client)
    }

    /// Whether `client` has all that are for it.
    pub fn has_all(&self, client: Ipv4Addr) -> bool {
        self.0.lock().own(client) >= self.0.of(client)
    }

    /// A place for `client`, if one is free.
    pub fn take(&self, client: Ipv4Addr) -> Option<Place> {
        take(&self.0, &mut self.0.lock(), client)
    }

    /// The same, if one is free or becomes free in time. Who waits gets places in turn, and passes over
    /// none that its own address may not have.
    pub async fn take_within(&self, patience: Duration, client: Ipv4Addr, rank: Rank) -> Option<Place> {
        let (handed, _ticket) = match self.line_up(client, rank) {
            Ok(place) => return Some(place),
            Err(waiting) => waiting,
        };
        timeout(patience, handed).await.ok()?.ok()
    }

    fn line_up(&self, client: Ipv4Addr, rank: Rank) -> Result<Place, (oneshot::Receiver<Place>, Ticket)> {
        let mut counts = self.0.lock();
        if let Some(place) = take(&self.0, &mut counts, client) {
            return Ok(place);
        }
        let (hand, handed) = oneshot::channel();
        counts.waited += 1;
        let turn = (rank, counts.waited);
        counts.line.insert(turn, Waiting { client, hand });
        let kept = Arc::clone(&self.0);
        Err((handed, Ticket { turn, kept }))
    }
}

fn take(kept: &Arc<Kept>, counts: &mut Counts, client: Ipv4Addr) -> Option<Place> {
    if !kept.has_room(counts, client) {
        return None;
    }
    counts.all += 1;
    *counts.by_client.entry(client).or_default() += 1;
    Some(Place {
        client,
        kept: Arc::clone(kept),
    })
}

impl Counts {
    fn own(&self, client: Ipv4Addr) -> usize {
        self.by_client.get(&client).copied().unwrap_or(0)
    }
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, client: Ipv4Addr) -> usize {
        self.per_machine_max.saturating_mul(self.shared.machines_at(client))
    }

    fn has_room(&self, counts: &Counts, client: Ipv4Addr) -> bool {
        counts.all < self.all_max && counts.own(client) < self.of(client)
    }

    fn give_back(&self, counts: &mut Counts, client: Ipv4Addr) {
        counts.all -= 1;
        if let Some(own) = counts.by_client.get_mut(&client) {
            *own -= 1;
            if *own == 0 {
                counts.by_client.remove(&client);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let handed = {
            let mut counts = self.kept.lock();
            self.kept.give_back(&mut counts, self.client);
            let next = counts
                .line
                .iter()
                .find(|(_, waiting)| self.kept.has_room(&counts, waiting.client))
                .map(|(turn, _)| *turn);
            let next = next.and_then(|turn| counts.line.remove(&turn));
            next.and_then(|waiting| Some((take(&self.kept, &mut counts, waiting.client)?, waiting.hand)))
        };
        // Outside of the lock: what nobody takes any more is given back at once.
        if let Some((place, hand)) = handed {
            drop(hand.send(place));
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.kept.lock().line.remove(&self.turn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
    const LONG: Duration = Duration::from_secs(60);

    fn places(all_max: usize, per_machine_max: usize) -> Places {
        Places::new(all_max, per_machine_max, &SharedAddresses::default())
    }

    #[test]
    fn one_client_cannot_take_the_places_of_the_others() {
        let places = places(3, 2);
        let held: Vec<_> = (0..3).filter_map(|_| places.take(ONE)).collect();
        assert_eq!(
            (held.len(), places.has_all(ONE), places.has_all(OTHER)),
            (2, true, false)
        );
        assert!(places.take(OTHER).is_some());
    }

    #[test]
    fn an_address_that_many_machines_share_has_the_places_of_them_all() {
        let shared = SharedAddresses::new(vec![("192.0.2.1/32".parse().unwrap(), 3)]);
        let places = Places::new(100, 2, &shared);
        assert_eq!((places.of(ONE), places.of(OTHER)), (6, 2));
        assert_eq!((0..9).filter_map(|_| places.take(ONE)).collect::<Vec<_>>().len(), 6);
    }

    #[test]
    fn two_servers_full_of_places_leave_descriptors_for_the_rest() {
        let both = |open_files| [Part::TFTP, Part::HTTP].map(|part| within(12_000, part, open_files));
        assert_eq!(both(65_536), [12_000, 12_000]);
        assert_eq!(both(20_000), [10_000, 4_000]);
        assert_eq!(both(1_000), [500, 200]);
        assert_eq!(both(u64::MAX), [12_000, 12_000]);
    }

    #[tokio::test]
    async fn who_waits_has_the_place_that_is_given_back_and_not_anothers() {
        let places = places(3, 1);
        let (own, other) = (places.take(ONE), places.take(OTHER));
        let early = places.take_within(Duration::from_millis(10), ONE, Rank::First).await;
        assert!(early.is_none());
        let waiting = tokio::spawn({
            let places = places.clone();
            async move { places.take_within(LONG, ONE, Rank::Second).await }
        });
        tokio::task::yield_now().await;
        drop(other);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "that was another client's");
        drop(own);
        assert!(waiting.await.unwrap().is_some());
    }

    /// Who of those that wait gets the only place, one after the other.
    async fn order_of(line: &[(u8, Rank)]) -> Vec<u8> {
        let places = places(1, 1);
        let only = places.take(ONE);
        let (served, mut order) = tokio::sync::mpsc::unbounded_channel();
        for (number, rank) in line.iter().copied() {
            let (places, served) = (places.clone(), served.clone());
            tokio::spawn(async move {
                let place = places.take_within(LONG, Ipv4Addr::new(192, 0, 2, number), rank).await;
                served.send(number).unwrap();
                drop(place);
            });
            tokio::task::yield_now().await;
        }
        drop((only, served));
        let mut all = Vec::new();
        while let Some(number) = order.recv().await {
            all.push(number);
        }
        all
    }

    #[tokio::test]
    async fn places_are_given_in_the_order_of_the_line_and_first_to_who_gives_up_soon() {
        use Rank::{First, Second};
        let order = order_of(&[(11, Second), (12, Second), (13, First), (14, Second), (15, First)]).await;
        assert_eq!(order, [13, 15, 11, 12, 14]);
    }

    #[tokio::test]
    async fn who_leaves_the_line_is_not_waited_for_and_holds_no_place() {
        let places = places(1, 1);
        let only = places.take(ONE);
        let leaver = tokio::spawn({
            let places = places.clone();
            async move { places.take_within(LONG, OTHER, Rank::First).await }
        });
        tokio::task::yield_now().await;
        leaver.abort();
        assert!(leaver.await.is_err());
        assert!(places.0.lock().line.is_empty());
        drop(only);
        assert_eq!(places.0.lock().all, 0);
        // A place that was handed over, and whose taker is gone before it looked.
        let only = places.take(ONE);
        let Err((handed, ticket)) = places.line_up(OTHER, Rank::First) else {
            panic!("the only place is taken")
        };
        drop(only);
        assert!(places.take(ONE).is_none(), "it is the other's");
        drop((handed, ticket));
        assert!(places.take(ONE).is_some());
    }

    #[test]
    fn a_place_is_free_again_when_it_is_dropped() {
        let places = places(1, 1);
        let held = places.take(ONE);
        assert!(places.take(OTHER).is_none());
        drop(held);
        assert!(places.take(OTHER).is_some());
    }
}
