//! What an install that was broken off left on the disk of it, as far as that can be known.
//!
//! No count is believed, of whomever: what counts is read from the disk, and its sum is that of the order's piece. Only
//! a file that is not packed has pieces that are bytes of a disk, and only of a disk that begins with zeros an install
//! was broken off: any other one has a system, and is written from its beginning.

use super::{
    blocks::{ALIGNMENT, AlignedBuffer},
    failure::DeployFailure,
    meter::Meter,
    target_disk::{TargetDisk, wide},
    wire::ImageDownload,
};
use crate::model::{
    DeployImage, ImageFormat, ImageSum,
    limits::{DEPLOY_HEAD_BYTES, DEPLOY_TAIL_BYTES},
};
use sha2::{Digest, Sha256};
use std::ops::Range;

/// The same as [`kept`], said to whoever follows the install.
pub(super) fn look(image: &DeployImage, disk: &TargetDisk, meter: &Meter) -> Range<u64> {
    let kept = kept(image, disk);
    if !kept.is_empty() {
        let at = kept.end;
        eprintln!("bootwright-deploy: the image stands on the disk up to byte {at}, and is gone on with there");
        meter.resume(at);
    }
    kept
}

/// The bytes of the image that stand on the disk and are those of its pieces, from the first piece behind the head on;
/// empty where the install begins anew. Nothing is written.
fn kept(image: &DeployImage, disk: &TargetDisk) -> Range<u64> {
    let none = 0..0;
    let Some(pieces) = image.pieces.as_ref().filter(|_| image.format == ImageFormat::Raw) else {
        return none;
    };
    // As the disk reads and writes them.
    let is_aligned = pieces.bytes.is_multiple_of(wide(ALIGNMENT));
    if !is_aligned || !begins_with_zeros(disk) {
        return none;
    }
    let first = wide(DEPLOY_HEAD_BYTES).div_ceil(pieces.bytes);
    // Both ends of the disk are cleared before anything is written.
    let whole = image
        .bytes
        .min(disk.bytes.saturating_sub(DEPLOY_TAIL_BYTES + u64::from(disk.sector)));
    let mut buffer = AlignedBuffer::new(usize::try_from(pieces.bytes).unwrap_or(ALIGNMENT));
    let mut is_there = |number: u64| {
        let wanted = usize::try_from(number)
            .ok()
            .and_then(|number| pieces.sha256.get(number));
        let is_whole = (number + 1) * pieces.bytes <= whole;
        // What can't be read is written.
        is_whole
            && disk.read_at(buffer.bytes_mut(), number * pieces.bytes).is_ok()
            && wanted == Some(&ImageSum(Sha256::digest(buffer.bytes()).into()))
    };
    let end = (first..).find(|number| !is_there(*number)).unwrap_or(first);
    match end > first {
        true => first * pieces.bytes..end * pieces.bytes,
        false => none,
    }
}

/// Whether a disk begins as one does whose install was broken off.
fn begins_with_zeros(disk: &TargetDisk) -> bool {
    let mut head = AlignedBuffer::new(DEPLOY_HEAD_BYTES);
    disk.read_at(head.bytes_mut(), 0).is_ok() && head.bytes().iter().all(|byte| *byte == 0)
}

/// An image that comes by the wire, but for what is on the disk already.
pub(super) struct ImageSource<'s> {
    download: ImageDownload<'s>,
    disk: &'s TargetDisk,
    kept: Range<u64>,
    at: u64,
}

