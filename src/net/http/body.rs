//! Response bodies: a text, or a part of a file read piece by piece.

use crate::model::limits::HTTP_BODY_CHUNK_BYTES;
use crate::net::{
    files::{FileError, Opened},
    http::wire::{Delivery, Outbox},
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
}

/// A part of a file on its way: at most one piece of it is in memory.
pub(super) struct FileContent {
    opened: Arc<Opened>,
    left: Range<u64>,
    reading: Option<JoinHandle<Result<Bytes, FileError>>>,
    handing: Option<Handing>,
}

impl FileContent {
    pub(super) fn new(opened: Opened, part: Range<u64>, handing: Handing) -> FileContent {
        FileContent {
            opened: Arc::new(opened),
            left: part,
            reading: None,
            handing: Some(handing),
        }
    }

    /// Starts to read the next piece.
    fn read(&mut self) -> JoinHandle<Result<Bytes, FileError>> {
        let opened = Arc::clone(&self.opened);
        let start = self.left.start;
        let length = (self.left.end - start).min(HTTP_BODY_CHUNK_BYTES as u64);
        tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; usize::try_from(length).unwrap_or(HTTP_BODY_CHUNK_BYTES)];
            opened.read_exactly(&mut piece, start)?;
            Ok(piece.into())
        })
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, FileError>>> {
        if self.left.is_empty() {
            if let Some(handing) = self.handing.take() {
                handing.over();
            }
            return Poll::Ready(None);
        }
        if self.reading.is_none() {
            self.reading = Some(self.read());
        }
        let Some(reading) = &mut self.reading else {
            return Poll::Pending;
        };
        let read = ready!(Pin::new(reading).poll(context));
        self.reading = None;
        let piece = read.unwrap_or_else(|error| Err(FileError::Io(std::io::Error::other(error))));
        match &piece {
            Ok(bytes) => {
                self.left.start += bytes.len() as u64;
                if let Some(handing) = &self.handing {
                    handing.delivery.advance(bytes.len());
                }
                if self.left.is_empty()
                    && let Some(handing) = self.handing.take()
                {
                    handing.over();
                }
            }
            // The connection is cut: better half a file than one of two versions.
            Err(error) => {
                if let Some(handing) = &mut self.handing {
                    handing.delivery.blame(error.to_string());
                }
            }
        }
        Poll::Ready(Some(piece))
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
