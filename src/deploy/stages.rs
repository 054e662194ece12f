//! What each thread of an install does with the blocks that come to it.
//!
//! A stage ends when the one before it does, and stops when the one behind it is gone: which of them has the reason
//! is for `pipeline` to find out.

use super::{
    blocks::{AlignedBuffer, Block, Pool},
    failure::{DeployFailure, TableFault},
    gpt,
    meter::Meter,
    resume::ImageSource,
    target_disk::{TargetDisk, same, wide},
    zeros::runs,
};
use crate::model::{
    ImageFormat, ImagePieces, ImageSum,
    limits::{
        DEPLOY_BLOCK_BYTES, DEPLOY_HEAD_BYTES, DEPLOY_READ_BACK_BLOCKS, DEPLOY_TAIL_BYTES, DEPLOY_ZEROS_BYTES_MIN,
        DEPLOY_ZSTD_WINDOW_LOG_MAX,
    },
};
use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};
use std::{
    io::{self, BufRead, Read},
    ops::Range,
    sync::{
        Arc,
        mpsc::{Receiver, Sender},
    },
};

/// Why a stage ended before its work was done.
#[derive(Debug)]
pub(super) enum Halt {
    /// It failed.
    Failed(DeployFailure),
    /// The next one is gone.
    Stopped,
}

impl From<DeployFailure> for Halt {
    fn from(failure: DeployFailure) -> Halt {
        Halt::Failed(failure)
    }
}

/// What passes from stage to stage.
pub(super) type Blocks = Receiver<Arc<Block>>;

/// A block that is on the disk, but for what was left out in front.
pub(super) struct OnDisk {
    block: Arc<Block>,
    at: u64,
    left_out: usize,
}

/// What the disk allows of an image.
pub(super) struct ImageBounds {
    /// Bytes of the disk.
    pub(super) disk_bytes: u64,
    /// Bytes of its sectors.
    pub(super) sector: u32,
    /// It can't do without a partition table.
    pub(super) needs_table: bool,
}

fn pass(block: &Arc<Block>, to: &[Sender<Arc<Block>>]) -> Result<(), Halt> {
    to.iter()
        .try_for_each(|next| next.send(Arc::clone(block)).map_err(|_| Halt::Stopped))
}

/// Brings the file from the wire, and what stands of it on the disk from there.
pub(super) fn fetch(
    mut source: ImageSource<'_>,
    pool: &Pool,
    to: &[Sender<Arc<Block>>],
    meter: &Meter,
) -> Result<(), Halt> {
    loop {
        let mut block = pool.take();
        let room = block.room();
        let (mut filled, all) = (0, room.len());
        while filled < all {
            match source.read(&mut room[filled..])? {
                0 => break,
                read => {
                    meter.add_fetched(read);
                    filled += read;
                }
            }
        }
        if filled == 0 {
            return Ok(());
        }
        block.set_filled(filled);
        pass(&Arc::new(block), to)?;
    }
}

/// Lets through the pieces that are as they should be.
pub(super) fn check(from: Blocks, pieces: &ImagePieces, to: Sender<Arc<Block>>) -> Result<(), Halt> {
    let mut byte = 0;
    let mut sums = pieces.sha256.iter();
    for block in from {
        let sum = ImageSum(Sha256::digest(&block[..]).into());
        if sums.next() != Some(&sum) {
            return Err(DeployFailure::WrongPiece { byte }.into());
        }
        byte += wide(block.len());
        to.send(block).map_err(|_| Halt::Stopped)?;
    }
    Ok(())
}

/// The SHA-256 of all that comes.
pub(super) fn sum(from: Blocks) -> ImageSum {
    let mut hasher = Sha256::new();
    from.iter().for_each(|block| hasher.update(&block[..]));
    ImageSum(hasher.finalize().into())
}

/// Blocks as something to read.
struct Inlet {
    from: Blocks,
    block: Option<Arc<Block>>,
    at: usize,
}

impl BufRead for Inlet {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.block.as_ref().is_none_or(|block| self.at >= block.len()) {
            self.block = None;
            self.block = self.from.recv().ok();
            self.at = 0;
        }
        Ok(self.block.as_ref().map_or(&[], |block| &block[self.at..]))
    }

    fn consume(&mut self, bytes: usize) {
        self.at += bytes;
    }
}

