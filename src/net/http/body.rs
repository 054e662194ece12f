//! Response bodies: a text, or a part of a file piece by piece, at once or when it can be had.

use crate::boot::event::Reason;
use crate::net::{
    files::{FileError, hot, sealed::SealedCopies},
    http::{
        buffer_pool::BufferPool,
        client_stream::{Delivery, DeliveryTracker},
        source::BodySource,
    },
};
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::{
    net::IpAddr,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// A response's body.
pub(super) enum ResponseBody {
    /// Bytes in memory.
    Text {
        /// What is left of them.
        bytes: Bytes,
        /// The event it becomes; errors and answers to HEAD become none.
        delivery_handle: Option<DeliveryHandle>,
    },
    /// A part of a file.
    File(FileContent),
    /// The same, and its bytes are waited for.
    Deferred(DeferredFile),
}

/// A part of a file that can't be had yet; the head went out with its length.
pub(super) struct DeferredFile {
    /// Its bytes, one at least.
    pub length: u64,
    /// It, once it can be had.
    pub file: Pin<Box<dyn Future<Output = Result<FileContent, FileError>> + Send>>,
}

/// A delivery and the connection that it is handed to.
pub(super) struct DeliveryHandle {
    /// What becomes an event.
    pub delivery: Delivery,
    /// The connection's.
    pub tracker: Arc<DeliveryTracker>,
}

impl DeliveryHandle {
    fn over(self) {
        self.tracker.put(self.delivery);
    }

    /// An empty body is never asked for: it is over with its head.
    fn unless_empty(self, is_empty: bool) -> Option<DeliveryHandle> {
        if is_empty {
            self.over();
            return None;
        }
        Some(self)
    }
}

impl ResponseBody {
    /// A text that becomes an event.
    pub(super) fn text(bytes: Bytes, delivery_handle: DeliveryHandle) -> ResponseBody {
        let delivery_handle = delivery_handle.unless_empty(bytes.is_empty());
        ResponseBody::Text { bytes, delivery_handle }
    }
}

/// A part of a file on its way.
pub(super) struct FileContent {
    source: BodySource,
    left: Range<u64>,
    /// Bytes handed over since everybody else had a turn.
    in_turn: usize,
    delivery_handle: Option<DeliveryHandle>,
}

impl FileContent {
    pub(super) fn new(
        (content, part): (hot::FileSource, Range<u64>),
        buffers: BufferPool,
        (copies, client): (&Arc<SealedCopies>, IpAddr),
        delivery_handle: DeliveryHandle,
    ) -> FileContent {
        let room = (buffers, delivery_handle.delivery.permit());
        FileContent {
            source: BodySource::new(content, room, (copies, client, &delivery_handle.tracker)),
            in_turn: 0,
            delivery_handle: delivery_handle.unless_empty(part.is_empty()),
            left: part,
        }
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, FileError>>> {
        if self.left.is_empty() {
            if let Some(delivery_handle) = self.delivery_handle.take() {
                delivery_handle.over();
            }
            return Poll::Ready(None);
        }
        // A body in memory and a client that takes all of it would go on for megabytes while
        // loaders, scripts and leases wait.
        if self.in_turn >= self.source.bytes_in_turn() {
            self.in_turn = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let piece = ready!(self.source.poll_piece(&self.left, context));
        match &piece {
            Ok(bytes) => self.took(bytes.len()),
            // The connection is cut: better half a file than one of two versions.
            Err(error) => {
                if let Some(delivery_handle) = &mut self.delivery_handle {
                    delivery_handle.delivery.set_failure(Reason::from(error));
                }
            }
        }
        Poll::Ready(Some(piece))
    }

    fn took(&mut self, bytes: usize) {
        self.in_turn += bytes;
        self.left.start += bytes as u64;
        if let Some(delivery_handle) = &self.delivery_handle {
            delivery_handle.delivery.advance(bytes);
        }
        if self.left.is_empty()
            && let Some(delivery_handle) = self.delivery_handle.take()
        {
            delivery_handle.over();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = FileError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, FileError>>> {
        let this = self.get_mut();
        match this {
            ResponseBody::Text { bytes, delivery_handle } => {
                let whole = std::mem::take(bytes);
                if let Some(delivery_handle) = delivery_handle.take() {
                    delivery_handle.over();
                }
                Poll::Ready((!whole.is_empty()).then(|| Ok(Frame::data(whole))))
            }
            ResponseBody::File(file) => {
                let piece = ready!(file.poll_piece(context));
                Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
            }
            ResponseBody::Deferred(defer) => match ready!(defer.file.as_mut().poll(context)) {
                Ok(file) => {
                    *this = ResponseBody::File(file);
                    Pin::new(this).poll_frame(context)
                }
                // The connection is cut: the head announced a body.
                Err(error) => Poll::Ready(Some(Err(error))),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            // A body that becomes an event is asked for until it was handed over.
            ResponseBody::Text { bytes, delivery_handle } => bytes.is_empty() && delivery_handle.is_none(),
            ResponseBody::File(file) => file.left.is_empty() && file.delivery_handle.is_none(),
            ResponseBody::Deferred(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            ResponseBody::Text { bytes, .. } => bytes.len() as u64,
            ResponseBody::File(file) => file.left.end - file.left.start,
            ResponseBody::Deferred(defer) => defer.length,
        })
    }
}
