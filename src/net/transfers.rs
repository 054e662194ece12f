//! Transfers under way: whose, of what, and how far they are. The servers say, an operator asks.
//!
//! Texts that go out by HTTP are not among them: they are gone with one write. How many there may be
//! is not decided here but by the servers' places.

use crate::boot::resource::{Resolved, Transport};
use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Every transfer under way, in the order of their beginnings.
#[derive(Clone, Debug, Default)]
pub struct Transfers {
    table: Arc<Mutex<TransferTable>>,
}

#[derive(Debug, Default)]
struct TransferTable {
    begun: u64,
    handle: BTreeMap<u64, Arc<TransferProgress>>,
}

/// One of them.
#[derive(Debug)]
pub struct TransferProgress {
    /// The machine's name.
    pub machine: String,
    /// The address that it goes to.
    pub client: Ipv4Addr,
    /// Who serves.
    pub transport: Transport,
    /// What the thing is called in logs.
    pub what: String,
    /// Bytes of the whole transfer.
    pub length: u64,
    /// When it began, by the daemon's monotonic clock.
    pub began: Duration,
    sent: AtomicU64,
}

/// A transfer's place in the table; it leaves when this is dropped.
#[derive(Debug)]
pub struct TransferHandle {
    number: u64,
    transfer: Arc<TransferProgress>,
    transfers: Transfers,
}

impl Transfers {
    /// A transfer of `length` bytes begins.
    pub fn begin(
        &self,
        began: Duration,
        (transport, client): (Transport, Ipv4Addr),
        resolved: &Resolved,
        length: u64,
    ) -> TransferHandle {
        let transfer = Arc::new(TransferProgress {
            machine: resolved.machine.clone(),
            client,
            transport,
            what: resolved.what.clone(),
            length,
            began,
            sent: AtomicU64::new(0),
        });
        let mut table = self.table();
        table.begun += 1;
        let number = table.begun;
        table.handle.insert(number, Arc::clone(&transfer));
        TransferHandle {
            number,
            transfer,
            transfers: self.clone(),
        }
    }

    /// Those under way now.
    pub fn under_way(&self) -> Vec<Arc<TransferProgress>> {
        self.table().handle.values().map(Arc::clone).collect()
    }

    fn table(&self) -> MutexGuard<'_, TransferTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TransferProgress {
    /// Bytes sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl TransferHandle {
    /// So many more bytes were sent.
    pub fn add(&self, bytes: u64) {
        self.transfer.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes were sent in all.
    pub fn reached(&self, bytes: u64) {
        self.transfer.sent.store(bytes, Ordering::Relaxed);
    }
}

impl Drop for TransferHandle {
    fn drop(&mut self) {
        self.transfers.table().handle.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::{event::Stage, resource::Refusal};

    #[test]
    fn a_transfer_is_seen_from_its_beginning_to_its_end() {
        let resolved = Resolved {
            machine: "r1u07".to_owned(),
            hardware: None,
            stage: Stage::Ipxe,
            what: "image debian-12/linux".to_owned(),
            block_max: None,
            is_optional: false,
            result: Err(Refusal::BadPath { reason: "" }),
        };
        let transfers = Transfers::default();
        let begin = || {
            let to = (Transport::Http, Ipv4Addr::new(192, 0, 2, 11));
            transfers.begin(Duration::from_secs(7), to, &resolved, 1000)
        };
        let (first, second) = (begin(), begin());
        first.add(300);
        first.add(50);
        second.reached(1000);
        let seen: Vec<u64> = transfers.under_way().iter().map(|transfer| transfer.sent()).collect();
        assert_eq!(seen, [350, 1000]);
        drop(first);
        let left = transfers.under_way();
        assert_eq!(left.len(), 1);
        assert_eq!((left[0].machine.as_str(), left[0].length), ("r1u07", 1000));
        drop(second);
        assert!(transfers.under_way().is_empty());
    }
}
