//! Where a transfer's bytes come from: memory, or a file of which some have to be read from the disk.

use crate::model::limits::TFTP_READ_AHEAD_BYTES;
use crate::net::files::{FileError, OpenedFile, hot::InMemoryFile};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// Where a transfer's bytes come from.
pub(super) enum TransferBytes {
    Memory(InMemoryFile),
    File {
        opened: Arc<OpenedFile>,
        /// Its place among the files that are open.
        _place: OwnedSemaphorePermit,
        /// A run of the file that had to be read from the disk, and where it starts.
        ahead: Vec<u8>,
        ahead_at: u64,
    },
}

/// Bytes of a file that are not in memory.
pub(super) struct PendingRead {
    opened: Arc<OpenedFile>,
    offset: u64,
    length: usize,
}

/// The same, read.
pub(super) struct ReadResult {
    pub(super) offset: u64,
    pub(super) result: Result<Vec<u8>, FileError>,
}

impl PendingRead {
    /// Reads them. Blocks on the disk.
    pub(super) fn read(self) -> ReadResult {
        let mut bytes = vec![0; self.length];
        let result = self.opened.read_exactly(&mut bytes, self.offset);
        ReadResult {
            offset: self.offset,
            result: result.map(|()| bytes),
        }
    }
}

impl TransferBytes {
    /// How many there are.
    pub(super) fn length(&self) -> u64 {
        match self {
            TransferBytes::Memory(whole) => whole.bytes.len() as u64,
            TransferBytes::File { opened, .. } => opened.length(),
        }
    }

    /// Fills `data` from `offset` on, if that takes no waiting for the disk; whether it did.
    pub(super) fn read(&mut self, data: &mut [u8], offset: u64) -> Result<bool, FileError> {
        if data.is_empty() {
            return Ok(true);
        }
        let (held, start) = match self {
            TransferBytes::Memory(whole) => (&whole.bytes[..], Some(offset)),
            TransferBytes::File { ahead, ahead_at, .. } => (ahead.as_slice(), offset.checked_sub(*ahead_at)),
        };
        let start = start.and_then(|start| usize::try_from(start).ok());
        if let Some(bytes) = start.and_then(|start| held.get(start..start.checked_add(data.len())?)) {
            data.copy_from_slice(bytes);
            return Ok(true);
        }
        match self {
            TransferBytes::Memory(_) => Ok(false),
            TransferBytes::File { opened, ahead, .. } => {
                *ahead = Vec::new();
                opened.read_now(data, offset)
            }
        }
    }

    /// What is to be read from the disk where `length` bytes at `offset` are wanted.
    pub(super) fn reading(&self, offset: u64, length: usize) -> Option<PendingRead> {
        let TransferBytes::File { opened, .. } = self else {
            return None;
        };
        let rest = usize::try_from(opened.length() - offset).unwrap_or(usize::MAX);
        Some(PendingRead {
            opened: Arc::clone(opened),
            offset,
            length: TFTP_READ_AHEAD_BYTES.max(length).min(rest),
        })
    }

    /// Whether the file is still the one that it was.
    pub(super) fn unchanged(&self) -> Result<(), FileError> {
        match self {
            TransferBytes::Memory(whole) => whole.unchanged(),
            TransferBytes::File { opened, .. } => opened.unchanged(),
        }
    }
}
