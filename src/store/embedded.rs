//! The embedded store: one redb file in one locked folder, and the journal in front of it.

use super::{
    CorruptStore, KeyValue, OpenedStore, Store, StoreError, Write,
    folder::{self, FILE_MODE},
    journal::{Journal, JournalState, Replayed},
    leases, lost,
};
use crate::model::limits::STORE_JOURNAL_BYTES_MAX;
use redb::{Database, ReadableDatabase, TableDefinition};
use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

pub(super) const FILE: &str = "bootwright.redb";
pub(super) const JOURNAL_FILE: &str = "bootwright.journal";
/// The entry of a database beside which a journal stands that is never empty.
const JOURNAL_KEY: &[u8] = b"journal";
const TABLE: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("entries");
/// redb's page cache; 10,000 leases are 2 MiB.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// Opens the store in `folder`, moving a file that can't be read out of the way.
pub(super) fn open(folder: &Path) -> Result<OpenedStore, StoreError> {
    folder::make(folder)?;
    let lock = folder::lock(folder)?;
    let (path, journal_path) = (folder.join(FILE), folder.join(JOURNAL_FILE));
    // The journal is made after the database: where there is one, there was the other.
    let mut journal = match journal_path.exists() {
        true => Some(open_journal(&journal_path)?),
        false => None,
    };
    let is_lost = journal.is_some() && has_no_byte(&path);
    if let Some(journal) = journal.as_mut().filter(|_| is_lost) {
        note_loss(journal);
    }
    let opened = match open_file(&path, CreateMode::IfMissing) {
        Ok(database) => Ok(database),
        Err(OpenFailure::Corrupt(reason)) => Err(reason),
        Err(OpenFailure::Unusable(error)) => return Err(error),
    };
    let mut journal = match journal {
        Some(journal) => journal,
        None => open_journal(&journal_path)?,
    };
    let (database, corrupt) = match opened {
        Ok(database) => (database, None),
        Err(reason) => {
            note_loss(&mut journal);
            let (database, corrupt) = replace_corrupt(&path, reason)?;
            (database, Some(corrupt))
        }
    };
    let lost = [
        is_lost.then(|| format!("the store {} is gone or has no byte", path.display())),
        lost_journal(&path, &database, &mut journal)?,
    ];
    let (journal, replayed) = journal;
    let lost: Vec<String> = lost.into_iter().flatten().collect();
    let mut pending = PendingWrites::new();
    take(&mut pending, replayed.writes);
    let store = Embedded {
        path,
        files: Mutex::new(StoreFiles {
            database: Some(database),
            journal,
            pending,
        }),
        _lock: lock,
    };
    Ok(OpenedStore {
        store: Arc::new(store),
        corrupt,
        lost: (!lost.is_empty()).then(|| lost.join(", and ")),
    })
}

/// Whether a file is not there or empty.
fn has_no_byte(path: &Path) -> bool {
    path.metadata().map_or(true, |metadata| metadata.len() == 0)
}

/// Notes that leases were lost, before anything new is made: whenever this process ends, the next one knows it.
fn note_loss((journal, replayed): &mut (Journal, Replayed)) {
    let note = lost::put(lost::LossRecord::Undated);
    // A full disk must not keep the daemon from starting: the note is on it with the date, a little later.
    let _ = journal.append(std::slice::from_ref(&note));
    replayed.writes.push(note);
}

/// Moves a database that can't be read out of the way, and begins another with what can be read from it.
fn replace_corrupt(path: &Path, reason: String) -> Result<(Database, CorruptStore), StoreError> {
    let moved_to = move_aside(path)?;
    let salvaged = leases::salvage(&std::fs::read(&moved_to).unwrap_or_default());
    let database = open_file(path, CreateMode::IfMissing).map_err(OpenFailure::into_error)?;
    // Beneath the journal, which knows better.
    write(&database, salvaged.iter().map(leases::put)).map_err(|error| failed(path, &error))?;
    let corrupt = CorruptStore {
        moved_to,
        reason,
        salvaged,
    };
    Ok((database, corrupt))
}

/// What is said of a journal that lost what it had: it is gone or empty, though the database knows of one that
/// always has something. From now on it does.
fn lost_journal(
    path: &Path,
    database: &Database,
    opened: &mut (Journal, Replayed),
) -> Result<Option<String>, StoreError> {
    let known = entries(database, JOURNAL_KEY).map_err(|error| failed(path, &error))?;
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
        let _ = write(database, std::iter::once(known));
    }
    let name = path.with_file_name(JOURNAL_FILE);
    Ok((is_known && found != JournalState::Written).then(|| match found {
        JournalState::Missing => format!("the journal {} is gone", name.display()),
        JournalState::Empty | JournalState::Written => format!("the journal {} has no byte", name.display()),
    }))
}

fn open_journal(path: &Path) -> Result<(Journal, Replayed), StoreError> {
    let opened = Journal::open(path)
        .map_err(|error| StoreError(format!("the journal {} can't be opened: {error}", path.display())));
    if let Ok((_, replayed)) = &opened {
        replayed.say_what_is_wrong(path);
    }
    opened
}

struct Embedded {
    path: PathBuf,
    files: Mutex<StoreFiles>,
    _lock: File,
}

struct StoreFiles {
    /// `None` after an I/O error: redb refuses everything from then on, so that the file is opened
    /// again before the next use. A disk that was full for a while heals by itself.
    database: Option<Database>,
    journal: Journal,
    /// What the journal holds, and the database not yet.
    pending: PendingWrites,
}

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

fn failed(path: &Path, why: &dyn std::fmt::Display) -> StoreError {
    StoreError(format!("the store {}: {why}", path.display()))
}

