//! The generations that were in force, a file each in the state's folder: `generations/NUMBER`.
//!
//! A file begins with one line of JSON ([`GenerationRecord`]); what follows is the text of the operator's files, packed
//! (gzip): of each the length of its path (4 bytes, big-endian), the path, the length of its bytes (8 bytes), the bytes.
//! It is written as `.new`, synced, and takes its name by one rename: at every moment there is a whole one or none.
//! Answers have secrets in them: only the owner may read any of it.
//!
//! They lie beside the database and not in it, because one may have megabytes, and leases would wait for such a commit.

use super::last_good::VersionFiles;
use crate::boot::plan::PlannedChanges;
use crate::images::reading::open_regular;
use crate::model::{
    WallTime,
    limits::{
        GENERATION_CHANGES_BYTES_MAX, GENERATION_FILES_BYTES_MAX, GENERATIONS_BYTES_MAX, GENERATIONS_MAX,
        LAST_GOOD_BYTES_MAX,
    },
};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    fmt::Write as _,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Component, Path, PathBuf},
};

const FOLDER: &str = "generations";
const UNFINISHED: &str = ".new";
/// Where the files of one lie that was put in force again.
const ROLLED_BACK: &str = "rolled-back";
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// Bytes that the line of a record may have: what it changed, and something for the rest.
const LINE_BYTES_MAX: u64 = GENERATION_CHANGES_BYTES_MAX as u64 + 64 * 1024;

/// What is kept of a generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationRecord {
    /// Its number.
    pub number: u64,
    /// Since when it was in force.
    pub at: WallTime,
    /// Who had it read: a user, `SIGHUP`, `file changed`, `start`.
    pub by: String,
    /// The generation whose files it took back, where it is a rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_back_to: Option<u64>,
    /// The SHA-256 of its files, in hexadecimal digits.
    pub digest: String,
    /// Hosts in its inventory.
    pub hosts: usize,
    /// How many hosts came, went and were changed, and how much else of the appliance; nothing of a start.
    #[serde(default)]
    pub counts: Option<ChangeCounts>,
    /// What changed; nothing of a start, and where it was too much to be kept.
    #[serde(default)]
    pub changes: Option<PlannedChanges>,
    /// Whether the text of its files is kept.
    pub has_files: bool,
}

/// How much a generation changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeCounts {
    /// Hosts that came.
    pub added: usize,
    /// Hosts that went.
    pub removed: usize,
    /// Hosts that were changed.
    pub changed: usize,
    /// Subnets, rules, images and the like that came, went or were changed.
    pub other: usize,
}

/// A file of a generation: where it lies among its files, and its bytes.
pub type GenerationFile = (PathBuf, Vec<u8>);

