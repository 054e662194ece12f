//! Response bodies: a text, or a part of a file read piece by piece.

use crate::model::limits::{HTTP_PIECE_BYTES, HTTP_TURN_BYTES};
use crate::net::{
    files::{FileError, Opened},
    http::{
        rooms::{Room, Rooms},
        wire::{Delivery, Outbox},
    },
    places::Place,
};
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::{
    future::Future,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::task::JoinHandle;

/// A response's body.
pub(super) enum Content {
    /// Bytes in memory.
    Text {
        /// What is left of them.
        bytes: Bytes,
        /// The event it becomes; errors and answers to HEAD become none.
        handing: Option<Handing>,
    },
    /// A part of a file.
    File(FileContent),
}

/// A delivery and the connection that it is handed to.
pub(super) struct Handing {
    /// What becomes an event.
    pub delivery: Delivery,
    /// The connection's.
    pub outbox: Arc<Outbox>,
}

impl Handing {
    fn over(self) {
        self.outbox.put(self.delivery);
    }

    /// An empty body is never asked for: it is over with its head.
    fn unless_empty(self, is_empty: bool) -> Option<Handing> {
        if is_empty {
            self.over();
            return None;
        }
        Some(self)
    }
}

impl Content {
    /// A text that becomes an event.
    pub(super) fn text(bytes: Bytes, handing: Handing) -> Content {
        let handing = handing.unless_empty(bytes.is_empty());
        Content::Text { bytes, handing }
    }
}

/// A part of a file on its way: at most one piece of it is in memory.
pub(super) struct FileContent {
    opened: Arc<Opened>,
    left: Range<u64>,
    rooms: Rooms,
    place: Option<Arc<Place>>,
    reading: Option<JoinHandle<Result<Room, FileError>>>,
    /// Bytes handed over since everybody else had a turn.
    in_turn: usize,
    handing: Option<Handing>,
}

impl FileContent {
    pub(super) fn new(opened: Opened, part: Range<u64>, rooms: Rooms, handing: Handing) -> FileContent {
        FileContent {
            opened: Arc::new(opened),
            rooms,
            place: handing.delivery.place(),
            reading: None,
            in_turn: 0,
            handing: handing.unless_empty(part.is_empty()),
            left: part,
        }
    }

    /// Where the next piece starts, and room for it.
    fn next(&self) -> (u64, Room) {
        let Range { start, end } = self.left;
        let length = usize::try_from(end - start).unwrap_or(HTTP_PIECE_BYTES);
        (start, self.rooms.take(length))
    }

    /// The next piece, where the page cache has it; `None` where the disk has to be waited for.
    fn read_now(&self) -> Option<Result<Room, FileError>> {
        let (start, mut room) = self.next();
        let read = self.opened.read_now(room.bytes_mut(), start);
        match read.and_then(|is_read| self.opened.unchanged().map(|()| is_read)) {
            Ok(true) => Some(Ok(room)),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// Starts to read the next piece from the disk. What is read goes on when its client is gone, with
    /// a descriptor and a thread, and so with the client's place: who asks a slow disk for much and
    /// leaves, again and again, would have all threads wait for it.
    fn read_later(&self) -> JoinHandle<Result<Room, FileError>> {
        let (opened, (start, mut room)) = (Arc::clone(&self.opened), self.next());
        let place = self.place.clone();
        tokio::task::spawn_blocking(move || {
            let read = opened.read_exactly(room.bytes_mut(), start);
            drop(place);
            read.map(|()| room)
        })
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<Room, FileError>> {
        let mut reading = match self.reading.take() {
            Some(reading) => reading,
            None => match self.read_now() {
                Some(read) => return Poll::Ready(read),
                None => self.read_later(),
            },
        };
        match Pin::new(&mut reading).poll(context) {
            Poll::Ready(Ok(read)) => Poll::Ready(read),
            Poll::Ready(Err(error)) => Poll::Ready(Err(FileError::Io(std::io::Error::other(error)))),
            Poll::Pending => {
                self.reading = Some(reading);
                Poll::Pending
            }
        }
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, FileError>>> {
        if self.left.is_empty() {
            if let Some(handing) = self.handing.take() {
                handing.over();
            }
            return Poll::Ready(None);
        }
        // A body in memory and a client that takes all of it would go on for megabytes while
        // loaders, scripts and leases wait.
        if self.in_turn >= HTTP_TURN_BYTES {
            self.in_turn = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let piece = ready!(self.poll_read(context)).map(Room::into_piece);
        match &piece {
            Ok(bytes) => self.took(bytes.len()),
            // The connection is cut: better half a file than one of two versions.
            Err(error) => {
                if let Some(handing) = &mut self.handing {
                    handing.delivery.blame(error.to_string());
                }
            }
        }
        Poll::Ready(Some(piece))
    }

    fn took(&mut self, bytes: usize) {
        self.in_turn += bytes;
        self.left.start += bytes as u64;
        if let Some(handing) = &self.handing {
            handing.delivery.advance(bytes);
        }
        if self.left.is_empty()
            && let Some(handing) = self.handing.take()
        {
            handing.over();
        }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = FileError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, FileError>>> {
        match self.get_mut() {
            Content::Text { bytes, handing } => {
                let whole = std::mem::take(bytes);
                if let Some(handing) = handing.take() {
                    handing.over();
                }
                Poll::Ready((!whole.is_empty()).then(|| Ok(Frame::data(whole))))
            }
            Content::File(file) => {
                let piece = ready!(file.poll_piece(context));
                Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            // A body that becomes an event is asked for until it was handed over.
            Content::Text { bytes, handing } => bytes.is_empty() && handing.is_none(),
            Content::File(file) => file.left.is_empty() && file.handing.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Content::Text { bytes, .. } => bytes.len() as u64,
            Content::File(file) => file.left.end - file.left.start,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{files::open_beneath, places::Places};
    use std::{fs, net::Ipv4Addr, sync::mpsc, thread};

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

        let places = Places::new(1, 1);
        let place = || places.take(Ipv4Addr::LOCALHOST);
        let mut content = FileContent {
            opened: Arc::new(open_beneath(folder.path(), "initrd", None).unwrap()),
            left: 0..6,
            rooms: Rooms::new(1),
            place: place().map(Arc::new),
            reading: None,
            in_turn: 0,
            handing: None,
        };
        content.reading = Some(content.read_later());
        drop(content);
        assert!(place().is_none(), "the disk still reads for it");
        drop(go_on);
        while place().is_none() {
            thread::yield_now();
        }
    }
}
