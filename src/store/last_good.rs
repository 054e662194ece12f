//! The operator's files as they were accepted last, so that a restart can serve them when those on disk
//! are refused by then.
//!
//! They lie in the state's folder as `accepted/NUMBER`, of which the highest counts. A version is written
//! as `accepted/.new`, synced, tried, and takes its number by one rename; the others are removed after
//! that. So there is a complete one at every moment. Answers have secrets in them: only the owner may
//! read any of it.
//!
//! What the files mean is `config`'s.

use crate::images::reading::open_regular;
use crate::model::{WallTime, limits::EDITED_FILE_BYTES_MAX};
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

const FOLDER: &str = "accepted";
const UNFINISHED: &str = ".new";
/// Beside the files of a version: whose they are.
const NOTE: &str = "accepted.json";
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// A version that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastGoodVersion {
    /// The folder with its files.
    pub folder: PathBuf,
    /// When it was accepted.
    pub accepted: WallTime,
}

/// What is written beside the files.
#[derive(Debug, Serialize, Deserialize)]
struct VersionNote {
    /// The settings that the version was read from.
    config: PathBuf,
    accepted: WallTime,
}

/// The files of a version: where each lies in its folder, and its bytes.
pub type VersionFiles<'f> = &'f [(&'f Path, &'f [u8])];

/// What is wrong with files.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a version is not kept; the one before stays.
#[derive(Debug)]
pub enum KeepError {
    /// The files can't be read, or are not sound.
    Refused(Cause),
    /// The state's folder takes no other.
    Disk {
        /// Where the versions lie.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl fmt::Display for KeepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeepError::Refused(why) => why.fmt(f),
            KeepError::Disk { folder, source } => write!(f, "{}: {source}", folder.display()),
        }
    }
}

impl std::error::Error for KeepError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            KeepError::Refused(why) => Some(&**why),
            KeepError::Disk { source, .. } => Some(source),
        }
    }
}

/// Where the versions lie in the state's folder.
pub fn folder_in(state: &Path) -> PathBuf {
    state.join(FOLDER)
}

/// The version that was accepted last of the appliance with these settings, if one is kept in `state`.
pub fn latest(state: &Path, config_file: &Path) -> Option<LastGoodVersion> {
    let (_, folder) = numbered(&folder_in(state)).pop()?;
    // Another user could put a link there otherwise, and root would read what it leads to.
    count(&folder).ok()?;
    let note: VersionNote = serde_json::from_slice(&read(&folder.join(NOTE)).ok()?).ok()?;
    (note.config == absolute(config_file)).then_some(LastGoodVersion {
        folder,
        accepted: note.accepted,
    })
}

