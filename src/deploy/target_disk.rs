//! The disk that is written to: opened so that nobody else has it, past the kernel's cache.
//!
//! O_DIRECT, because what is read back must come from the disk, and an image that passes through the page cache takes
//! the machine's memory and a copy of each byte. A file system without it (tmpfs of old kernels; tests) is written
//! through the cache, which is dropped before anything is read back.

use super::{
    blocks::{ALIGNMENT, AlignedBuffer},
    disks::FoundDisk,
    failure::DeployFailure,
};
use nix::{
    errno::Errno,
    fcntl::{FallocateFlags, OFlag, PosixFadviseAdvice, fallocate, posix_fadvise},
};
use std::{
    fs::{File, OpenOptions},
    io::{self, Seek, SeekFrom},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

/// A disk that is ours for as long as it is open.
pub(super) struct TargetDisk {
    file: File,
    /// Bytes of it.
    pub(super) bytes: u64,
    /// Bytes of a sector: a multiple of that is written and read.
    pub(super) sector: u32,
    is_direct: bool,
    /// It makes zeros by itself, as far as is known.
    makes_zeros: AtomicBool,
    zeros: AlignedBuffer,
}

/// Zeros that are written at a time.
const ZEROS_BYTES: usize = 1024 * 1024;

impl TargetDisk {
    /// Opens it. Where it is mounted, or part of something, the kernel refuses that (O_EXCL).
    pub(super) fn open(found: &FoundDisk) -> Result<TargetDisk, DeployFailure> {
        let failed = |error: io::Error| match Errno::from_raw(error.raw_os_error().unwrap_or_default()) {
            Errno::EBUSY => DeployFailure::DiskBusy {
                name: found.info.name.clone(),
            },
            _ => DeployFailure::Disk {
                name: found.info.name.clone(),
                error,
            },
        };
        let (mut file, is_direct) = match open(&found.node, OFlag::O_EXCL | OFlag::O_DIRECT) {
            Ok(file) => (file, true),
            Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => {
                (open(&found.node, OFlag::O_EXCL).map_err(failed)?, false)
            }
            Err(error) => return Err(failed(error)),
        };
        let bytes = file.seek(SeekFrom::End(0)).map_err(failed)?;
        Ok(TargetDisk {
            file,
            bytes,
            sector: found.sector,
            is_direct,
            makes_zeros: AtomicBool::new(true),
            zeros: AlignedBuffer::new(ZEROS_BYTES),
        })
    }

    /// A sector's bytes, as lengths in memory are counted.
    pub(super) fn unit(&self) -> usize {
        usize::try_from(self.sector).unwrap_or(ALIGNMENT)
    }

    /// Writes whole sectors.
    pub(super) fn write_at(&self, bytes: &[u8], at: u64) -> Result<(), DeployFailure> {
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            let byte = at + wide(done);
            match self.file.write_at(rest, byte) {
                Ok(0) => {
                    let error = io::ErrorKind::WriteZero.into();
                    return Err(DeployFailure::Write { byte, error });
                }
                Ok(written) => done += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(DeployFailure::Write { byte, error }),
            }
        }
        Ok(())
    }

    /// Makes whole sectors zeros. Where the disk itself can, it is told to, and answers for it
    /// (`FALLOC_FL_PUNCH_HOLE` of a block device is BLKZEROOUT without a fallback); they are written otherwise.
    pub(super) fn zero(&self, at: u64, bytes: u64) -> Result<(), DeployFailure> {
        if self.makes_zeros.load(Ordering::Relaxed) {
            let mode = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            let range = i64::try_from(at).and_then(|at| Ok((at, i64::try_from(bytes)?)));
            if range.is_ok_and(|(at, bytes)| fallocate(&self.file, mode, at, bytes).is_ok()) {
                return Ok(());
            }
            self.makes_zeros.store(false, Ordering::Relaxed);
        }
        let (mut at, end) = (at, at + bytes);
        while at < end {
            let zeros = self.zeros.bytes();
            let part = usize::try_from(end - at).unwrap_or(usize::MAX).min(zeros.len());
            self.write_at(&zeros[..part], at)?;
            at += wide(part);
        }
        Ok(())
    }

    /// Reads whole sectors, from the disk.
    pub(super) fn read_at(&self, into: &mut [u8], at: u64) -> Result<(), DeployFailure> {
        if !self.is_direct {
            // Without it the next line reads what was just written, out of memory.
            let _ = posix_fadvise(&self.file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        }
        let read = self.file.read_exact_at(into, at);
        read.map_err(|error| DeployFailure::Read { byte: at, error })
    }

    /// Waits until all that was written is there for good.
    pub(super) fn sync(&self) -> Result<(), DeployFailure> {
        self.file.sync_data().map_err(|error| DeployFailure::Sync { error })
    }

    /// Writes bytes and zeros up to the next sector.
    pub(super) fn write_padded(&self, bytes: &[u8], at: u64) -> Result<(), DeployFailure> {
        self.write_at(AlignedBuffer::of(bytes, self.unit()).bytes(), at)
    }

    /// Reads back what was written with [`TargetDisk::write_padded`] and compares it.
    pub(super) fn compare(&self, bytes: &[u8], at: u64) -> Result<(), DeployFailure> {
        let mut buffer = AlignedBuffer::new(bytes.len().next_multiple_of(self.unit()));
        self.read_at(buffer.bytes_mut(), at)?;
        same(bytes, buffer.bytes(), at)
    }
}

fn open(node: &Path, flags: OFlag) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags.bits())
        .open(node)
}

