//! An image from the wire to the disk: the stages, each on a thread of its own, and which of them says why it failed.

use super::{
    blocks::Pool,
    failure::DeployFailure,
    meter::Meter,
    resume::{self, ImageSource},
    stages::{self, Halt, ImageBounds, Leave},
    target_disk::TargetDisk,
    wire::Wire,
};
use crate::model::{
    DeployImage, ImageFormat, ImageSum,
    limits::{DEPLOY_BLOCK_BYTES, DEPLOY_BLOCKS_MAX, DEPLOY_CHUNK_BYTES, DEPLOY_CHUNKS_MAX},
};
use std::{
    panic,
    sync::mpsc::channel,
    thread::{self, ScopedJoinHandle},
};

/// What came of each stage.
struct StageResults {
    fetched: Result<(), Halt>,
    checked: Result<(), Halt>,
    unpacked: Result<u64, Halt>,
    written: Result<Vec<u8>, Halt>,
    read_back: Result<(), Halt>,
    file_sum: ImageSum,
    unpacked_sum: Option<ImageSum>,
}

/// Writes an image, but for its head, which is the answer: as many bytes as are left out on the disk.
pub(super) fn write_image(
    image: &DeployImage,
    needs_table: bool,
    wire: &Wire,
    (disk, leave): (&TargetDisk, &Leave<'_>),
    meter: &Meter,
) -> Result<Vec<u8>, DeployFailure> {
    let bounds = ImageBounds {
        disk_bytes: disk.bytes,
        sector: disk.sector,
        needs_table,
    };
    let piece = image
        .pieces
        .as_ref()
        .map(|pieces| usize::try_from(pieces.bytes).unwrap_or(usize::MAX));
    let chunks = Pool::new(DEPLOY_CHUNKS_MAX, piece.unwrap_or(DEPLOY_CHUNK_BYTES));
    let blocks = Pool::new(DEPLOY_BLOCKS_MAX, DEPLOY_BLOCK_BYTES);
    let kept = &resume::look(image, disk, meter);
    let download = ImageSource::new(wire.download(&image.url, image.bytes), disk, kept.clone());
    let is_packed = image.format != ImageFormat::Raw;
    let wants_sum = is_packed && image.unpacked.is_some_and(|unpacked| unpacked.sha256.is_some());

    thread::scope(|scope| {
        let (to_check, for_check) = channel();
        let (to_file_sum, for_file_sum) = channel();
        let (to_write, for_write) = channel();
        let (to_read_back, for_read_back) = channel();
        let bounds = &bounds;

        let fetched = scope.spawn(move || {
            let to = [to_check, to_file_sum];
            stages::fetch(download, &chunks, &to, meter)
        });
        let file_sum = scope.spawn(|| stages::sum(for_file_sum));
        let (for_unpack, checked) = match &image.pieces {
            None => (for_check, None),
            Some(pieces) => {
                let (to_unpack, for_unpack) = channel();
                let checked = scope.spawn(|| stages::check(for_check, pieces, to_unpack));
                (for_unpack, Some(checked))
            }
        };
        let mut to = vec![to_write];
        let unpacked_sum = wants_sum.then(|| {
            let (to_sum, for_sum) = channel();
            to.push(to_sum);
            scope.spawn(|| stages::sum(for_sum))
        });
        let unpacked = scope.spawn(move || stages::unpack(for_unpack, image.format, bounds, &blocks, &to));
        let written = scope.spawn(|| stages::write(for_write, (disk, leave, kept), to_read_back));
        let read_back = stages::read_back(for_read_back, disk, meter);
        StageResults {
            read_back,
            written: ended(written),
            unpacked: ended(unpacked),
            checked: checked.map_or(Ok(()), ended),
            fetched: ended(fetched),
            file_sum: ended(file_sum),
            unpacked_sum: unpacked_sum.map(ended),
        }
    })
    .judged(image)
}

fn ended<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
}

/// The failure of a stage that has one of its own.
fn own<T>(result: &mut Result<T, Halt>) -> Option<DeployFailure> {
    match std::mem::replace(result, Err(Halt::Stopped)) {
        Err(Halt::Failed(failure)) => Some(failure),
        Err(Halt::Stopped) => None,
        Ok(value) => {
            *result = Ok(value);
            None
        }
    }
}

impl StageResults {
    /// The head, if all is as it was ordered. A stage that is cut off from the one before it takes that for the end
    /// of the image, so those in front are asked first.
    fn judged(mut self, image: &DeployImage) -> Result<Vec<u8>, DeployFailure> {
        let failure = own(&mut self.fetched)
            .or_else(|| own(&mut self.checked))
            .or_else(|| own(&mut self.written))
            .or_else(|| own(&mut self.read_back))
            .or_else(|| own(&mut self.unpacked));
        if let Some(failure) = failure {
            return Err(failure);
        }
        let (Ok(bytes), Ok(head)) = (self.unpacked, self.written) else {
            unreachable!("a stage stops only where another one failed")
        };
        if self.file_sum != image.sha256 {
            let of = "the SHA-256 of the image's file";
            return Err(DeployFailure::WrongChecksum { of });
        }
        if let Some(wanted) = image.disk_bytes().filter(|wanted| *wanted != bytes) {
            return Err(DeployFailure::ImageLength { found: bytes, wanted });
        }
        let wanted = image.unpacked.and_then(|unpacked| unpacked.sha256);
        match (self.unpacked_sum, wanted) {
            (Some(found), Some(wanted)) if found != wanted => Err(DeployFailure::WrongChecksum {
                of: "the SHA-256 of the image unpacked",
            }),
            _ => Ok(head),
        }
    }
}
