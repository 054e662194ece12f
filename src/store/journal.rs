//! The journal in front of the database: what was committed last, in the order of the commits.
//!
//! A commit of redb writes every page that it touches; one here is a single append and a sync, so that
//! leases cost little while machines boot. What the journal holds moves to the database many commits at
//! a time. Layout, numbers big-endian, one frame a commit:
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | `BWJ1`: the version, and what finds a frame behind corrupt bytes |
//! | 4..8 | length of the body |
//! | 8..16 | the first 8 bytes of SHA-256 over the body |
//! | 16.. | the body: each write's kind (0 delete, 1 put), key length (2 bytes), value length (4 bytes), key, value |
//!
//! The file has a frame at any time: an empty one where there is nothing to say. So one of no bytes lost
//! what it had. It is never cut down to that: another file takes its place, whole.
//!
//! A process that is killed, or a power cut, leaves at most the last frame unfinished, which was not acknowledged: it
//! is cut off when the file is opened, so that it never stands in the middle. Rubble anywhere else is the disk's. It
//! costs nothing but itself: the frames behind it are found, and the records in it are salvaged.

use super::{
    Write,
    folder::{FILE_MODE, sync_name},
    records::codec::{SUM_BYTES, checksum},
    salvage::{RecordKind, salvage},
};
use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

const MAGIC: &[u8; 4] = b"BWJ1";
const HEADER_BYTES: usize = 8 + SUM_BYTES;
const WRITE_HEADER_BYTES: usize = 7;
const DELETE: u8 = 0;
const PUT: u8 = 1;
/// What the file that takes the journal's place is called until it does.
const NEXT_EXTENSION: &str = "journal-next";
/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// The open file.
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    /// Where the next frame goes.
    end: u64,
    /// Something of a frame that failed may stand behind the end.
    is_torn: bool,
    /// The file took another's place, and a power cut may still bring that one back.
    is_unnamed: bool,
}

/// What a journal held when it was opened.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Replayed {
    /// Every write, the later ones last.
    pub writes: Vec<Write>,
    /// Corrupt bytes that an interrupted append can't explain: the disk changed or lost them.
    pub corrupt_bytes: usize,
    /// Bytes of an append at the end that was interrupted: a crash's or a power cut's.
    pub torn_bytes: usize,
    /// How the file was found.
    pub found: JournalState,
}

/// How a journal's file was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum JournalState {
    /// There was none.
    #[default]
    Missing,
    /// It had no byte.
    Empty,
    /// It had some.
    Written,
}

impl Journal {
    /// Opens or makes the file at `path`; records of these `kinds` are looked for in corrupt bytes.
    pub(super) fn open(path: &Path, kinds: &[RecordKind]) -> io::Result<(Journal, Replayed)> {
        let is_new = !path.exists();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(path)?;
        if is_new {
            sync_name(path)?;
        }
        let bytes = std::fs::read(path)?;
        let found = match bytes.len() {
            0 if is_new => JournalState::Missing,
            0 => JournalState::Empty,
            _ => JournalState::Written,
        };
        let replayed = Replayed {
            found,
            ..replay(&bytes, kinds)
        };
        let (whole, torn) = bytes.split_at(bytes.len() - replayed.torn_bytes);
        let mut journal = Journal {
            path: path.to_owned(),
            file,
            end: u64::try_from(whole.len()).unwrap_or(u64::MAX),
            // The next append cuts it off.
            is_torn: !torn.is_empty(),
            is_unnamed: false,
        };
        // A full disk must not keep the daemon from starting: what fails here is tried again by the next append.
        if whole.is_empty() && !torn.is_empty() {
            let _ = journal.clear();
        }
        let (salvaged, _) = salvage(torn, kinds);
        if !salvaged.is_empty() {
            let _ = journal.append(&salvaged);
        }
        Ok((journal, replayed))
    }