/// Whether what was read is what was written, and where it is not.
pub(super) fn same(written: &[u8], read: &[u8], at: u64) -> Result<(), DeployFailure> {
    if read.starts_with(written) {
        return Ok(());
    }
    let place = written
        .iter()
        .zip(read)
        .take_while(|(written, read)| written == read)
        .count();
    Err(DeployFailure::ReadBack { byte: at + wide(place) })
}

/// A length as places on a disk are counted.
pub(super) fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DiskInfo;

    fn disk(bytes: &[u8]) -> (tempfile::NamedTempFile, TargetDisk) {
        let file = tempfile::NamedTempFile::new_in("/var/tmp").unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let disk = TargetDisk::open(&FoundDisk {
            info: DiskInfo::default(),
            node: file.path().to_owned(),
            sector: 512,
        });
        (file, disk.unwrap())
    }

    #[test]
    fn zeros_are_zeros_whether_the_disk_makes_them_or_not() {
        for makes_zeros in [true, false] {
            let (file, disk) = disk(&[7; 3 * 1024 * 1024]);
            disk.makes_zeros.store(makes_zeros, Ordering::Relaxed);
            disk.zero(4096, 2 * 1024 * 1024).unwrap();
            let read = std::fs::read(file.path()).unwrap();
            assert!(read[4096..4096 + 2 * 1024 * 1024].iter().all(|byte| *byte == 0));
            assert!(read[..4096].iter().all(|byte| *byte == 7));
            assert!(read[4096 + 2 * 1024 * 1024..].iter().all(|byte| *byte == 7));
            assert_eq!(read.len(), 3 * 1024 * 1024);
        }
    }

    #[test]
    fn the_first_byte_that_differs_is_named() {
        let (file, disk) = disk(&[0; 8192]);
        let text: Vec<u8> = (0..1000u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
        disk.write_padded(&text, 4096).unwrap();
        disk.sync().unwrap();
        disk.compare(&text, 4096).unwrap();
        let other = OpenOptions::new().write(true).open(file.path()).unwrap();
        other.write_at(&[0xff], 4096 + 777).unwrap();
        other.sync_all().unwrap();
        let error = disk.compare(&text, 4096).unwrap_err();
        assert!(matches!(error, DeployFailure::ReadBack { byte: 4873 }), "{error}");
    }

    #[test]
    fn a_write_behind_the_end_is_an_error_at_its_byte() {
        let error = same(b"abc", b"abd", 10).unwrap_err();
        assert!(matches!(error, DeployFailure::ReadBack { byte: 12 }));
        let (_file, disk) = disk(&[0; 4096]);
        let error = disk.compare(b"x", 4096).unwrap_err();
        assert!(matches!(error, DeployFailure::Read { byte: 4096, .. }), "{error}");
    }
}
