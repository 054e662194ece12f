//! The store's folder: its modes, and the lock that keeps a second daemon out.

use super::StoreError;
use crate::model::limits::{STORE_LOCK_POLL_INTERVAL, STORE_LOCK_TIMEOUT};
use std::{
    fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::{ErrorKind, Read, Seek, Write as _},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    thread::sleep,
    time::Instant,
};

/// Leases say which machine was where and when: the group may read them, others may not.
const FOLDER_MODE: u32 = 0o750;
pub(super) const FILE_MODE: u32 = 0o640;
const LOCK_FILE: &str = "lock";

/// Makes the folder if it is missing and takes away what others could do in it.
pub(super) fn make(folder: &Path) -> Result<(), StoreError> {
    let refused = |error: std::io::Error| {
        StoreError::of_io(
            format!("the state folder {} can't be made or used", folder.display()),
            error,
        )
        .with_next_step(format!(
            "make it with `install -d -m 0750 -o bootwright -g bootwright {}`, or name another as `path` under [state]",
            folder.display()
        ))
    };
    DirBuilder::new()
        .recursive(true)
        .mode(FOLDER_MODE)
        .create(folder)
        .map_err(refused)?;
    let mode = folder.metadata().map_err(refused)?.permissions().mode();
    if mode & 0o027 != 0 {
        std::fs::set_permissions(folder, Permissions::from_mode(FOLDER_MODE)).map_err(refused)?;
    }
    Ok(())
}

/// The file that a name in the folder stands for: where that is a link, another file takes the place of the one behind
/// it, and not the link's.
pub(super) fn resolved(path: PathBuf) -> PathBuf {
    let Ok(target) = path.read_link() else {
        return path;
    };
    // Behind a link to nothing there is a file once it is written.
    let behind = || path.parent().unwrap_or(Path::new("")).join(target);
    path.canonicalize().unwrap_or_else(|_| behind())
}

/// Makes a file's name outlive a power cut as its content does.
pub(super) fn sync_name(path: &Path) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Takes the folder for this process. The lock goes with the process however it ends, and its file
/// says who holds it.
pub(super) fn lock(folder: &Path) -> Result<File, StoreError> {
    let path = folder.join(LOCK_FILE);
    let failed = |error: std::io::Error| {
        let is_forbidden = error.kind() == ErrorKind::PermissionDenied;
        let error = StoreError::of_io(format!("the lock {} can't be taken", path.display()), error);
        match is_forbidden {
            true => error.with_next_step("start it as root or by systemd, or as the user whose folder it is"),
            // Anything else the system says speaks for itself.
            false => error,
        }
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .open(&path)
        .map_err(failed)?;
    match in_time(&file) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(StoreError::unavailable(held_by(folder, &mut file))),
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    // Whose it is helps people only; a full disk must not keep the daemon from starting.
    let _ = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

/// Takes the lock, for which a moment is waited: a process that was killed while it began another one holds it until
/// that one is its own program.
fn in_time(file: &File) -> Result<(), TryLockError> {
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if begun.elapsed() < STORE_LOCK_TIMEOUT => sleep(STORE_LOCK_POLL_INTERVAL),
            locked => return locked,
        }
    }
}

fn held_by(folder: &Path, lock: &mut File) -> String {
    let mut pid = String::new();
    let pid = match lock.read_to_string(&mut pid) {
        Ok(_) if pid.trim().parse::<u32>().is_ok() => format!("process {}", pid.trim()),
        Ok(_) | Err(_) => "another process".to_owned(),
    };
    format!(
        "the state folder {} is held by {pid}: another bootwright runs here; stop it, or give this one a [state] path of its own",
        folder.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_lock_that_is_let_go_of_in_a_moment_is_waited_for_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let held = lock(folder.path()).unwrap();
        let refused = lock(folder.path()).unwrap_err().to_string();
        assert!(refused.contains("held by process"), "{refused}");
        let letting_go = std::thread::spawn(move || {
            sleep(Duration::from_millis(200));
            drop(held);
        });
        lock(folder.path()).unwrap();
        letting_go.join().unwrap();
    }
}