    /// Its file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file itself.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Bytes in the file.
    pub(super) fn bytes(&self) -> u64 {
        self.end
    }

    /// Appends one commit, durably.
    ///
    /// A frame that failed was not acknowledged, and is cut off before the next one is written: a
    /// shorter one would leave its tail behind, and the records in it would be taken for the newest.
    pub(super) fn append(&mut self, writes: &[Write]) -> io::Result<()> {
        let frame = frame(writes)?;
        if self.is_unnamed {
            sync_name(&self.path)?;
            self.is_unnamed = false;
        }
        if self.is_torn {
            self.file.set_len(self.end)?;
        }
        self.is_torn = true;
        self.file.write_all_at(&frame, self.end)?;
        self.file.sync_data()?;
        self.is_torn = false;
        self.end += frame.len() as u64;
        Ok(())
    }

    /// Forgets everything, durably: the database has it.
    ///
    /// At no moment is there a journal without a byte, which would be taken for a loss, nor a part of one, in
    /// which a lease may stand that a later commit ended.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.begin_anew(|_| Ok(Vec::new()))
    }

    /// The same, and what the file that takes the place is to begin with.
    pub(super) fn begin_anew(&mut self, first: impl FnOnce(&File) -> io::Result<Vec<Write>>) -> io::Result<()> {
        let next = self.path.with_extension(NEXT_EXTENSION);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(FILE_MODE)
            .open(&next)?;
        let frame = frame(&first(&file)?)?;
        file.write_all_at(&frame, 0)?;
        file.sync_all()?;
        std::fs::rename(&next, &self.path)?;
        (self.file, self.end) = (file, frame.len() as u64);
        (self.is_torn, self.is_unnamed) = (false, true);
        sync_name(&self.path)?;
        self.is_unnamed = false;
        Ok(())
    }
}

fn frame(writes: &[Write]) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; HEADER_BYTES];
    let too_long = |_| io::Error::new(io::ErrorKind::InvalidInput, "a commit is too long for the journal");
    for write in writes {
        let (kind, key, value): (u8, &[u8], &[u8]) = match write {
            Write::Put { key, value } => (PUT, key, value),
            Write::Delete { key } => (DELETE, key, &[]),
        };
        frame.push(kind);
        frame.extend_from_slice(&u16::try_from(key.len()).map_err(too_long)?.to_be_bytes());
        frame.extend_from_slice(&u32::try_from(value.len()).map_err(too_long)?.to_be_bytes());
        frame.extend_from_slice(key);
        frame.extend_from_slice(value);
    }
    let length = u32::try_from(frame.len() - HEADER_BYTES).map_err(too_long)?;
    let sum = checksum(&frame[HEADER_BYTES..]);
    frame[..4].copy_from_slice(MAGIC);
    frame[4..8].copy_from_slice(&length.to_be_bytes());
    frame[8..HEADER_BYTES].copy_from_slice(&sum);
    Ok(frame)
}

/// Every write that can be read, frame by frame; between sound frames, and behind the last, single
/// records.
fn replay(bytes: &[u8], kinds: &[RecordKind]) -> Replayed {
    let mut replayed = Replayed::default();
    let (mut at, mut sound_end) = (0, 0);
    while at < bytes.len() {
        let Some((body, after)) = sound_frame(&bytes[at..]) else {
            at += 1;
            continue;
        };
        replayed.corrupt_bytes += at - sound_end;
        replayed.salvage(&bytes[sound_end..at], kinds);
        replayed.take(body);
        at += after;
        sound_end = at;
    }
    let tail = &bytes[sound_end..];
    match is_interrupted(tail, sound_end) {
        true => replayed.torn_bytes = tail.len(),
        false => replayed.corrupt_bytes += tail.len(),
    }
    replayed.salvage(tail, kinds);
    replayed
}

