//! One artifact read from its first byte to its last, a piece at a time, for its checksum.
//!
//! The page cache is left as it was found: bytes that were not cached do not push out what
//! machines boot from. A file that is read [`ReadVia::Disk`] is dropped from the cache first, piece by
//! piece, so that a corrupt block is seen and not what the memory remembers of it.

use super::checksum;
use crate::boot::snapshot::FileStamp;
use crate::model::limits::VERIFY_PIECE_BYTES;
use nix::fcntl::{OFlag, PosixFadviseAdvice, posix_fadvise};
use rustix::io::{ReadWriteFlags, preadv2};
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::{self, IoSliceMut},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

/// Where the bytes are to come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadVia {
    /// From memory where they are there: quick, for a file that is new.
    Memory,
    /// From the disk, as far as the system lets go of what it remembers.
    Disk,
}

/// Opens a regular file for reading and nothing else: a FIFO would wait for a writer, a device may do
/// anything, and some never end. It is looked at before it is opened, and what was opened is looked at again.
///
/// # Errors
/// When it is missing, may not be read, or is no regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let other = || io::Error::other("it is not a regular file");
    if !path.metadata()?.is_file() {
        return Err(other());
    }
    let file = File::options()
        .read(true)
        .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits())
        .open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(other()),
    }
}

/// A file that is being read.
pub struct HashingReader {
    file: File,
    stamp: FileStamp,
    from: ReadVia,
    hasher: Sha256,
    done: u64,
    buffer: Vec<u8>,
}

impl HashingReader {
    /// Opens the file, which must be what `stamp` says.
    ///
    /// # Errors
    /// When it can't be opened, or is another.
    pub fn open(path: &Path, stamp: FileStamp, from: ReadVia) -> io::Result<HashingReader> {
        let file = open_regular(path)?;
        // The pieces are large enough; what the system read ahead would look as if it had been cached before.
        advise(&file, (0, 0), PosixFadviseAdvice::POSIX_FADV_RANDOM);
        let reading = HashingReader {
            file,
            stamp,
            from,
            hasher: Sha256::new(),
            done: 0,
            buffer: vec![0; VERIFY_PIECE_BYTES],
        };
        reading.unchanged()?;
        Ok(reading)
    }

    /// Bytes read so far.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// What the file was when it was opened.
    pub fn stamp(&self) -> FileStamp {
        self.stamp
    }

    /// Reads the next piece; its checksum when that was the last.
    ///
    /// # Errors
    /// When the disk fails, or when the file is another by now.
    pub fn step(&mut self) -> io::Result<Option<[u8; 32]>> {
        let left = self.stamp.length - self.done;
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(VERIFY_PIECE_BYTES);
        let read = self.read(length);
        // A file that was cut short says so here, and not by an odd error of the read.
        self.unchanged()?;
        read?;
        self.hasher.update(&self.buffer[..length]);
        self.done += length as u64;
        let is_whole = self.done == self.stamp.length;
        Ok(is_whole.then(|| self.hasher.finalize_reset().into()))
    }

    /// Fills the buffer's first `length` bytes.
    fn read(&mut self, length: usize) -> io::Result<()> {
        let piece = &mut self.buffer[..length];
        let range = (self.done, length);
        let flags = ReadWriteFlags::NOWAIT;
        let in_memory = preadv2(&self.file, &mut [IoSliceMut::new(piece)], self.done, flags);
        let was_held = in_memory.is_ok_and(|count| count == length);
        if was_held && self.from == ReadVia::Memory {
            return Ok(());
        }
        if self.from == ReadVia::Disk {
            advise(&self.file, range, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        }
        self.file.read_exact_at(piece, self.done)?;
        if !was_held {
            advise(&self.file, range, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        }
        Ok(())
    }

    fn unchanged(&self) -> io::Result<()> {
        match checksum::stamp(&self.file.metadata()?) == self.stamp {
            true => Ok(()),
            false => Err(io::Error::other("it changed since it was looked at; try again")),
        }
    }
}

/// The checksum of the whole file.
///
/// # Errors
/// When it can't be read, or is or becomes another than `stamp` says.
pub fn sum(path: &Path, stamp: FileStamp, from: ReadVia) -> io::Result<[u8; 32]> {
    let mut reading = HashingReader::open(path, stamp, from)?;
    loop {
        if let Some(sum) = reading.step()? {
            return Ok(sum);
        }
    }
}

/// Advice is what it is called: a file system that takes none is read all the same.
fn advise(file: &File, (offset, length): (u64, usize), advice: PosixFadviseAdvice) {
    let offset = i64::try_from(offset).unwrap_or(i64::MAX);
    let _ = posix_fadvise(file, offset, length as i64, advice);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::checksum::{hex, regular_beneath};
    use std::fs;

    #[test]
    fn a_checksum_is_the_one_everybody_computes() {
        let folder = tempfile::tempdir().unwrap();
        for (bytes, known) in [
            (
                &b"abc"[..],
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ] {
            fs::write(folder.path().join("file"), bytes).unwrap();
            let stamp = regular_beneath(folder.path(), "file").unwrap();
            for from in [ReadVia::Memory, ReadVia::Disk] {
                assert_eq!(
                    hex(&sum(&folder.path().join("file"), stamp, from).unwrap()).to_string(),
                    known
                );
            }
        }
    }

    #[test]
    fn a_file_of_many_pieces_is_read_whole_from_memory_and_from_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let bytes: Vec<u8> = (0..2 * VERIFY_PIECE_BYTES + 4097)
            .map(|n| (n * 7 + n / 251) as u8)
            .collect();
        fs::write(&path, &bytes).unwrap();
        let stamp = regular_beneath(folder.path(), "file").unwrap();
        let expected: [u8; 32] = Sha256::digest(&bytes).into();
        for from in [ReadVia::Memory, ReadVia::Disk, ReadVia::Memory] {
            assert_eq!(sum(&path, stamp, from).unwrap(), expected, "{from:?}");
        }
    }

    #[test]
    fn a_file_that_changes_while_it_is_read_has_no_checksum() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, vec![7; VERIFY_PIECE_BYTES + 1]).unwrap();
        let stamp = regular_beneath(folder.path(), "file").unwrap();
        let mut reading = HashingReader::open(&path, stamp, ReadVia::Memory).unwrap();
        assert_eq!(reading.step().unwrap(), None);
        fs::write(&path, "short").unwrap();
        assert!(reading.step().unwrap_err().to_string().contains("changed"));
        assert!(HashingReader::open(&path, stamp, ReadVia::Memory).is_err());
    }
}
