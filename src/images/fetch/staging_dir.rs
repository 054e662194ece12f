//! The hidden folder in which a download grows. It outlives an interrupted run, so that the next one
//! goes on from there; it is no image, and no server looks into it.
//!
//! In the end it becomes the image by a rename, so that no file is copied or has a second name, and
//! nothing is left to be removed once the image can be seen. An image that it replaces lies in the
//! hidden folder for a moment.

use super::{partial_note::PartialNote, request::FetchProgress};
use crate::images::{
    MANIFEST,
    disk_sums::DiskSums,
    error::{ImageError, failed},
    partial::{self, Partial},
    place::{self, Added, ArtifactSummary, NewImage},
};
use crate::model::{
    Name,
    limits::{FETCH_LOCK_TRIES, FETCH_POLL_INTERVAL, FETCH_STAGING_TTL},
};
use std::{
    fmt::Display,
    fs::{self, DirEntry, File, Metadata, TryLockError},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

const PREFIX: &str = ".fetch-";
/// How the name of what is known of an unfinished file ends.
const NOTE: &str = ".note";

/// One image's folder, locked against a second run as long as this lives.
pub(super) struct StagingDir {
    folder: PathBuf,
    _lock: File,
}

impl StagingDir {
    pub(super) fn open(images: &Path, name: &Name) -> Result<StagingDir, ImageError> {
        let folder = staging_dir(images, name);
        fs::create_dir_all(&folder).map_err(|error| failed("make the folder", folder.display(), error))?;
        let lock = File::open(&folder).map_err(|error| failed("open", folder.display(), error))?;
        match locked(&lock) {
            Ok(()) if is_at(&lock, &folder) => Ok(StagingDir { folder, _lock: lock }),
            // Between the opening and the lock another run made it an image.
            Ok(()) => StagingDir::open(images, name),
            Err(TryLockError::WouldBlock) => Err(ImageError::new(format_args!(
                "another command fetches `{name}` at this moment; wait for it, or end it"
            ))),
            Err(TryLockError::Error(error)) => Err(failed("lock", folder.display(), error)),
        }
    }

    pub(super) fn path(&self, file: &Name) -> PathBuf {
        self.folder.join(file.as_str())
    }

    /// The beginning of a file.
    pub(super) fn part(&self, file: &Name) -> PathBuf {
        self.folder.join(part_name(file.as_str()))
    }

    /// What is known of the file that a part is of.
    pub(super) fn note(&self, file: &Name) -> PathBuf {
        self.folder.join(format!(".{file}{NOTE}"))
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Removes what no file of the plan is: an older version's, another URL's, or an image's that was
    /// replaced.
    pub(super) fn keep_only(&self, files: &[Name]) -> Result<(), ImageError> {
        let is_of_the_plan = |found: &Path| {
            let paths = |file| [self.path(file), self.part(file), self.note(file)];
            files.iter().any(|file| paths(file).iter().any(|path| path == found))
        };
        self.keep_what(is_of_the_plan)
    }

    fn keep_what(&self, is_kept: impl Fn(&Path) -> bool) -> Result<(), ImageError> {
        let entries = fs::read_dir(&self.folder).map_err(|error| failed("read", self.folder.display(), error))?;
        for entry in entries.flatten() {
            let path = entry.path();
            if !is_kept(&path) {
                let removed = match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    true => fs::remove_dir_all(&path),
                    false => fs::remove_file(&path),
                };
                removed.map_err(|error| failed("remove", path.display(), error))?;
            }
        }
        Ok(())
    }

    /// Makes the folder the image, with these files and no others.
    ///
    /// # Errors
    /// As of [`place::finish`].
    pub(super) fn become_image(
        self,
        images: &Path,
        new: &NewImage,
        (artifacts, disk): (Vec<ArtifactSummary>, Option<DiskSums>),
        comments: &[&dyn Display],
    ) -> Result<Added, ImageError> {
        // An image that is replaced gets the hidden folder's name: no second run may take it for its own
        // while it is removed. A run that has just made it holds its lock until it ends.
        let replaced = File::open(images.join(new.name.as_str())).ok();
        let replaced = replaced.filter(|image| locked(image).is_ok());
        self.keep_what(|found| artifacts.iter().any(|(file, _, _)| self.folder.join(file) == found))?;
        let added = place::finish(images, &self.folder, new, (artifacts, disk), comments).inspect_err(|_| {
            let _ = fs::remove_file(self.folder.join(MANIFEST));
        })?;
        // Where nothing was replaced, the folder of that name is the next run's.
        if replaced.is_some_and(|image| is_at(&image, &self.folder)) {
            drop(Partial::removed(images, &self.folder, new.name.as_str()));
        }
        Ok(added)
    }
}

impl Drop for StagingDir {
    fn drop(&mut self) {
        // A run that brought nothing leaves nothing; a folder with something in it can't be removed so.
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Locks a folder. A run that looks whether anybody needs it holds the lock for a moment.
fn locked(folder: &File) -> Result<(), TryLockError> {
    for _ in 1..FETCH_LOCK_TRIES {
        if folder.try_lock().is_ok() {
            return Ok(());
        }
        std::thread::sleep(FETCH_POLL_INTERVAL);
    }
    folder.try_lock()
}

fn is_at(folder: &File, path: &Path) -> bool {
    let inode = |metadata: io::Result<Metadata>| metadata.map(|metadata| metadata.ino()).ok();
    inode(folder.metadata()) == inode(fs::metadata(path))
}

/// Whether a hidden folder holds the image that a run replaced which was killed in that moment: what is
/// in place is newer.
fn was_replaced(hidden: &Path, image: &Path) -> bool {
    let made = |folder: &Path| fs::metadata(folder.join(MANIFEST)).and_then(|manifest| manifest.modified());
    matches!((made(hidden), made(image)), (Ok(old), Ok(new)) if old < new)
}

/// Says which downloads of other images lie unfinished, and removes those that were not resumed, and
/// what killed runs had no time to remove.
pub(super) fn remove_stale(images: &Path, own: &Name, progress: &dyn FetchProgress) {
    partial::sweep(images);
    for entry in fs::read_dir(images).into_iter().flatten().flatten() {
        let file = entry.file_name();
        let Some(name) = file
            .to_str()
            .and_then(|file| file.strip_prefix(PREFIX))
            .filter(|name| *name != own.as_str())
        else {
            continue;
        };
        // A run that goes on holds the lock.
        let Some(_lock) = partial::lock(&entry.path()) else {
            continue;
        };
        if was_replaced(&entry.path(), &images.join(name)) {
            drop(Partial::removed(images, &entry.path(), name));
            continue;
        }
        let (bytes, age) = size_and_age(&entry.path());
        let megabytes = bytes.div_ceil(1_000_000);
        if age < FETCH_STAGING_TTL {
            // A run that begins at this moment has made its folder, and has no lock yet.
            if bytes == 0 {
                continue;
            }
            progress.say(format_args!(
                "an unfinished download of `{name}` takes {megabytes} MB: fetch it again to go on, or remove {}",
                entry.path().display()
            ));
        } else if fs::remove_dir_all(entry.path()).is_ok() {
            progress.say(format_args!(
                "removed the download of `{name}` that was not taken up for two weeks, {megabytes} MB"
            ));
        }
    }
}

/// After a run that was stopped, however abruptly: removes what no later run could use of that image, and
/// returns the bytes that stay.
pub fn keep_resumable(images: &Path, name: &Name) -> u64 {
    let folder = staging_dir(images, name);
    for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let Some(file) = name
            .to_str()
            .and_then(|name| name.strip_prefix('.')?.strip_suffix(NOTE))
        else {
            continue;
        };
        if PartialNote::read(&path).is_some_and(|note| !note.is_resumable()) {
            for unusable in [folder.join(part_name(file)), folder.join(file), path] {
                let _ = fs::remove_file(unusable);
            }
        }
    }
    let bytes = size_and_age(&folder).0;
    // Only an empty one goes.
    let _ = fs::remove_dir(&folder);
    bytes
}

/// Where the download of an image grows.
fn staging_dir(images: &Path, name: &Name) -> PathBuf {
    images.join(format!("{PREFIX}{name}"))
}

/// What the beginning of a file is called. Hidden, so that no file of an image has that name.
fn part_name(file: &str) -> String {
    format!(".{file}.part")
}

fn size_and_age(folder: &Path) -> (u64, Duration) {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_note = |file: &DirEntry| file.file_name().to_string_lossy().ends_with(NOTE);
    let files = files.filter(|file| !is_note(file));
    let files: Vec<Metadata> = files.filter_map(|file| file.metadata().ok()).collect();
    let bytes = files.iter().map(Metadata::len).sum();
    let times = files
        .into_iter()
        .chain(fs::metadata(folder))
        .filter_map(|one| one.modified().ok());
    let newest = times.max().unwrap_or(SystemTime::UNIX_EPOCH);
    (bytes, newest.elapsed().unwrap_or_default())
}
