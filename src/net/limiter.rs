//! A limiter that is fair between clients: permits in all, per client address, and for unknown clients together; and
//! the queue of those who wait for one. Where none is free, a known machine takes the permit of an unknown client.

mod wait_queue;

use crate::model::SharedAddresses;
use crate::net::eviction::{ClientClass, EvictionNotice, EvictionPriority, EvictionQueue, unknown_clients_share};
use nix::sys::resource::{Resource, getrlimit};
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::oneshot, time::timeout};
use wait_queue::{QueueKey, WaitQueue};

/// A counted number of permits.
#[derive(Clone, Debug)]
pub struct FairLimiter(Arc<LimiterInner>);

#[derive(Debug)]
struct LimiterInner {
    all_max: usize,
    /// For one machine; an address that many share has as many times that.
    per_machine_max: usize,
    /// For all unknown clients together.
    unknown_clients_max: usize,
    shared: SharedAddresses,
    counts: Mutex<LimiterCounts>,
}

/// Who asks for a permit.
#[derive(Clone, Debug)]
pub struct PermitRequest {
    /// Its address.
    pub client: IpAddr,
    /// What is known of that.
    pub class: ClientClass,
    /// Whether it has sent its request already.
    pub is_heard: bool,
    /// Tells it that its permit was revoked.
    pub eviction: EvictionNotice,
}

impl PermitRequest {
    /// That of a client whose permit is never revoked.
    pub fn unevictable(client: impl Into<IpAddr>) -> PermitRequest {
        PermitRequest {
            client: client.into(),
            class: ClientClass::Known,
            is_heard: true,
            eviction: EvictionNotice::default(),
        }
    }
}

/// Why there is no permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPermit {
    /// Its address has so many, as many as one may have.
    Client(usize),
    /// Strangers have as many as they may, and it is one.
    UnknownClients,
    /// All are taken.
    All,
}

#[derive(Debug, Default)]
struct LimiterCounts {
    all: usize,
    by_client: HashMap<IpAddr, usize>,
    /// How many of all are strangers'.
    unknown_clients: usize,
    /// Those of them that may have to give way: whose, and how to tell it.
    evictable: EvictionQueue<(IpAddr, EvictionNotice)>,
    /// Everybody who ever took one.
    taken: u64,
    /// Who waits, and what hands them their permit.
    queue: WaitQueue<oneshot::Sender<Permit>>,
    /// Everybody who ever waited.
    waited: u64,
}

/// Who of those that wait goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Who gives up in seconds.
    First,
    /// Everybody else.
    Second,
}

/// A server's part of the file descriptors that the process may have. A tenth is left for everything
/// else, because without a descriptor no connection is accepted and no inventory read.
#[derive(Clone, Copy, Debug)]
pub struct FdShare {
    /// Tenths of all descriptors.
    tenths: u64,
    /// Descriptors that one place takes at most.
    each: u64,
}

impl FdShare {
    /// A TFTP transfer takes its file.
    pub const TFTP: FdShare = FdShare { tenths: 5, each: 1 };
    /// An HTTP connection takes its socket and a file.
    pub const HTTP: FdShare = FdShare { tenths: 4, each: 2 };
}