impl Read for Inlet {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

/// Unpacks the file. Its answer is how many bytes it has then.
pub(super) fn unpack(
    from: Blocks,
    format: ImageFormat,
    bounds: &ImageBounds,
    pool: &Pool,
    to: &[Sender<Arc<Block>>],
) -> Result<u64, Halt> {
    let inlet = Inlet {
        from,
        block: None,
        at: 0,
    };
    match format {
        ImageFormat::Raw => cut(inlet, bounds, pool, to),
        ImageFormat::Gzip => cut(MultiGzDecoder::new(inlet), bounds, pool, to),
        ImageFormat::Zstd => {
            let opened = zstd::stream::read::Decoder::with_buffer(inlet).and_then(|mut decoder| {
                decoder.window_log_max(DEPLOY_ZSTD_WINDOW_LOG_MAX)?;
                Ok(decoder)
            });
            match opened {
                Ok(decoder) => cut(decoder, bounds, pool, to),
                Err(error) => Err(DeployFailure::NotUnpacked { byte: 0, error }.into()),
            }
        }
    }
}

/// Cuts an image into blocks.
fn cut(mut image: impl Read, bounds: &ImageBounds, pool: &Pool, to: &[Sender<Arc<Block>>]) -> Result<u64, Halt> {
    let mut at = 0;
    loop {
        let mut block = pool.take();
        let room = block.room();
        let (mut filled, all) = (0, room.len());
        while filled < all {
            match image.read(&mut room[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let byte = at + wide(filled);
                    return Err(DeployFailure::NotUnpacked { byte, error }.into());
                }
            }
        }
        if filled == 0 {
            return Ok(at);
        }
        block.set_filled(filled);
        if at == 0 {
            first_look(&block, bounds)?;
        }
        at += wide(filled);
        if at > bounds.disk_bytes {
            let bytes = bounds.disk_bytes;
            return Err(DeployFailure::DiskTooSmall { bytes }.into());
        }
        block.pad(usize::try_from(bounds.sector).unwrap_or(DEPLOY_BLOCK_BYTES));
        pass(&Arc::new(block), to)?;
    }
}

/// What the first block of an image tells before anything of it is written.
fn first_look(block: &[u8], bounds: &ImageBounds) -> Result<(), DeployFailure> {
    match gpt::sector_bytes(block) {
        Some(image) if image != bounds.sector => Err(DeployFailure::SectorSize {
            image,
            disk: bounds.sector,
        }),
        None if bounds.needs_table => Err(DeployFailure::Table(TableFault::None)),
        Some(_) | None => Ok(()),
    }
}

/// Asks whether the disk may be written to still.
pub(super) type Leave<'c> = dyn Fn() -> Result<(), DeployFailure> + Sync + 'c;

/// Writes an image, but for its head, which it gives back: zeros stand there until all is well. The first block may have
/// been long in coming, and its host be disarmed since: leave is asked for once more before the disk is touched. What is
/// `kept` stands there already, and is read back as the rest is.
pub(super) fn write(
    from: Blocks,
    (disk, leave, kept): (&TargetDisk, &Leave<'_>, &Range<u64>),
    to: Sender<OnDisk>,
) -> Result<Vec<u8>, Halt> {
    let (mut at, mut head) = (0, Vec::new());
    for block in from {
        let bytes = block.padded(disk.unit());
        let left_out = if at == 0 {
            leave()?;
            clear_ends(disk)?;
            head.extend_from_slice(&block[..block.len().min(DEPLOY_HEAD_BYTES)]);
            bytes.len().min(DEPLOY_HEAD_BYTES)
        } else {
            0
        };
        let begin = at + wide(left_out);
        let is_there = kept.start <= at && at + wide(bytes.len()) <= kept.end;
        let body: &[u8] = if is_there { &[] } else { &bytes[left_out..] };
        for run in runs(body, DEPLOY_ZEROS_BYTES_MIN) {
            let place = begin + wide(run.range.start);
            match run.is_zeros {
                true => disk.zero(place, wide(run.range.len()))?,
                false => disk.write_at(&body[run.range], place)?,
            }
        }
        let length = wide(block.len());
        to.send(OnDisk { block, at, left_out }).map_err(|_| Halt::Stopped)?;
        at += length;
    }
    Ok(head)
}

/// Takes away what an older system left at both ends of a disk: its tables, and the labels of RAID.
fn clear_ends(disk: &TargetDisk) -> Result<(), DeployFailure> {
    let unit = u64::from(disk.sector);
    let whole = disk.bytes / unit * unit;
    disk.zero(0, wide(DEPLOY_HEAD_BYTES).min(whole))?;
    let tail = DEPLOY_TAIL_BYTES.min(whole);
    disk.zero(whole - tail, tail)
}

/// Reads back what is on the disk for good, and compares it byte by byte with what was to be written, whose SHA-256
/// was taken: that is stronger than to compare sums, takes less time, and tells the place.
pub(super) fn read_back(from: Receiver<OnDisk>, disk: &TargetDisk, meter: &Meter) -> Result<(), Halt> {
    let mut buffer = AlignedBuffer::new(DEPLOY_BLOCK_BYTES);
    let mut waiting = Vec::with_capacity(DEPLOY_READ_BACK_BLOCKS);
    loop {
        let next = from.recv();
        let is_end = next.is_err();
        waiting.extend(next);
        if waiting.len() < DEPLOY_READ_BACK_BLOCKS && !is_end {
            continue;
        }
        if !waiting.is_empty() {
            disk.sync()?;
        }
        for OnDisk { block, at, left_out } in waiting.drain(..) {
            let wanted = &block.padded(disk.unit())[left_out..];
            let place = at + wide(left_out);
            let read = &mut buffer.bytes_mut()[..wanted.len()];
            disk.read_at(read, place)?;
            same(wanted, read, place)?;
            meter.add_written(block.len());
        }
        if is_end {
            return Ok(());
        }
    }
}
