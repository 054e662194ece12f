//! A cache of small files that many machines fetch at the same time: all machines of a site ask for the same few
//! loaders. A transfer needs no descriptor for its own, and 2 KB of memory: with ten thousand open the daemon has
//! 34 MB (`tests/bench/tftp.sh`). In the page cache alone they gave way to images, and the next machine's loader
//! waited for the disk.
//!
//! A file is opened anew for every request, and what is in memory serves only if it was read from
//! that very version; whoever has it goes on with it, whatever becomes of the file meanwhile. Only
//! bytes whose verification has been revoked since are never sent again: the disk may have returned wrong data before
//! that was noticed. A file that is too large, or that does not fit beside files being sent, is read from disk.

use super::{FileError, OpenedFile, open_beneath};
use crate::boot::{snapshot::FileStamp, verification::VerifiedStamp};
use crate::model::limits::{HOT_FILE_BYTES_MAX, HOT_FILES_BYTES_MAX};
use bytes::Bytes;
use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What a file's bytes are read from.
#[derive(Debug)]
pub enum FileSource {
    /// All of them, in memory.
    InMemoryFile {
        /// The bytes.
        file: InMemoryFile,
        /// What the file was when it was opened.
        stamp: FileStamp,
    },
    /// The file.
    File(OpenedFile),
}

impl FileSource {
    /// What the file was when it was opened.
    pub fn stamp(&self) -> FileStamp {
        match self {
            FileSource::InMemoryFile { stamp, .. } => *stamp,
            FileSource::File(opened) => opened.stamp(),
        }
    }
}

/// All bytes of a file, or of a text.
#[derive(Clone, Debug)]
pub struct InMemoryFile {
    /// The bytes.
    pub bytes: Bytes,
    /// The verification that they were read under; `None` for files that have no checksum.
    pub verified: Option<VerifiedStamp>,
}

impl InMemoryFile {
    /// Whether they may still be sent.
    ///
    /// # Errors
    /// When the file was found to differ from its checksum.
    pub fn unchanged(&self) -> Result<(), FileError> {
        match self.verified.as_ref().is_some_and(VerifiedStamp::is_revoked) {
            true => Err(FileError::Corrupt),
            false => Ok(()),
        }
    }
}

/// The files in memory.
#[derive(Debug, Default)]
pub struct HotFiles {
    state: Mutex<CacheState>,
}

#[derive(Debug, Default)]
struct CacheState {
    files: HashMap<FileVersion, CacheEntry>,
    bytes: usize,
    /// Counts up with every use.
    uses: u64,
}

/// A file as it was at one time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct FileVersion {
    root: PathBuf,
    file: String,
    stamp: FileStamp,
}

#[derive(Debug)]
struct CacheEntry {
    /// Filled by the first who wants it, while the others wait for their turn.
    slot: CacheSlot,
    length: usize,
    used: u64,
}

type CacheSlot = Arc<Mutex<Option<InMemoryFile>>>;

impl HotFiles {
    /// Opens a file as [`open_beneath`] does, and takes its bytes from memory or reads them there
    /// where they have room. Blocks on the disk.
    ///
    /// # Errors
    /// When the file can't be opened or read, or changes while it is read.
    pub fn open(&self, root: &Path, file: &str, verified: Option<VerifiedStamp>) -> Result<FileSource, FileError> {
        let opened = open_beneath(root, file, verified.clone())?;
        let version = FileVersion {
            root: root.to_owned(),
            file: file.to_owned(),
            stamp: opened.stamp(),
        };
        let slot = usize::try_from(opened.length())
            .ok()
            .filter(|length| *length <= HOT_FILE_BYTES_MAX)
            .and_then(|length| self.state().slot(&version, length));
        let Some(slot) = slot else {
            return Ok(FileSource::File(opened));
        };
        let mut held = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = held.as_ref().filter(|file| file.unchanged().is_ok()) {
            // As after reading: the seal may have been broken while this waited for its turn.
            opened.unchanged()?;
            return Ok(FileSource::InMemoryFile {
                file: file.clone(),
                stamp: version.stamp,
            });
        }
        let bytes = read(&opened)?;
        let file = InMemoryFile { bytes, verified };
        *held = Some(file.clone());
        Ok(FileSource::InMemoryFile {
            file,
            stamp: version.stamp,
        })
    }

