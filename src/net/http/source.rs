//! Where the bytes of a file's body come from: memory, or the file, piece by piece, until there is a copy of it that
//! the kernel sends.

use crate::model::limits::{HTTP_PIECE_BYTES, HTTP_SEALED_PIECE_BYTES, HTTP_YIELD_BYTES};

use crate::net::{
    files::{
        FileError, OpenedFile,
        hot::{self, InMemoryFile},
        sealed::{CopySlot, SealedCopies},
    },
    http::{
        buffer_pool::{Buffer, BufferPool},
        client_stream::DeliveryTracker,
    },
    limiter::Permit,
};
use crate::state::Counter;
use bytes::Bytes;
use std::{
    future::Future,
    io,
    net::IpAddr,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::task::JoinHandle;

/// What a file's body is read from.
pub(super) enum BodySource {
    /// All of it is in memory, for everybody who is being sent it.
    Memory(InMemoryFile),
    /// At most one piece of it is in memory.
    File(PieceReader),
    /// The same, or a copy of it that is there or may come to be there.
    Sealed(SealedReader),
}

/// Reads a file piece by piece, and goes on with a copy of it.
pub(super) struct SealedReader {
    reader: PieceReader,
    slot: Arc<CopySlot>,
    /// That of the connection, which has the kernel send parts of the copy.
    tracker: Arc<DeliveryTracker>,
    has_begun: bool,
}

/// Reads a file piece by piece.
pub(super) struct PieceReader {
    opened: Arc<OpenedFile>,
    buffers: BufferPool,
    permit: Option<Arc<Permit>>,
    reading: Option<JoinHandle<Result<Buffer, FileError>>>,
}

impl BodySource {
    /// A body's to this client, which holds `permit`. To be called on a runtime.
    pub(super) fn new(
        content: hot::FileSource,
        (buffers, permit): (BufferPool, Option<Arc<Permit>>),
        (copies, client, tracker): (&Arc<SealedCopies>, IpAddr, &Arc<DeliveryTracker>),
    ) -> BodySource {
        match content {
            hot::FileSource::InMemoryFile { file, .. } => BodySource::Memory(file),
            hot::FileSource::File(opened) => {
                let opened = Arc::new(opened);
                let slot = copies.begin(&opened, client);
                let reader = PieceReader {
                    opened,
                    buffers,
                    permit,
                    reading: None,
                };
                match slot {
                    None => BodySource::File(reader),
                    Some(slot) => BodySource::Sealed(SealedReader {
                        reader,
                        slot,
                        tracker: Arc::clone(tracker),
                        has_begun: false,
                    }),
                }
            }
        }
    }

    /// The first piece of `left`, which is not empty: at most `HTTP_PIECE_BYTES`, or of a copy
    /// `HTTP_SEALED_PIECE_BYTES`.
    pub(super) fn poll_piece(
        &mut self,
        left: &Range<u64>,
        context: &mut Context<'_>,
    ) -> Poll<Result<Bytes, FileError>> {
        match self {
            BodySource::Memory(file) => Poll::Ready(piece_of(file, left.start, first(left, HTTP_PIECE_BYTES))),
            BodySource::File(reader) => reader.poll_piece(left, context),
            BodySource::Sealed(sealed) => sealed.poll_piece(left, context),
        }
    }

    /// How many bytes it hands over before everybody else has a turn.
    pub(super) fn bytes_in_turn(&self) -> usize {
        match self {
            BodySource::Sealed(sealed) if sealed.has_begun => HTTP_SEALED_PIECE_BYTES,
            BodySource::Memory(_) | BodySource::File(_) | BodySource::Sealed(_) => HTTP_YIELD_BYTES,
        }
    }
}

/// How long the first piece is where it has at most so many bytes.
fn first(left: &Range<u64>, most: usize) -> usize {
    usize::try_from(left.end - left.start).map_or(most, |all| all.min(most))
}

impl SealedReader {
    fn poll_piece(&mut self, left: &Range<u64>, context: &mut Context<'_>) -> Poll<Result<Bytes, FileError>> {
        // What is read already is waited for: it is the piece that comes next.
        if self.reader.reading.is_none()
            && let Some(piece) = self.part(left)
        {
            return Poll::Ready(piece);
        }
        self.reader.poll_piece(left, context)
    }

    /// The first piece of the copy, where it is there.
    fn part(&mut self, left: &Range<u64>) -> Option<Result<Bytes, FileError>> {
        let start = usize::try_from(left.start).ok()?;
        let (bytes, copy) = self.slot.part(start..start + first(left, HTTP_SEALED_PIECE_BYTES))?;
        if !self.has_begun {
            self.has_begun = true;
            self.tracker.shared().counters.count(Counter::HotImageHit);
            self.tracker.copies.add(copy);
        }
        Some(self.reader.opened.unchanged().map(|()| bytes))
    }
}

fn piece_of(file: &InMemoryFile, start: u64, length: usize) -> Result<Bytes, FileError> {
    file.unchanged()?;
    let start = usize::try_from(start).ok();
    let end = start.and_then(|start| start.checked_add(length));
    match (start, end) {
        (Some(start), Some(end)) if end <= file.bytes.len() => Ok(file.bytes.slice(start..end)),
        _ => Err(FileError::Io(io::ErrorKind::UnexpectedEof.into())),
    }
}

impl PieceReader {
    fn poll_piece(&mut self, left: &Range<u64>, context: &mut Context<'_>) -> Poll<Result<Bytes, FileError>> {
        let length = first(left, HTTP_PIECE_BYTES);
        self.poll_read(left.start, length, context).map_ok(Buffer::into_piece)
    }

    fn poll_read(&mut self, start: u64, length: usize, context: &mut Context<'_>) -> Poll<Result<Buffer, FileError>> {
        let mut reading = match self.reading.take() {
            Some(reading) => reading,
            None => match self.read_now(start, length) {
                Some(read) => return Poll::Ready(read),
                None => self.read_later(start, length),
            },
        };
        match Pin::new(&mut reading).poll(context) {
            Poll::Ready(Ok(read)) => Poll::Ready(read),
            Poll::Ready(Err(error)) => Poll::Ready(Err(FileError::Io(io::Error::other(error)))),
            Poll::Pending => {
                self.reading = Some(reading);
                Poll::Pending
            }
        }
    }

    /// A piece, where the page cache has it; `None` where the disk has to be waited for.
    fn read_now(&self, start: u64, length: usize) -> Option<Result<Buffer, FileError>> {
        let mut buffer = self.buffers.take(length);
        let read = self.opened.read_now(buffer.bytes_mut(), start);
        match read.and_then(|is_read| self.opened.unchanged().map(|()| is_read)) {
            Ok(true) => Some(Ok(buffer)),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// Starts to read a piece from the disk. What is read goes on when its client is gone, with a
    /// descriptor and a thread, and so with the client's place: who asks a slow disk for much and
    /// leaves, again and again, would have all threads wait for it.
    fn read_later(&self, start: u64, length: usize) -> JoinHandle<Result<Buffer, FileError>> {
        let (opened, mut buffer) = (Arc::clone(&self.opened), self.buffers.take(length));
        let permit = self.permit.clone();
        tokio::task::spawn_blocking(move || {
            let read = opened.read_exactly(buffer.bytes_mut(), start);
            drop(permit);
            read.map(|()| buffer)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{
        files::open_beneath,
        limiter::{FairLimiter, PermitRequest},
    };
    use std::{fs, net::Ipv4Addr, sync::mpsc, task::Waker, thread};

    #[test]
    fn a_read_that_nobody_waits_for_any_more_keeps_its_clients_place_until_it_is_over() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("initrd"), "initrd").unwrap();
        // Its only disk is busy until it is told otherwise.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        let _entered = runtime.enter();
        let (go_on, wait) = mpsc::channel::<()>();
        runtime.spawn_blocking(move || wait.recv());

        let places = FairLimiter::new(1, 1, &Default::default());
        let permit = || places.take(&PermitRequest::unevictable(Ipv4Addr::LOCALHOST));
        let mut reader = PieceReader {
            opened: Arc::new(open_beneath(folder.path(), "initrd", None).unwrap()),
            buffers: BufferPool::new(1),
            permit: permit().map(Arc::new),
            reading: None,
        };
        reader.reading = Some(reader.read_later(0, 6));
        drop(reader);
        assert!(permit().is_none(), "the disk still reads for it");
        drop(go_on);
        while permit().is_none() {
            thread::yield_now();
        }
    }

    #[test]
    fn pieces_of_what_is_in_memory_are_the_ones_asked_for_and_none_beyond_its_end() {
        let bytes: Vec<u8> = (0..=250).cycle().take(HTTP_PIECE_BYTES + 10).collect();
        let mut source = BodySource::Memory(InMemoryFile {
            bytes: bytes.clone().into(),
            verified: None,
        });
        let length = bytes.len() as u64;
        let mut piece = |left| match source.poll_piece(&left, &mut Context::from_waker(Waker::noop())) {
            Poll::Ready(piece) => piece,
            Poll::Pending => panic!("memory is not waited for"),
        };
        assert_eq!(piece(0..length).unwrap(), bytes[..HTTP_PIECE_BYTES]);
        assert_eq!(
            piece(HTTP_PIECE_BYTES as u64..length).unwrap(),
            bytes[HTTP_PIECE_BYTES..]
        );
        assert_eq!(piece(3..5).unwrap(), bytes[3..5]);
        assert!(piece(length..length + 1).is_err());
    }
}