/// As many of `wanted` places as there are descriptors for.
pub fn max_by_fds(wanted: usize, part: FdShare) -> usize {
    let (open_files, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((u64::MAX, u64::MAX));
    within(wanted, part, open_files)
}

fn within(wanted: usize, part: FdShare, open_files: u64) -> usize {
    let places = open_files / 10 * part.tenths / part.each;
    wanted.min(usize::try_from(places).unwrap_or(usize::MAX)).max(1)
}

/// One place; dropping it gives it back, to who waits for it.
#[derive(Debug)]
pub struct Permit {
    number: u64,
    client: IpAddr,
    class: ClientClass,
    inner: Arc<LimiterInner>,
}

/// A turn in the line; dropping it leaves the line.
struct Ticket {
    client: IpAddr,
    turn: QueueKey,
    inner: Arc<LimiterInner>,
}

impl FairLimiter {
    /// So many places in all, and so many for one machine: for one client's address, or for each of the
    /// machines that share it.
    pub fn new(all_max: usize, per_machine_max: usize, shared: &SharedAddresses) -> FairLimiter {
        FairLimiter(Arc::new(LimiterInner {
            all_max,
            per_machine_max,
            unknown_clients_max: unknown_clients_share(all_max),
            shared: shared.clone(),
            counts: Mutex::default(),
        }))
    }

    /// How many there are for `client`, whoever else has any.
    pub fn of(&self, client: IpAddr) -> usize {
        self.0.of(client)
    }

    /// Why there is no place for `request`, if there is none.
    pub fn no_permit(&self, request: &PermitRequest) -> Option<NoPermit> {
        self.0.no_permit(&self.0.lock(), request)
    }

    /// How many were ever taken.
    pub fn taken(&self) -> u64 {
        self.0.lock().taken
    }

    /// A place for `request`, if one is free or another is evicted for it.
    pub fn take(&self, request: &PermitRequest) -> Option<Permit> {
        take(&self.0, &mut self.0.lock(), request)
    }

    /// The same, if one is free or becomes free in time. Who waits gets places in turn, and passes over
    /// none that its own address may not have.
    pub async fn take_within(&self, patience: Duration, request: &PermitRequest, rank: Rank) -> Option<Permit> {
        let (handed, _ticket) = match self.enqueue(request, rank) {
            Ok(permit) => return Some(permit),
            Err(waiting) => waiting,
        };
        timeout(patience, handed).await.ok()?.ok()
    }

    fn enqueue(&self, request: &PermitRequest, rank: Rank) -> Result<Permit, (oneshot::Receiver<Permit>, Ticket)> {
        let mut counts = self.0.lock();
        if let Some(permit) = take(&self.0, &mut counts, request) {
            return Ok(permit);
        }
        let (hand, handed) = oneshot::channel();
        counts.waited += 1;
        let turn = (self.0.class(request) == ClientClass::Unknown, rank, counts.waited);
        let client = request.client;
        let has_room = self.0.has_room(&counts, client);
        counts.queue.insert(turn, (request.clone(), hand), has_room);
        let inner = Arc::clone(&self.0);
        Err((handed, Ticket { client, turn, inner }))
    }
}

fn take(inner: &Arc<LimiterInner>, counts: &mut LimiterCounts, request: &PermitRequest) -> Option<Permit> {
    match inner.no_permit(counts, request) {
        None => {}
        Some(NoPermit::Client(_)) => return None,
        Some(NoPermit::UnknownClients | NoPermit::All) => inner.evict(counts, inner.class(request))?,
    }
    let (client, class) = (request.client, inner.class(request));
    counts.taken += 1;
    let number = counts.taken;
    counts.all += 1;
    *counts.by_client.entry(client).or_default() += 1;
    inner.update_queue(counts, client);
    if class == ClientClass::Unknown {
        counts.unknown_clients += 1;
        let firmness = match request.is_heard {
            true => EvictionPriority::Unknown,
            false => EvictionPriority::SilentUnknown,
        };
        counts
            .evictable
            .enter(firmness, number, (client, request.eviction.clone()));
    }
    Some(Permit {
        number,
        client,
        class,
        inner: Arc::clone(inner),
    })
}

impl Permit {
    /// Its client sent its request: no other stranger takes its place any more.
    pub fn hear(&self) {
        if self.class == ClientClass::Unknown {
            self.inner.lock().evictable.hear(self.class, self.number);
        }
    }
}

impl LimiterCounts {
    fn own(&self, client: IpAddr) -> usize {
        self.by_client.get(&client).copied().unwrap_or(0)
    }
}

impl LimiterInner {
    fn lock(&self) -> MutexGuard<'_, LimiterCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, client: IpAddr) -> usize {
        self.per_machine_max.saturating_mul(self.shared.machines_at(client))
    }

    /// An address that the operator named is a known client.
    fn class(&self, request: &PermitRequest) -> ClientClass {
        match self.shared.names(request.client) {
            true => ClientClass::Known,
            false => request.class,
        }
    }

    /// Whether an address may have more than it has.
    fn has_room(&self, counts: &LimiterCounts, client: IpAddr) -> bool {
        counts.own(client) < self.of(client)
    }

    /// An address has more than before, or fewer.
    fn update_queue(&self, counts: &mut LimiterCounts, client: IpAddr) {
        let own = counts.own(client);
        counts.queue.update(client, || own < self.of(client));
    }

    fn no_permit(&self, counts: &LimiterCounts, request: &PermitRequest) -> Option<NoPermit> {
        let is_stranger = self.class(request) == ClientClass::Unknown;
        if !self.has_room(counts, request.client) {
            Some(NoPermit::Client(self.of(request.client)))
        } else if counts.all >= self.all_max {
            Some(NoPermit::All)
        } else {
            (is_stranger && counts.unknown_clients >= self.unknown_clients_max).then_some(NoPermit::UnknownClients)
        }
    }

    /// Evicts another; `None` where none may be evicted.
    fn evict(&self, counts: &mut LimiterCounts, newcomer: ClientClass) -> Option<()> {
        let is_share_used = counts.unknown_clients >= self.unknown_clients_max;
        let (_, number, _) = counts.evictable.first(newcomer, is_share_used)?;
        let (client, eviction) = counts.evictable.remove(number)?;
        self.give_back(counts, client, ClientClass::Unknown);
        eviction.notify();
        Some(())
    }

    fn give_back(&self, counts: &mut LimiterCounts, client: IpAddr, class: ClientClass) {
        counts.all -= 1;
        if class == ClientClass::Unknown {
            counts.unknown_clients -= 1;
        }
        if let Some(own) = counts.by_client.get_mut(&client) {
            *own -= 1;
            if *own == 0 {
                counts.by_client.remove(&client);
            }
        }
        self.update_queue(counts, client);
    }

    /// The first of those who wait that may have one now.
    fn next_waiter(&self, counts: &mut LimiterCounts) -> Option<(PermitRequest, oneshot::Sender<Permit>)> {
        if counts.all >= self.all_max {
            return None;
        }
        let (client, turn) = counts.queue.first(counts.unknown_clients < self.unknown_clients_max)?;
        let has_room = self.has_room(counts, client);
        counts.queue.remove((client, turn), has_room)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let handed = {
            let mut counts = self.inner.lock();
            // Who gave way has nothing to give back.
            if self.class == ClientClass::Unknown && counts.evictable.remove(self.number).is_none() {
                return;
            }
            self.inner.give_back(&mut counts, self.client, self.class);
            let next = self.inner.next_waiter(&mut counts);
            next.and_then(|(request, hand)| Some((take(&self.inner, &mut counts, &request)?, hand)))
        };
        // Outside of the lock: a place whose request is gone is given back at once.
        if let Some((permit, hand)) = handed {
            drop(hand.send(permit));
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut counts = self.inner.lock();
        let has_room = self.inner.has_room(&counts, self.client);
        counts.queue.remove((self.client, self.turn), has_room);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    const ONE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
    const LONG: Duration = Duration::from_secs(60);

    fn unevictable(number: u8) -> PermitRequest {
        PermitRequest::unevictable(Ipv4Addr::new(192, 0, 2, number))
    }

    fn stranger(number: u8, is_heard: bool) -> PermitRequest {
        PermitRequest {
            class: ClientClass::Unknown,
            is_heard,
            ..unevictable(number)
        }
    }

    fn places(all_max: usize, per_machine_max: usize) -> FairLimiter {
        FairLimiter::new(all_max, per_machine_max, &SharedAddresses::default())
    }

    #[test]
    fn one_client_cannot_take_the_places_of_the_others() {
        let places = places(3, 2);
        let held: Vec<_> = (0..3).filter_map(|_| places.take(&unevictable(1))).collect();
        assert_eq!(
            (
                held.len(),
                places.no_permit(&unevictable(1)),
                places.no_permit(&unevictable(2))
            ),
            (2, Some(NoPermit::Client(2)), None)
        );
        assert!(places.take(&unevictable(2)).is_some());
    }

    #[test]
    fn every_ipv6_address_has_places_of_its_own() {
        let places = places(10, 2);
        let six = |last: u16| PermitRequest::unevictable(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last));
        let held: Vec<_> = (0..3).filter_map(|_| places.take(&six(1))).collect();
        assert_eq!(held.len(), 2);
        assert!(places.take(&six(2)).is_some() && places.take(&unevictable(1)).is_some());
        drop(held);
        assert!(places.take(&six(1)).is_some());
    }

    #[test]
    fn an_address_that_many_machines_share_has_the_places_of_them_all() {
        let shared = SharedAddresses::new(vec![("192.0.2.1/32".parse().unwrap(), 3)]);
        let places = FairLimiter::new(100, 2, &shared);
        assert_eq!((places.of(ONE), places.of(OTHER)), (6, 2));
        assert_eq!(
            (0..9)
                .filter_map(|_| places.take(&unevictable(1)))
                .collect::<Vec<_>>()
                .len(),
            6
        );
    }

    #[test]
    fn two_servers_full_of_places_leave_descriptors_for_the_rest() {
        let both = |open_files| [FdShare::TFTP, FdShare::HTTP].map(|part| within(12_000, part, open_files));
        assert_eq!(both(65_536), [12_000, 12_000]);
        assert_eq!(both(20_000), [10_000, 4_000]);
        assert_eq!(both(1_000), [500, 200]);
        assert_eq!(both(u64::MAX), [12_000, 12_000]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_has_the_place_that_is_given_back_and_not_anothers() {
        let places = places(3, 1);
        let (own, other) = (places.take(&unevictable(1)), places.take(&unevictable(2)));
        let early = places.take_within(LONG, &unevictable(1), Rank::First).await;
        assert!(early.is_none());
        let waiting = tokio::spawn({
            let places = places.clone();
            async move { places.take_within(LONG, &unevictable(1), Rank::Second).await }
        });
        tokio::task::yield_now().await;
        drop(other);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "that was another client's");
        drop(own);
        assert!(waiting.await.unwrap().is_some());
    }

    /// Who of those that wait gets the only place, one after the other.
    async fn order_of(queue: &[(u8, Rank)]) -> Vec<u8> {
        let places = places(1, 1);
        let only = places.take(&unevictable(1));
        let (served, mut order) = tokio::sync::mpsc::unbounded_channel();
        for (number, rank) in queue.iter().copied() {
            let (places, served) = (places.clone(), served.clone());
            tokio::spawn(async move {
                let permit = places.take_within(LONG, &unevictable(number), rank).await;
                served.send(number).unwrap();
                drop(permit);
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
        let only = places.take(&unevictable(1));
        let leaver = tokio::spawn({
            let places = places.clone();
            async move { places.take_within(LONG, &unevictable(2), Rank::First).await }
        });
        tokio::task::yield_now().await;
        leaver.abort();
        assert!(leaver.await.is_err());
        assert!(places.0.lock().queue.is_empty());
        drop(only);
        assert_eq!(places.0.lock().all, 0);
        // A place that was handed over, and whose taker is gone before it looked.
        let only = places.take(&unevictable(1));
        let Err((handed, ticket)) = places.enqueue(&unevictable(2), Rank::First) else {
            panic!("the only place is taken")
        };
        drop(only);
        assert!(places.take(&unevictable(1)).is_none(), "it is the other's");
        drop((handed, ticket));
        assert!(places.take(&unevictable(1)).is_some());
    }

    #[test]
    fn a_place_is_free_again_when_it_is_dropped() {
        let places = places(1, 1);
        let held = places.take(&unevictable(1));
        assert!(places.take(&unevictable(2)).is_none());
        drop(held);
        assert!(places.take(&unevictable(2)).is_some());
    }

    #[test]
    fn strangers_have_a_share_and_a_machine_takes_the_place_of_one() {
        let places = places(8, 2);
        let held: Vec<_> = (10..20)
            .map(|number| stranger(number, true))
            .filter_map(|request| Some((places.take(&request)?, request)))
            .collect();
        assert_eq!(
            (held.len(), places.no_permit(&stranger(20, true))),
            (4, Some(NoPermit::UnknownClients))
        );
        let machines: Vec<_> = (1..=8).filter_map(|number| places.take(&unevictable(number))).collect();
        assert_eq!(machines.len(), 8, "each of them took a free place or a stranger's");
        assert!(held.iter().all(|(_, request)| request.eviction.is_evicted()));
        drop(held);
        let counts = places.0.lock();
        assert_eq!(
            (counts.all, counts.unknown_clients),
            (8, 0),
            "they had nothing to give back"
        );
        drop(counts);
        assert_eq!(
            (
                places.no_permit(&unevictable(9)),
                places.take(&unevictable(9)).is_none()
            ),
            (Some(NoPermit::All), true)
        );
    }

    #[test]
    fn a_stranger_that_says_nothing_gives_way_to_another_and_one_that_spoke_does_not() {
        let places = places(4, 2);
        let (silent, heard) = (stranger(10, false), stranger(11, false));
        let held: Vec<_> = [&silent, &heard].map(|request| places.take(request).unwrap()).into();
        held[1].hear();
        let newcomer = stranger(12, false);
        let third = places.take(&newcomer).unwrap();
        assert_eq!(
            (silent.eviction.is_evicted(), heard.eviction.is_evicted()),
            (true, false)
        );
        third.hear();
        assert!(
            places.take(&stranger(13, false)).is_none(),
            "all of their share have spoken"
        );
        assert_eq!(places.0.lock().unknown_clients, 2);
    }

    #[test]
    fn a_rack_behind_an_address_that_the_settings_name_is_no_stranger() {
        let shared = SharedAddresses::new(vec![("192.0.2.10/32".parse().unwrap(), 3)]);
        let places = FairLimiter::new(4, 2, &shared);
        let rack: Vec<_> = (0..4).filter_map(|_| places.take(&stranger(10, true))).collect();
        assert_eq!(rack.len(), 4);
        assert!(places.take(&unevictable(1)).is_none(), "none of them gives way");
    }

    #[tokio::test]
    async fn a_machine_that_waits_goes_before_strangers_that_came_earlier() {
        let places = places(2, 1);
        let taken = [places.take(&unevictable(1)), places.take(&unevictable(2))];
        let wait = |request: PermitRequest, rank| {
            let places = places.clone();
            tokio::spawn(async move { places.take_within(LONG, &request, rank).await })
        };
        let early = wait(stranger(10, true), Rank::First);
        tokio::task::yield_now().await;
        let machine = wait(unevictable(3), Rank::Second);
        tokio::task::yield_now().await;
        drop(taken);
        assert!(machine.await.unwrap().is_some());
        assert!(early.await.unwrap().is_some(), "the other place");
    }
}
