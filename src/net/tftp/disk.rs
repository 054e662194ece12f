//! A lane's reads from the disk: so many at once, and so many for one client.
//!
//! A read whose transfer is gone goes on, with a thread and a descriptor. It keeps its client's
//! place until it is over: who starts over, again and again, would have all threads wait for a slow disk,
//! those of other clients and of operators too.

use crate::model::{SharedAddresses, limits::TFTP_READS_PER_WORKER_MAX};
use crate::net::{
    limiter::{FairLimiter, PermitRequest},
    tasks::TaskTracker,
};
use std::{net::Ipv4Addr, sync::Arc};
use tokio::sync::Semaphore;

pub(super) struct DiskReads {
    permits: FairLimiter,
    turns: Arc<Semaphore>,
}

impl DiskReads {
    /// So many reads that are under way or wait for their turn, in all and for one client.
    pub(super) fn new(all_max: usize, per_client_max: usize, shared: &SharedAddresses) -> DiskReads {
        DiskReads {
            permits: FairLimiter::new(all_max, per_client_max, shared),
            turns: Arc::new(Semaphore::new(TFTP_READS_PER_WORKER_MAX)),
        }
    }

    /// Has `read` run on a thread that may wait, once it is its turn, and then what takes its result, which
    /// finds the place free again; false where there is no place.
    pub(super) fn read<T: 'static>(
        &self,
        tasks: &TaskTracker,
        client: Ipv4Addr,
        read: impl FnOnce() -> T + Send + 'static,
        take: impl FnOnce(T) + Send + 'static,
    ) -> bool {
        let Some(place) = self.permits.take(&PermitRequest::unevictable(client)) else {
            return false;
        };
        let turns = Arc::clone(&self.turns);
        tasks.spawn(async move {
            // An error means that the semaphore is closed, which never happens.
            let Ok(turn) = turns.acquire_owned().await else { return };
            tokio::task::spawn_blocking(move || {
                let result = read();
                drop((place, turn));
                take(result);
            });
        });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use tokio::{sync::watch, task::yield_now};

    #[tokio::test]
    async fn a_client_that_starts_over_has_no_more_reads_than_places_and_keeps_nobody_out() {
        let (_stop, stopped) = watch::channel(false);
        let (tasks, _drain) = TaskTracker::new(stopped);
        let disk = DiskReads::new(9, 2, &SharedAddresses::NONE);
        let (own, other) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
        let waits: Vec<_> = (0..2)
            .map(|_| {
                let (go_on, wait) = mpsc::channel::<()>();
                assert!(disk.read(&tasks, own, move || wait.recv().is_ok(), |_| {}));
                go_on
            })
            .collect();
        assert!(!disk.read(&tasks, own, || {}, |()| {}), "the disk still reads for it");
        assert!(disk.read(&tasks, other, || {}, |()| {}));
        drop(waits);
        while !disk.read(&tasks, own, || {}, |()| {}) {
            yield_now().await;
        }
    }
}
