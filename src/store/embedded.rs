//! The embedded store: one redb file in one locked folder.

use super::{
    Broken, Entry, Opened, Store, StoreError, Write,
    folder::{self, FILE_MODE},
    leases,
};
use redb::{Database, ReadableDatabase, TableDefinition};
use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

const FILE: &str = "bootwright.redb";
const TABLE: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("entries");
/// redb's page cache; 10,000 leases are 2 MiB.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// Opens the store in `folder`, moving a file that can't be read out of the way.
pub(super) fn open(folder: &Path) -> Result<Opened, StoreError> {
    folder::make(folder)?;
    let lock = folder::lock(folder)?;
    let path = folder.join(FILE);
    let (database, broken) = match open_file(&path) {
        Ok(database) => (database, None),
        Err(Failure::Unusable(error)) => return Err(error),
        Err(Failure::Corrupt(reason)) => {
            let moved_to = move_aside(&path)?;
            let salvaged = leases::salvage(&std::fs::read(&moved_to).unwrap_or_default());
            let database = open_file(&path).map_err(Failure::into_error)?;
            let broken = Broken {
                moved_to,
                reason,
                salvaged,
            };
            (database, Some(broken))
        }
    };
    let store = Embedded {
        path,
        database: Mutex::new(Some(database)),
        _lock: lock,
    };
    if let Some(broken) = &broken {
        let writes: Vec<Write> = broken.salvaged.iter().map(leases::put).collect();
        store.commit(&writes)?;
    }
    Ok(Opened {
        store: Arc::new(store),
        broken,
    })
}

struct Embedded {
    path: PathBuf,
    /// `None` after an I/O error: redb refuses everything from then on, so that the file is opened
    /// again before the next use. A disk that was full for a while heals by itself.
    database: Mutex<Option<Database>>,
    _lock: File,
}

/// Why a file could not be opened or used.
enum Failure {
    /// Its content makes no sense.
    Corrupt(String),
    /// The disk or the system refused.
    Unusable(StoreError),
}

impl Failure {
    fn into_error(self) -> StoreError {
        match self {
            Failure::Corrupt(reason) => StoreError(reason),
            Failure::Unusable(error) => error,
        }
    }
}

impl Embedded {
    /// Runs `work` on the open database; whatever error it meets, the next use opens the file anew.
    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        let mut place: MutexGuard<'_, Option<Database>> = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        let database = match place.take() {
            Some(database) => database,
            None => open_file(&self.path).map_err(Failure::into_error)?,
        };
        // redb checks its file as it reads; a debug build of it panics where a release build errs.
        let done = catch_unwind(AssertUnwindSafe(|| work(&database)));
        match done {
            Ok(Ok(value)) => {
                *place = Some(database);
                Ok(value)
            }
            Ok(Err(error)) => Err(StoreError(format!("the store {}: {error}", self.path.display()))),
            Err(_) => Err(StoreError(format!("the store {} is damaged", self.path.display()))),
        }
    }
}

impl Store for Embedded {
    fn scan(&self, prefix: &[u8]) -> Result<Vec<Entry>, StoreError> {
        self.with(|database| {
            let transaction = database.begin_read()?;
            let table = transaction.open_table(TABLE)?;
            let mut entries = Vec::new();
            for entry in table.range(prefix..)? {
                let (key, value) = entry?;
                if !key.value().starts_with(prefix) {
                    break;
                }
                entries.push((key.value().to_vec(), value.value().to_vec()));
            }
            Ok(entries)
        })
    }

    fn commit(&self, writes: &[Write]) -> Result<(), StoreError> {
        self.with(|database| {
            // redb's default durability: written and synced when `commit` returns.
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
        })
    }
}

/// Opens or makes the file, its table included, so that a later read finds one. After anything but
/// a clean end redb checks every page; a clean one is checked too, because the disk may have rotted.
fn open_file(path: &Path) -> Result<Database, Failure> {
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
        Err(_) => Err(Failure::Corrupt("its pages contradict each other".to_owned())),
    }
}

/// Whether an error speaks of the file's content or of the system around it. A file that is too
/// short or is no redb file comes as an I/O error of kind `InvalidData` or `UnexpectedEof`.
fn judge(path: &Path, error: redb::Error) -> Failure {
    use std::io::ErrorKind::{InvalidData, UnexpectedEof};
    match error {
        redb::Error::Io(io) if !matches!(io.kind(), InvalidData | UnexpectedEof) => Failure::Unusable(StoreError(
            format!("the store {} can't be opened: {io}", path.display()),
        )),
        redb::Error::DatabaseAlreadyOpen => Failure::Unusable(StoreError(format!(
            "the store {} is open in another process",
            path.display()
        ))),
        other => Failure::Corrupt(other.to_string()),
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
