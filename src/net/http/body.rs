//! Response bodies: a text, or a part of a file piece by piece, at once or when it can be had.

use crate::model::limits::HTTP_TURN_BYTES;
use crate::net::{
    files::{FileError, hot},
    http::{
        rooms::Rooms,
        source::Source,
        wire::{Delivery, Outbox},
    },
};
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::{
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

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
    /// The same, and its bytes are waited for.
    Promised(Promise),
}

/// A part of a file that can't be had yet; the head went out with its length.
pub(super) struct Promise {
    /// Its bytes, one at least.
    pub length: u64,
    /// It, once it can be had.
    pub file: Pin<Box<dyn Future<Output = Result<FileContent, FileError>> + Send>>,
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

/// A part of a file on its way.
pub(super) struct FileContent {
    source: Source,
    left: Range<u64>,
    /// Bytes handed over since everybody else had a turn.
    in_turn: usize,
    handing: Option<Handing>,
}

impl FileContent {
    pub(super) fn new(content: hot::Content, part: Range<u64>, rooms: Rooms, handing: Handing) -> FileContent {
        FileContent {
            source: Source::new(content, rooms, handing.delivery.place()),
            in_turn: 0,
            handing: handing.unless_empty(part.is_empty()),
            left: part,
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
        let piece = ready!(self.source.poll_piece(&self.left, context));
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
        let this = self.get_mut();
        match this {
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
            Content::Promised(promise) => match ready!(promise.file.as_mut().poll(context)) {
                Ok(file) => {
                    *this = Content::File(file);
                    Pin::new(this).poll_frame(context)
                }
                // The connection is cut: the head said that there is something.
                Err(error) => Poll::Ready(Some(Err(error))),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            // A body that becomes an event is asked for until it was handed over.
            Content::Text { bytes, handing } => bytes.is_empty() && handing.is_none(),
            Content::File(file) => file.left.is_empty() && file.handing.is_none(),
            Content::Promised(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Content::Text { bytes, .. } => bytes.len() as u64,
            Content::File(file) => file.left.end - file.left.start,
            Content::Promised(promise) => promise.length,
        })
    }
}