/// Whether what stands behind the last sound frame, from `start` of the file on, is what an append leaves that was
/// interrupted: one frame, of which the end is missing, or sectors that never reached the disk and read as zeros.
fn is_interrupted(tail: &[u8], start: usize) -> bool {
    let to_sector = (SECTOR_BYTES - start % SECTOR_BYTES).min(tail.len());
    let (first, others) = tail.split_at(to_sector);
    let mut sectors = std::iter::once(first).chain(others.chunks(SECTOR_BYTES));
    let is_unwritten = |sector: &[u8]| sector.iter().all(|byte| *byte == 0);
    if is_unwritten(first) {
        return true;
    }
    let magic = tail.len().min(MAGIC.len());
    if tail[..magic] != MAGIC[..magic] {
        return false;
    }
    // Without a length it is cut off in its head.
    let missing = frame_bytes(tail).map(|bytes| bytes.checked_sub(tail.len()));
    match missing {
        None | Some(Some(1..)) => true,
        Some(Some(0)) => sectors.any(is_unwritten),
        // Something stands behind it: it was written whole once.
        Some(None) => false,
    }
}

/// Bytes of the frame that `bytes` begins with, as its head says.
fn frame_bytes(bytes: &[u8]) -> Option<usize> {
    let header: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
    let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    HEADER_BYTES.checked_add(usize::try_from(length).ok()?)
}

impl Replayed {
    /// A crash and a disk that rots leave different traces, and only one of them is a reason to look at the disk.
    pub(super) fn say_what_is_wrong(&self, path: &Path) {
        let Replayed {
            corrupt_bytes,
            torn_bytes,
            ..
        } = *self;
        if corrupt_bytes > 0 {
            tracing::error!(
                "journal {} corrupt: skipped {corrupt_bytes} bytes, which the disk lost after they were written. Leases that \
                 could still be read are recovered; addresses of others may be given out twice",
                path.display()
            );
        }
        if torn_bytes > 0 {
            tracing::info!(
                "the last write to the journal {} was interrupted, by a kill or a power cut: its {torn_bytes} bytes are cut \
                 off. No machine was told of what they would have recorded, and nothing is lost",
                path.display()
            );
        }
    }

    fn salvage(&mut self, corrupt: &[u8], kinds: &[RecordKind]) {
        self.writes.extend(salvage(corrupt, kinds).0);
    }

    fn take(&mut self, mut body: &[u8]) {
        while let Some((write, rest)) = read_write(body) {
            self.writes.push(write);
            body = rest;
        }
    }
}

/// The body of the frame that `bytes` begins with, and the frame's length; `None` where none does.
fn sound_frame(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let header: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
    if !header.starts_with(MAGIC) {
        return None;
    }
    let end = frame_bytes(bytes)?;
    let body = bytes.get(HEADER_BYTES..end)?;
    (checksum(body) == header[8..]).then_some((body, end))
}

