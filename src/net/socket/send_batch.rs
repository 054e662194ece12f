//! Datagrams on their way out, many in one system call.
//!
//! Datagrams of one length to one client leave as one message that the kernel cuts up (UDP
//! segmentation offload), where its reader is a socket; where the kernel will not, they are sent one by one.

use super::inbox::{BATCH, Control};
use nix::{errno::Errno, libc};
use std::{
    io,
    mem::zeroed,
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::AsRawFd,
};

/// Bytes that may wait in an outbox before it wants to be sent.
const OUTBOX_BYTES: usize = 256 * 1024;
/// The most datagrams that the kernel makes of one message (UDP_MAX_SEGMENTS).
const SEGMENTS_MAX: usize = 64;
/// The most bytes in one message: what a UDP length can say, less the headers.
const MESSAGE_BYTES_MAX: usize = 65_507;

/// Datagrams of one client that leave as one message.
#[derive(Clone, Copy, Debug)]
struct BatchMessage {
    from: Ipv4Addr,
    to: SocketAddrV4,
    start: usize,
    end: usize,
    /// Bytes of each datagram but the last, which may be shorter.
    piece: usize,
}

impl BatchMessage {
    fn takes(&self, from: Ipv4Addr, to: SocketAddrV4, length: usize) -> bool {
        let bytes = self.end - self.start;
        (self.from, self.to) == (from, to)
            && length <= self.piece
            && bytes.is_multiple_of(self.piece)
            && bytes / self.piece < SEGMENTS_MAX
            && bytes + length <= MESSAGE_BYTES_MAX
    }

    fn is_cut_up(&self) -> bool {
        self.end - self.start > self.piece
    }
}

/// Datagrams on their way out.
pub struct SendBatch {
    bytes: Vec<u8>,
    messages: Vec<BatchMessage>,
    /// Parcels that the kernel has.
    sent: usize,
    /// Whether the kernel cuts messages up.
    segments: bool,
    /// Messages that the kernel did not take at all.
    lost: usize,
    /// Why it did not take the last one.
    refusal: Option<Errno>,
    /// Whether the socket sends datagrams whole or not at all.
    whole: bool,
}

/// A state of an outbox to go back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchMark {
    bytes: usize,
    messages: usize,
}

impl Default for SendBatch {
    fn default() -> SendBatch {
        SendBatch {
            bytes: Vec::new(),
            messages: Vec::new(),
            sent: 0,
            segments: true,
            lost: 0,
            refusal: None,
            whole: false,
        }
    }
}

impl SendBatch {
    /// An outbox of a socket whose datagrams fit a frame. For as long as all of them do, the kernel
    /// numbers none (RFC 6864): a number for whoever would put its fragments together costs more
    /// than the search for the datagram's way.
    pub fn of_whole_datagrams(socket: &impl AsRawFd) -> SendBatch {
        SendBatch {
            whole: discover_mtu(socket, libc::IP_PMTUDISC_DO).is_ok(),
            ..SendBatch::default()
        }
    }

    /// An outbox whose datagrams leave one by one. A message for the kernel to cut up crosses a virtual wire
    /// (veth, the bridges of containers and virtual machines) in one piece: who reads packets there, and not
    /// a socket's datagrams, finds the first and no other in it. DHCP's clients and relays read packets.
    pub fn one_by_one() -> SendBatch {
        SendBatch {
            segments: false,
            ..SendBatch::default()
        }
    }

    /// Whether it holds so much that it wants to be sent.
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= OUTBOX_BYTES
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Room for one more datagram, at least a byte long, from an address of the socket's interface.
    pub fn push(&mut self, from: Ipv4Addr, to: SocketAddrV4, length: usize) -> &mut [u8] {
        let start = self.bytes.len();
        self.bytes.resize(start + length, 0);
        let end = self.bytes.len();
        match self.messages.last_mut() {
            Some(last) if self.segments && last.takes(from, to, length) => last.end = end,
            Some(_) | None => self.messages.push(BatchMessage {
                from,
                to,
                start,
                end,
                piece: length,
            }),
        }
        &mut self.bytes[start..]
    }

    /// The present state.
    pub fn mark(&self) -> BatchMark {
        BatchMark {
            bytes: self.bytes.len(),
            messages: self.messages.len(),
        }
    }

