//! Blocks of memory that a disk takes without copying, a fixed number of them.

use std::{
    ops::Deref,
    sync::mpsc::{Receiver, Sender, channel},
};

/// What O_DIRECT wants of an address, of a length and of a place on the disk, of every disk that is sold.
pub(super) const ALIGNMENT: usize = 4096;

/// Zeroed memory that begins at a multiple of [`ALIGNMENT`].
pub(super) struct AlignedBuffer {
    memory: Vec<u8>,
    start: usize,
    bytes: usize,
}

/// Where blocks come from and go back to.
pub(super) struct Pool {
    home: Sender<AlignedBuffer>,
    free: Receiver<AlignedBuffer>,
}

/// Bytes that are passed from thread to thread. Dropped, their memory goes back to its pool.
pub(super) struct Block {
    buffer: Option<AlignedBuffer>,
    filled: usize,
    home: Sender<AlignedBuffer>,
}

impl AlignedBuffer {
    pub(super) fn new(bytes: usize) -> AlignedBuffer {
        let memory = vec![0; bytes + ALIGNMENT];
        let start = memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        AlignedBuffer { memory, start, bytes }
    }

    /// With these bytes in front, and zeros up to a multiple of `unit`.
    pub(super) fn of(bytes: &[u8], unit: usize) -> AlignedBuffer {
        let mut buffer = AlignedBuffer::new(bytes.len().next_multiple_of(unit));
        buffer.bytes_mut()[..bytes.len()].copy_from_slice(bytes);
        buffer
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.bytes]
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.bytes]
    }
}

impl Pool {
    pub(super) fn new(blocks: usize, bytes: usize) -> Pool {
        let (home, free) = channel();
        for _ in 0..blocks {
            // The receiver stands beside it.
            let _ = home.send(AlignedBuffer::new(bytes));
        }
        Pool { home, free }
    }

    /// A block, once there is one: who takes blocks is as fast as those who give them back.
    pub(super) fn take(&self) -> Block {
        Block {
            buffer: self.free.recv().ok(),
            filled: 0,
            home: self.home.clone(),
        }
    }
}

impl Block {
    /// All of its memory, to be filled.
    pub(super) fn room(&mut self) -> &mut [u8] {
        self.buffer.as_mut().map_or(&mut [], AlignedBuffer::bytes_mut)
    }

    /// So many bytes of it count.
    pub(super) fn set_filled(&mut self, bytes: usize) {
        self.filled = bytes;
    }

    /// The bytes that count, and zeros behind them up to a multiple of `unit`.
    pub(super) fn pad(&mut self, unit: usize) {
        let (from, to) = (self.filled, self.filled.next_multiple_of(unit));
        if let Some(rest) = self.room().get_mut(from..to) {
            rest.fill(0);
        }
    }

    /// The bytes that count, and those behind them that [`Block::pad`] made zeros.
    pub(super) fn padded(&self, unit: usize) -> &[u8] {
        let all = self.buffer.as_ref().map_or(&[][..], AlignedBuffer::bytes);
        &all[..self.filled.next_multiple_of(unit).min(all.len())]
    }
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.buffer
            .as_ref()
            .map_or(&[], |buffer| &buffer.bytes()[..self.filled])
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            // At the end of an install the pool may be gone first.
            let _ = self.home.send(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_lies_where_a_disk_takes_it_and_comes_back() {
        let pool = Pool::new(1, 8192);
        for _ in 0..3 {
            let mut block = pool.take();
            assert_eq!(block.room().as_ptr().align_offset(ALIGNMENT), 0);
            block.room().fill(7);
            block.set_filled(700);
            block.pad(512);
            assert_eq!((block.len(), block.padded(512).len()), (700, 1024));
            assert!(block.padded(512)[700..].iter().all(|byte| *byte == 0));
            assert!(block[..700].iter().all(|byte| *byte == 7));
        }
    }
}
