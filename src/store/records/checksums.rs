//! Checksums of artifacts on disk, so that a restart reads only what is new.
//!
//! Key: `checksum/` and the file's path. Value, numbers big-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | `BWC1`: the version, and what finds a record in the store's file |
//! | 4..12 | the file's length |
//! | 12..28 | its modification time, in nanoseconds since 1970 |
//! | 28..44 | the time of its last change of any kind, the same |
//! | 44..52 | its inode |
//! | 52..84 | the SHA-256 of its bytes |
//! | 84..92 | when they were read, in seconds since 1970-01-01 UTC |
//! | 92..94 | length of the path |
//! | 94.. | the path, so that the value speaks for itself |
//! | then 8 | the first 8 bytes of SHA-256 over all before |
//!
//! A record that can't be read, or is of a file that changed, costs the reading of that file and is
//! never a reason to trust it.

use super::codec::{SUM_BYTES, checksum, verified};
use crate::boot::{snapshot::FileStamp, verification::ChecksumRecord};
use crate::images::reading::open_regular;
use crate::model::{WallTime, limits::CHECKSUMS_KEPT_MAX};
use crate::store::{
    Store, StoreError, Write, database, embedded,
    salvage::{RecordKind, Remnant, SalvageReader},
};
use std::{
    collections::HashMap,
    ffi::OsStr,
    io::Read,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

const PREFIX: &[u8] = b"checksum/";
const MAGIC: &[u8; 4] = b"BWC1";
const HEAD_BYTES: usize = 94;
/// Bytes of the longest record: its path is as long as its length can say.
const RECORD_BYTES_MAX: usize = HEAD_BYTES + u16::MAX as usize + SUM_BYTES;
/// Bytes of a database that are looked at in one go.
const PART_BYTES: usize = 1024 * 1024;
/// The embedded store's files. The journal has the latest records.
const DATABASE: &str = database::FILE;
const JOURNAL: &str = embedded::JOURNAL_FILE;

/// Of several versions the latest is taken; one that was forgotten may come back to life, and counts only for a file
/// that did not change since.
pub(super) const KIND: RecordKind = RecordKind {
    name: "checksum",
    prefix: PREFIX,
    salvage: Some(SalvageReader {
        magic: MAGIC,
        read: remnant,
    }),
};

/// Every record that can be read, and how many can't.
///
/// # Errors
///
/// The store can't be read at all.
pub fn load(store: &dyn Store) -> Result<(Vec<ChecksumRecord>, usize), StoreError> {
    let entries = store.scan(PREFIX)?;
    let found = entries.len();
    let mut records: Vec<ChecksumRecord> = entries
        .iter()
        .filter_map(|(key, value)| {
            let (record, length) = decode(value)?;
            (length == value.len() && *key == self::key(&record.path)).then_some(record)
        })
        .collect();
    let unreadable = found - records.len();
    // More than that can only be of images that were removed while the daemon did not run.
    records.truncate(CHECKSUMS_KEPT_MAX);
    Ok((records, unreadable))
}

/// The write that keeps a record; `None` for a path that no record can hold.
pub fn put(record: &ChecksumRecord) -> Option<Write> {
    Some(Write::Put {
        key: key(&record.path),
        value: encode(record)?,
    })
}

/// The write that forgets a file.
pub fn forget(path: &Path) -> Write {
    Write::Delete { key: key(path) }
}

/// The records of the store in `folder`, for a command: its files are read and never opened as a store,
/// so that a daemon that runs, or starts meanwhile, is not in the way and not hindered. Empty where there
/// is none or it may not be read. redb and the journal leave older versions of a record behind, so of
/// several the latest is taken.
pub fn beside_a_daemon(folder: &Path) -> Vec<ChecksumRecord> {
    // The journal is read first: what it holds may move to the database meanwhile, and never back. It is small.
    let opened = [JOURNAL, DATABASE].map(|file| open_regular(&folder.join(file)));
    let [mut journal, mut database] = opened.map(Result::ok);
    let mut latest = Vec::new();
    // A store that makes no sense is none, whatever lies there.
    let is_read = journal
        .as_mut()
        .is_some_and(|journal| journal.read_to_end(&mut latest).is_ok());
    let mut found = HashMap::new();
    if let Some(database) = &mut database {
        take_latest_of(database, &mut found);
    }
    if is_read {
        take_latest(&latest, &mut found);
    }
    found.into_values().collect()
}

/// Takes the records in a database, which has much else: never more than a part of it is in memory.
fn take_latest_of(database: &mut impl Read, found: &mut HashMap<PathBuf, ChecksumRecord>) {
    let mut part = Vec::with_capacity(PART_BYTES + RECORD_BYTES_MAX);
    loop {
        let read = database.take(PART_BYTES as u64).read_to_end(&mut part);
        take_latest(&part, found);
        if !matches!(read, Ok(PART_BYTES)) {
            return;
        }
        // A record that is cut off here is whole in the next part.
        part.drain(..part.len() - RECORD_BYTES_MAX);
    }
}

/// Takes every record in a file that is not older than what was found before.
fn take_latest(file: &[u8], found: &mut HashMap<PathBuf, ChecksumRecord>) {
    for (start, bytes) in file.windows(MAGIC.len()).enumerate() {
        if bytes != MAGIC {
            continue;
        }
        let Some((record, _)) = decode(&file[start..]) else {
            continue;
        };
        match found.get(&record.path) {
            Some(known) if known.at > record.at => {}
            Some(_) | None => drop(found.insert(record.path.clone(), record)),
        }
    }
}

fn remnant(bytes: &[u8]) -> Option<Remnant> {
    let (record, length) = decode(bytes)?;
    Some(Remnant {
        key: key(&record.path),
        length,
        rank: record.at.0,
    })
}

fn key(path: &Path) -> Vec<u8> {
    [PREFIX, path.as_os_str().as_bytes()].concat()
}

fn encode(record: &ChecksumRecord) -> Option<Vec<u8>> {
    let path = record.path.as_os_str().as_bytes();
    let FileStamp {
        length,
        modified_ns,
        changed_ns,
        inode,
    } = record.stamp;
    let mut value = MAGIC.to_vec();
    value.extend(length.to_be_bytes());
    value.extend(modified_ns.to_be_bytes());
    value.extend(changed_ns.to_be_bytes());
    value.extend(inode.to_be_bytes());
    value.extend(record.sha256);
    value.extend(record.at.0.to_be_bytes());
    value.extend(u16::try_from(path.len()).ok()?.to_be_bytes());
    value.extend(path);
    Some(verified(value))
}

/// The record at the start of `bytes`, and how long it is.
fn decode(bytes: &[u8]) -> Option<(ChecksumRecord, usize)> {
    let mut rest = bytes.strip_prefix(MAGIC)?;
    let record = ChecksumRecord {
        stamp: FileStamp {
            length: u64::from_be_bytes(take(&mut rest)?),
            modified_ns: i128::from_be_bytes(take(&mut rest)?),
            changed_ns: i128::from_be_bytes(take(&mut rest)?),
            inode: u64::from_be_bytes(take(&mut rest)?),
        },
        sha256: take(&mut rest)?,
        at: WallTime(u64::from_be_bytes(take(&mut rest)?)),
        path: {
            let length = usize::from(u16::from_be_bytes(take(&mut rest)?));
            PathBuf::from(OsStr::from_bytes(rest.get(..length)?))
        },
    };
    let body = HEAD_BYTES + record.path.as_os_str().len();
    let sum = bytes.get(body..body + SUM_BYTES)?;
    (sum == checksum(&bytes[..body])).then_some((record, body + SUM_BYTES))
}

/// The next `N` bytes.
fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store;

    fn record(file: &str, at: u64) -> ChecksumRecord {
        ChecksumRecord {
            path: Path::new("/srv/images").join(file),
            stamp: FileStamp {
                length: 1 << 40,
                modified_ns: -5,
                changed_ns: 1_764_000_000_000_000_007,
                inode: 9,
            },
            sha256: [at as u8; 32],
            at: WallTime(at),
        }
    }

    fn keep(store: &dyn Store, records: &[ChecksumRecord]) {
        let writes: Vec<Write> = records.iter().filter_map(put).collect();
        assert_eq!(writes.len(), records.len());
        store.commit(&writes).unwrap();
    }

    #[test]
    fn a_record_on_disk_is_what_every_version_wrote() {
        let Some(Write::Put { key, value }) = put(&record("deb/linux", 7)) else {
            panic!("it is kept")
        };
        assert_eq!(key, b"checksum//srv/images/deb/linux");
        let stamp = b"\0\0\x01\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfb\
                      \0\0\0\0\0\0\0\0\x18\x7a\xfc\xa7\x67\xca\0\x07\0\0\0\0\0\0\0\x09";
        let body = [
            b"BWC1",
            &stamp[..],
            &[7; 32],
            b"\0\0\0\0\0\0\0\x07",
            b"\0\x15/srv/images/deb/linux",
        ];
        assert_eq!(value[..115], body.concat());
        assert_eq!(value[115..], *b"\xe8\x2a\xd6\xb2\x01\xa4\xdc\xef");
    }

    #[test]
    fn a_record_comes_back_as_it_was_and_can_be_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let store = store::open(folder.path()).unwrap().store;
        keep(&*store, &[record("deb/linux", 7), record("deb/initrd.gz", 8)]);
        let (records, unreadable) = load(&*store).unwrap();
        assert_eq!(records, [record("deb/initrd.gz", 8), record("deb/linux", 7)]);
        assert_eq!(unreadable, 0);
        store.commit(&[forget(&record("deb/linux", 7).path)]).unwrap();
        assert_eq!(load(&*store).unwrap().0, [record("deb/initrd.gz", 8)]);
    }

    #[test]
    fn a_record_with_any_bit_flipped_is_no_record() {
        let sound = encode(&record("deb/linux", 7)).unwrap();
        assert_eq!(decode(&sound).unwrap().0, record("deb/linux", 7));
        for bit in 0..sound.len() * 8 {
            let mut corrupt = sound.clone();
            corrupt[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&corrupt), None, "bit {bit}");
        }
        for length in 0..sound.len() {
            assert_eq!(decode(&sound[..length]), None, "{length} bytes");
        }
    }

    #[test]
    fn a_record_under_another_files_name_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let store = store::open(folder.path()).unwrap().store;
        let moved = Write::Put {
            key: key(Path::new("/srv/images/other/linux")),
            value: encode(&record("deb/linux", 7)).unwrap(),
        };
        store.commit(&[moved]).unwrap();
        assert_eq!(load(&*store).unwrap(), (Vec::new(), 1));
    }

    #[test]
    fn no_record_is_missed_where_a_database_is_read_in_parts() {
        let path = |place: usize| ["deb/", &"x".repeat(300), &place.to_string()].concat();
        // Some lie across the end of a part.
        let mut database = Vec::new();
        let mut count = 0;
        while database.len() < 3 * PART_BYTES {
            database.extend(encode(&record(&path(count), 7)).unwrap());
            database.extend([0xee; 997]);
            count += 1;
        }
        let mut found = HashMap::new();
        take_latest_of(&mut &database[..], &mut found);
        assert_eq!(found.len(), count);
    }

    #[test]
    fn a_command_reads_the_latest_records_while_a_daemon_holds_the_store() {
        let folder = tempfile::tempdir().unwrap();
        let held = store::open(folder.path()).unwrap();
        assert_eq!(beside_a_daemon(folder.path()), []);
        for at in 1..20 {
            keep(&*held.store, &[record("deb/linux", at)]);
        }
        assert_eq!(beside_a_daemon(folder.path()), [record("deb/linux", 19)]);
        // At its end the journal moves to the database, and the next daemon begins another.
        drop(held);
        assert_eq!(beside_a_daemon(folder.path()), [record("deb/linux", 19)]);
        let held = store::open(folder.path()).unwrap();
        keep(&*held.store, &[record("deb/linux", 20)]);
        assert_eq!(beside_a_daemon(folder.path()), [record("deb/linux", 20)]);
        assert_eq!(beside_a_daemon(Path::new("/nonexistent")), []);
    }
}