impl<'s> ImageSource<'s> {
    pub(super) fn new(mut download: ImageDownload<'s>, disk: &'s TargetDisk, kept: Range<u64>) -> ImageSource<'s> {
        if !kept.is_empty() {
            download.end_at(kept.start);
        }
        ImageSource {
            download,
            disk,
            kept,
            at: 0,
        }
    }

    /// The next bytes, or none at the end. A reader that takes whole pieces is given what is kept by pieces.
    pub(super) fn read(&mut self, into: &mut [u8]) -> Result<usize, DeployFailure> {
        let read = if self.kept.contains(&self.at) {
            let left = usize::try_from(self.kept.end - self.at).unwrap_or(usize::MAX);
            let part = left.min(into.len());
            self.disk.read_at(&mut into[..part], self.at)?;
            if self.at + wide(part) == self.kept.end {
                self.download.go_on_at(self.kept.end);
            }
            part
        } else {
            self.download.read(into)?
        };
        self.at += wide(read);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deploy::disks::FoundDisk;
    use crate::model::{DiskInfo, ImagePieces};
    use std::{fs, os::unix::fs::FileExt};

    const PIECE: usize = 256 * 1024;
    const IMAGE: usize = 5 * 1024 * 1024 + 77;
    const DISK: usize = 8 * 1024 * 1024;

    fn image_bytes() -> Vec<u8> {
        (0..IMAGE as u64)
            .map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
            .collect()
    }

    fn image(format: ImageFormat) -> DeployImage {
        let bytes = image_bytes();
        let sum = |bytes: &[u8]| ImageSum(Sha256::digest(bytes).into());
        DeployImage {
            url: "http://192.0.2.1/image/debian-13/disk.raw".into(),
            format,
            bytes: IMAGE as u64,
            sha256: sum(&bytes),
            unpacked: None,
            pieces: Some(ImagePieces {
                bytes: PIECE as u64,
                sha256: bytes.chunks(PIECE).map(sum).collect(),
            }),
        }
    }

    /// A disk with zeros in front, so many bytes of the image, and something else behind them.
    fn disk_with(written: usize, bytes: usize) -> (tempfile::NamedTempFile, TargetDisk) {
        let mut content = image_bytes()[..written].to_vec();
        content.resize(bytes, 0xaa);
        content[..DEPLOY_HEAD_BYTES].fill(0);
        let file = tempfile::NamedTempFile::new_in("/var/tmp").unwrap();
        fs::write(file.path(), content).unwrap();
        let disk = TargetDisk::open(&FoundDisk {
            info: DiskInfo::default(),
            node: file.path().to_owned(),
            sector: 512,
        });
        (file, disk.unwrap())
    }

    fn range(pieces: Range<u64>) -> Range<u64> {
        pieces.start * PIECE as u64..pieces.end * PIECE as u64
    }

    #[test]
    fn what_stands_there_counts_by_its_pieces_up_to_the_first_that_differs() {
        let image = image(ImageFormat::Raw);
        for (written, expected) in [
            (DEPLOY_HEAD_BYTES + PIECE - 1, 0..0),
            (DEPLOY_HEAD_BYTES + PIECE, range(4..5)),
            (3 * 1024 * 1024 + 5, range(4..12)),
            // The last piece is no whole one.
            (IMAGE, range(4..20)),
        ] {
            let (file, disk) = disk_with(written, DISK);
            assert_eq!(kept(&image, &disk), expected, "{written}");
            // One byte of the sixth piece, by whatever it came there.
            file.as_file().write_all_at(b"?", 5 * PIECE as u64 + 7).unwrap();
            file.as_file().sync_all().unwrap();
            let until = expected.end.min(range(0..5).end);
            assert_eq!(kept(&image, &disk).end, until, "{written}");
        }
    }

    #[test]
    fn a_disk_that_has_a_beginning_and_an_image_without_pieces_of_a_disk_begin_anew() {
        let (file, disk) = disk_with(IMAGE, DISK);
        let without = DeployImage {
            pieces: None,
            ..image(ImageFormat::Raw)
        };
        assert_eq!(kept(&without, &disk), 0..0);
        assert_eq!(kept(&image(ImageFormat::Zstd), &disk), 0..0);
        assert_eq!(kept(&image(ImageFormat::Raw), &disk), range(4..20));
        file.as_file().write_all_at(b"?", 4096).unwrap();
        file.as_file().sync_all().unwrap();
        assert_eq!(kept(&image(ImageFormat::Raw), &disk), 0..0);
    }

    #[test]
    fn what_the_disks_end_is_cleared_of_is_not_kept() {
        let (_file, disk) = disk_with(IMAGE, 5 * 1024 * 1024 + 1024 * 1024);
        assert_eq!(kept(&image(ImageFormat::Raw), &disk), range(4..19));
    }
}
