//! Has the disk know at which switch ports addresses were given. What it does not take, the table is told, and hands
//! it over again: a host that renews would otherwise count at no port after a restart, or at one that it left.

use super::{LeaseGuard, Shared};
use crate::boot::change::Change;
use crate::lease::{LeaseTable, PortChange};
use crate::model::Now;
use crate::store::StoreError;
use std::sync::Arc;
use tracing::debug;

/// Hands over `changes`.
pub fn keep(shared: &Arc<Shared>, leases: &mut LeaseGuard<'_>, changes: Vec<PortChange>) {
    if changes.is_empty() {
        return;
    }
    let handed_over = changes.iter().cloned().map(Change::Port).collect();
    let written = match leases.log().append(handed_over) {
        Ok(written) => written,
        Err(reason) => return owe(leases, &changes, &reason),
    };
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        if let Err(reason) = written.await {
            owe(&mut shared.lease_table(), &changes, &reason);
        }
    });
}

/// Hands over again some of what the disk did not take.
pub(super) fn keep_unwritten(shared: &Arc<Shared>, now: Now, leases: &mut LeaseGuard<'_>) {
    let now = leases.dated(now);
    let changes = leases.ports.take_unwritten(now);
    keep(shared, leases, changes);
}

fn owe(leases: &mut LeaseTable, changes: &[PortChange], reason: &StoreError) {
    debug!("at which switch ports addresses were given is not on disk, which is tried again: {reason}");
    leases.ports.not_written(changes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::PortId;
    use crate::model::MacAddr;
    use crate::state::{CommitLog, Durable, tests::shared_with};
    use std::{collections::VecDeque, net::Ipv4Addr, sync::Mutex, time::Duration};

    enum DiskResult {
        NoRoom,
        Fails,
        Written,
    }

    /// A disk with an answer for each time, and what it was handed.
    #[derive(Default)]
    struct ScriptedDisk {
        answers: Mutex<VecDeque<DiskResult>>,
        came: Mutex<Vec<Vec<Change>>>,
    }

    impl CommitLog for Arc<ScriptedDisk> {
        fn append(&self, changes: Vec<Change>) -> Result<Durable, StoreError> {
            self.came.lock().unwrap().push(changes);
            let gone = || Err(StoreError::unavailable("the disk is gone"));
            match self.answers.lock().unwrap().pop_front().unwrap() {
                DiskResult::NoRoom => Err(StoreError::unavailable("too many wait")),
                DiskResult::Fails => Ok(Box::pin(async move { gone() })),
                DiskResult::Written => Ok(Box::pin(async { Ok(()) })),
            }
        }
    }

    #[tokio::test]
    async fn a_port_that_the_disk_does_not_take_is_handed_over_until_it_does() {
        let disk = Arc::<ScriptedDisk>::default();
        disk.answers.lock().unwrap().extend([
            DiskResult::NoRoom,
            DiskResult::Fails,
            DiskResult::Fails,
            DiskResult::Written,
        ]);
        let shared = shared_with(Box::new(Arc::clone(&disk)));
        let now = shared.clock.now();
        {
            let mut leases = shared.lease_table();
            let client = MacAddr([2, 0, 0, 0, 0, 7]).into();
            let address = Ipv4Addr::new(192, 0, 2, 7);
            let changes = leases
                .ports
                .note(now, (client, address), PortId(7), Duration::from_secs(3600));
            keep(&shared, &mut leases, changes);
        }
        for _ in 0..5 {
            keep_unwritten(&shared, now, &mut shared.lease_table());
            // What became of it is told on another task of this thread.
            tokio::task::yield_now().await;
        }
        let came = disk.came.lock().unwrap();
        assert_eq!(came.len(), 4, "{came:?}");
        assert!(
            came.iter().all(|changes| *changes == came[0] && changes.len() == 1),
            "{came:?}"
        );
    }
}
