//! What an install knows of a disk image beside its file's checksum, so that a wrong byte ends it early: a checksum of
//! each piece of the file, and what the whole image is once it is unpacked.

use super::{
    copy_step::{CopyCallback, CopyStep},
    error::{ImageError, failed},
    packing::disk_format,
};
use crate::model::{
    ImageFormat, ImagePieces, ImageSum, UnpackedImage,
    limits::{DEPLOY_PIECE_BYTES_MAX, DEPLOY_ZSTD_WINDOW_LOG_MAX, DISK_PIECE_BYTES, DISK_PIECES_MAX},
};
use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};
use std::{
    cell::RefCell,
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

/// What is known of a disk image.
pub(super) struct DiskSums {
    /// The image once it is unpacked; `None` where it is not packed.
    pub(super) unpacked: Option<UnpackedImage>,
    /// Pieces of the file; `None` where it is too long for any that a machine holds in memory.
    pub(super) pieces: Option<ImagePieces>,
}

/// Reads a disk image through; `None` where it is none that could be written to a disk as it is.
///
/// # Errors
/// When it can't be read or unpacked, or the callback stopped it.
pub(super) fn disk_sums(file: &Path, watch: CopyCallback<'_>) -> Result<Option<DiskSums>, ImageError> {
    let Some(format) = disk_format(file) else {
        return Ok(None);
    };
    let opened = File::open(file).and_then(|opened| Ok((opened.metadata()?.len(), opened)));
    let (length, opened) = opened.map_err(|error| failed("read", file.display(), error))?;
    let read = read_through((opened, format), piece_bytes(length), watch);
    read.map(Some).map_err(|error| match error.downcast() {
        Ok(stopped) => stopped,
        Err(error) if format == ImageFormat::Raw => failed("read", file.display(), error),
        Err(error) => ImageError::new(format_args!(
            "the disk {} can't be unpacked: {error}; no machine could be installed with it (--no-disk-sums takes it as it \
             is)",
            file.file_name().unwrap_or_default().to_string_lossy()
        )),
    })
}

/// Bytes of a piece of a file with so many; `None` where pieces would be too many, or too large.
fn piece_bytes(length: u64) -> Option<u64> {
    let wanted = length.div_ceil(DISK_PIECES_MAX).next_power_of_two();
    let bytes = wanted.max(DISK_PIECE_BYTES);
    (bytes <= DEPLOY_PIECE_BYTES_MAX && length > 0).then_some(bytes)
}

fn read_through(
    (file, format): (File, ImageFormat),
    piece_bytes: Option<u64>,
    watch: CopyCallback<'_>,
) -> io::Result<DiskSums> {
    const BUFFER_BYTES: usize = 1024 * 1024;
    let watch = RefCell::new(watch);
    let mut pieces = Pieces {
        file,
        bytes: piece_bytes,
        in_piece: 0,
        hash: Sha256::new(),
        sums: Vec::new(),
        watch: &watch,
    };
    let unpacked = {
        let mut packed = BufReader::with_capacity(BUFFER_BYTES, &mut pieces);
        let unpacked = match format {
            ImageFormat::Raw => None,
            ImageFormat::Gzip => Some(sum_of(MultiGzDecoder::new(&mut packed), &watch)?),
            ImageFormat::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(&mut packed)?;
                decoder.window_log_max(DEPLOY_ZSTD_WINDOW_LOG_MAX)?;
                Some(sum_of(decoder, &watch)?)
            }
        };
        // All of it where it is not packed, and what lies behind the packed image.
        io::copy(&mut packed, &mut io::sink())?;
        unpacked
    };
    Ok(DiskSums {
        unpacked,
        pieces: pieces.end(),
    })
}

/// The length and the checksum of all that comes. Of zeros a little that is packed unpacks to very much, so it is asked
/// between what comes whether to go on.
fn sum_of(mut image: impl Read, watch: &RefCell<CopyCallback<'_>>) -> io::Result<UnpackedImage> {
    const BUFFER_BYTES: usize = 256 * 1024;
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match image.read(&mut buffer)? {
            0 => break,
            read => {
                hash.update(&buffer[..read]);
                bytes += read as u64;
                goes_on(watch, 0)?;
            }
        }
    }
    Ok(UnpackedImage {
        bytes,
        sha256: Some(ImageSum(hash.finalize().into())),
    })
}

/// Tells of bytes of the file.
fn goes_on(watch: &RefCell<CopyCallback<'_>>, bytes: usize) -> io::Result<()> {
    match (watch.borrow_mut())(CopyStep::Copied(bytes as u64)) {
        true => Ok(()),
        false => Err(io::Error::other(ImageError::Stopped)),
    }
}

/// A file that is read to its end, and of each piece its checksum.
struct Pieces<'p, 'w> {
    file: File,
    /// Bytes of a piece.
    bytes: Option<u64>,
    in_piece: u64,
    hash: Sha256,
    sums: Vec<ImageSum>,
    watch: &'p RefCell<CopyCallback<'w>>,
}

impl Read for Pieces<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        goes_on(self.watch, read)?;
        let mut rest = &buffer[..read];
        while let (Some(bytes), false) = (self.bytes, rest.is_empty()) {
            let room = usize::try_from(bytes - self.in_piece).unwrap_or(usize::MAX);
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.hash.update(now);
            self.in_piece += now.len() as u64;
            if self.in_piece == bytes {
                self.end_piece();
            }
            rest = later;
        }
        Ok(read)
    }
}

impl Pieces<'_, '_> {
    fn end_piece(&mut self) {
        self.sums.push(ImageSum(self.hash.finalize_reset().into()));
        self.in_piece = 0;
    }

    /// The pieces of a file that was read to its end.
    fn end(mut self) -> Option<ImagePieces> {
        if self.in_piece > 0 {
            self.end_piece();
        }
        Some(ImagePieces {
            bytes: self.bytes?,
            sha256: self.sums,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    #[test]
    fn zeros_that_unpack_for_long_are_stopped_in_their_middle() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("disk.raw.gz");
        let mut packed = GzEncoder::new(File::create(&file).unwrap(), Compression::fast());
        let zeros = vec![0; 1 << 20];
        (0..64).for_each(|_| packed.write_all(&zeros).unwrap());
        packed.finish().unwrap();
        let asked = |stops_at: usize| {
            let mut asked = 0;
            let read = disk_sums(&file, &mut |_| {
                asked += 1;
                asked < stops_at
            });
            (asked, read)
        };
        // The file itself is read in one go.
        assert!(std::fs::metadata(&file).unwrap().len() < 1 << 20);
        let (_, whole) = asked(usize::MAX);
        assert_eq!(whole.unwrap().unwrap().unpacked.unwrap().bytes, 64 << 20);
        let (times, stopped) = asked(100);
        assert_eq!(times, 100);
        assert!(matches!(stopped, Err(ImageError::Stopped)));
    }

    #[test]
    fn pieces_are_few_and_none_is_too_large_for_a_machine() {
        const TIB: u64 = 1 << 40;
        for (length, bytes) in [
            (0, None),
            (1, Some(4 << 20)),
            (16 << 30, Some(4 << 20)),
            ((16 << 30) + 1, Some(8 << 20)),
            (TIB / 4, Some(64 << 20)),
            (TIB, None),
        ] {
            assert_eq!(piece_bytes(length), bytes, "{length}");
        }
    }
}
