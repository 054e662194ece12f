//! Transfers under way: whose, of what, and how far they are. The servers say, an operator asks.
//!
//! Texts that go out by HTTP are not among them: they are gone with one write. How many there may be
//! is not decided here but by the servers' places.

use crate::boot::{
    event::{MachineKey, RequestedFile, Subject},
    request_path::Transport,
};
use std::{
    collections::BTreeMap,
    net::IpAddr,
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
    /// The machine.
    pub machine: MachineKey,
    /// The address that it goes to.
    pub client: IpAddr,
    /// Who serves.
    pub transport: Transport,
    /// What goes out.
    pub file: RequestedFile,
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
        (transport, client): (Transport, IpAddr),
        subject: &Subject,
        length: u64,
    ) -> TransferHandle {
        let transfer = Arc::new(TransferProgress {
            machine: subject.machine.key.clone(),
            client,
            transport,
            file: subject.file.clone(),
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
    /// Bytes sent so far.
    pub fn sent(&self) -> u64 {
        self.transfer.sent()
    }

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
    use crate::boot::event::{Machine, Stage};

    #[test]
    fn a_transfer_is_seen_from_its_beginning_to_its_end() {
        let host = MachineKey::Host("r1u07".parse().unwrap());
        let subject = Subject {
            machine: Machine {
                key: host.clone(),
                ..Machine::default()
            },
            stage: Stage::Ipxe,
            file: RequestedFile::Autoexec,
        };
        let transfers = Transfers::default();
        let begin = || {
            let to = (Transport::Http, IpAddr::from([192, 0, 2, 11]));
            transfers.begin(Duration::from_secs(7), to, &subject, 1000)
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
        assert_eq!((&left[0].machine, left[0].length), (&host, 1000));
        drop(second);
        assert!(transfers.under_way().is_empty());
    }
}
