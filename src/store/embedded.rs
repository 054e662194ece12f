//! The embedded store: one redb file in one locked folder, and the journal in front of it.

use super::{
    Expected, KeyValue, OpenedStore, Precondition, Revision, Store, StoreError, StorePage, Watch, Write,
    database::{self, CreateMode, FILE, has_no_byte, open_file},
    folder,
    journal::{Journal, JournalState, Replayed},
    place,
    records::{
        birth::{self, Birth},
        lost,
    },
    replacement,
    salvage::RecordKind,
    watch::Watchers,
};
use crate::model::limits::{STORE_JOURNAL_BYTES_MAX, STORE_PAGE_ENTRIES};
use redb::Database;
use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub(super) const JOURNAL_FILE: &str = "bootwright.journal";
/// The entry of a database beside which a journal stands that is never empty.
const JOURNAL_KEY: &[u8] = b"journal";

/// Opens the store in `folder`, moving a file that can't be read out of the way.
pub(super) fn open(folder: &Path, kinds: &[RecordKind]) -> Result<OpenedStore, StoreError> {
    folder::make(folder)?;
    let lock = folder::lock(folder)?;
    let [path, journal_path] = [FILE, JOURNAL_FILE].map(|name| folder::resolved(folder.join(name)));
    // The journal is made after the database: where there is one, there was the other.
    let mut journal = match journal_path.exists() {
        true => Some(open_journal(&journal_path, kinds)?),
        false => None,
    };
    let is_lost = journal.is_some() && has_no_byte(&path);
    if let Some(journal) = journal.as_mut().filter(|_| is_lost) {
        note_loss(journal);
    }
    let is_copy = !is_lost && journal.as_mut().is_some_and(|journal| is_copied(&path, journal));
    let opened = match open_file(&path, CreateMode::IfMissing) {
        Ok(database) => Ok(database),
        Err(StoreError::Corrupt(failure)) => Err(failure.cause()),
        Err(error) => return Err(error),
    };
    let mut journal = match journal {
        Some(journal) => journal,
        None => open_journal(&journal_path, kinds)?,
    };
    let (database, corrupt) = match opened {
        Ok(database) => (database, None),
        Err(reason) => {
            note_loss(&mut journal);
            let (database, corrupt) = replacement::replace(&path, reason, kinds)?;
            (database, Some(corrupt))
        }
    };
    let lost = [
        is_lost.then(|| format!("the store {} is gone or has no byte", path.display())),
        lost_journal((&path, &journal_path), &database, &mut journal)?,
    ];
    let (journal, mut replayed) = journal;
    place::take(&mut replayed.writes);
    let lost: Vec<String> = lost.into_iter().flatten().collect();
    let mut files = StoreFiles::new(database, journal);
    take(&mut files.pending, replayed.writes);
    let mut birth = files.birth(&path, replayed.corrupt_bytes > 0)?;
    birth.is_new |= corrupt.is_some() || !lost.is_empty();
    // The journal gets another file and its place at each start, however the process before this one ended, and not
    // before the database has all that was noted. A full disk must not keep the daemon from starting: what is a copy is
    // found to be one by the next start too.
    let _ = files.settle(&path);
    let store = Embedded {
        path,
        files: Mutex::new(files),
        watchers: Mutex::default(),
        _lock: lock,
    };
    Ok(OpenedStore {
        store: Arc::new(store),
        birth,
        corrupt,
        is_copy,
        lost: (!lost.is_empty()).then(|| lost.join(", and ")),
    })
}

/// Notes that leases were lost and another epoch begins, before anything new is made: whenever this process ends,
/// the next one knows it.
fn note_loss((journal, replayed): &mut (Journal, Replayed)) {
    let note = [lost::put(lost::LossRecord::Undated), birth::another_epoch()];
    // A full disk must not keep the daemon from starting: the note is on it with the date, a little later.
    let _ = journal.append(&note);
    replayed.writes.extend(note);
}

/// Whether the files are others than their journal says: it and the database beside it are a copy. What was written since
/// that was made is lost then.
fn is_copied(path: &Path, opened: &mut (Journal, Replayed)) -> bool {
    let said = place::take(&mut opened.1.writes);
    let is_here = |said: &Write| place::write(opened.0.file(), path).is_ok_and(|here| place::is_same(said, &here));
    let is_copy = said.is_some_and(|said| !is_here(&said));
    if is_copy {
        note_loss(opened);
    }
    is_copy
}

