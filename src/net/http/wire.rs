//! A connection's bytes: counted, and reported when a body is gone.

use crate::boot::event::{Event, Step};
use crate::model::limits::{HTTP_WRITE_STALL_BYTES, HTTP_WRITE_STALL_TIMEOUT};
use crate::net::{
    Counter, Shared,
    http::{patience::Patient, unread::Heard},
    places::Place,
    transfers::UnderWay,
    yielding::{GAVE_WAY, Leave},
};
use std::{
    io::{self, IoSlice},
    os::fd::AsFd,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tracing::debug;

/// A body on its way: becomes one event, `Sent` when it went out whole and `Failed` otherwise.
pub(super) struct Delivery {
    shared: Arc<Shared>,
    event: Event,
    what: String,
    bytes: u64,
    /// Why it failed, as far as that is known before the end.
    reason: String,
    whole: bool,
    held: Held,
}

/// What a body holds until the kernel has its last byte.
#[derive(Default)]
pub(super) struct Held {
    /// An image file's place. Whoever reads for the body holds it too.
    pub place: Option<Arc<Place>>,
    /// A file's entry among the transfers under way.
    pub under_way: Option<UnderWay>,
    /// Tells its client that it has to give way.
    pub leave: Leave,
}

impl Delivery {
    /// `event` says whose it is; its step is replaced.
    pub(super) fn new(shared: Arc<Shared>, event: Event, what: String, bytes: u64, held: Held) -> Delivery {
        Delivery {
            shared,
            event,
            what,
            bytes,
            reason: "the connection ended before the body did".to_owned(),
            whole: false,
            held,
        }
    }

    /// The place that it holds.
    pub(super) fn place(&self) -> Option<Arc<Place>> {
        self.held.place.clone()
    }

    /// So many more of its bytes are with the connection.
    pub(super) fn advance(&self, bytes: usize) {
        if let Some(under_way) = &self.held.under_way {
            under_way.add(bytes as u64);
        }
    }

    /// The reason that a later failure is given.
    pub(super) fn blame(&mut self, reason: String) {
        self.reason = reason;
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let what = std::mem::take(&mut self.what);
        let (counter, step) = if self.whole {
            let bytes = self.bytes;
            (Counter::HttpSent, Step::Sent { what, bytes })
        } else {
            let reason = match self.held.leave.is_told() {
                true => GAVE_WAY.to_owned(),
                false => std::mem::take(&mut self.reason),
            };
            (Counter::HttpAborted, Step::Failed { what, reason })
        };
        self.shared.counters.count(counter);
        self.event.step = step;
        self.shared.report(&self.event);
    }
}

/// Where a body that was handed over whole waits for the connection to be flushed.
pub(super) struct Outbox {
    shared: Arc<Shared>,
    delivery: Mutex<Option<Delivery>>,
    /// A large file, or a part of one, is to be sent.
    has_bulk: AtomicBool,
    /// Its connection is on another thread than before, and does not know it yet.
    has_moved: AtomicBool,
    heard: Mutex<Heard>,
}

impl Outbox {
    pub(super) fn new(shared: Arc<Shared>) -> Outbox {
        Outbox {
            shared,
            delivery: Mutex::default(),
            has_bulk: AtomicBool::new(false),
            has_moved: AtomicBool::new(false),
            heard: Mutex::default(),
        }
    }

    /// What every server shares.
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// What its client said since the last answer.
    pub(super) fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A large file, or a part of one, is to be sent over the connection.
    pub(super) fn takes_bulk(&self) {
        self.has_bulk.store(true, Ordering::Relaxed);
    }

    /// Whether such a one was to be sent over the connection.
    pub(super) fn wants_bulk_threads(&self) -> bool {
        self.has_bulk.load(Ordering::Relaxed)
    }

    /// From now on the connection is on another thread.
    pub(super) fn moves(&self) {
        self.has_moved.store(true, Ordering::Release);
    }

    /// The body's last byte is with the connection.
    pub(super) fn put(&self, delivery: Delivery) {
        *self.delivery.lock().unwrap_or_else(PoisonError::into_inner) = Some(delivery);
    }

    /// Everything that was with the connection is with the kernel.
    fn flushed(&self) {
        let waiting = self.delivery.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut delivery) = waiting {
            delivery.whole = true;
        }
    }
}

/// A connection.
pub(super) struct Wire {
    stream: Patient<TcpStream>,
    outbox: Arc<Outbox>,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, outbox: Arc<Outbox>) -> Wire {
        Wire {
            stream: Patient::new(stream, HTTP_WRITE_STALL_TIMEOUT, HTTP_WRITE_STALL_BYTES),
            outbox,
        }
    }

    /// Has its socket watched by the thread that it is on now. Where the system has no descriptor for
    /// that, the thread that it was on goes on to watch it.
    fn settle(&mut self) {
        let has_moved = &self.outbox.has_moved;
        if !has_moved.load(Ordering::Acquire) || !has_moved.swap(false, Ordering::Acquire) {
            return;
        }
        let twin = self.stream.stream().as_fd().try_clone_to_owned();
        match twin.and_then(|twin| TcpStream::from_std(twin.into())) {
            Ok(stream) => self.stream.renew(stream),
            Err(error) => debug!("a connection is watched by the thread that it was on: {error}"),
        }
    }

    fn count(&self, written: &io::Result<usize>) {
        let counters = &self.outbox.shared.counters;
        match written {
            Ok(bytes) => {
                counters.add(Counter::HttpBytes, *bytes as u64);
                self.outbox.heard().answered();
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => counters.count(Counter::HttpStalled),
            Err(_) => {}
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.settle();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.outbox.heard().hear(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.settle();
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes));
        self.count(&written);
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.settle();
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, parts));
        self.count(&written);
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes only when it has written everything it holds.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.outbox.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