/// Keeps a version in place of the one before, once `is_sound` has found that it can be read back from a
/// folder; one with the same files is kept as it is.
///
/// # Errors
/// It can't be written, or is not sound: then the one before stays.
pub fn save(
    state: &Path,
    (config_file, accepted): (&Path, WallTime),
    (folders, files): (&[&str], VersionFiles<'_>),
    is_sound: impl FnOnce(&Path) -> Result<(), Cause>,
) -> Result<(), KeepError> {
    let all = folder_in(state);
    if latest(state, config_file).is_some_and(|kept| has_just(&kept.folder, files)) {
        return Ok(());
    }
    let new = all.join(UNFINISHED);
    let failed = |source: io::Error| KeepError::Disk {
        folder: all.clone(),
        source,
    };
    remove(&new).map_err(failed)?;
    let note = VersionNote {
        config: absolute(config_file),
        accepted,
    };
    let is_first = !all.exists();
    let written = write(&new, folders, files, &note).map_err(failed);
    let judged = written.and_then(|()| is_sound(&new).map_err(KeepError::Refused));
    if let Err(error) = judged {
        // What is left is taken away at the next try.
        let _ = remove(&new);
        return Err(error);
    }
    let kept = numbered(&all);
    let number = kept.last().map_or(0, |(number, _)| *number) + 1;
    fs::rename(&new, all.join(number.to_string())).map_err(failed)?;
    sync(&all).map_err(failed)?;
    if is_first {
        // Else a power cut may leave a state without any of it.
        sync(state).map_err(failed)?;
    }
    for (_, folder) in kept {
        remove(&folder).map_err(failed)?;
    }
    Ok(())
}

/// The versions in a folder by their numbers, the highest last.
fn numbered(all: &Path) -> Vec<(u64, PathBuf)> {
    let entries = fs::read_dir(all).into_iter().flatten().flatten();
    let mut found: Vec<(u64, PathBuf)> = entries
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
        .collect();
    found.sort();
    found
}

/// Whether a version has these files with these bytes, and no others.
fn has_just(folder: &Path, files: VersionFiles<'_>) -> bool {
    let is_same = |(path, bytes): &(&Path, &[u8])| {
        let path = folder.join(path);
        let length = path.metadata().map(|metadata| metadata.len());
        length.is_ok_and(|length| length == bytes.len() as u64) && read(&path).is_ok_and(|kept| kept == *bytes)
    };
    // The note is one more.
    count(folder).is_ok_and(|count| count == files.len() + 1) && files.iter().all(is_same)
}

/// All of a file. Who may write into the state may put anything there, at any moment.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?
        .take(EDITED_FILE_BYTES_MAX)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// How many files lie in a folder and those in it; an error where something is neither, such as a link.
fn count(folder: &Path) -> io::Result<usize> {
    let mut found = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        found += match entry.file_type()? {
            kind if kind.is_dir() => count(&entry.path())?,
            kind if kind.is_file() => 1,
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
    }
    Ok(found)
}

/// Writes a version; all of it is on the disk then.
fn write(new: &Path, folders: &[&str], files: VersionFiles<'_>, note: &VersionNote) -> io::Result<()> {
    let mut made = DirBuilder::new();
    made.recursive(true).mode(FOLDER_MODE).create(new)?;
    let mut parents: Vec<PathBuf> = folders.iter().map(|folder| new.join(folder)).collect();
    parents.extend(
        files
            .iter()
            .filter_map(|(path, _)| Some(new.join(path).parent()?.to_owned())),
    );
    parents.sort();
    parents.dedup();
    for parent in &parents {
        made.create(parent)?;
    }
    let note = serde_json::to_vec_pretty(note)?;
    let note: (&Path, &[u8]) = (Path::new(NOTE), &note);
    for (path, bytes) in files.iter().chain([&note]) {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(new.join(path))?;
        file.write_all(bytes)?;
        file.sync_all()?;
    }
    sync(new)?;
    parents.iter().try_for_each(|parent| sync(parent))
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// The same file has one name, from wherever the daemon is started.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const CONFIG: &str = "/etc/bootwright/bootwright.toml";

    fn keep_text(state: &Path, accepted: u64, text: &str) -> Result<(), KeepError> {
        let files = [
            (Path::new("inventory.toml"), text.as_bytes()),
            (Path::new("answers/preseed/a.cfg"), &b"secret"[..]),
        ];
        save(
            state,
            (Path::new(CONFIG), WallTime(accepted)),
            (&["scripts"], &files),
            |folder| match folder.join("scripts").is_dir() {
                true => Ok(()),
                false => Err("no scripts".into()),
            },
        )
    }

    fn text(state: &Path) -> String {
        let kept = latest(state, Path::new(CONFIG)).unwrap();
        fs::read_to_string(kept.folder.join("inventory.toml")).unwrap()
    }

    #[test]
    fn the_version_that_was_kept_last_counts_and_there_is_one() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(latest(state.path(), Path::new(CONFIG)), None);
        keep_text(state.path(), 7, "one").unwrap();
        keep_text(state.path(), 8, "two").unwrap();
        let kept = latest(state.path(), Path::new(CONFIG)).unwrap();
        assert_eq!((kept.accepted, text(state.path()).as_str()), (WallTime(8), "two"));
        keep_text(state.path(), 9, "two").unwrap();
        assert_eq!(latest(state.path(), Path::new(CONFIG)).unwrap(), kept, "nothing is new");
        assert_eq!(fs::read_dir(state.path().join(FOLDER)).unwrap().count(), 1);
    }

    #[test]
    fn one_that_was_not_finished_or_is_not_sound_is_nobodys() {
        let state = tempfile::tempdir().unwrap();
        keep_text(state.path(), 7, "one").unwrap();
        fs::create_dir(state.path().join(FOLDER).join(UNFINISHED)).unwrap();
        fs::write(state.path().join(FOLDER).join(UNFINISHED).join("inventory.toml"), "h").unwrap();
        assert_eq!(text(state.path()), "one");
        let files = [(Path::new("inventory.toml"), &b"two"[..])];
        let refused = save(state.path(), (Path::new(CONFIG), WallTime(8)), (&[], &files), |_| {
            Err("no host".into())
        });
        assert!(matches!(refused, Err(KeepError::Refused(why)) if why.to_string() == "no host"));
        assert_eq!(text(state.path()), "one");
        assert_eq!(fs::read_dir(state.path().join(FOLDER)).unwrap().count(), 1);
    }

    #[test]
    fn another_appliances_files_are_not_taken() {
        let state = tempfile::tempdir().unwrap();
        keep_text(state.path(), 7, "one").unwrap();
        assert_eq!(latest(state.path(), Path::new("/srv/other/bootwright.toml")), None);
    }

    #[test]
    fn a_version_with_a_link_in_it_is_not_taken() {
        let state = tempfile::tempdir().unwrap();
        keep_text(state.path(), 7, "one").unwrap();
        let folder = latest(state.path(), Path::new(CONFIG)).unwrap().folder;
        std::os::unix::fs::symlink("/etc/shadow", folder.join("answers/shadow")).unwrap();
        assert_eq!(latest(state.path(), Path::new(CONFIG)), None);
        keep_text(state.path(), 8, "two").unwrap();
        assert_eq!(text(state.path()), "two", "the next one takes its place");
    }

    #[test]
    fn nobody_but_the_owner_reads_them() {
        let state = tempfile::tempdir().unwrap();
        keep_text(state.path(), 7, "one").unwrap();
        let mode = |path: PathBuf| path.metadata().unwrap().permissions().mode() & 0o777;
        let folder = latest(state.path(), Path::new(CONFIG)).unwrap().folder;
        let folders = ["", "answers", "answers/preseed", "scripts"].map(|name| mode(folder.join(name)));
        assert_eq!(folders, [0o700; 4]);
        assert_eq!(mode(state.path().join(FOLDER)), 0o700);
        let files = ["inventory.toml", "answers/preseed/a.cfg", NOTE].map(|name| mode(folder.join(name)));
        assert_eq!(files, [0o600; 3]);
    }
}