/// The error for a journal that lost what it had: it is gone or empty, though the database knows of one that
/// always has something. From now on it does.
fn lost_journal(
    (path, journal_path): (&Path, &Path),
    database: &Database,
    opened: &mut (Journal, Replayed),
) -> Result<Option<String>, StoreError> {
    let known = database::entries(database, JOURNAL_KEY).map_err(|error| failed(path, error))?;
    let (is_known, found) = (!known.is_empty(), opened.1.found);
    if found != JournalState::Written && is_known {
        note_loss(opened);
    } else if found != JournalState::Written {
        // A full disk must not keep the daemon from starting: the next start tries again.
        let _ = opened.0.append(&[]);
    }
    if !is_known {
        let known = Write::Put {
            key: JOURNAL_KEY.to_vec(),
            value: Vec::new(),
        };
        let _ = database::write(database, std::iter::once(known));
    }
    let name = journal_path;
    Ok((is_known && found != JournalState::Written).then(|| match found {
        JournalState::Missing => format!("the journal {} is gone", name.display()),
        JournalState::Empty | JournalState::Written => format!("the journal {} has no byte", name.display()),
    }))
}

fn open_journal(path: &Path, kinds: &[RecordKind]) -> Result<(Journal, Replayed), StoreError> {
    let opened = Journal::open(path, kinds)
        .map_err(|error| StoreError::of_io(format!("the journal {} can't be opened", path.display()), error));
    if let Ok((_, replayed)) = &opened {
        replayed.say_what_is_wrong(path);
    }
    opened
}

struct Embedded {
    path: PathBuf,
    files: Mutex<StoreFiles>,
    watchers: Mutex<Watchers>,
    _lock: File,
}

struct StoreFiles {
    /// `None` after an I/O error: redb refuses everything from then on, so that the file is opened
    /// again before the next use. A disk that was full for a while heals by itself.
    database: Option<Database>,
    journal: Journal,
    /// What the journal holds, and the database not yet.
    pending: PendingWrites,
    /// The last commit.
    revision: Revision,
    /// The last commit of each key that was written since the store was opened and is there.
    revisions: HashMap<Vec<u8>, Revision>,
}

/// What the commits before the store was opened count as.
const OPENED: Revision = Revision(1);

/// Values by key; `None` for a key that was removed.
type PendingWrites = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

fn take(pending: &mut PendingWrites, writes: impl IntoIterator<Item = Write>) {
    for write in writes {
        match write {
            Write::Put { key, value } => pending.insert(key, Some(value)),
            Write::Delete { key } => pending.insert(key, None),
        };
    }
}

fn failed(path: &Path, error: redb::Error) -> StoreError {
    database::failed(format!("the store {}", path.display()), error)
}

fn refused(journal: &Journal, error: std::io::Error) -> StoreError {
    StoreError::of_io(format!("the journal {}", journal.path().display()), error)
}

impl Embedded {
    fn files(&self) -> MutexGuard<'_, StoreFiles> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watchers(&self) -> MutexGuard<'_, Watchers> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StoreFiles {
    fn new(database: Database, journal: Journal) -> StoreFiles {
        StoreFiles {
            database: Some(database),
            journal,
            pending: PendingWrites::new(),
            revision: OPENED,
            revisions: HashMap::new(),
        }
    }

    /// The store's birth, which is made where there is none, and another epoch where this one `has_gap`.
    fn birth(&mut self, path: &Path, has_gap: bool) -> Result<Birth, StoreError> {
        let kept = [birth::KEY, birth::EPOCH_KEY].map(|key| self.value(path, key));
        let [birth, epoch] = kept;
        let epoch = epoch?.filter(|_| !has_gap);
        let (birth, new) = birth::begin(birth?.as_deref(), epoch.as_deref());
        if !new.is_empty() {
            // A full disk must not keep the daemon from starting: what is written in an epoch that no later start
            // finds counts for none of them.
            let _ = self.journal.append(&new);
            take(&mut self.pending, new);
        }
        Ok(birth)
    }

    fn value(&mut self, path: &Path, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.pending.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.with(path, |database| database::value(database, key)),
        }
    }

    /// The commit that wrote a key last that is there.
    fn revision_of(&self, key: &[u8]) -> Revision {
        self.revisions.get(key).copied().unwrap_or(OPENED)
    }

    fn holds(&mut self, path: &Path, precondition: &Precondition) -> Result<bool, StoreError> {
        let Precondition { key, expected } = precondition;
        let value = self.value(path, key)?;
        Ok(match expected {
            Expected::Absent => value.is_none(),
            Expected::Value(expected) => value.as_ref() == Some(expected),
            Expected::Revision(expected) => value.is_some() && self.revision_of(key) == *expected,
        })
    }

    /// Counts a commit.
    fn count(&mut self, writes: &[Write]) -> Revision {
        self.revision = Revision(self.revision.0 + 1);
        for write in writes {
            match write {
                Write::Put { key, .. } => self.revisions.insert(key.clone(), self.revision),
                Write::Delete { key } => self.revisions.remove(key),
            };
        }
        self.revision
    }

