//! Which parts of what a connection writes are of a copy that nobody can change, and how those are sent: the kernel
//! takes them from the copy itself, and nothing is copied.
//!
//! hyper hands over plain bytes. Those of a copy are known by where they lie in memory: while hyper holds a part of it
//! the copy is there, and so nothing else lies there.

use crate::net::{files::sealed::SealedCopy, socket::SealedMemory};
use crate::stall::StallGuard;
use nix::{errno::Errno, libc};
use socket2::SockRef;
use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncWrite, Interest},
    net::TcpStream,
};

/// The copies whose parts a connection may have been handed: those of the response under way, and of the one before it.
#[derive(Debug, Default)]
pub(super) struct CopiesInTransit {
    is_any: AtomicBool,
    last: Mutex<[Weak<SealedCopy>; 2]>,
}

/// How the first part of a write goes out that has bytes.
enum Sending<'a> {
    /// It is written, with those behind it.
    Written,
    /// It is written alone, and what comes behind it follows at once.
    Before(&'a [u8]),
    /// The kernel sends so many bytes from an offset of a copy.
    Sealed(Arc<SealedCopy>, u64, usize),
}

impl CopiesInTransit {
    /// From now on parts of this copy may come.
    pub(super) fn add(&self, copy: &Arc<SealedCopy>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::ptr::eq(last[0].as_ptr(), Arc::as_ptr(copy)) {
            last.swap(0, 1);
            last[0] = Arc::downgrade(copy);
        }
        self.is_any.store(true, Ordering::Relaxed);
    }

    /// Sends some of these parts: what is of a copy by the kernel itself, where it does that.
    pub(super) fn poll_send(
        &self,
        stream: &mut StallGuard<TcpStream>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.sending(parts) {
            Sending::Written => {}
            Sending::Before(bytes) => {
                return stream.poll_write_with(context, |stream, context| poll_write_before(stream, context, bytes));
            }
            Sending::Sealed(copy, offset, count) => {
                let part = (copy.memory(), offset, count);
                match stream.poll_write_with(context, |stream, context| poll_send(stream, context, part)) {
                    Poll::Ready(Err(error)) if is_refusal(&error) => copy.must_be_copied(&error),
                    sent => return sent,
                }
            }
        }
        Pin::new(stream).poll_write_vectored(context, parts)
    }

    /// How the first of these parts goes out.
    fn sending<'a>(&self, parts: &'a [IoSlice<'_>]) -> Sending<'a> {
        if !self.is_any.load(Ordering::Relaxed) {
            return Sending::Written;
        }
        let mut parts = parts.iter().map(|part| &**part).filter(|part| !part.is_empty());
        let (Some(first), second) = (parts.next(), parts.next()) else {
            return Sending::Written;
        };
        match (self.copy_with(first), second.and_then(|second| self.copy_with(second))) {
            (Some((copy, offset)), _) => Sending::Sealed(copy, offset, first.len()),
            (None, Some(_)) => Sending::Before(first),
            (None, None) => Sending::Written,
        }
    }

    /// The copy that a part is of, and where it lies there.
    fn copy_with(&self, part: &[u8]) -> Option<(Arc<SealedCopy>, u64)> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let mut copies = last.iter().filter_map(Weak::upgrade).filter(|copy| !copy.is_copied());
        copies.find_map(|copy| {
            let offset = copy.memory().offset_of(part)?;
            Some((copy, offset))
        })
    }
}

/// Has the kernel send a part of a copy.
fn poll_send(
    stream: &TcpStream,
    context: &mut Context<'_>,
    (memory, offset, count): (&SealedMemory, u64, usize),
) -> Poll<io::Result<usize>> {
    loop {
        ready!(stream.poll_write_ready(context))?;
        match stream.try_io(Interest::WRITABLE, || memory.send_to(stream, offset, count)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            sent => return Poll::Ready(sent),
        }
    }
}

/// Whether the kernel, or a filter of system calls before it, sends no file over this connection.
fn is_refusal(error: &io::Error) -> bool {
    let refusals = [
        Errno::EINVAL,
        Errno::ENOSYS,
        Errno::EPERM,
        Errno::EOPNOTSUPP,
        Errno::EACCES,
    ];
    refusals
        .iter()
        .any(|refusal| error.raw_os_error() == Some(*refusal as i32))
}

/// Writes what comes before such a part: it goes out with that, and not in a packet of its own.
fn poll_write_before(stream: &TcpStream, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    loop {
        ready!(stream.poll_write_ready(context))?;
        let more = || SockRef::from(stream).send_with_flags(bytes, libc::MSG_MORE | libc::MSG_NOSIGNAL);
        match stream.try_io(Interest::WRITABLE, more) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            sent => return Poll::Ready(sent),
        }
    }
}