/// Why a file could not be opened or used.
enum OpenFailure {
    /// Its content makes no sense.
    Corrupt(String),
    /// The disk or the system refused.
    Unusable(StoreError),
}

impl OpenFailure {
    fn into_error(self) -> StoreError {
        match self {
            OpenFailure::Corrupt(reason) => StoreError(reason),
            OpenFailure::Unusable(error) => error,
        }
    }
}

impl Embedded {
    fn files(&self) -> MutexGuard<'_, StoreFiles> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StoreFiles {
    /// Runs `work` on the open database; whatever error it meets, the next use opens the file anew.
    fn with<T>(
        &mut self,
        path: &Path,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let database = match self.database.take() {
            Some(database) => database,
            None => open_file(path, CreateMode::Never).map_err(OpenFailure::into_error)?,
        };
        // redb checks its file as it reads; a debug build of it panics where a release build errs.
        let done = catch_unwind(AssertUnwindSafe(|| work(&database)));
        match done {
            Ok(Ok(value)) => {
                self.database = Some(database);
                Ok(value)
            }
            Ok(Err(error)) => Err(failed(path, &error)),
            Err(_) => Err(StoreError(format!("the store {} is damaged", path.display()))),
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
            .with(path, |database| write(database, writes))
            .and_then(|()| self.journal.clear().map_err(|error| failed(path, &error)));
        if settled.is_err() {
            self.pending = pending;
        }
        settled
    }
}

impl Store for Embedded {
    fn scan(&self, prefix: &[u8]) -> Result<Vec<KeyValue>, StoreError> {
        let mut files = self.files();
        let mut entries = files.with(&self.path, |database| entries(database, prefix))?;
        let pending = files.pending.range(prefix.to_vec()..);
        for (key, value) in pending.take_while(|(key, _)| key.starts_with(prefix)) {
            match value {
                Some(value) => drop(entries.insert(key.clone(), value.clone())),
                None => drop(entries.remove(key)),
            }
        }
        Ok(entries.into_iter().collect())
    }

    fn commit(&self, writes: &[Write]) -> Result<(), StoreError> {
        let mut files = self.files();
        if files.journal.bytes() >= STORE_JOURNAL_BYTES_MAX {
            files.settle(&self.path)?;
        }
        files
            .journal
            .append(writes)
            .map_err(|error| failed(&self.path, &error))?;
        take(&mut files.pending, writes.iter().cloned());
        Ok(())
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

/// Every entry of the database whose key begins with `prefix`.
fn entries(database: &Database, prefix: &[u8]) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, redb::Error> {
    let transaction = database.begin_read()?;
    let table = transaction.open_table(TABLE)?;
    let mut entries = BTreeMap::new();
    for entry in table.range(prefix..)? {
        let (key, value) = entry?;
        if !key.value().starts_with(prefix) {
            break;
        }
        entries.insert(key.value().to_vec(), value.value().to_vec());
    }
    Ok(entries)
}

/// Commits to the database; redb's default durability: written and synced when it returns.
fn write(database: &Database, writes: impl Iterator<Item = Write>) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(TABLE)?;
        for write in writes {
            match write {
                Write::Put { key, value } => drop(table.insert(key.as_slice(), value.as_slice())?),
                Write::Delete { key } => drop(table.remove(key.as_slice())?),
            }
        }
    }
    Ok(transaction.commit()?)
}

/// Whether a file that is not there, or has no byte, is a beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CreateMode {
    IfMissing,
    /// It was there a moment ago.
    Never,
}

/// Opens or makes the file, its table included, so that a later read finds one. After anything but
/// a clean end redb checks every page; a clean one is checked too, because the disk may have rotted.
fn open_file(path: &Path, make: CreateMode) -> Result<Database, OpenFailure> {
    if make == CreateMode::Never && has_no_byte(path) {
        return Err(OpenFailure::Unusable(StoreError(format!(
            "the store {} is gone or has no byte; what it had is lost with it: restart bootwright to begin another",
            path.display()
        ))));
    }
    let opened = catch_unwind(|| {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(path)
            .map_err(redb::Error::from)?;
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .set_check_integrity_on_open(true)
            .create(path)?;
        let transaction = database.begin_write()?;
        transaction.open_table(TABLE)?;
        transaction.commit()?;
        Ok(database)
    });
    match opened {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(error)) => Err(judge(path, error)),
        Err(_) => Err(OpenFailure::Corrupt("its pages contradict each other".to_owned())),
    }
}

/// Whether an error speaks of the file's content or of the system around it. A file that is too
/// short or is no redb file comes as an I/O error of kind `InvalidData` or `UnexpectedEof`.
fn judge(path: &Path, error: redb::Error) -> OpenFailure {
    use std::io::ErrorKind::{InvalidData, UnexpectedEof};
    match error {
        redb::Error::Io(io) if !matches!(io.kind(), InvalidData | UnexpectedEof) => OpenFailure::Unusable(StoreError(
            format!("the store {} can't be opened: {io}", path.display()),
        )),
        redb::Error::DatabaseAlreadyOpen => OpenFailure::Unusable(StoreError(format!(
            "the store {} is open in another process",
            path.display()
        ))),
        other => OpenFailure::Corrupt(other.to_string()),
    }
}

/// Renames the file so that nothing is lost and nothing is in the way.
fn move_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let free = (0..)
        .map(|extra| path.with_file_name(format!("{FILE}.broken-{}", seconds + extra)))
        .find(|name| !name.exists());
    let moved_to = free.expect("the names are endless");
    std::fs::rename(path, &moved_to).map_err(|error| {
        StoreError(format!(
            "the broken store {} can't be moved aside: {error}",
            path.display()
        ))
    })?;
    Ok(moved_to)
}