    /// Takes back everything pushed since `mark` but the first datagram; how many datagrams that was.
    pub fn back_to_first(&mut self, mark: BatchMark) -> usize {
        let since = self.messages.iter().position(|parcel| parcel.end > mark.bytes);
        let Some((first, parcel)) = since.and_then(|first| Some((first, self.messages.get(first)?))) else {
            return 0;
        };
        let start = parcel.start.max(mark.bytes);
        let kept = BatchMark {
            bytes: parcel.end.min(start + parcel.piece),
            messages: first + 1,
        };
        let pieces =
            |parcel: &BatchMessage| (parcel.end - parcel.start.max(kept.bytes).min(parcel.end)).div_ceil(parcel.piece);
        let taken = self.messages[first..].iter().map(pieces).sum();
        self.back_to(kept);
        taken
    }

    /// Messages that wait to be sent.
    pub fn waiting(&self) -> usize {
        self.messages.len() - self.sent
    }

    /// Takes back everything pushed since `mark`.
    pub fn back_to(&mut self, mark: BatchMark) {
        self.bytes.truncate(mark.bytes);
        self.messages.truncate(mark.messages);
        if let Some(last) = self.messages.last_mut() {
            last.end = last.end.min(mark.bytes);
        }
    }

    /// Sends everything, without waiting. An error of kind `WouldBlock` says that the rest waits
    /// for room in the kernel. What the kernel will not take at all is lost, as on a wire; how many
    /// messages were.
    pub fn send(&mut self, socket: &impl AsRawFd) -> io::Result<usize> {
        while self.sent < self.messages.len() {
            match self.send_some(socket) {
                Ok(count) => self.sent += count,
                Err(Errno::EAGAIN) => return Err(io::ErrorKind::WouldBlock.into()),
                Err(Errno::EINTR) => {}
                // A tunnel on the way, or an interface with short frames: fragments are better than
                // silence.
                Err(Errno::EMSGSIZE) if self.whole => {
                    self.whole = false;
                    let _ = discover_mtu(socket, libc::IP_PMTUDISC_WANT);
                }
                Err(_) if self.messages[self.sent].is_cut_up() => self.cut_up(),
                Err(error) => {
                    self.refusal = Some(error);
                    self.lost += 1;
                    self.sent += 1;
                }
            }
        }
        self.clear();
        Ok(std::mem::take(&mut self.lost))
    }

    /// Hands what the kernel has no room for to `each`, in place of waiting: the address of ours that it comes
    /// from, where it goes, and the datagrams. How many messages were lost before.
    pub fn give_up(&mut self, mut each: impl FnMut(Ipv4Addr, SocketAddrV4, &[u8])) -> usize {
        for parcel in &self.messages[self.sent..] {
            let datagrams = self.bytes[parcel.start..parcel.end].chunks(parcel.piece);
            datagrams.for_each(|datagram| each(parcel.from, parcel.to, datagram));
        }
        self.clear();
        std::mem::take(&mut self.lost)
    }

    fn clear(&mut self) {
        self.sent = 0;
        self.messages.clear();
        self.bytes.clear();
        self.bytes.shrink_to(2 * OUTBOX_BYTES);
    }

    /// Why the kernel did not take the last message that was lost; `None` where none was since this
    /// was asked.
    pub fn take_refusal(&mut self) -> Option<io::Error> {
        self.refusal.take().map(io::Error::from)
    }

    /// The kernel or the interface cuts no messages up: from now on that is done here.
    fn cut_up(&mut self) {
        self.segments = false;
        let rest = self.messages.split_off(self.sent);
        self.messages.extend(rest.into_iter().flat_map(|parcel| {
            (parcel.start..parcel.end)
                .step_by(parcel.piece)
                .map(move |start| BatchMessage {
                    start,
                    end: (start + parcel.piece).min(parcel.end),
                    ..parcel
                })
        }));
    }

    fn send_some(&mut self, socket: &impl AsRawFd) -> Result<usize, Errno> {
        // SAFETY: these are plain numbers and pointers; all zeros is a valid value of each.
        let (mut targets, mut parts, mut headers): (
            [libc::sockaddr_in; BATCH],
            [libc::iovec; BATCH],
            [libc::mmsghdr; BATCH],
        ) = unsafe { (zeroed(), zeroed(), zeroed()) };
        let mut controls = [Control::EMPTY; BATCH];
        let batch = &self.messages[self.sent..];
        let count = batch.len().min(BATCH);
        for (at, parcel) in batch.iter().take(count).enumerate() {
            targets[at] = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: parcel.to.port().to_be(),
                sin_addr: libc::in_addr {
                    s_addr: parcel.to.ip().to_bits().to_be(),
                },
                sin_zero: [0; 8],
            };
            let bytes = &mut self.bytes[parcel.start..parcel.end];
            parts[at].iov_base = bytes.as_mut_ptr().cast();
            parts[at].iov_len = bytes.len();
            let header = &mut headers[at].msg_hdr;
            header.msg_name = (&raw mut targets[at]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            header.msg_iov = &raw mut parts[at];
            header.msg_iovlen = 1;
            header.msg_control = (&raw mut controls[at]).cast();
            header.msg_controllen = size_of::<Control>();
            header.msg_controllen = fill_control(header, parcel);
        }
        // SAFETY: every header points to live values of the lengths it says, which the kernel only
        // reads during the call.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                count as libc::c_uint,
                libc::MSG_DONTWAIT,
            )
        };
        Errno::result(sent).map(|sent| usize::try_from(sent).unwrap_or(0))
    }
}

