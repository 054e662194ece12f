//! The hidden folder in which a download grows. It outlives an interrupted run, so that the next one
//! goes on from there; it is no image, and no server looks into it.

use super::order::Progress;
use crate::images::{
    error::{ImageError, failed},
    partial,
};
use crate::model::{Name, limits::FETCH_KEPT};
use std::{
    ffi::OsStr,
    fs::{self, File, Metadata, TryLockError},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

const PREFIX: &str = ".fetch-";

/// One image's folder, locked against a second run as long as this lives.
pub(super) struct Kept {
    folder: PathBuf,
    _lock: File,
}

impl Kept {
    pub(super) fn open(images: &Path, name: &Name) -> Result<Kept, ImageError> {
        let folder = images.join(format!("{PREFIX}{name}"));
        fs::create_dir_all(&folder).map_err(|error| failed("make the folder", folder.display(), &error))?;
        let lock = File::open(&folder).map_err(|error| failed("open", folder.display(), &error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Kept { folder, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(ImageError::new(format!(
                "another command fetches `{name}` at this moment; wait for it, or end it"
            ))),
            Err(TryLockError::Error(error)) => Err(failed("lock", folder.display(), &error)),
        }
    }

    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Removes what no file of the plan is: an older version's, or another URL's.
    pub(super) fn keep_only(&self, files: &[Name]) -> Result<(), ImageError> {
        let of_the_plan = |found: &str| {
            files.iter().any(|file| {
                found
                    .strip_prefix(file.as_str())
                    .is_some_and(|rest| matches!(rest, "" | ".part" | ".note"))
            })
        };
        let entries = fs::read_dir(&self.folder).map_err(|error| failed("read", self.folder.display(), &error))?;
        for entry in entries.flatten() {
            if !of_the_plan(&entry.file_name().to_string_lossy()) {
                fs::remove_file(entry.path()).map_err(|error| failed("remove", entry.path().display(), &error))?;
            }
        }
        Ok(())
    }

    /// The image is made; nothing of this is needed any more.
    pub(super) fn remove(self) -> Result<(), ImageError> {
        fs::remove_dir_all(&self.folder).map_err(|error| failed("remove", self.folder.display(), &error))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // A run that brought nothing leaves nothing; a folder with something in it can't be removed so.
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Says which downloads of other images lie unfinished, and removes those that nobody took up.
pub(super) fn look_at_others(images: &Path, own: &Name, progress: &dyn Progress) {
    let own = format!("{PREFIX}{own}");
    for entry in fs::read_dir(images).into_iter().flatten().flatten() {
        let file = entry.file_name();
        let Some(name) = file
            .to_str()
            .filter(|file| **file != own)
            .and_then(|file| file.strip_prefix(PREFIX))
        else {
            continue;
        };
        // A run that goes on holds the lock.
        let Some(_lock) = partial::lock(&entry.path()) else {
            continue;
        };
        let (bytes, age) = size_and_age(&entry.path());
        let megabytes = bytes.div_ceil(1_000_000);
        if age < FETCH_KEPT {
            progress.say(&format!(
                "an unfinished download of `{name}` takes {megabytes} MB: fetch it again to go on, or remove {}",
                entry.path().display()
            ));
        } else if fs::remove_dir_all(entry.path()).is_ok() {
            progress.say(&format!(
                "removed the download of `{name}` that nobody took up for two weeks, {megabytes} MB"
            ));
        }
    }
}

fn size_and_age(folder: &Path) -> (u64, Duration) {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let files: Vec<Metadata> = files.filter_map(|file| file.metadata().ok()).collect();
    let bytes = files.iter().map(Metadata::len).sum();
    let times = files
        .into_iter()
        .chain(fs::metadata(folder))
        .filter_map(|one| one.modified().ok());
    let newest = times.max().unwrap_or(SystemTime::UNIX_EPOCH);
    (bytes, newest.elapsed().unwrap_or_default())
}

/// Writes a small file whole or not at all.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_file_name(
        path.file_name()
            .unwrap_or(OsStr::new("note"))
            .to_string_lossy()
            .into_owned()
            + ".new",
    );
    fs::write(&beside, bytes)?;
    fs::rename(&beside, path)
}
