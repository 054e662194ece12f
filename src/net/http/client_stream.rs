//! A connection's bytes: counted, and reported when a body is gone.

use crate::boot::event::{FilePart, Reason, Step, Subject, WaitEnd};
use crate::model::limits::{
    HTTP_BUFFERED_BYTES_PER_S, HTTP_UNACKNOWLEDGED_ATTEMPTS_MIN, HTTP_UNACKNOWLEDGED_POLL_INTERVAL,
    HTTP_UNACKNOWLEDGED_TIMEOUT, HTTP_WRITE_STALL_BYTES, HTTP_WRITE_STALL_TIMEOUT, HTTP_WRITE_STALL_TIMEOUT_MAX,
};
use crate::net::{
    eviction::EvictionNotice,
    http::{in_transit::CopiesInTransit, malformed::ReceivedPrefix, recording::RecordedHeads},
    limiter::Permit,
    socket::{self, Unacknowledged},
};
use crate::stall::{StallGuard, StallLimits};
use crate::state::{Counter, Shared, transfers::TransferHandle};
use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    os::fd::AsFd,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tracing::debug;

/// A body on its way: becomes one event, `Sent` when it was sent completely and `Failed` otherwise.
pub(super) struct Delivery {
    shared: Arc<Shared>,
    subject: Subject,
    part: Option<FilePart>,
    bytes: u64,
    /// Why it can't be sent to its end, where that is not its connection.
    reason: Option<Reason>,
    /// What its connection was lost by, where that is known.
    loss: Option<ConnectionLoss>,
    is_complete: bool,
    held: DeliveryGuards,
}

/// What a body holds until the kernel has its last byte.
#[derive(Default)]
pub(super) struct DeliveryGuards {
    /// An image file's place. Whoever reads for the body holds it too.
    pub permit: Option<Arc<Permit>>,
    /// A file's entry among the transfers under way.
    pub handle: Option<TransferHandle>,
    /// Tells its client that it has to give way.
    pub eviction: EvictionNotice,
    /// Its connection, which may hold the body itself.
    pub tracker: Weak<DeliveryTracker>,
}

/// Why a connection was given up that its client did not close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ConnectionLoss {
    /// Its client takes too little of what waits for it.
    Stalled,
    /// Its client's machine acknowledges nothing.
    Gone,
}

impl ConnectionLoss {
    /// Of what the stall guard or the kernel says: a TimedOut of the kernel's is a client that is gone too.
    fn of(error: &io::Error) -> Option<ConnectionLoss> {
        match error.kind() {
            io::ErrorKind::TimedOut if error.raw_os_error().is_none() => Some(ConnectionLoss::Stalled),
            io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable => Some(ConnectionLoss::Gone),
            _ => None,
        }
    }

    fn counter(self) -> Counter {
        match self {
            ConnectionLoss::Stalled => Counter::HttpStalled,
            ConnectionLoss::Gone => Counter::HttpGone,
        }
    }

    /// The reason for a body of that length of which so much was sent.
    fn reason(self, had: u64, length: u64) -> Reason {
        match self {
            ConnectionLoss::Stalled => Reason::ClientStalled { had, length },
            ConnectionLoss::Gone => Reason::ClientGone { had, length },
        }
    }
}

impl Delivery {
    /// A body of so many bytes: all of what `subject` asks for, or a part of it.
    pub(super) fn new(
        shared: Arc<Shared>,
        subject: Subject,
        (part, bytes): (Option<FilePart>, u64),
        held: DeliveryGuards,
    ) -> Delivery {
        Delivery {
            shared,
            subject,
            part,
            bytes,
            reason: None,
            loss: None,
            is_complete: false,
            held,
        }
    }

    /// The place that it holds.
    pub(super) fn permit(&self) -> Option<Arc<Permit>> {
        self.held.permit.clone()
    }

    /// So many more of its bytes are with the connection.
    pub(super) fn advance(&self, bytes: usize) {
        if let Some(handle) = &self.held.handle {
            handle.add(bytes as u64);
        }
    }

