//! What survives a restart: a small ordered key-value contract, and the records kept behind it.
//!
//! This module owns the folder `state.path` names and how a record looks on disk: leases, the date
//! by which their ends are written, that some of them were lost, the checksums of artifacts that were read, and beside them the operator's files as they were accepted last ([`last_good`]). It does not decide what a lease is (`lease`), when one is
//! granted or which artifact may be served (`boot`).
//!
//! # The embedded store
//!
//! [redb](https://docs.rs/redb) was measured against fjall 3 on the machine this was built on
//! (2 shared vCPU, ext4; keys of 10 and values of 100 bytes, 10,000 different keys, each commit
//! synced to the disk; interleaved runs of 3 s in a scratch crate, medians of five but for the burst and
//! the openings, which are one run each):
//!
//! | | redb 4.6 | fjall 3.1 |
//! |---|---|---|
//! | commits/s of 1, 8, 64 leases, disk throttled by its host (4 ms a sync) | 262 · 224 · 223 | 281 · 253 · 268 |
//! | the same, disk in its burst (0.1 ms a sync) | 4,450 · 3,520 · 1,470 | 8,340 · 6,760 · 970 |
//! | CPU for a commit of 1, 8, 64 leases | 172 · 254 · 602 µs | 109 · 120 · 248 µs |
//! | files after 3 s of burst, 64 leases a commit | 2.3 MB | 24.5 MB |
//! | opening: after SIGKILL · otherwise | 11 ms · 11 ms | 530 ms · 100 ms |
//! | crates it brings, itself included | 2 | 47 |
//!
//! Whichever it is, the disk's sync is the time a commit takes, and group commit ([`writer`]) is
//! what makes the speed: at 4 ms a sync, 64 leases a commit are 14,000 leases a second with redb and
//! 17,000 with fjall, and Kea answers 2,000. So the file that stays small, the opening that a
//! restart doesn't notice and the two crates decide: redb.
//!
//! redb's CPU for a lease of a commit is most of what a lease costs, and a storm pays it on the cores that
//! serve. So a commit goes to a journal ([`journal`]) in front of it, one append and one sync, and what
//! the journal holds moves to redb thousands of leases at a time and at a clean end.
use crate::lease::LeaseRecord;
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

pub mod calendar;
pub mod checksums;
mod embedded;
mod folder;
mod journal;
pub mod last_good;
pub mod leases;
pub mod lost;
pub mod ports;
mod record;
pub mod writer;

/// One write of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets a key.
    Put {
        /// The key.
        key: Vec<u8>,
        /// The value.
        value: Vec<u8>,
    },
    /// Removes a key, if it is there.
    Delete {
        /// The key.
        key: Vec<u8>,
    },
}

/// Why the store can't do what it was asked.
#[derive(Clone, Debug)]
pub struct StoreError(pub String);

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StoreError {}

/// A key and its value.
pub type KeyValue = (Vec<u8>, Vec<u8>);

/// An ordered key-value store; a commit is whole or not at all, and durable when it returns.
pub trait Store: Send + Sync {
    /// Every entry whose key begins with `prefix`, in key order.
    fn scan(&self, prefix: &[u8]) -> Result<Vec<KeyValue>, StoreError>;
    /// Commits all writes, durably. Of two writes of one key, the later holds.
    fn commit(&self, writes: &[Write]) -> Result<(), StoreError>;
}

/// A store that is open, and what had to be done to open it.
pub struct OpenedStore {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The file that was there could not be read and was moved aside.
    pub corrupt: Option<CorruptStore>,
    /// What was there before and is no more, in words: a file that is gone, or has no byte.
    pub lost: Option<String>,
}

/// A store's file that could not be read.
#[derive(Debug)]
pub struct CorruptStore {
    /// Where it stands now, for whoever wants to look.
    pub moved_to: PathBuf,
    /// What was wrong with it.
    pub reason: String,
    /// The leases that could still be read from it; they are in the new store already.
    pub salvaged: Vec<LeaseRecord>,
}

/// Opens the embedded store in `folder`, which is made (0750) if it is missing. One process at a
/// time: a second one gets an error that names the first.
///
/// A file that can't be read never keeps the daemon from starting, and is never thrown away: it is
/// renamed to `bootwright.redb.corrupt-SECONDS`, its readable leases move to a new one, and
/// [`OpenedStore::corrupt`] says so. Nor is one of the two files taken for a beginning that is gone or empty where the
/// other says that it was there: [`OpenedStore::lost`] says so then. Either is noted in the store ([`lost`]), durably
/// and before anything new is made, so that later starts know it too.
///
/// # Errors
///
/// The folder can't be made or written, another process holds it, or the disk is full.
pub fn open(folder: &Path) -> Result<OpenedStore, StoreError> {
    embedded::open(folder)
}