    /// [`HotFiles::open`], away from the event loop.
    ///
    /// # Errors
    /// As [`HotFiles::open`].
    pub async fn open_elsewhere(
        self: &Arc<HotFiles>,
        root: PathBuf,
        file: String,
        verified: Option<VerifiedStamp>,
    ) -> Result<FileSource, FileError> {
        let files = Arc::clone(self);
        tokio::task::spawn_blocking(move || files.open(&root, &file, verified))
            .await
            .unwrap_or_else(|error| Err(FileError::Io(io::Error::other(error))))
    }

    fn state(&self) -> MutexGuard<'_, CacheState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(opened: &OpenedFile) -> Result<Bytes, FileError> {
    let mut bytes = vec![0; usize::try_from(opened.length()).unwrap_or(usize::MAX)];
    opened.read_exactly(&mut bytes, 0)?;
    Ok(bytes.into())
}

impl CacheState {
    /// The place of a version's bytes; `None` where there is no room for it.
    fn slot(&mut self, version: &FileVersion, length: usize) -> Option<CacheSlot> {
        self.uses += 1;
        if let Some(entry) = self.files.get_mut(version) {
            entry.used = self.uses;
            return Some(Arc::clone(&entry.slot));
        }
        if !self.make_room(length) {
            return None;
        }
        let entry = CacheEntry {
            slot: CacheSlot::default(),
            length,
            used: self.uses,
        };
        let slot = Arc::clone(&entry.slot);
        self.bytes += length;
        self.files.insert(version.clone(), entry);
        Some(slot)
    }

    /// Forgets files that are not being sent, the longest unused first. A crate for LRU caches counts entries and
    /// drops the oldest, sent or not.
    fn make_room(&mut self, length: usize) -> bool {
        while self.bytes + length > HOT_FILES_BYTES_MAX {
            let idle = self.files.iter().filter(|(_, entry)| entry.is_idle());
            let oldest = idle.min_by_key(|(_, entry)| entry.used);
            let Some(version) = oldest.map(|(version, _)| version.clone()) else {
                return false;
            };
            self.forget(&version);
        }
        true
    }

    fn forget(&mut self, version: &FileVersion) {
        if let Some(entry) = self.files.remove(version) {
            self.bytes -= entry.length;
        }
    }
}