    /// The reason that a later failure is given.
    pub(super) fn set_failure(&mut self, reason: Reason) {
        self.reason = Some(reason);
    }

    fn failure(&self) -> Reason {
        if self.held.eviction.is_evicted() {
            return Reason::GaveWay;
        }
        if let Some(reason) = &self.reason {
            return reason.clone();
        }
        let had = self.held.handle.as_ref().map_or(0, TransferHandle::sent);
        let length = self.bytes;
        let loss = || self.held.tracker.upgrade().and_then(|tracker| tracker.loss());
        match self.loss.or_else(loss) {
            Some(loss) => loss.reason(had, length),
            None => Reason::ConnectionEnded { had, length },
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let (file, part) = (self.subject.file.clone(), self.part);
        let (counter, step) = if self.is_complete {
            let bytes = self.bytes;
            (Counter::HttpCompleted, Step::Sent { file, part, bytes })
        } else {
            let reason = self.failure();
            (Counter::HttpAborted, Step::Failed { file, part, reason })
        };
        self.shared.counters.count(counter);
        self.shared.publish(self.subject.event(self.shared.clock.now(), step));
    }
}

/// Where a body that was handed over whole waits for the connection to be flushed.
pub(super) struct DeliveryTracker {
    shared: Arc<Shared>,
    delivery: Mutex<Option<Delivery>>,
    /// A large file, or a part of one, is to be sent.
    has_bulk: AtomicBool,
    /// Its connection is on another thread than before, and does not know it yet.
    has_moved: AtomicBool,
    heard: Mutex<ReceivedPrefix>,
    /// What the flight recorder keeps of the exchange that is under way.
    heads: RecordedHeads,
    /// Its client has a head, and waits for the body.
    has_promised: AtomicBool,
    loss: OnceLock<ConnectionLoss>,
    /// The copies of image files that it sends parts of.
    pub(super) copies: CopiesInTransit,
}

impl DeliveryTracker {
    /// That of a connection with the client at `peer`, which may be gone already, to this end of it.
    pub(super) fn new(shared: Arc<Shared>, peer: Option<SocketAddr>, own: SocketAddr) -> DeliveryTracker {
        DeliveryTracker {
            shared,
            delivery: Mutex::default(),
            has_bulk: AtomicBool::new(false),
            has_moved: AtomicBool::new(false),
            heard: Mutex::default(),
            heads: RecordedHeads::new(peer, own),
            has_promised: AtomicBool::new(false),
            loss: OnceLock::new(),
            copies: CopiesInTransit::default(),
        }
    }

    /// What every server shares.
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// What its client sent since the last response.
    pub(super) fn heard(&self) -> MutexGuard<'_, ReceivedPrefix> {
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

    /// Its client is sent a head, and the body once it can be had; or that is so no longer.
    pub(super) fn set_promised(&self, has_promised: bool) {
        self.has_promised.store(has_promised, Ordering::Relaxed);
    }

    /// Why it was given up, where its client did not close it.
    fn loss(&self) -> Option<ConnectionLoss> {
        self.loss.get().copied()
    }

    /// The same, of a request that waited.
    pub(super) fn wait_end(&self) -> WaitEnd {
        match self.loss() {
            Some(ConnectionLoss::Gone) => WaitEnd::ClientGone,
            Some(ConnectionLoss::Stalled) | None => WaitEnd::ClientLeft,
        }
    }

    fn fails(&self, error: &io::Error) {
        if let Some(loss) = ConnectionLoss::of(error)
            && self.loss.set(loss).is_ok()
        {
            self.shared.counters.count(loss.counter());
            // What is flushed no more: when the connection is dropped nothing tells why.
            let waiting = self.delivery.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(mut delivery) = waiting {
                delivery.loss = Some(loss);
            }
        }
    }

    /// The body's last byte is with the connection.
    pub(super) fn put(&self, delivery: Delivery) {
        *self.delivery.lock().unwrap_or_else(PoisonError::into_inner) = Some(delivery);
    }

    /// Everything that was with the connection is with the kernel.
    fn flushed(&self) {
        let waiting = self.delivery.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut delivery) = waiting {
            delivery.is_complete = true;
        }
    }
}