/// Sets what becomes of datagrams that do not fit the frames on their way.
fn discover_mtu(socket: &impl AsRawFd, how: libc::c_int) -> Result<(), Errno> {
    // SAFETY: the kernel reads one number of the length it is told, which is alive during the call.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            (&raw const how).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    Errno::result(set).map(drop)
}

/// Writes a parcel's source address, and where it is to be cut up the length of its pieces; the
/// bytes of control messages in use.
fn fill_control(header: &libc::msghdr, parcel: &BatchMessage) -> usize {
    let info = libc::in_pktinfo {
        ipi_ifindex: 0,
        ipi_spec_dst: libc::in_addr {
            s_addr: parcel.from.to_bits().to_be(),
        },
        ipi_addr: libc::in_addr { s_addr: 0 },
    };
    // SAFETY: the header's room for control messages is zeroed, aligned, and larger than both
    // messages; the macros stay within it.
    unsafe {
        let first = libc::CMSG_FIRSTHDR(header);
        (*first).cmsg_level = libc::IPPROTO_IP;
        (*first).cmsg_type = libc::IP_PKTINFO;
        (*first).cmsg_len = libc::CMSG_LEN(size_of::<libc::in_pktinfo>() as u32) as usize;
        libc::CMSG_DATA(first).cast::<libc::in_pktinfo>().write_unaligned(info);
        let mut used = libc::CMSG_SPACE(size_of::<libc::in_pktinfo>() as u32) as usize;
        if parcel.is_cut_up() {
            let second = libc::CMSG_NXTHDR(header, first);
            (*second).cmsg_level = libc::SOL_UDP;
            (*second).cmsg_type = libc::UDP_SEGMENT;
            (*second).cmsg_len = libc::CMSG_LEN(size_of::<u16>() as u32) as usize;
            let piece = u16::try_from(parcel.piece).expect("a message has at most 65,507 bytes");
            libc::CMSG_DATA(second).cast::<u16>().write_unaligned(piece);
            used += libc::CMSG_SPACE(size_of::<u16>() as u32) as usize;
        }
        used
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::socket::{Inbox, tests::wait_for_datagram, udp};
    use std::{net::UdpSocket, time::Duration};

    const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;

    fn client() -> (UdpSocket, SocketAddrV4) {
        let socket = UdpSocket::bind((LOOPBACK, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let port = socket.local_addr().unwrap().port();
        (socket, SocketAddrV4::new(LOOPBACK, port))
    }

    fn push(batch: &mut SendBatch, to: SocketAddrV4, bytes: &[u8]) {
        batch.push(LOOPBACK, to, bytes.len()).copy_from_slice(bytes);
    }

    fn heard(socket: &UdpSocket) -> Vec<u8> {
        let mut buffer = [0; 2048];
        let (length, _) = socket.recv_from(&mut buffer).unwrap();
        buffer[..length].to_vec()
    }

    #[test]
    fn datagrams_arrive_as_they_were_pushed_whoever_cuts_them_up() {
        for segments in [true, false] {
            let server = udp("lo", 0).unwrap();
            let ((one, to_one), (other, to_other)) = (client(), client());
            let mut batch = SendBatch {
                segments,
                ..SendBatch::default()
            };
            let pieces: Vec<Vec<u8>> = (0..70_u8).map(|number| vec![number; 1400]).collect();
            pieces.iter().for_each(|piece| push(&mut batch, to_one, piece));
            push(&mut batch, to_one, b"short");
            push(&mut batch, to_one, b"behind the short one");
            push(&mut batch, to_other, b"other");
            assert_eq!(batch.send(&server).unwrap(), 0);
            for piece in &pieces {
                assert!(heard(&one) == *piece);
            }
            assert_eq!(heard(&one), b"short");
            assert_eq!(heard(&one), b"behind the short one");
            assert_eq!(heard(&other), b"other");
            assert!(batch.is_empty());
        }
    }

    #[test]
    fn a_message_that_the_kernel_will_not_cut_up_is_cut_up_here() {
        let server = udp("lo", 0).unwrap();
        let (one, to_one) = client();
        let mut batch = SendBatch::default();
        push(&mut batch, to_one, &[1; 1400]);
        push(&mut batch, to_one, &[2; 1400]);
        batch.cut_up();
        assert_eq!(batch.messages.len(), 2);
        assert_eq!(batch.send(&server).unwrap(), 0);
        assert!(heard(&one) == [1; 1400] && heard(&one) == [2; 1400]);
    }

    #[test]
    fn datagrams_that_leave_one_by_one_are_never_one_message() {
        let (_, to) = client();
        let mut batch = SendBatch::one_by_one();
        (0..3).for_each(|number| push(&mut batch, to, &[number; 300]));
        assert_eq!(batch.messages.len(), 3);
        assert!(batch.messages.iter().all(|parcel| !parcel.is_cut_up()));
    }

    #[test]
    fn what_there_is_no_room_for_is_handed_back_whole_and_in_order() {
        let server = udp("lo", 0).unwrap();
        let (one, to_one) = client();
        let mut batch = SendBatch::default();
        push(&mut batch, to_one, b"gone");
        batch.send(&server).unwrap();
        let pieces = [&[1; 300][..], &[2; 300], &[3; 7]];
        pieces.iter().for_each(|piece| push(&mut batch, to_one, piece));
        let mut back = Vec::new();
        batch.give_up(|from, to, datagram| back.push((from, to, datagram.to_vec())));
        assert_eq!(back, pieces.map(|piece| (LOOPBACK, to_one, piece.to_vec())));
        assert!(batch.is_empty());
        assert_eq!(heard(&one), b"gone");
    }

    #[test]
    fn what_was_taken_back_is_never_sent() {
        let server = udp("lo", 0).unwrap();
        let (one, to_one) = client();
        let mut batch = SendBatch::default();
        push(&mut batch, to_one, b"first");
        let mark = batch.mark();
        push(&mut batch, to_one, b"again");
        push(&mut batch, to_one, b"longer than the first");
        batch.back_to(mark);
        push(&mut batch, to_one, b"last");
        batch.send(&server).unwrap();
        assert_eq!((heard(&one), heard(&one)), (b"first".to_vec(), b"last".to_vec()));
    }

    #[test]
    fn of_what_is_taken_back_the_first_datagram_may_stay() {
        let server = udp("lo", 0).unwrap();
        let (one, to_one) = client();
        for segments in [true, false] {
            let mut batch = SendBatch {
                segments,
                ..SendBatch::default()
            };
            push(&mut batch, to_one, &[1; 300]);
            let mark = batch.mark();
            assert_eq!(batch.back_to_first(mark), 0);
            (2..=4).for_each(|number| push(&mut batch, to_one, &[number; 300]));
            push(&mut batch, to_one, b"short");
            assert_eq!(batch.back_to_first(mark), 3);
            assert_eq!(batch.back_to_first(mark), 0);
            push(&mut batch, to_one, b"last");
            batch.send(&server).unwrap();
            for expected in [&[1; 300][..], &[2; 300], b"last"] {
                assert_eq!(heard(&one), expected, "{segments}");
            }
        }
    }

    #[test]
    fn a_batch_tells_who_sent_each_datagram_and_whom_it_was_sent_to() {
        let server = udp("lo", 0).unwrap();
        let port = server.local_addr().unwrap().port();
        let ((one, from_one), (other, from_other)) = (client(), client());
        let asked = Ipv4Addr::new(127, 0, 0, 77);
        let mut inbox = Inbox::new(64);
        let mut receive = || {
            wait_for_datagram(&server);
            inbox.receive(&server).unwrap()
        };
        let is_one_batch = (0..100).any(|_| {
            one.send_to(b"one", (asked, port)).unwrap();
            other.send_to(&[7; 100], (LOOPBACK, port)).unwrap();
            let is_whole = receive() == 2;
            if !is_whole {
                // A busy kernel hands the second over behind the first one's batch: then once more.
                receive();
            }
            is_whole
        });
        assert!(is_one_batch, "each came by itself");
        let (received, bytes) = inbox.datagram(0);
        assert_eq!((received.source, received.asked, bytes), (from_one, asked, &b"one"[..]));
        let (received, bytes) = inbox.datagram(1);
        assert_eq!(
            (received.source, received.is_truncated, bytes.len()),
            (from_other, true, 64)
        );
        assert_eq!(inbox.receive(&server).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
