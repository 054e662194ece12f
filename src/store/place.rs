//! Where a store's files stand, as the file system tells them from copies of them.
//!
//! A copy of the state folder that is put back later says of itself all that the store said then: a host that was
//! armed is armed in it, though it has been installed since. What no copy takes along is which file it is: its inode,
//! and when that was made. So a journal begins with those of its own file and of the database's, and a store whose
//! files are others than its journal says was put back from a copy, or was moved by one. A journal gives its place
//! to another file at each start, and when the daemon ends in order in which something was written, so bytes that are
//! copied into the files that are there are found as well.
//!
//! Where a file system numbers its files anew whenever it is mounted, as some of FUSE do, each start after that finds a
//! copy, and nobody is armed by it.
//!
//! What stays the same in a copy is not seen: a snapshot of the whole file system or the whole machine that is put back, and
//! files of the same run that are overwritten in place after a crash, before the next start.
//!
//! The frame's write: key `place`, value 44 bytes, numbers big-endian. It is the journal's alone, and never in the database.
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | `BWP1`: the version |
//! | 4..24 | the journal: its inode (8), and when that was made: seconds since 1970-01-01 UTC (8) and nanoseconds (4), zeros where the file system does not say |
//! | 24..44 | the same of the database |

use super::Write;
use std::{
    fs::{self, File, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
    time::UNIX_EPOCH,
};

const KEY: &[u8] = b"place";
const MAGIC: &[u8; 4] = b"BWP1";
/// Bytes by which a file is known, and how many of them are its inode.
const IDENTITY_BYTES: usize = 20;
const INODE_BYTES: usize = 8;

/// The write that says where a journal and its database stand.
pub(super) fn write(journal: &File, database: &Path) -> io::Result<Write> {
    let files = [journal.metadata()?, fs::metadata(database)?];
    let identities = files.iter().flat_map(identity);
    Ok(Write::Put {
        key: KEY.to_vec(),
        value: MAGIC.iter().copied().chain(identities).collect(),
    })
}

/// What a journal says of its place last, which is taken out of what it holds; `None` where it says nothing that can
/// be read: it was written by a version before this, or is new.
pub(super) fn take(writes: &mut Vec<Write>) -> Option<Write> {
    let said = writes.iter().rfind(|write| write.key() == KEY).cloned();
    writes.retain(|write| write.key() != KEY);
    said.filter(|said| matches!(said, Write::Put { value, .. } if value.starts_with(MAGIC)))
}

/// Whether two such writes speak of the same files. When a file was made may be known to one kernel and not to the
/// next, or not where a container may not ask: where one of the two does not say it, the inode alone counts.
pub(super) fn is_same(said: &Write, here: &Write) -> bool {
    let (Write::Put { value: said, .. }, Write::Put { value: here, .. }) = (said, here) else {
        return false;
    };
    let (said, here) = (said.get(MAGIC.len()..), here.get(MAGIC.len()..));
    let (said, here) = (said.unwrap_or_default(), here.unwrap_or_default());
    let is_unsaid = |identity: &[u8]| identity.iter().skip(INODE_BYTES).all(|byte| *byte == 0);
    let is_one_file = |(said, here): (&[u8], &[u8])| {
        let is_one_inode = said.iter().take(INODE_BYTES).eq(here.iter().take(INODE_BYTES));
        said == here || (is_one_inode && (is_unsaid(said) || is_unsaid(here)))
    };
    let mut files = said.chunks(IDENTITY_BYTES).zip(here.chunks(IDENTITY_BYTES));
    said.len() == here.len() && files.all(is_one_file)
}

fn identity(file: &Metadata) -> [u8; IDENTITY_BYTES] {
    let made = file
        .created()
        .ok()
        .and_then(|made| made.duration_since(UNIX_EPOCH).ok());
    let made = made.unwrap_or_default();
    let mut bytes = [0; IDENTITY_BYTES];
    bytes[..INODE_BYTES].copy_from_slice(&file.ino().to_be_bytes());
    bytes[INODE_BYTES..16].copy_from_slice(&made.as_secs().to_be_bytes());
    bytes[16..].copy_from_slice(&made.subsec_nanos().to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::arming::{ArmingChange, Fingerprint, HostRecord, HostState};
    use crate::model::{By, WallTime};
    use crate::store::{
        OpenedStore, open,
        records::{arming, birth::Birth},
    };
    use std::{process::Command, sync::Arc};

    /// A store in which a host was armed, or disarmed, and the birth that it has; it was ended in order.
    fn note(folder: &Path, state: HostState) -> Birth {
        let OpenedStore { store, birth, .. } = open(folder).unwrap();
        store.commit(&[of_host(state, birth)]).unwrap();
        birth
    }

    /// The write by which a host stands so.
    fn of_host(state: HostState, birth: Birth) -> crate::store::Write {
        let record = HostRecord {
            name: "r1u07".parse().unwrap(),
            machine: Fingerprint(7),
            state,
            since: WallTime(1),
            by: By::Inventory,
        };
        let change = ArmingChange::Put {
            record: Arc::new(record),
            news: None,
        };
        arming::write(&change, birth.epoch)
    }

    /// How many hosts are armed after a start, and whether that says that the store is a copy.
    fn started(folder: &Path) -> (usize, bool) {
        let OpenedStore {
            store, birth, is_copy, ..
        } = open(folder).unwrap();
        let (records, _) = arming::load(&*store, birth.epoch).unwrap();
        (records.iter().filter(|record| record.state.is_open()).count(), is_copy)
    }

    fn run(program: &str, arguments: &[&str], folder: &Path) {
        let status = Command::new(program).args(arguments).current_dir(folder).status();
        assert!(status.unwrap().success(), "{program} {arguments:?}");
    }

    const ARMED: HostState = HostState::Armed {
        until: WallTime(u64::MAX),
    };

    /// How people put a copy in `backup` back in the place of `state`.
    const WAYS: [(&str, &[&str]); 4] = [
        ("a new folder", &["-c", "rm -r state && cp -a backup state"]),
        ("tar", &["-c", "tar -C backup -c . | tar -C state -x"]),
        ("into the files that are there", &["-c", "cp -a backup/. state/"]),
        (
            "the two files",
            &["-c", "rm state/bootwright.*; cp backup/bootwright.* state/"],
        ),
    ];

    #[test]
    fn a_copy_that_is_put_back_arms_nobody_and_says_once_that_it_is_one() {
        for (way, command) in WAYS {
            let room = tempfile::tempdir().unwrap();
            let state = room.path().join("state");
            note(&state, ARMED);
            assert_eq!(started(&state), (1, false), "{way}: it is armed still after a restart");
            run("cp", &["-a", "state", "backup"], room.path());
            note(&state, HostState::Local);
            assert_eq!(started(&state), (0, false), "{way}: its install is done");
            run("sh", command, room.path());
            assert_eq!(started(&state), (0, true), "{way}: put back");
            assert_eq!(started(&state), (0, false), "{way}: said once");
            note(&state, ARMED);
            assert_eq!(started(&state), (1, false), "{way}: armed anew");
        }
    }

    #[test]
    fn a_file_whose_making_one_kernel_tells_and_another_does_not_is_the_same_by_its_inode() {
        let place = |files: [(u64, u64); 2]| {
            let identity = |(inode, made): (u64, u64)| {
                let parts = [&inode.to_be_bytes()[..], &made.to_be_bytes(), &[0; 4]];
                parts.concat()
            };
            let identities = files.map(identity).concat();
            Write::Put {
                key: KEY.to_vec(),
                value: [&MAGIC[..], &identities].concat(),
            }
        };
        let known = place([(7, 100), (8, 100)]);
        for (here, same) in [
            ([(7, 100), (8, 100)], true),
            ([(7, 0), (8, 0)], true),
            ([(7, 0), (8, 100)], true),
            ([(7, 101), (8, 100)], false),
            ([(9, 100), (8, 100)], false),
            ([(7, 0), (9, 0)], false),
        ] {
            let here = place(here);
            assert_eq!(
                (is_same(&known, &here), is_same(&here, &known)),
                (same, same),
                "{here:?}"
            );
        }
        let delete = Write::Delete { key: KEY.to_vec() };
        assert!(!is_same(&known, &delete));
    }

    #[test]
    fn what_people_do_with_a_folder_makes_no_copy_of_it() {
        let room = tempfile::tempdir().unwrap();
        let state = room.path().join("state");
        let born = note(&state, ARMED);
        for command in [
            "chmod -R go+r state",
            "chown -R $(id -u) state && touch state/*",
            "mv state elsewhere && mv elsewhere state",
            "cp -a state backup",
            "rm state/lock",
            "mv state real && ln -s real state",
        ] {
            run("sh", &["-c", command], room.path());
            assert_eq!(started(&state), (1, false), "{command}");
        }
        assert_eq!(open(&state).unwrap().birth.epoch, born.epoch);
    }

    #[test]
    fn a_store_that_ends_by_a_kill_is_no_copy_and_one_of_before_is_taken_as_it_is() {
        let room = tempfile::tempdir().unwrap();
        let state = room.path().join("state");
        note(&state, ARMED);
        // As a kill leaves it: the journal is the file that it was.
        let journal = state.join("bootwright.journal");
        let OpenedStore { store, birth, .. } = open(&state).unwrap();
        store.commit(&[]).unwrap();
        fs::hard_link(&journal, room.path().join("killed")).unwrap();
        drop(store);
        fs::rename(room.path().join("killed"), &journal).unwrap();
        let again = open(&state).unwrap();
        assert!(!again.is_copy && again.birth.epoch == birth.epoch);
        drop(again);
        // A version before this left a journal with an empty frame.
        let empty = [&b"BWJ1\0\0\0\0"[..], &crate::store::records::codec::checksum(b"")].concat();
        fs::write(&journal, empty).unwrap();
        assert_eq!(started(&state), (1, false));
    }

    #[test]
    fn what_is_copied_into_the_files_that_are_there_is_a_copy_though_no_process_since_ended_in_order() {
        let room = tempfile::tempdir().unwrap();
        let state = room.path().join("state");
        let journal = state.join("bootwright.journal");
        note(&state, ARMED);
        run("cp", &["-a", "state", "backup"], room.path());
        // Its install is done, and then the process is killed: the journal is the file that it was.
        let OpenedStore { store, birth, .. } = open(&state).unwrap();
        store.commit(&[of_host(HostState::Local, birth)]).unwrap();
        let killed = room.path().join("killed");
        fs::hard_link(&journal, &killed).unwrap();
        drop(store);
        fs::rename(&killed, &journal).unwrap();
        run("cp", &["-a", "backup/.", "state/"], room.path());
        assert_eq!(started(&state), (0, true), "put back");
        assert_eq!(started(&state), (0, false), "said once");
    }
}
