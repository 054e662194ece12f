//! A database that can't be read gives its place to another, which has what can be read of it; the broken one is kept
//! beside that.
//!
//! The other one is complete before it takes the place. So wherever this ends before its time (a kill, a full disk), the
//! next start finds the broken one where it was and does all of it again, or finds the complete other one.

use super::{
    CorruptStore, StoreError,
    database::{self, CreateMode, open_file},
    folder,
    records::birth,
    salvage::{RecordKind, Salvaged, salvage},
};
use redb::Database;
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// What the file that takes the broken one's place is called until it does.
const NEXT_EXTENSION: &str = "redb-next";

/// Replaces the broken file at `path`, and says what became of it; `reason` is what is wrong with it.
pub(super) fn replace(
    path: &Path,
    reason: String,
    kinds: &[RecordKind],
) -> Result<(Database, CorruptStore), StoreError> {
    let (next, salvaged) = write_next(path, kinds)?;
    let moved_to = keep_aside(path)?;
    put_in_place(&next, path)?;
    let database = open_file(path, CreateMode::Never)?;
    let corrupt = CorruptStore {
        moved_to,
        reason,
        salvaged,
    };
    Ok((database, corrupt))
}

/// Writes a complete database under another name, with what can be read of the broken one.
fn write_next(path: &Path, kinds: &[RecordKind]) -> Result<(PathBuf, Vec<Salvaged>), StoreError> {
    let next = path.with_extension(NEXT_EXTENSION);
    let failed = |error| StoreError::of_io(format!("the store {} can't be written", next.display()), error);
    // What the disk does not give back at all is lost, and no reason to serve no machine.
    let (writes, salvaged) = salvage(&fs::read(path).unwrap_or_default(), kinds);
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        // What a start before did not finish is gone.
        Ok(()) | Err(_) => {}
    }
    let database = open_file(&next, CreateMode::IfMissing)?;
    // Beneath the journal, which knows better.
    database::write(&database, writes.into_iter())
        .map_err(|error| database::failed(format!("the store {}", next.display()), error))?;
    drop(database);
    File::open(&next).and_then(|file| file.sync_all()).map_err(failed)?;
    Ok((next, salvaged))
}

/// Gives the broken file a name of its own. It keeps the one that it has until the other file takes it, where the file
/// system can do that.
fn keep_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let seconds = birth::now().0;
    let free = (0..)
        .map(|extra| path.with_extension(format!("redb.broken-{}", seconds + extra)))
        .find(|name| !name.exists());
    let moved_to = free.expect("the names are endless");
    fs::hard_link(path, &moved_to)
        .or_else(|_| fs::rename(path, &moved_to))
        .map_err(|error| {
            let what = format!("the broken store {} can't be moved aside", path.display());
            StoreError::of_io(what, error)
        })?;
    Ok(moved_to)
}

fn put_in_place(next: &Path, path: &Path) -> Result<(), StoreError> {
    fs::rename(next, path)
        .and_then(|()| folder::sync_name(path))
        .map_err(|error| StoreError::of_io(format!("the store {} can't be put in its place", next.display()), error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::{LeaseChange, LeaseRecord};
    use crate::model::{MacAddr, WallTime};
    use crate::store::{
        database::FILE,
        open,
        records::{KINDS, leases},
    };
    use std::net::Ipv4Addr;

    const LEASES: u8 = 50;

    /// The path of a database with leases, of which nothing but these can be read.
    fn broken_store(folder: &Path) -> PathBuf {
        let record = |last: u8| LeaseRecord {
            address: Ipv4Addr::new(192, 0, 2, last),
            client: MacAddr([0x52, 0x54, 0, 0, 0, last]).into(),
            expires: WallTime(1_800_000_000),
        };
        let writes: Vec<_> = (0..LEASES)
            .map(|last| leases::write(&LeaseChange::Put(record(last))))
            .collect();
        open(folder).unwrap().store.commit(&writes).unwrap();
        let path = folder.join(FILE);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, [&[0xee; 64], &bytes[64..]].concat()).unwrap();
        path
    }

    /// How many leases the next start knows, and how many of them it salvaged.
    fn known(folder: &Path) -> (usize, Option<usize>) {
        let opened = open(folder).unwrap();
        let salvaged = opened.corrupt.map(|corrupt| corrupt.salvaged[0].records);
        (leases::load(&*opened.store).unwrap().0.len(), salvaged)
    }

    #[test]
    fn a_replacement_that_was_killed_half_way_loses_no_lease() {
        let all = usize::from(LEASES);
        type ReplacementStep = fn(&Path, &Path) -> Result<(), StoreError>;
        let steps: [ReplacementStep; 4] = [
            |_, next| {
                fs::write(next, b"half of a file").unwrap();
                Ok(())
            },
            |path, _| write_next(path, KINDS).map(drop),
            |path, _| keep_aside(path).map(drop),
            |path, next| put_in_place(next, path),
        ];
        for killed_after in 0..=steps.len() {
            let folder = tempfile::tempdir().unwrap();
            let path = broken_store(folder.path());
            let next = path.with_extension(NEXT_EXTENSION);
            for step in &steps[..killed_after] {
                step(&path, &next).unwrap();
            }
            let is_done = killed_after == steps.len();
            let salvaged = (!is_done).then_some(all);
            assert_eq!(known(folder.path()), (all, salvaged), "after {killed_after} steps");
            assert_eq!(
                known(folder.path()),
                (all, None),
                "after {killed_after} steps, at the next start"
            );
            assert!(!next.exists(), "after {killed_after} steps");
        }
    }

    #[test]
    fn a_disk_without_room_for_another_database_leaves_the_broken_one_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = broken_store(folder.path());
        let broken = fs::read(&path).unwrap();
        // As far as the store can tell: it can't write that file.
        let next = path.with_extension(NEXT_EXTENSION);
        fs::create_dir_all(next.join("folder")).unwrap();
        assert!(open(folder.path()).is_err());
        assert!(fs::read(&path).unwrap() == broken, "it was moved");
        fs::remove_dir_all(&next).unwrap();
        assert_eq!(known(folder.path()), (usize::from(LEASES), Some(usize::from(LEASES))));
    }

    #[test]
    fn files_behind_links_are_replaced_where_they_are() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        broken_store(folder.path());
        let link = |name: &str| {
            let (here, there) = (folder.path().join(name), elsewhere.path().join(name));
            fs::rename(&here, &there).unwrap();
            std::os::unix::fs::symlink(there, here).unwrap();
        };
        ["bootwright.redb", "bootwright.journal"].into_iter().for_each(link);
        let all = usize::from(LEASES);
        assert_eq!(known(folder.path()), (all, Some(all)));
        assert_eq!(known(folder.path()), (all, None));
        for name in ["bootwright.redb", "bootwright.journal"] {
            assert!(folder.path().join(name).is_symlink(), "{name}");
        }
    }
}
