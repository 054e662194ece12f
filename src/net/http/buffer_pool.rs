//! Rooms that pieces of files are read into, used again and again: a fresh one would be filled with
//! zeros first, and one that was just sent is still in the processor's cache.

use crate::model::limits::HTTP_PIECE_BYTES;
use bytes::Bytes;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Rooms of `HTTP_PIECE_BYTES` each.
#[derive(Clone, Debug)]
pub struct BufferPool {
    idle_max: usize,
    idle: Arc<Mutex<Vec<Box<[u8]>>>>,
}

/// A buffer in use; it returns to the pool when it is dropped.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    /// How much of it is filled.
    length: usize,
    buffers: BufferPool,
}

impl BufferPool {
    /// As many as are needed, of which so many are kept while they are unused.
    pub(super) fn new(idle_max: usize) -> BufferPool {
        BufferPool {
            idle_max,
            idle: Arc::default(),
        }
    }

    /// Room for `length` bytes, at most `HTTP_PIECE_BYTES`. What is in it is of no meaning.
    pub(super) fn take(&self, length: usize) -> Buffer {
        let idle = self.idle().pop();
        Buffer {
            bytes: idle.unwrap_or_else(|| vec![0; HTTP_PIECE_BYTES].into_boxed_slice()),
            length: length.min(HTTP_PIECE_BYTES),
            buffers: self.clone(),
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Box<[u8]>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Buffer {
    /// What is to be filled.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.length]
    }

    /// The filled buffer as a piece to send.
    pub(super) fn into_piece(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut idle = self.buffers.idle();
        if idle.len() < self.buffers.idle_max {
            idle.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(buffers: &BufferPool, fill: u8, length: usize) -> Bytes {
        let mut buffer = buffers.take(length);
        buffer.bytes_mut().fill(fill);
        buffer.into_piece()
    }

    #[test]
    fn a_room_is_used_again_once_its_piece_is_gone_and_no_sooner() {
        let buffers = BufferPool::new(8);
        let first = piece(&buffers, 1, HTTP_PIECE_BYTES);
        let part = first.slice(10..20);
        drop(first);
        let second = piece(&buffers, 2, 100);
        assert!(part.iter().all(|byte| *byte == 1), "a part of it is still to be sent");
        assert_eq!((second.len(), buffers.idle().len()), (100, 0));
        drop((part, second));
        assert_eq!(buffers.idle().len(), 2);
        let third = piece(&buffers, 3, 7);
        assert_eq!((third.len(), buffers.idle().len()), (7, 1));
        assert!(third.iter().all(|byte| *byte == 3));
    }

    #[test]
    fn only_so_many_rooms_are_kept_while_nobody_needs_them() {
        let buffers = BufferPool::new(3);
        let all: Vec<Bytes> = (0..10).map(|fill| piece(&buffers, fill, 10)).collect();
        drop(all);
        assert_eq!(buffers.idle().len(), 3);
    }
}
