//! What survives a restart: a small ordered key-value contract, and the records kept behind it.
//!
//! This module owns the folder `state.path` names and how a record looks on disk ([`records`]): leases, the date by
//! which their ends are written, that some of them were lost, since when nothing was ([`records::birth`]), the
//! checksums of artifacts that were read, who is armed and which hosts were served ([`records::arming`],
//! [`records::served`]), which disks machines told of ([`records::disks`]), what each boot came to ([`records::attempts`]), and beside them the operator's files as they
//! were accepted last ([`last_good`]), and those of the generations before ([`generations`]), and whether hosts appeared that could not be kept ([`UnlearnedMark`]). It does not decide what a lease is (`lease`), when one is granted or which artifact may be served
//! (`boot`).
//!
//! The contract ([`Store`]) is what etcd can keep as well: commits with preconditions, a watch of a prefix, and errors
//! that say whether another writer was faster, the disk is full, nothing can be reached, or what is there makes no
//! sense. Commits of a running daemon go through one thread, leases first ([`writer`]).
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
//!
//! Two engines in series, while every lease is in memory anyway: is redb still right behind the journal, once 20,000
//! attempts of 2 KB are kept as well? `make bench-store` asks it (2 shared vCPU under other load, ext4, redb 4.6;
//! medians of three; commits of 1, 8 and 64 leases, and with attempts one more of these each):
//!
//! | | journal and redb | journal and a sorted file, written whole | redb alone |
//! |---|---|---|---|
//! | CPU of a commit, leases | 183 · 189 · 330 µs | 156 · 187 · 239 µs | 306 · 306 · 415 µs |
//! | of it the store's own | 3 · 18 · 128 µs | 2 · 8 · 53 µs | 68 · 81 · 154 µs |
//! | CPU of a commit, with attempts | 229 · 215 · 393 µs | 167 · 157 · 230 µs | 451 · 338 · 506 µs |
//! | of it the store's own | 38 · 43 · 185 µs | 15 · 28 · 57 µs | 139 · 148 · 237 µs |
//! | slowest commit, with attempts | 43 to 82 ms | 248 to 983 ms | 15 to 17 ms |
//! | opening after SIGKILL, with attempts | 0.4 to 0.7 s | 0.4 to 0.5 s | 0.4 to 0.6 s |
//! | memory, files, with attempts | 20 MiB, 136 MiB | 47 MiB, 40 MiB | 20 MiB, 136 MiB |
//!
//! The sync is most of every row. A file of its own takes a quarter to a half less of the rest, and for that machines
//! wait up to a second for a lease whenever 40 MB are written anew, and all attempts are in memory; redb alone takes
//! half as much again. So what stands stays: the journal for what is in a hurry, redb for what is much. What would
//! turn it: attempts that are written so often that redb's three bytes on disk for one of theirs matter; then they
//! belong into files of their own, appended to and dropped whole, not into a sorted one. Attempts lie
//! deflated since: 100,000 of eleven steps each are 100 MiB of files.
use records::birth::Birth;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

mod database;
mod embedded;
mod error;
mod folder;
pub mod generations;
mod journal;
pub mod last_good;
mod place;
pub mod records;
mod replacement;
mod salvage;
mod unlearned;
mod watch;
pub mod writer;

pub use error::{StoreError, StoreFailure};
pub use salvage::Salvaged;
pub use unlearned::UnlearnedMark;
pub use watch::{Watch, WatchEvent};

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

impl Write {
    /// The key that it sets or removes.
    pub fn key(&self) -> &[u8] {
        match self {
            Write::Put { key, .. } | Write::Delete { key } => key,
        }
    }

    /// Bytes of its key and value.
    pub fn bytes(&self) -> usize {
        match self {
            Write::Put { key, value } => key.len() + value.len(),
            Write::Delete { key } => key.len(),
        }
    }
}

/// A key and its value.
pub type KeyValue = (Vec<u8>, Vec<u8>);

/// The number of a commit; later ones have higher numbers. The embedded store counts anew whenever it is opened, so
/// nobody may keep one over a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision(pub u64);

/// What must hold of a key for a commit to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Precondition {
    /// The key.
    pub key: Vec<u8>,
    /// What it must be.
    pub expected: Expected,
}

