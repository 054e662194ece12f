//! A connection that is given up when its client takes too little of what waits for it: a machine's and an
//! operator's alike.
//!
//! A client that takes nothing, or a byte now and then, would hold its connection, its file and its
//! place among others for ever. How much is counted, not how often: any machine that boots takes more.
//!
//! What its kernel took is not read yet. One with a large buffer that is full says nothing until a sixteenth
//! of it is free (Linux, `__tcp_select_window`): with 64 MiB and 150 KB a second that is 28 s, seen, and the
//! word of it may be lost. So who took much at once has time to read it before it must take more.
//!
//! None of that is for a client that was switched off: a kernel acknowledges what comes to it, and answers when it is
//! asked for room, however slowly its program reads. One that does neither is given up sooner.

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

/// How little a client may take of what waits for it.
#[derive(Clone, Copy, Debug)]
pub struct StallLimits {
    /// How long the client may take for `bytes_min`.
    pub time: Duration,
    /// How many bytes it must take in that time.
    pub bytes_min: usize,
    /// How fast it reads at least what its kernel took.
    pub buffered_bytes_per_s: u64,
    /// The longest that it has, with what its kernel took. At `time` it has no longer for that.
    pub time_max: Duration,
    /// After how long it is looked first whether the client is there at all, and how often from then on. From
    /// `time_max` on it never is.
    pub gone_poll: (Duration, Duration),
}

/// A client's time for what waits for it.
#[derive(Debug)]
struct StallTimeout {
    limits: StallLimits,
    /// What it took since something waited for it last.
    burst: usize,
    /// Since when something waits that the client did not take at once, and what it took since.
    since: Option<Instant>,
    taken: usize,
    /// How much longer than `time` it has.
    credit: Duration,
    /// When it is looked next whether it is there at all.
    look_at: Option<Instant>,
}

impl StallTimeout {
    fn new(limits: StallLimits) -> StallTimeout {
        StallTimeout {
            limits,
            burst: 0,
            since: None,
            taken: 0,
            credit: Duration::ZERO,
            look_at: None,
        }
    }

    /// The client took some; enough of it ends its time.
    fn took(&mut self, bytes: usize) {
        self.taken = self.taken.saturating_add(bytes);
        self.burst = self.burst.saturating_add(bytes);
        if self.taken >= self.limits.bytes_min {
            self.since = None;
        }
    }

    /// Something waits for the client: when its time is up.
    fn waits(&mut self, now: Instant) -> Instant {
        let since = match self.since {
            Some(since) => since,
            None => {
                self.taken = 0;
                let burst = std::mem::take(&mut self.burst);
                self.credit = self.reads_for(burst);
                self.look_at = Some(now + self.limits.gone_poll.0);
                *self.since.insert(now)
            }
        };
        since + self.limits.time + self.credit
    }

    /// How long it may be busy with what it has.
    fn reads_for(&self, bytes: usize) -> Duration {
        let limits = &self.limits;
        let longest = limits.time_max.saturating_sub(limits.time);
        Duration::from_secs(bytes as u64 / limits.buffered_bytes_per_s).min(longest)
    }

    /// Nothing waits any more.
    fn emptied(&mut self) {
        self.since = None;
    }
}

/// A connection whose writes fail with `TimedOut` once its client's time is up, and with `HostUnreachable` once the
/// client is gone.
pub struct StallGuard<S> {
    stream: S,
    /// Whether the client is gone that bytes wait for.
    is_gone: fn(&S) -> bool,
    stall: StallTimeout,
    alarm: Pin<Box<Sleep>>,
}

impl<S> StallGuard<S> {
    /// The connection, whose client is held to `limits`.
    pub fn new(stream: S, is_gone: fn(&S) -> bool, limits: StallLimits) -> StallGuard<S> {
        StallGuard {
            stream,
            is_gone,
            stall: StallTimeout::new(limits),
            alarm: Box::pin(sleep_until(Instant::now() + limits.time)),
        }
    }

    /// The connection.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// The same connection for another thread: what waits has its whole time again.
    pub fn renew(&mut self, stream: S) {
        self.stream = stream;
        self.stall.emptied();
        self.alarm = Box::pin(sleep_until(Instant::now() + self.stall.limits.time));
    }