impl CacheEntry {
    /// Whether it is neither being read in nor sent: what is forgotten is gone, and the memory of
    /// all files stays within its limit.
    fn is_idle(&self) -> bool {
        let held = self.slot.try_lock();
        Arc::strong_count(&self.slot) == 1
            && held.is_ok_and(|held| held.as_ref().is_none_or(|file| file.bytes.is_unique()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::verification::{HashResult, Verification, VerificationState};
    use crate::model::{Now, WallTime};
    use crate::net::files::tests::image_of;
    use std::{fs, time::Duration};

    fn folder(files: &[(&str, usize)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (file, length) in files {
            fs::write(folder.path().join(file), vec![7; *length]).unwrap();
        }
        folder
    }

    fn bytes(files: &HotFiles, folder: &tempfile::TempDir, file: &str) -> Option<Bytes> {
        match files.open(folder.path(), file, None).unwrap() {
            FileSource::InMemoryFile { file, .. } => Some(file.bytes),
            FileSource::File(_) => None,
        }
    }

    #[test]
    fn two_machines_share_the_bytes_of_one_loader() {
        let (files, folder) = (HotFiles::default(), folder(&[("loader", 5000)]));
        let one = bytes(&files, &folder, "loader").unwrap();
        let other = bytes(&files, &folder, "loader").unwrap();
        assert_eq!(one.as_ptr(), other.as_ptr());
        assert_eq!(one.len(), 5000);
    }

    #[test]
    fn a_new_version_is_read_and_the_old_one_goes_on_to_whoever_has_it() {
        let (files, folder) = (HotFiles::default(), folder(&[("loader", 5)]));
        let old = bytes(&files, &folder, "loader").unwrap();
        fs::write(folder.path().join("loader"), "newer than it was").unwrap();
        assert_eq!(bytes(&files, &folder, "loader").unwrap(), "newer than it was");
        assert_eq!(old, [7; 5][..]);
        fs::remove_file(folder.path().join("loader")).unwrap();
        assert!(
            files.open(folder.path(), "loader", None).is_err(),
            "a file that is gone is not served"
        );
    }

    #[test]
    fn what_is_large_is_read_from_its_file() {
        let (files, folder) = (HotFiles::default(), folder(&[("kernel", HOT_FILE_BYTES_MAX + 1)]));
        assert!(bytes(&files, &folder, "kernel").is_none());
    }

    #[test]
    fn memory_is_bounded_by_what_is_being_sent_and_files_that_nobody_wants_give_way() {
        let names: Vec<String> = (0..HOT_FILES_BYTES_MAX / HOT_FILE_BYTES_MAX)
            .map(|at| format!("loader{at}"))
            .collect();
        let sizes: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), HOT_FILE_BYTES_MAX)).collect();
        let (files, folder) = (HotFiles::default(), folder(&sizes));
        fs::write(folder.path().join("another"), "another").unwrap();
        let mut held: Vec<Bytes> = names.iter().map(|name| bytes(&files, &folder, name).unwrap()).collect();
        assert!(bytes(&files, &folder, "another").is_none(), "all are being sent");
        held.remove(0);
        let another = bytes(&files, &folder, "another").unwrap();
        assert!(bytes(&files, &folder, &names[0]).is_none(), "it gave way");
        assert_eq!(another, "another");
        assert!(files.state().bytes <= HOT_FILES_BYTES_MAX);
    }

    #[test]
    fn the_verified_version_is_asked_for_and_no_other_is_served() {
        let (files, folder) = (HotFiles::default(), folder(&[("linux", 5)]));
        let stamp = open_beneath(folder.path(), "linux", None).unwrap().stamp();
        assert!(
            files
                .open(folder.path(), "linux", Some(VerifiedStamp::of(stamp)))
                .is_ok()
        );
        fs::write(folder.path().join("linux"), "another").unwrap();
        let refused = files.open(folder.path(), "linux", Some(VerifiedStamp::of(stamp)));
        assert!(matches!(refused, Err(FileError::Changed)), "{refused:?}");
    }

    #[test]
    fn what_was_read_before_a_file_was_found_corrupt_is_never_sent_again() {
        let (files, folder) = (HotFiles::default(), folder(&[("secret", 5)]));
        let stamp = open_beneath(folder.path(), "secret", None).unwrap().stamp();
        let image = image_of(folder.path(), stamp);
        let kernel = image.kernel.as_ref().unwrap();
        let now = Now {
            monotonic: Duration::ZERO,
            wall: WallTime(0),
        };
        let mut verification = Verification::default();
        let mut found = |sum| {
            verification.record(now, &image.path(kernel), stamp, HashResult::Sum(sum));
            match verification.state(&image, kernel) {
                VerificationState::Verified { verified, .. } => Some(verified),
                _ => None,
            }
        };
        let file = |verified| match files.open(folder.path(), "secret", Some(verified)) {
            Ok(FileSource::InMemoryFile { file, .. }) => Ok(file),
            Ok(FileSource::File(_)) => panic!("five bytes are not too many"),
            Err(error) => Err(error),
        };
        let verified = found(kernel.sha256).unwrap();
        let before = file(verified.clone()).unwrap();
        assert_eq!(file(verified.clone()).unwrap().bytes.as_ptr(), before.bytes.as_ptr());
        before.unchanged().unwrap();
        assert!(found([9; 32]).is_none());
        assert!(
            matches!(before.unchanged(), Err(FileError::Corrupt)),
            "a transfer goes on"
        );
        assert!(matches!(file(verified), Err(FileError::Corrupt)), "another one begins");
        // The disk is in its senses again, and the file's stamp is the same.
        let after = file(found(kernel.sha256).unwrap()).unwrap();
        assert_ne!(after.bytes.as_ptr(), before.bytes.as_ptr(), "it was not read anew");
        after.unchanged().unwrap();
    }
}
