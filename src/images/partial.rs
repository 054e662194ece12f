//! Hidden folders: an image on its way into its place, or out of it.
//!
//! Its maker holds a lock on it, which the kernel lets go when the maker dies, however it dies.
//! That is how the next one tells what was left behind from what is under way.

use nix::{errno::Errno, sys::signal::kill, unistd::Pid};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// How the names of hidden folders begin; the maker's process id and the image's name follow. A
/// download's begins with `.fetch-`, so that no image's name makes one look like the other.
const PARTIAL: &str = ".partial-";
const REMOVED: &str = ".removed-";

/// A hidden folder that disappears unless it was moved into its place.
pub(super) struct Partial {
    folder: PathBuf,
    /// Held as long as the folder is under way; a file system without locks has none.
    _lock: Option<File>,
}

impl Partial {
    /// A new one for an image called `name`. In a container every maker has the same process id:
    /// what one of them left in this place was swept before.
    ///
    /// # Errors
    /// When it can't be made.
    pub(super) fn new(images: &Path, name: &str) -> Result<Partial, (PathBuf, io::Error)> {
        let folder = images.join(hidden(PARTIAL, name));
        match fs::create_dir(&folder) {
            Ok(()) => Ok(Partial::of(folder)),
            Err(error) => Err((folder, error)),
        }
    }

    /// What lies at `from`, which was or is the image called `name`: moved to where it is known that
    /// nobody needs it, however far its removal comes.
    ///
    /// # Errors
    /// When it can't be moved; then it is where it was.
    pub(super) fn removed(images: &Path, from: &Path, name: &str) -> io::Result<Partial> {
        let folder = images.join(hidden(REMOVED, name));
        fs::rename(from, &folder)?;
        Ok(Partial::of(folder))
    }

    fn of(folder: PathBuf) -> Partial {
        let _lock = lock(&folder);
        Partial { folder, _lock }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Gone already where the move was made.
        discard(&self.folder);
    }
}

/// Removes what is hidden: a folder, or what stood where an image should be and was replaced. What
/// can't be removed is harmless, and nothing reads it.
fn discard(hidden: &Path) {
    if fs::remove_dir_all(hidden).is_err() {
        let _ = fs::remove_file(hidden);
    }
}

fn hidden(kind: &str, name: &str) -> String {
    format!("{kind}{}-{name}", std::process::id())
}

/// The lock on a folder; `None` where another process holds it. It goes with the file.
pub(super) fn lock(folder: &Path) -> Option<File> {
    File::open(folder).ok().filter(|folder| folder.try_lock().is_ok())
}

/// Removes what interrupted imports and removals left behind. What can't be removed stays for the
/// next time: it is hidden, and nothing reads it.
pub(super) fn sweep(images: &Path) {
    let entries = fs::read_dir(images).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| is_left_behind(&entry.file_name().to_string_lossy())) {
        if let Some(_lock) = lock(&entry.path()) {
            discard(&entry.path());
        }
    }
}

/// Whether a name is of a hidden folder whose maker is dead, or had our own process id. The lock
/// alone would not do: between the making of a folder and its lock there is a moment.
fn is_left_behind(name: &str) -> bool {
    let rest = [PARTIAL, REMOVED].iter().find_map(|kind| name.strip_prefix(kind));
    let maker = rest.and_then(|rest| rest.split_once('-')?.0.parse::<i32>().ok());
    let gone = |id| Pid::from_raw(id) == Pid::this() || kill(Pid::from_raw(id), None) == Err(Errno::ESRCH);
    maker.is_some_and(|id| id > 0 && gone(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_process_left_goes_and_what_is_under_way_stays() {
        let images = tempfile::tempdir().unwrap();
        // A process that is started here has every lock and socket of the tests beside this one until it
        // runs its program, and they find them taken. So dead is a number that the kernel gives to none.
        let (dead, us, alive) = (i32::MAX, std::process::id(), std::os::unix::process::parent_id());
        let left = [
            format!(".partial-{dead}-a"),
            format!(".removed-{dead}-b"),
            format!(".partial-{us}-b-1"),
        ];
        let kept = [
            format!(".partial-{alive}-a"),
            ".partial-x-a".to_owned(),
            format!("partial-{dead}-a"),
            format!(".fetch-{dead}"),
            format!(".fetch-a.partial-{dead}"),
            format!(".fetch-partial-{dead}-a"),
        ];
        for name in left.iter().chain(&kept) {
            fs::create_dir(images.path().join(name)).unwrap();
            fs::write(images.path().join(name).join("kernel"), "x").unwrap();
        }
        // A process in another container is not to be seen from here; its lock is.
        let elsewhere = images.path().join(format!(".partial-{dead}-c"));
        fs::create_dir(&elsewhere).unwrap();
        let held = Partial::of(elsewhere.clone());
        sweep(images.path());
        assert!(left.iter().all(|name| !images.path().join(name).exists()));
        assert!(kept.iter().all(|name| images.path().join(name).exists()));
        assert!(elsewhere.exists());
        drop(held);
        assert!(!elsewhere.exists());
    }
}