    /// Writes in a way of its own, to a client that is held to the same.
    pub fn poll_write_with(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(&S, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let written = write(&self.stream, context);
        self.watch(context, written)
    }

    /// Looks now and then whether the client is there, while it has everything and waits for more. Nothing else would
    /// tell: the kernel asks nobody (SO_KEEPALIVE) who owes it a word, and sends again for a quarter of an hour.
    ///
    /// # Errors
    /// `HostUnreachable` once the client is gone.
    pub fn look_while_idle(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let (first, then) = self.stall.limits.gone_poll;
        loop {
            let look_at = *self.stall.look_at.get_or_insert_with(|| Instant::now() + first);
            if self.alarm.deadline() != look_at {
                self.alarm.as_mut().reset(look_at);
            }
            if self.alarm.as_mut().poll(context).is_pending() {
                return Ok(());
            }
            if (self.is_gone)(&self.stream) {
                return Err(io::ErrorKind::HostUnreachable.into());
            }
            self.stall.look_at = Some(Instant::now() + then);
        }
    }

    fn watch(&mut self, context: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(bytes)) => {
                self.stall.took(bytes);
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                let end = ready!(self.time_up(context));
                Poll::Ready(Err(end.into()))
            }
        }
    }

    /// Ready once the client is to be given up, and with why.
    fn time_up(&mut self, context: &mut Context<'_>) -> Poll<io::ErrorKind> {
        loop {
            let deadline = self.stall.waits(Instant::now());
            let look_at = self.stall.look_at.filter(|look_at| *look_at < deadline);
            let next = look_at.unwrap_or(deadline);
            if self.alarm.deadline() != next {
                self.alarm.as_mut().reset(next);
            }
            ready!(self.alarm.as_mut().poll(context));
            let Some(looked_at) = look_at else {
                return Poll::Ready(io::ErrorKind::TimedOut);
            };
            if (self.is_gone)(&self.stream) {
                return Poll::Ready(io::ErrorKind::HostUnreachable);
            }
            self.stall.look_at = Some(looked_at + self.stall.limits.gone_poll.1);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for StallGuard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for StallGuard<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.watch(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes only when it has written everything it holds.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.stall.emptied();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    const MINUTE: Duration = Duration::from_secs(60);

    fn limits(bytes_min: usize) -> StallLimits {
        StallLimits {
            time: MINUTE,
            bytes_min,
            buffered_bytes_per_s: 10_000,
            time_max: 5 * MINUTE,
            gone_poll: (MINUTE / 2, MINUTE / 8),
        }
    }

    fn stall() -> StallTimeout {
        StallTimeout::new(limits(1000))
    }

    fn guard<S>(stream: S, bytes_min: usize) -> StallGuard<S> {
        StallGuard::new(stream, |_| false, limits(bytes_min))
    }

    #[test]
    fn a_client_that_takes_too_little_in_its_time_has_no_more_of_it() {
        let (mut stall, start) = (stall(), Instant::now());
        let deadline = stall.waits(start);
        assert_eq!(deadline, start + MINUTE);
        for second in 1..60 {
            stall.took(10);
            assert_eq!(stall.waits(start + Duration::from_secs(second)), deadline);
        }
    }

    #[test]
    fn a_client_that_takes_enough_or_everything_has_its_whole_time_again() {
        let (mut stall, start) = (stall(), Instant::now());
        let second = Duration::from_secs(1);
        // What it took at once, before anything waited, is not counted.
        stall.took(900);
        stall.waits(start);
        stall.took(999);
        assert_eq!(stall.waits(start + second), start + MINUTE);
        stall.took(1);
        assert_eq!(stall.waits(start + second), start + second + MINUTE);
        stall.emptied();
        assert_eq!(stall.waits(start + 2 * second), start + 2 * second + MINUTE);
    }

    #[test]
    fn a_steady_client_whose_kernel_takes_much_at_once_has_the_time_to_read_it() {
        let (mut stall, mut now) = (stall(), Instant::now());
        // It reads 15 kB a second, from a buffer that has room again for a sixteenth of it at a time.
        let (rate, sixteenth) = (15_000, 1_500_000);
        stall.took(16 * sixteenth);
        for _ in 0..20 {
            let deadline = stall.waits(now);
            now += Duration::from_secs((sixteenth / rate) as u64);
            assert!(now < deadline, "it was cut {:?} early", now - deadline);
            stall.took(sixteenth);
        }
        // What it takes in small pieces is no reason to wait longer, and nothing is for longer than the longest.
        assert_eq!(stall.waits(now), now + Duration::from_secs(150 + 60));
        stall.took(1000);
        assert_eq!(stall.waits(now), now + MINUTE);
        stall.took(usize::MAX);
        assert_eq!(stall.waits(now), now + 5 * MINUTE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_whose_client_takes_nothing_is_given_up_and_sooner_where_that_is_gone() {
        for (is_gone, why, after) in [
            ((|_| false) as fn(&_) -> bool, io::ErrorKind::TimedOut, MINUTE),
            (|_| true, io::ErrorKind::HostUnreachable, MINUTE / 2),
        ] {
            let (server, _client) = duplex(64);
            let (mut patient, began) = (StallGuard::new(server, is_gone, limits(1000)), Instant::now());
            let written = patient.write_all(&[0; 1000]).await;
            assert_eq!(written.unwrap_err().kind(), why);
            assert_eq!(began.elapsed(), after);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_waits_for_more_is_given_up_once_it_is_gone_and_never_where_it_is_there() {
        let idle = |is_gone| {
            let (server, client) = duplex(64);
            let (mut patient, began) = (StallGuard::new(server, is_gone, limits(1000)), Instant::now());
            async move {
                let _client = client;
                let gone = std::future::poll_fn(|context| match patient.look_while_idle(context) {
                    Ok(()) => Poll::Pending,
                    Err(error) => Poll::Ready(error.kind()),
                });
                let gone = tokio::time::timeout(60 * MINUTE, gone).await;
                (gone.ok(), began.elapsed())
            }
        };
        assert_eq!(idle(|_| true).await, (Some(io::ErrorKind::HostUnreachable), MINUTE / 2));
        assert_eq!(idle(|_| false).await, (None, 60 * MINUTE));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_whose_client_takes_a_byte_now_and_then_is_given_up() {
        let (server, mut client) = duplex(64);
        let (mut patient, began) = (guard(server, 1_000_000), Instant::now());
        let sips = async {
            while client.read_u8().await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let written = tokio::select! {
            written = patient.write_all(&[0; 1_000_000]) => written,
            () = sips => panic!("the connection ended without a word"),
        };
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed(), MINUTE);
    }

    #[tokio::test]
    async fn a_client_that_takes_everything_gets_everything() {
        let (server, mut client) = duplex(64);
        let mut patient = guard(server, 1000);
        let mut taken = vec![0; 10_000];
        let (written, read) = tokio::join!(patient.write_all(&[7; 10_000]), client.read_exact(&mut taken));
        written.unwrap();
        read.unwrap();
        assert!(taken.iter().all(|byte| *byte == 7));
    }
}
