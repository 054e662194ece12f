//! Where an artifact's checksum comes from while a folder of images is judged.

use super::{
    checksum,
    reading::{HashingReader, ReadVia},
};
use crate::boot::{snapshot::FileStamp, verification::ChecksumRecord};
use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
};

/// Knows the checksums of files.
pub trait Sums {
    /// Whether there are images at all; else every one that is named is taken on trust.
    fn are_at_hand(&self) -> bool {
        true
    }

    /// What the artifact `file` of the image in `folder` is now.
    ///
    /// # Errors
    /// When there is no such file, or something that is none.
    fn stamp(&mut self, folder: &Path, file: &str) -> io::Result<FileStamp> {
        checksum::regular_beneath(folder, file)
    }

    /// The SHA-256 of the file at `path`, which is what `stamp` says; `None` where that is found out
    /// later.
    ///
    /// # Errors
    /// When the file can't be read, or changes while it is.
    fn sum(&mut self, path: &Path, stamp: FileStamp) -> io::Result<Option<[u8; 32]>>;
}

/// Reads nothing: the daemon must not wait for gigabytes, and verifies in the background.
pub struct Deferred;

impl Sums for Deferred {
    fn sum(&mut self, _: &Path, _: FileStamp) -> io::Result<Option<[u8; 32]>> {
        Ok(None)
    }
}

/// Looks at no image: an inventory is judged where its images are not.
pub struct NoImages;

impl Sums for NoImages {
    fn are_at_hand(&self) -> bool {
        false
    }

    fn stamp(&mut self, _: &Path, _: &str) -> io::Result<FileStamp> {
        Ok(FileStamp::default())
    }

    fn sum(&mut self, _: &Path, _: FileStamp) -> io::Result<Option<[u8; 32]>> {
        Ok(None)
    }
}

/// The checksums that a daemon has kept, by file.
#[derive(Default)]
pub struct KnownChecksums(HashMap<PathBuf, ChecksumRecord>);

impl KnownChecksums {
    /// Those of a store.
    pub fn of(records: Vec<ChecksumRecord>) -> KnownChecksums {
        KnownChecksums(
            records
                .into_iter()
                .map(|record| (record.path.clone(), record))
                .collect(),
        )
    }

    /// What is known of a file that is what `stamp` says.
    pub fn of_file(&self, path: &Path, stamp: FileStamp) -> Option<&ChecksumRecord> {
        self.0.get(path).filter(|record| record.stamp == stamp)
    }
}

/// Reads files to their end; a file that a daemon has read since it changed last is not read again.
pub struct Hashing<P> {
    /// What needs no reading.
    pub kept: KnownChecksums,
    /// Where the bytes come from.
    pub from: ReadVia,
    /// Is told of each file how many bytes have been read, and of how many.
    pub progress: P,
}

impl Hashing<fn(&Path, u64, u64)> {
    /// Reads every file, without progress.
    pub fn silent() -> Self {
        Hashing {
            kept: KnownChecksums::default(),
            from: ReadVia::Memory,
            progress: |_, _, _| {},
        }
    }
}

impl<P: FnMut(&Path, u64, u64)> Sums for Hashing<P> {
    fn sum(&mut self, path: &Path, stamp: FileStamp) -> io::Result<Option<[u8; 32]>> {
        if let Some(known) = self.kept.of_file(path, stamp) {
            return Ok(Some(known.sha256));
        }
        let mut reading = HashingReader::open(path, stamp, self.from)?;
        loop {
            let sum = reading.step()?;
            (self.progress)(path, reading.done(), stamp.length);
            if sum.is_some() {
                return Ok(sum);
            }
        }
    }
}