    /// Runs `work` on the open database; whatever error it meets, the next use opens the file anew.
    fn with<T>(
        &mut self,
        path: &Path,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let database = match self.database.take() {
            Some(database) => database,
            None => open_file(path, CreateMode::Never)?,
        };
        // redb checks its file as it reads; a debug build of it panics where a release build errs.
        let done = catch_unwind(AssertUnwindSafe(|| work(&database)));
        match done {
            Ok(Ok(value)) => {
                self.database = Some(database);
                Ok(value)
            }
            Ok(Err(error)) => Err(failed(path, error)),
            Err(_) => Err(StoreError::corrupt(
                format!("the store {} is damaged", path.display()),
                None,
            )),
        }
    }

    /// Moves everything recent to the database. Should the process end before the journal is cleared,
    /// it is moved once more, which changes nothing.
    fn settle(&mut self, path: &Path) -> Result<(), StoreError> {
        let pending = std::mem::take(&mut self.pending);
        let writes = pending.iter().map(|(key, value)| match value.clone() {
            Some(value) => Write::Put {
                key: key.clone(),
                value,
            },
            None => Write::Delete { key: key.clone() },
        });
        let settled = self
            .with(path, |database| database::write(database, writes))
            .and_then(|()| {
                let begun = self.journal.begin_anew(|file| Ok(vec![place::write(file, path)?]));
                begun.map_err(|error| refused(&self.journal, error))
            });
        if settled.is_err() {
            self.pending = pending;
        }
        settled
    }
}

impl Store for Embedded {
    fn scan_at(&self, prefix: &[u8]) -> Result<(Revision, Vec<KeyValue>), StoreError> {
        let mut files = self.files();
        let mut entries = files.with(&self.path, |database| database::entries(database, prefix))?;
        let pending = files.pending.range(prefix.to_vec()..);
        for (key, value) in pending.take_while(|(key, _)| key.starts_with(prefix)) {
            match value {
                Some(value) => drop(entries.insert(key.clone(), value.clone())),
                None => drop(entries.remove(key)),
            }
        }
        Ok((files.revision, entries.into_iter().collect()))
    }

    fn page(&self, prefix: &[u8], from: Option<Vec<u8>>) -> Result<StorePage, StoreError> {
        let first = from.unwrap_or_else(|| prefix.to_vec());
        let mut files = self.files();
        let limit = STORE_PAGE_ENTRIES;
        let mut entries = files.with(&self.path, |database| database::page(database, prefix, &first, limit))?;
        // What the journal has lies between; behind the last one the database may have more.
        let last = (entries.len() == limit)
            .then(|| entries.keys().next_back().cloned())
            .flatten();
        let is_here = |key: &[u8]| key.starts_with(prefix) && last.as_deref().is_none_or(|last| key <= last);
        for (key, value) in files.pending.range(first..).take_while(|(key, _)| is_here(key)) {
            match value {
                Some(value) => drop(entries.insert(key.clone(), value.clone())),
                None => drop(entries.remove(key)),
            }
        }
        // The next key that there can be.
        let next = last.map(|last| [&last[..], &[0]].concat());
        let entries = entries.into_iter().collect();
        Ok(StorePage { entries, next })
    }

    fn get(&self, key: &[u8]) -> Result<Option<(Vec<u8>, Revision)>, StoreError> {
        let mut files = self.files();
        let value = files.value(&self.path, key)?;
        Ok(value.map(|value| (value, files.revision_of(key))))
    }

    fn commit_if(&self, preconditions: &[Precondition], writes: &[Write]) -> Result<Revision, StoreError> {
        let mut files = self.files();
        for precondition in preconditions {
            if !files.holds(&self.path, precondition)? {
                let key = precondition.key.clone();
                return Err(StoreError::Conflict { key });
            }
        }
        if files.journal.bytes() >= STORE_JOURNAL_BYTES_MAX {
            files.settle(&self.path)?;
        }
        files
            .journal
            .append(writes)
            .map_err(|error| refused(&files.journal, error))?;
        take(&mut files.pending, writes.iter().cloned());
        let revision = files.count(writes);
        // Beneath the lock, so that watchers learn of commits in their order.
        self.watchers().tell(revision, writes);
        Ok(revision)
    }

    fn watch(&self, prefix: &[u8]) -> Watch {
        self.watchers().watch(prefix)
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        // A clean end leaves one file that says everything. Where that fails the journal has the rest.
        let path = std::mem::take(&mut self.path);
        let files = self.files.get_mut().unwrap_or_else(PoisonError::into_inner);
        if !files.pending.is_empty() {
            let _ = files.settle(&path);
        }
    }
}
