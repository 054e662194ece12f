//! Datagrams as they come in, many in one system call.

use super::ReceivedDatagram;
use nix::libc;
use std::{
    io,
    mem::zeroed,
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::AsRawFd,
    ptr::null_mut,
};

/// Datagrams or messages in one system call.
pub const BATCH: usize = 32;

/// Room for the control messages of one datagram: packet information and a segment's length.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub(super) struct Control([u8; 64]);

impl Control {
    /// Nothing logged yet.
    pub(super) const EMPTY: Control = Control([0; 64]);
}

/// Room for a batch of incoming datagrams.
pub struct Inbox {
    bytes: Vec<u8>,
    bytes_max: usize,
    received: Vec<ReceivedDatagram>,
}

impl Inbox {
    /// Room for datagrams of at most `bytes_max`; longer ones are cut.
    pub fn new(bytes_max: usize) -> Inbox {
        Inbox {
            bytes: vec![0; bytes_max * BATCH],
            bytes_max,
            received: Vec::with_capacity(BATCH),
        }
    }

    /// Takes what the kernel has, without waiting, in place of the batch before: how many, or an
    /// error of kind `WouldBlock`.
    pub fn receive(&mut self, socket: &impl AsRawFd) -> io::Result<usize> {
        self.received.clear();
        // SAFETY: these are plain numbers and pointers; all zeros is a valid value of each.
        let (mut sources, mut parts, mut headers): (
            [libc::sockaddr_in; BATCH],
            [libc::iovec; BATCH],
            [libc::mmsghdr; BATCH],
        ) = unsafe { (zeroed(), zeroed(), zeroed()) };
        let mut controls = [Control::EMPTY; BATCH];
        for (at, room) in self.bytes.chunks_exact_mut(self.bytes_max).enumerate() {
            parts[at].iov_base = room.as_mut_ptr().cast();
            parts[at].iov_len = room.len();
            let header = &mut headers[at].msg_hdr;
            header.msg_name = (&raw mut sources[at]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            header.msg_iov = &raw mut parts[at];
            header.msg_iovlen = 1;
            header.msg_control = (&raw mut controls[at]).cast();
            header.msg_controllen = size_of::<Control>();
        }
        // SAFETY: every header points to live room of the lengths it says, which nothing else uses
        // during the call.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        for at in 0..count {
            let header = &headers[at];
            self.received.push(ReceivedDatagram {
                length: (header.msg_len as usize).min(self.bytes_max),
                source: SocketAddrV4::new(
                    Ipv4Addr::from_bits(u32::from_be(sources[at].sin_addr.s_addr)),
                    u16::from_be(sources[at].sin_port),
                ),
                asked: asked(&header.msg_hdr),
                is_truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            });
        }
        Ok(count)
    }

    /// How many datagrams the batch has.
    pub fn len(&self) -> usize {
        self.received.len()
    }

    /// Whether the batch has none.
    pub fn is_empty(&self) -> bool {
        self.received.is_empty()
    }

    /// One datagram of the batch.
    pub fn datagram(&self, at: usize) -> (ReceivedDatagram, &[u8]) {
        let (received, start) = (self.received[at], at * self.bytes_max);
        (received, &self.bytes[start..start + received.length])
    }
}

/// The address that a received datagram was sent to; unspecified where the socket does not tell.
fn asked(header: &libc::msghdr) -> Ipv4Addr {
    // SAFETY: the kernel filled in the header and the control messages it points to, which are
    // alive; the macros stay within the length it says.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while !message.is_null() {
            if ((*message).cmsg_level, (*message).cmsg_type) == (libc::IPPROTO_IP, libc::IP_PKTINFO) {
                let info: libc::in_pktinfo = libc::CMSG_DATA(message).cast::<libc::in_pktinfo>().read_unaligned();
                return Ipv4Addr::from_bits(u32::from_be(info.ipi_addr.s_addr));
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
    Ipv4Addr::UNSPECIFIED
}
