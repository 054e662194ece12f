//! A connection that is given up when its client takes too little of what waits for it.
//!
//! A client that takes nothing, or a byte now and then, would hold its connection, its file and its
//! place among the bulk streams for ever. How much is counted, not how often: any machine that boots
//! takes more.

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

/// A client's time for what waits for it.
#[derive(Debug)]
struct Patience {
    /// How long the client may take for `enough` bytes.
    time: Duration,
    enough: usize,
    /// Since when something waits that the client did not take at once, and what it took since.
    since: Option<Instant>,
    taken: usize,
}

impl Patience {
    /// The client took some; enough of it ends its time.
    fn took(&mut self, bytes: usize) {
        self.taken = self.taken.saturating_add(bytes);
        if self.taken >= self.enough {
            self.since = None;
        }
    }

    /// Something waits for the client: when its time is up.
    fn waits(&mut self, now: Instant) -> Instant {
        let since = *self.since.get_or_insert_with(|| {
            self.taken = 0;
            now
        });
        since + self.time
    }

    /// Nothing waits any more.
    fn emptied(&mut self) {
        self.since = None;
    }
}

/// A connection whose writes fail with `TimedOut` once its client's time is up.
pub(super) struct Patient<S> {
    stream: S,
    patience: Patience,
    alarm: Pin<Box<Sleep>>,
}

impl<S> Patient<S> {
    /// The client has `time` for every `enough` bytes that it does not take at once.
    pub(super) fn new(stream: S, time: Duration, enough: usize) -> Patient<S> {
        Patient {
            stream,
            patience: Patience {
                time,
                enough,
                since: None,
                taken: 0,
            },
            alarm: Box::pin(sleep_until(Instant::now() + time)),
        }
    }

    /// The connection.
    pub(super) fn stream(&self) -> &S {
        &self.stream
    }

    /// The same connection for another thread: what waits has its whole time again.
    pub(super) fn renew(&mut self, stream: S) {
        self.stream = stream;
        self.patience.emptied();
        self.alarm = Box::pin(sleep_until(Instant::now() + self.patience.time));
    }

    fn watch(&mut self, context: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(bytes)) => {
                self.patience.took(bytes);
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                let deadline = self.patience.waits(Instant::now());
                if self.alarm.deadline() != deadline {
                    self.alarm.as_mut().reset(deadline);
                }
                ready!(self.alarm.as_mut().poll(context));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
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
        self.patience.emptied();
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

    fn patience() -> Patience {
        Patience {
            time: MINUTE,
            enough: 1000,
            since: None,
            taken: 0,
        }
    }

    #[test]
    fn a_client_that_takes_too_little_in_its_time_has_no_more_of_it() {
        let (mut patience, start) = (patience(), Instant::now());
        let deadline = patience.waits(start);
        assert_eq!(deadline, start + MINUTE);
        for second in 1..60 {
            patience.took(10);
            assert_eq!(patience.waits(start + Duration::from_secs(second)), deadline);
        }
    }

    #[test]
    fn a_client_that_takes_enough_or_everything_has_its_whole_time_again() {
        let (mut patience, start) = (patience(), Instant::now());
        let second = Duration::from_secs(1);
        // What it took at once, before anything waited, is not counted.
        patience.took(900);
        patience.waits(start);
        patience.took(999);
        assert_eq!(patience.waits(start + second), start + MINUTE);
        patience.took(1);
        assert_eq!(patience.waits(start + second), start + second + MINUTE);
        patience.emptied();
        assert_eq!(patience.waits(start + 2 * second), start + 2 * second + MINUTE);
    }

    #[tokio::test]
    async fn a_connection_whose_client_takes_nothing_is_given_up() {
        let (server, _client) = duplex(64);
        let mut patient = Patient::new(server, Duration::from_millis(1), 1000);
        let written = patient.write_all(&[0; 1000]).await;
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_connection_whose_client_takes_a_byte_now_and_then_is_given_up() {
        let (server, mut client) = duplex(64);
        let mut patient = Patient::new(server, Duration::from_millis(50), 1_000_000);
        let sips = async {
            while client.read_u8().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let written = tokio::select! {
            written = patient.write_all(&[0; 1_000_000]) => written,
            () = sips => panic!("the connection ended without a word"),
        };
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_client_that_takes_everything_gets_everything() {
        let (server, mut client) = duplex(64);
        let mut patient = Patient::new(server, MINUTE, 1000);
        let mut taken = vec![0; 10_000];
        let (written, read) = tokio::join!(patient.write_all(&[7; 10_000]), client.read_exact(&mut taken));
        written.unwrap();
        read.unwrap();
        assert!(taken.iter().all(|byte| *byte == 7));
    }
}