/// What a key must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It isn't there.
    Absent,
    /// It has this value.
    Value(Vec<u8>),
    /// It is there, and was written last by this commit ([`Store::get`]).
    Revision(Revision),
}

/// A part of what a prefix has.
#[derive(Debug, Default)]
pub struct StorePage {
    /// Entries, in key order.
    pub entries: Vec<KeyValue>,
    /// Where the next page begins; `None` of the last one.
    pub next: Option<Vec<u8>>,
}

/// An ordered key-value store; a commit is whole or not at all, and durable when it returns.
///
/// It promises no more than etcd does, so that several appliances can share one.
pub trait Store: Send + Sync {
    /// Every entry whose key begins with `prefix`, in key order, as of which commit.
    ///
    /// # Errors
    ///
    /// It can't be read.
    fn scan_at(&self, prefix: &[u8]) -> Result<(Revision, Vec<KeyValue>), StoreError>;

    /// Entries whose keys begin with `prefix`, in key order, some at a time: from the beginning, or from what the page
    /// before has as [`StorePage::next`]. What is written between two pages may be missed.
    ///
    /// # Errors
    ///
    /// It can't be read.
    fn page(&self, prefix: &[u8], from: Option<Vec<u8>>) -> Result<StorePage, StoreError>;

    /// A key's value, and the commit that wrote it last.
    ///
    /// # Errors
    ///
    /// It can't be read.
    fn get(&self, key: &[u8]) -> Result<Option<(Vec<u8>, Revision)>, StoreError>;

    /// Commits all writes, durably, if all preconditions hold. Of two writes of one key, the later holds.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] where one does not hold; otherwise why the store can't do it. Nothing is written
    /// then.
    fn commit_if(&self, preconditions: &[Precondition], writes: &[Write]) -> Result<Revision, StoreError>;

    /// Every write of a key that begins with `prefix` from now on. Who watches first and scans then misses none.
    fn watch(&self, prefix: &[u8]) -> Watch;

    /// Every entry whose key begins with `prefix`, in key order.
    ///
    /// # Errors
    ///
    /// It can't be read.
    fn scan(&self, prefix: &[u8]) -> Result<Vec<KeyValue>, StoreError> {
        self.scan_at(prefix).map(|(_, entries)| entries)
    }

    /// Commits all writes, whatever is there.
    ///
    /// # Errors
    ///
    /// Why the store can't do it.
    fn commit(&self, writes: &[Write]) -> Result<Revision, StoreError> {
        self.commit_if(&[], writes)
    }
}

/// A store that is open, and what had to be done to open it.
pub struct OpenedStore {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Who it is, and since when it forgot nothing.
    pub birth: Birth,
    /// The file that was there could not be read and was moved aside.
    pub corrupt: Option<CorruptStore>,
    /// What was there before and is no more, in words: a file that is gone, or has no byte.
    pub lost: Option<String>,
    /// The files are a copy of those that this store had ([`place`]): it may be older than the truth.
    pub is_copy: bool,
}

/// A store's file that could not be read.
#[derive(Debug)]
pub struct CorruptStore {
    /// Where it stands now, for whoever wants to look.
    pub moved_to: PathBuf,
    /// What was wrong with it.
    pub reason: String,
    /// What could still be read from it, by its kind; it is in the new store already.
    pub salvaged: Vec<Salvaged>,
}

/// Opens the embedded store in `folder`, which is made (0750) if it is missing. One process at a
/// time: a second one gets an error that names the first.
///
/// A file that can't be read never keeps the daemon from starting, and is never thrown away: it stays as
/// `bootwright.redb.broken-SECONDS`, what can be read of it is in the one that takes its place, and
/// [`OpenedStore::corrupt`] says so. Nor is one of the two files taken for a beginning that is gone or empty where the
/// other says that it was there: [`OpenedStore::lost`] says so then. Either is noted in the store
/// ([`records::lost`]), durably and before anything new is made, so that later starts know it too.
///
/// # Errors
///
/// The folder can't be made or written, another process holds it, or the disk is full.
pub fn open(folder: &Path) -> Result<OpenedStore, StoreError> {
    embedded::open(folder, records::KINDS)
}