/// Any machine that boots takes more.
const STALL_LIMITS: StallLimits = StallLimits {
    time: HTTP_WRITE_STALL_TIMEOUT,
    bytes_min: HTTP_WRITE_STALL_BYTES,
    buffered_bytes_per_s: HTTP_BUFFERED_BYTES_PER_S,
    time_max: HTTP_WRITE_STALL_TIMEOUT_MAX,
    gone_poll: (HTTP_UNACKNOWLEDGED_TIMEOUT, HTTP_UNACKNOWLEDGED_POLL_INTERVAL),
};

/// Whether a client is gone that bytes wait for.
fn is_gone(client: Unacknowledged) -> bool {
    client.silence >= HTTP_UNACKNOWLEDGED_TIMEOUT && client.attempts >= HTTP_UNACKNOWLEDGED_ATTEMPTS_MIN
}

/// A connection.
pub(super) struct ClientStream {
    stream: StallGuard<TcpStream>,
    tracker: Arc<DeliveryTracker>,
}

impl ClientStream {
    pub(super) fn new(stream: TcpStream, tracker: Arc<DeliveryTracker>) -> ClientStream {
        ClientStream {
            stream: StallGuard::new(
                stream,
                |stream| socket::unacknowledged(stream).is_ok_and(is_gone),
                STALL_LIMITS,
            ),
            tracker,
        }
    }

    /// Has its socket watched by the thread that it is on now. Where the system has no descriptor for
    /// that, the thread that it was on goes on to watch it.
    fn settle(&mut self) {
        let has_moved = &self.tracker.has_moved;
        if !has_moved.load(Ordering::Acquire) || !has_moved.swap(false, Ordering::Acquire) {
            return;
        }
        let twin = self.stream.stream().as_fd().try_clone_to_owned();
        match twin.and_then(|twin| TcpStream::from_std(twin.into())) {
            Ok(stream) => self.stream.renew(stream),
            Err(error) => debug!("a connection is watched by the thread that it was on: {error}"),
        }
    }

    /// Has the flight recorder keep the head of a response, and of the request before it.
    fn record(&self, written: &io::Result<usize>, parts: &[IoSlice<'_>]) {
        let heads = &self.tracker.heads;
        if let Ok(written) = written
            && heads.awaits_response()
        {
            heads.sent(&self.tracker.shared, (*written, parts));
        }
    }

    fn count(&self, written: &io::Result<usize>) {
        let counters = &self.tracker.shared.counters;
        match written {
            Ok(bytes) => {
                counters.add(Counter::HttpBytes, *bytes as u64);
                self.tracker.heard().resolved();
            }
            Err(error) => self.tracker.fails(error),
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.settle();
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        read.inspect_err(|error| self.tracker.fails(error))?;
        let heard = &buffer.filled()[before..];
        self.tracker.heard().hear(heard);
        self.tracker.heads.hear(&self.tracker.shared, heard);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.settle();
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes));
        self.count(&written);
        self.record(&written, &[IoSlice::new(bytes)]);
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.settle();
        let ClientStream { stream, tracker } = &mut *self;
        let written = ready!(tracker.copies.poll_send(stream, context, parts));
        self.count(&written);
        self.record(&written, parts);
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes only when it has written everything it holds, and each time that it looks for more.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.tracker.flushed();
        if self.tracker.has_promised.load(Ordering::Relaxed) {
            self.settle();
            let is_there = self.stream.look_while_idle(context);
            is_there.inspect_err(|error| self.tracker.fails(error))?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_client_is_gone_that_acknowledges_nothing_and_none_that_reads_slowly() {
        let client = |seconds, attempts| Unacknowledged {
            silence: Duration::from_secs(seconds),
            attempts,
        };
        assert!(is_gone(client(40, 2)));
        // Who answers each question for room is asked ever more rarely, up to every two minutes.
        assert!(!is_gone(client(100, 0)));
        assert!(!is_gone(client(100, 1)), "one was lost");
        assert!(!is_gone(client(39, 7)), "a link that comes back");
    }
}
