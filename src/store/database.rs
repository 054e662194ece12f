//! The redb file of the embedded store: opened, read and written. Another takes its place when it is broken
//! ([`super::replacement`]).

use super::{StoreError, Write, folder::FILE_MODE};
use redb::{Database, ReadableDatabase, TableDefinition};
use std::{
    collections::BTreeMap, fs::OpenOptions, os::unix::fs::OpenOptionsExt, panic::catch_unwind, path::Path, sync::Arc,
};

pub(super) const FILE: &str = "bootwright.redb";
const TABLE: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("entries");
/// redb's page cache; 10,000 leases are 2 MiB.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// Whether a file is not there or empty.
pub(super) fn has_no_byte(path: &Path) -> bool {
    path.metadata().map_or(true, |metadata| metadata.len() == 0)
}

/// One value.
pub(super) fn value(database: &Database, key: &[u8]) -> Result<Option<Vec<u8>>, redb::Error> {
    let table = database.begin_read()?.open_table(TABLE)?;
    Ok(table.get(key)?.map(|value| value.value().to_vec()))
}

/// Every entry of the database whose key begins with `prefix`.
pub(super) fn entries(database: &Database, prefix: &[u8]) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, redb::Error> {
    page(database, prefix, prefix, usize::MAX)
}

/// At most `limit` entries whose keys begin with `prefix`, from the key `first` on.
pub(super) fn page(
    database: &Database,
    prefix: &[u8],
    first: &[u8],
    limit: usize,
) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, redb::Error> {
    let transaction = database.begin_read()?;
    let table = transaction.open_table(TABLE)?;
    let mut entries = BTreeMap::new();
    for entry in table.range(first..)?.take(limit) {
        let (key, value) = entry?;
        if !key.value().starts_with(prefix) {
            break;
        }
        entries.insert(key.value().to_vec(), value.value().to_vec());
    }
    Ok(entries)
}

/// Commits to the database; redb's default durability: written and synced when it returns.
pub(super) fn write(database: &Database, writes: impl Iterator<Item = Write>) -> Result<(), redb::Error> {
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
pub(super) enum CreateMode {
    IfMissing,
    /// It was there a moment ago.
    Never,
}

/// Opens or makes the file, its table included, so that a later read finds one. After anything but
/// a clean end redb checks every page; a clean one is checked too, because the disk may have rotted.
pub(super) fn open_file(path: &Path, make: CreateMode) -> Result<Database, StoreError> {
    if make == CreateMode::Never && has_no_byte(path) {
        let gone = StoreError::unavailable(format!("the store {} is gone or has no byte", path.display()));
        return Err(gone.with_next_step("what it had is lost with it: restart bootwright to begin another"));
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
        Ok(Err(error)) => Err(failed(format!("the store {} can't be opened", path.display()), error)),
        Err(_) => Err(StoreError::corrupt("its pages contradict each other", None)),
    }
}

/// What redb says, by whether that speaks of the file's content or of the system around it. A file that is too
/// short or is no redb file comes as an I/O error of kind `InvalidData` or `UnexpectedEof`.
pub(super) fn failed(what: String, error: redb::Error) -> StoreError {
    match error {
        redb::Error::Io(error) => StoreError::of_io(what, error),
        redb::Error::DatabaseAlreadyOpen => StoreError::unavailable(format!("{what}: another process has it open")),
        redb::Error::PreviousIo => StoreError::unavailable(format!("{what}: {error}")),
        other => StoreError::corrupt(what, Some(Arc::new(other))),
    }
}