fn read_write(body: &[u8]) -> Option<(Write, &[u8])> {
    let header: &[u8; WRITE_HEADER_BYTES] = body.first_chunk()?;
    let key_bytes = usize::from(u16::from_be_bytes([header[1], header[2]]));
    let value_bytes = u32::from_be_bytes([header[3], header[4], header[5], header[6]]);
    let (key, rest) = body[WRITE_HEADER_BYTES..].split_at_checked(key_bytes)?;
    let (value, rest) = rest.split_at_checked(usize::try_from(value_bytes).ok()?)?;
    let key = key.to_vec();
    let write = match header[0] {
        DELETE => Write::Delete { key },
        PUT => Write::Put {
            key,
            value: value.to_vec(),
        },
        _ => return None,
    };
    Some((write, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::{LeaseChange, LeaseRecord};
    use crate::model::{MacAddr, WallTime};
    use crate::store::records::{KINDS, leases};
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn lease(last: u8) -> Write {
        leases::write(&LeaseChange::Put(LeaseRecord {
            address: Ipv4Addr::new(192, 0, 2, last),
            client: MacAddr([2, 0, 0, 0, 0, last]).into(),
            expires: WallTime(1_700_000_000),
        }))
    }

    fn gone(last: u8) -> Write {
        leases::write(&LeaseChange::Remove(Ipv4Addr::new(192, 0, 2, last)))
    }

    fn file(commits: &[Vec<Write>]) -> Vec<u8> {
        let frames: Vec<Vec<u8>> = commits.iter().map(|writes| frame(writes).unwrap()).collect();
        frames.concat()
    }

    #[test]
    fn what_was_appended_is_replayed_in_order_until_it_is_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut journal, replayed) = Journal::open(&path, KINDS).unwrap();
        assert_eq!(replayed, Replayed::default());
        assert_eq!(Journal::open(&path, KINDS).unwrap().1.found, JournalState::Empty);
        journal.append(&[lease(1), lease(2)]).unwrap();
        journal.append(&[gone(1)]).unwrap();
        let (mut journal, replayed) = Journal::open(&path, KINDS).unwrap();
        assert_eq!(replayed.writes, [lease(1), lease(2), gone(1)]);
        journal.clear().unwrap();
        let (_, cleared) = Journal::open(&path, KINDS).unwrap();
        assert_eq!((cleared.writes, cleared.found), (vec![], JournalState::Written));
        journal.append(&[lease(3)]).unwrap();
        assert_eq!(Journal::open(&path, KINDS).unwrap().1.writes, [lease(3)]);
    }

    #[test]
    fn a_journal_that_is_cleared_is_whole_at_every_moment() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bootwright.journal");
        let (mut journal, _) = Journal::open(&path, KINDS).unwrap();
        journal.append(&[lease(1), gone(1)]).unwrap();
        // As a process leaves it that was killed while it cleared.
        std::fs::write(path.with_extension(NEXT_EXTENSION), [7; 4096]).unwrap();
        let before = File::open(&path).unwrap();
        journal.clear().unwrap();
        // What a power cut may bring back is all that there was.
        let mut bytes = vec![0; before.metadata().unwrap().len().try_into().unwrap()];
        before.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(replay(&bytes, KINDS).writes, [lease(1), gone(1)]);
        let (_, replayed) = Journal::open(&path, KINDS).unwrap();
        let found = JournalState::Written;
        assert_eq!(
            replayed,
            Replayed {
                found,
                ..Replayed::default()
            }
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn nothing_of_a_frame_that_failed_stands_behind_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let (mut journal, _) = Journal::open(&path, KINDS).unwrap();
        journal.append(&[lease(1)]).unwrap();
        // As after a write that the disk took and then refused to sync.
        let failed = frame(&[lease(2), lease(3), lease(4)]).unwrap();
        journal.file.write_all_at(&failed, journal.end).unwrap();
        journal.is_torn = true;
        journal.append(&[gone(1)]).unwrap();
        assert_eq!(Journal::open(&path, KINDS).unwrap().1.writes, [lease(1), gone(1)]);
    }

    #[test]
    fn an_append_that_was_interrupted_is_cut_off_and_is_no_rot_at_any_later_start() {
        let commits = [vec![lease(1)], vec![lease(2)]];
        let first = frame(&commits[0]).unwrap();
        let bytes = file(&commits);
        for cut in first.len()..bytes.len() {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("journal");
            std::fs::write(&path, &bytes[..cut]).unwrap();
            let (mut journal, replayed) = Journal::open(&path, KINDS).unwrap();
            let told = (replayed.torn_bytes, replayed.corrupt_bytes);
            assert_eq!(told, (cut - first.len(), 0), "cut at {cut}");
            journal.append(&[gone(1)]).unwrap();
            let (_, replayed) = Journal::open(&path, KINDS).unwrap();
            assert_eq!((replayed.torn_bytes, replayed.corrupt_bytes), (0, 0), "cut at {cut}");
            assert_eq!(replayed.writes.last(), Some(&gone(1)), "cut at {cut}");
        }
    }

    #[test]
    fn sectors_that_a_power_cut_left_unwritten_are_an_interrupted_append() {
        let first = file(&[vec![lease(1)]]);
        let long: Vec<Write> = (0..40).map(lease).collect();
        let bytes = file(&[vec![lease(1)], long]);
        let told = |bytes: &[u8]| {
            let replayed = replay(bytes, KINDS);
            (replayed.torn_bytes, replayed.corrupt_bytes)
        };
        let torn = bytes.len() - first.len();
        // Its beginning, the one in the middle, and all from there on.
        for unwritten in [
            first.len()..SECTOR_BYTES,
            1024..1536,
            1024..bytes.len(),
            first.len()..bytes.len(),
        ] {
            let mut left = bytes.clone();
            left[unwritten.clone()].fill(0);
            assert_eq!(told(&left), (torn, 0), "{unwritten:?}");
        }
        // What an append does not leave: a bit, a head, and a frame that another stands behind.
        for (place, mask) in [(1100, 1), (first.len(), 1), (first.len() + 6, 0xff)] {
            let mut corrupt = bytes.clone();
            corrupt[place] ^= mask;
            let behind = [&corrupt[..], &first].concat();
            assert_eq!(told(&behind), (0, torn), "byte {place}");
        }
        let mut corrupt = bytes.clone();
        corrupt[1100] ^= 1;
        assert_eq!(told(&corrupt), (0, torn));
        assert_eq!(told(&[&corrupt[..], &first[..first.len() - 1]].concat()).0, 0);
    }

    #[test]
    fn a_journal_whose_first_append_was_interrupted_has_a_byte_at_any_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bootwright.journal");
        std::fs::write(&path, &frame(&[]).unwrap()[..9]).unwrap();
        let (_, replayed) = Journal::open(&path, KINDS).unwrap();
        assert_eq!((replayed.torn_bytes, replayed.found), (9, JournalState::Written));
        assert_eq!(std::fs::read(&path).unwrap(), frame(&[]).unwrap());
    }

    #[test]
    fn a_journal_cut_anywhere_keeps_every_whole_commit() {
        let commits = [vec![lease(1), gone(2)], vec![lease(3)], vec![gone(1)]];
        let bytes = file(&commits);
        let mut ends = vec![0];
        for commit in &commits {
            ends.push(ends[ends.len() - 1] + frame(commit).unwrap().len());
        }
        for cut in 0..=bytes.len() {
            let replayed = replay(&bytes[..cut], KINDS);
            let whole = ends.iter().filter(|end| (1..=cut).contains(*end)).count();
            let kept = commits[..whole].concat();
            assert_eq!(replayed.writes[..kept.len()], kept, "cut at {cut}");
            assert_eq!(replayed.corrupt_bytes, 0, "cut at {cut}");
        }
    }

    #[test]
    fn a_corrupt_frame_costs_its_corrupt_records_and_nothing_behind_it() {
        let commits = [vec![lease(1)], vec![lease(2), lease(3)], vec![lease(4)]];
        let mut bytes = file(&commits);
        let (first, second) = (frame(&commits[0]).unwrap().len(), frame(&commits[1]).unwrap().len());
        // The last byte of the second frame is the checksum of lease 3.
        bytes[first + second - 1] ^= 1;
        let replayed = replay(&bytes, KINDS);
        assert_eq!(replayed.writes, [lease(1), lease(2), lease(4)]);
        assert_eq!(replayed.corrupt_bytes, second);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_replay_panic(bytes: Vec<u8>, length in 0..200_u32) {
            replay(&bytes, KINDS);
            replay(&[&MAGIC[..], &length.to_be_bytes(), &checksum(&bytes), &bytes].concat(), KINDS);
        }
    }
}
