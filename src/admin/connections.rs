//! Who has a place at the operator's socket, what each is at, and who gives way to a newcomer: first who asks
//! nothing, then who does not take its answer, then who has taken answers longest. A question that is being
//! answered stays.

use crate::model::limits::{ADMIN_CONNECTIONS_MAX, ADMIN_SLOT_POLL_INTERVAL, ADMIN_WRITE_STALL_TIMEOUT};
use crate::stall::{StallGuard, StallLimits};
use hyper::body::{Body, Frame, SizeHint};
use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::UnixStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::AbortHandle,
};

/// What a connection is at.
#[derive(Debug, Default)]
pub(super) struct Activity {
    phase: AtomicU8,
    /// Whether bytes wait for a client that takes none.
    is_stalled: AtomicBool,
}

/// Nothing is asked: not yet, or all was answered.
const IDLE: u8 = 0;
/// The answer is being found.
const ASKED: u8 = 1;
/// The answer is on its way out.
const ANSWERED: u8 = 2;
/// All of it was written, and some of that may not have gone out.
const WRITTEN: u8 = 3;

impl Activity {
    /// A question has arrived.
    pub(super) fn asked(&self) {
        self.phase.store(ASKED, Ordering::Relaxed);
    }

    /// The answer is there; the body tells when it is written.
    pub(super) fn answered<B>(self: &Arc<Self>, body: B) -> TrackedBody<B> {
        self.phase.store(ANSWERED, Ordering::Relaxed);
        TrackedBody {
            body,
            activity: Arc::clone(self),
        }
    }

    fn flushed(&self) {
        let _ = self
            .phase
            .compare_exchange(WRITTEN, IDLE, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The place of a connection among those that give way; none for one that stays.
    fn yield_order(&self) -> Option<u8> {
        match (
            self.phase.load(Ordering::Relaxed),
            self.is_stalled.load(Ordering::Relaxed),
        ) {
            (ASKED, _) => None,
            (IDLE, _) => Some(0),
            (_, true) => Some(1),
            (_, false) => Some(2),
        }
    }
}

/// The places for connections, and who has them; the oldest first.
pub(super) struct ConnectionSlots {
    free: Arc<Semaphore>,
    taken: Vec<(AbortHandle, Arc<Activity>)>,
}

impl ConnectionSlots {
    pub(super) fn new() -> ConnectionSlots {
        ConnectionSlots {
            free: Arc::new(Semaphore::new(ADMIN_CONNECTIONS_MAX)),
            taken: Vec::new(),
        }
    }

    /// A place for a newcomer, for which another connection may have to end.
    pub(super) async fn take(&mut self) -> Result<OwnedSemaphorePermit, tokio::sync::AcquireError> {
        loop {
            self.make_room();
            let place = Arc::clone(&self.free).acquire_owned();
            // Where all were being answered, one may be answered by now.
            if let Ok(place) = tokio::time::timeout(ADMIN_SLOT_POLL_INTERVAL, place).await {
                return place;
            }
        }
    }

    /// Ends a connection that only holds its place, where no place is free.
    fn make_room(&mut self) {
        self.taken.retain(|(task, _)| !task.is_finished());
        if self.free.available_permits() > 0 {
            return;
        }
        let taken = self.taken.iter().enumerate();
        let first = taken
            .filter_map(|(place, (_, activity))| Some((activity.yield_order()?, place)))
            .min();
        if let Some((_, place)) = first {
            self.taken.remove(place).0.abort();
        }
    }

    pub(super) fn note(&mut self, task: AbortHandle, activity: Arc<Activity>) {
        self.taken.push((task, activity));
    }
}

/// A body that tells when all of it was written.
pub(super) struct TrackedBody<B> {
    body: B,
    activity: Arc<Activity>,
}

impl<B: Body + Unpin> Body for TrackedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for TrackedBody<B> {
    fn drop(&mut self) {
        self.activity.phase.store(WRITTEN, Ordering::Relaxed);
    }
}

/// Who takes anything has its whole time again, and none for what its kernel took.
const STALL_LIMITS: StallLimits = StallLimits {
    time: ADMIN_WRITE_STALL_TIMEOUT,
    bytes_min: 1,
    buffered_bytes_per_s: u64::MAX,
    time_max: ADMIN_WRITE_STALL_TIMEOUT,
    // Where the client's process ended on this host, there is nothing to wait for.
    gone_poll: (ADMIN_WRITE_STALL_TIMEOUT, ADMIN_WRITE_STALL_TIMEOUT),
};

/// A connection that notes whether its client takes what is written, and breaks off where it takes nothing for
/// too long.
pub(super) struct TrackedStream {
    stream: StallGuard<UnixStream>,
    activity: Arc<Activity>,
}

impl TrackedStream {
    pub(super) fn new(stream: UnixStream, activity: Arc<Activity>) -> TrackedStream {
        TrackedStream {
            stream: StallGuard::new(stream, |_| false, STALL_LIMITS),
            activity,
        }
    }
}

impl AsyncRead for TrackedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for TrackedStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.activity.is_stalled.store(written.is_pending(), Ordering::Relaxed);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.activity.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{io::AsyncWriteExt, time::Instant};

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_gives_way_before_one_that_does_and_is_given_up_in_the_end() {
        let (server, _client) = UnixStream::pair().unwrap();
        let (activity, began) = (Arc::<Activity>::default(), Instant::now());
        let mut stream = TrackedStream::new(server, Arc::clone(&activity));
        let _body = activity.answered(());
        assert_eq!(activity.yield_order(), Some(2));
        let written = async {
            loop {
                stream.write_all(&[0; 4096]).await?;
            }
        };
        let mut written = std::pin::pin!(written);
        let early = tokio::time::timeout(ADMIN_WRITE_STALL_TIMEOUT / 2, &mut written).await;
        assert!(early.is_err(), "it ended early");
        assert_eq!(activity.yield_order(), Some(1));
        let ended: io::Result<()> = written.await;
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed(), ADMIN_WRITE_STALL_TIMEOUT);
    }
}