/// The SHA-256 over files, whatever their order.
pub fn digest(files: VersionFiles<'_>) -> String {
    let mut sorted: Vec<&(&Path, &[u8])> = files.iter().collect();
    sorted.sort();
    let mut sum = Sha256::new();
    for (path, bytes) in sorted {
        let path = path.as_os_str().as_encoded_bytes();
        sum.update((path.len() as u64).to_be_bytes());
        sum.update(path);
        sum.update((bytes.len() as u64).to_be_bytes());
        sum.update(bytes);
    }
    let mut digits = String::with_capacity(64);
    for byte in sum.finalize() {
        // Writing to a String cannot fail.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

/// All that are kept, the oldest first; one that can't be read is left out.
pub fn all(state: &Path) -> Vec<GenerationRecord> {
    let numbered = numbered(&folder_in(state));
    let records = numbered
        .into_iter()
        .filter_map(|(number, _)| record(state, number).ok());
    records.collect()
}

/// The one that was kept last.
pub fn latest(state: &Path) -> Option<GenerationRecord> {
    let numbered = numbered(&folder_in(state)).into_iter().rev();
    numbered.filter_map(|(number, _)| record(state, number).ok()).next()
}

/// What is kept of one.
///
/// # Errors
/// It is not there, or can't be read.
pub fn record(state: &Path, number: u64) -> io::Result<GenerationRecord> {
    read(state, number).map(|(record, _)| record)
}

fn read(state: &Path, number: u64) -> io::Result<(GenerationRecord, BufReader<File>)> {
    let mut file = BufReader::new(open_regular(&path(state, number))?);
    let mut line = Vec::new();
    (&mut file).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    let record: GenerationRecord = serde_json::from_slice(&line)?;
    match record.number == number {
        true => Ok((record, file)),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// The files of one.
///
/// # Errors
/// None are kept of it, or they can't be read.
pub fn files(state: &Path, number: u64) -> io::Result<Vec<GenerationFile>> {
    let (record, packed) = read(state, number)?;
    if !record.has_files {
        return Err(io::ErrorKind::NotFound.into());
    }
    let mut unpacked = GzDecoder::new(packed).take(LAST_GOOD_BYTES_MAX + LINE_BYTES_MAX);
    let mut files = Vec::new();
    loop {
        let mut length = [0; 4];
        // An end elsewhere is an error.
        if unpacked.read(&mut length[..1])? == 0 {
            return Ok(files);
        }
        unpacked.read_exact(&mut length[1..])?;
        let path = bytes(&mut unpacked, u64::from(u32::from_be_bytes(length)))?;
        let path = PathBuf::from(String::from_utf8(path).map_err(|_| io::ErrorKind::InvalidData)?);
        let mut length = [0; 8];
        unpacked.read_exact(&mut length)?;
        let bytes = bytes(&mut unpacked, u64::from_be_bytes(length))?;
        // Whoever may write into the state may put anything there.
        let is_beneath = path.components().all(|part| matches!(part, Component::Normal(_)));
        if !is_beneath {
            return Err(io::ErrorKind::InvalidData.into());
        }
        files.push((path, bytes));
    }
}

/// Lays the files of a generation down in a folder of their own; returns it. Those of another stay, because it may be in
/// force, and this one may not come to be.
///
/// # Errors
/// The disk does not take them.
pub fn unpack(state: &Path, number: u64, folders: &[&str], files: &[GenerationFile]) -> io::Result<PathBuf> {
    let folder = numbered_in(&rolled_back_in(state), number);
    remove_folder(&folder)?;
    let mut made = DirBuilder::new();
    made.recursive(true).mode(FOLDER_MODE);
    for name in folders {
        made.create(folder.join(name))?;
    }
    for (path, bytes) in files {
        let path = folder.join(path);
        path.parent().map_or(Ok(()), |parent| made.create(parent))?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(path)?;
        file.write_all(bytes)?;
    }
    Ok(folder)
}

/// Takes away what was laid down of all generations but one.
///
/// # Errors
/// The disk does not let go of it.
pub fn drop_unpacked(state: &Path, but: Option<u64>) -> io::Result<()> {
    let others = numbered(&rolled_back_in(state)).into_iter();
    others
        .filter(|(number, _)| Some(*number) != but)
        .try_for_each(|(_, folder)| remove_folder(&folder))
}

fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Where the files of one lie that was put in force again, in the state's folder.
pub fn rolled_back_in(state: &Path) -> PathBuf {
    state.join(ROLLED_BACK)
}

/// Where generations lie in the state's folder.
pub fn folder_in(state: &Path) -> PathBuf {
    state.join(FOLDER)
}

fn bytes(from: &mut impl Read, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(length).read_to_end(&mut bytes)?;
    match bytes.len() as u64 == length {
        true => Ok(bytes),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Keeps a generation, and drops the oldest where there are too many or too much.
///
/// # Errors
/// The disk does not take it: what was kept before stays.
pub fn keep(state: &Path, record: &GenerationRecord, files: VersionFiles<'_>) -> io::Result<()> {
    let folder = folder_in(state);
    let mut made = DirBuilder::new();
    made.recursive(true).mode(FOLDER_MODE).create(&folder)?;
    let new = folder.join(UNFINISHED);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let packed = if record.has_files { pack(files)? } else { Vec::new() };
    let is_kept = packed.len() <= GENERATION_FILES_BYTES_MAX;
    let line = line(&GenerationRecord {
        has_files: record.has_files && is_kept,
        ..record.clone()
    })?;
    let packed = if is_kept { &packed[..] } else { &[] };
    let written = write(&new, [&line, packed]).and_then(|()| fs::rename(&new, path(state, record.number)));
    if let Err(error) = written {
        // Half of one takes room that others need, on a disk that is full.
        let _ = fs::remove_file(&new);
        return Err(error);
    }
    File::open(&folder)?.sync_all()?;
    drop_oldest(&folder, record.number)
}

/// A new file with these bytes, on disk.
fn write(path: &Path, parts: [&[u8]; 2]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_all()
}

/// The line that a file begins with; without what changed where that is too much.
fn line(record: &GenerationRecord) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(record)?;
    if line.len() > GENERATION_CHANGES_BYTES_MAX {
        line = serde_json::to_vec(&GenerationRecord {
            changes: None,
            ..record.clone()
        })?;
    }
    line.push(b'\n');
    Ok(line)
}

fn pack(files: VersionFiles<'_>) -> io::Result<Vec<u8>> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    for (path, bytes) in files {
        let path = path.as_os_str().as_encoded_bytes();
        let length = u32::try_from(path.len()).map_err(io::Error::other)?;
        packed.write_all(&length.to_be_bytes())?;
        packed.write_all(path)?;
        packed.write_all(&(bytes.len() as u64).to_be_bytes())?;
        packed.write_all(bytes)?;
    }
    packed.finish()
}

fn drop_oldest(folder: &Path, latest: u64) -> io::Result<()> {
    let kept = numbered(folder);
    let (mut count, mut bytes) = (0, 0);
    for (number, path) in kept.into_iter().rev() {
        count += 1;
        bytes += path.metadata().map_or(0, |file| file.len());
        if number != latest && (count > GENERATIONS_MAX || bytes > GENERATIONS_BYTES_MAX) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn path(state: &Path, number: u64) -> PathBuf {
    numbered_in(&folder_in(state), number)
}

fn numbered_in(folder: &Path, number: u64) -> PathBuf {
    let mut name = String::new();
    // Writing to a String cannot fail.
    let _ = write!(name, "{number}");
    folder.join(name)
}

/// Those in a folder by their numbers, the highest last.
fn numbered(folder: &Path) -> Vec<(u64, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<(u64, PathBuf)> = entries
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn generation(number: u64) -> GenerationRecord {
        GenerationRecord {
            number,
            at: WallTime(1_764_000_000 + number),
            by: "ada".to_owned(),
            rolled_back_to: None,
            digest: String::new(),
            hosts: 2,
            counts: Some(ChangeCounts {
                added: 1,
                ..ChangeCounts::default()
            }),
            changes: None,
            has_files: true,
        }
    }

    fn keep_text(state: &Path, number: u64, text: &[u8]) {
        let files = [
            (Path::new("inventory.toml"), text),
            (Path::new("answers/a/b"), &b""[..]),
        ];
        keep(state, &generation(number), &files).unwrap();
    }

    #[test]
    fn a_generation_comes_back_with_its_files_and_only_its_owner_reads_it() {
        let state = tempfile::tempdir().unwrap();
        keep_text(state.path(), 7, b"one");
        keep_text(state.path(), 12, b"two");
        assert_eq!(all(state.path()), [generation(7), generation(12)]);
        assert_eq!(latest(state.path()), Some(generation(12)));
        let files = files(state.path(), 7).unwrap();
        let expected = [("inventory.toml", &b"one"[..]), ("answers/a/b", b"")];
        assert_eq!(
            files,
            expected.map(|(path, bytes)| (PathBuf::from(path), bytes.to_vec()))
        );
        let mode = |path: PathBuf| path.metadata().unwrap().permissions().mode() & 0o777;
        let folder = state.path().join(FOLDER);
        assert_eq!((mode(folder.join("7")), mode(folder)), (0o600, 0o700));
    }

    #[test]
    fn the_digest_is_the_files_own_in_whatever_order() {
        let (one, two) = ((Path::new("a"), &b"b"[..]), (Path::new("c"), &b""[..]));
        assert_eq!(digest(&[one, two]), digest(&[two, one]));
        for other in [
            vec![one],
            vec![(Path::new("ab"), &b""[..]), two],
            vec![(Path::new("a"), &b"B"[..]), two],
        ] {
            assert_ne!(digest(&[one, two]), digest(&other));
        }
    }

    #[test]
    fn what_was_not_finished_or_is_broken_is_no_generation() {
        let state = tempfile::tempdir().unwrap();
        keep_text(state.path(), 1, b"one");
        let folder = state.path().join(FOLDER);
        fs::write(folder.join(UNFINISHED), "{").unwrap();
        fs::write(folder.join("2"), "{\"number\":").unwrap();
        let first = fs::read(folder.join("1")).unwrap();
        fs::write(folder.join("3"), &first).unwrap();
        assert_eq!(all(state.path()), [generation(1)]);
        for length in 0..first.len() {
            fs::write(folder.join("1"), &first[..length]).unwrap();
            assert!(files(state.path(), 1).is_err(), "{length} bytes");
        }
        keep_text(state.path(), 4, b"four");
        assert_eq!(latest(state.path()), Some(generation(4)));
    }

    #[test]
    fn the_oldest_go_where_there_are_too_many() {
        let state = tempfile::tempdir().unwrap();
        for number in 1..=GENERATIONS_MAX as u64 + 3 {
            keep_text(state.path(), number, b"text");
        }
        let kept = all(state.path());
        assert_eq!((kept.len(), kept[0].number), (GENERATIONS_MAX, 4));
    }

    #[test]
    fn what_is_laid_down_leaves_another_that_may_be_in_force_where_it_is() {
        let state = tempfile::tempdir().unwrap();
        let files = |text: &str| [(PathBuf::from("inventory.toml"), text.as_bytes().to_vec())];
        let one = unpack(state.path(), 1, &["scripts"], &files("one")).unwrap();
        let two = unpack(state.path(), 2, &["scripts"], &files("two")).unwrap();
        let read = |folder: &Path| fs::read_to_string(folder.join("inventory.toml")).ok();
        assert_eq!(
            (read(&one).as_deref(), read(&two).as_deref()),
            (Some("one"), Some("two"))
        );
        unpack(state.path(), 2, &[], &files("again")).unwrap();
        drop_unpacked(state.path(), Some(2)).unwrap();
        assert_eq!((read(&one), read(&two).as_deref()), (None, Some("again")));
        drop_unpacked(state.path(), None).unwrap();
        assert!(!two.exists());
    }

    #[test]
    fn a_path_that_leads_out_is_not_taken() {
        let state = tempfile::tempdir().unwrap();
        for path in ["../etc/passwd", "/etc/passwd", "a/../../b"] {
            let files = [(Path::new(path), &b"x"[..])];
            keep(state.path(), &generation(1), &files).unwrap();
            assert!(super::files(state.path(), 1).is_err(), "{path}");
        }
    }
}
