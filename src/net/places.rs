//! Places that are taken and given back: so many in all, so many for one client address.

use nix::sys::resource::{Resource, getrlimit};
use std::{
    collections::HashMap,
    net::Ipv4Addr,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, time::timeout};

/// A counted number of places.
#[derive(Clone, Debug)]
pub struct Places {
    all_max: usize,
    per_client_max: usize,
    taken: Arc<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    counts: Mutex<Counts>,
    /// Whoever waits is told of every place that is given back.
    given_back: Notify,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_client: HashMap<Ipv4Addr, usize>,
}

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

/// One place; dropping it gives it back.
#[derive(Debug)]
pub struct Place {
    client: Ipv4Addr,
    taken: Arc<Taken>,
}

impl Places {
    /// So many places in all, and so many for one client.
    pub fn new(all_max: usize, per_client_max: usize) -> Places {
        Places {
            all_max,
            per_client_max,
            taken: Arc::default(),
        }
    }

    /// A place for `client`, if one is free.
    pub fn take(&self, client: Ipv4Addr) -> Option<Place> {
        let mut counts = lock(&self.taken.counts);
        let own = counts.by_client.get(&client).copied().unwrap_or(0);
        if counts.all >= self.all_max || own >= self.per_client_max {
            return None;
        }
        counts.all += 1;
        counts.by_client.insert(client, own + 1);
        Some(Place {
            client,
            taken: Arc::clone(&self.taken),
        })
    }

    /// The same, if one is free or becomes free in time.
    pub async fn take_within(&self, patience: Duration, client: Ipv4Addr) -> Option<Place> {
        let taken = async {
            loop {
                let mut given_back = pin!(self.taken.given_back.notified());
                // From here on: a place that is given back after this found none is not missed.
                given_back.as_mut().enable();
                match self.take(client) {
                    Some(place) => return place,
                    None => given_back.await,
                }
            }
        };
        timeout(patience, taken).await.ok()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = lock(&self.taken.counts);
        counts.all -= 1;
        if let Some(own) = counts.by_client.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                counts.by_client.remove(&self.client);
            }
        }
        drop(counts);
        self.taken.given_back.notify_waiters();
    }
}

fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

    #[test]
    fn one_client_cannot_take_the_places_of_the_others() {
        let places = Places::new(3, 2);
        let held: Vec<_> = (0..3).filter_map(|_| places.take(ONE)).collect();
        assert_eq!(held.len(), 2);
        assert!(places.take(OTHER).is_some());
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
        let places = Places::new(3, 1);
        let (own, other) = (places.take(ONE), places.take(OTHER));
        assert!(places.take_within(Duration::from_millis(10), ONE).await.is_none());
        let waiting = tokio::spawn({
            let places = places.clone();
            async move { places.take_within(Duration::from_secs(60), ONE).await }
        });
        tokio::task::yield_now().await;
        drop(other);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "that was another client's");
        drop(own);
        assert!(waiting.await.unwrap().is_some());
    }

    #[test]
    fn a_place_is_free_again_when_it_is_dropped() {
        let places = Places::new(1, 1);
        let held = places.take(ONE);
        assert!(places.take(OTHER).is_none());
        drop(held);
        assert!(places.take(OTHER).is_some());
    }
}
