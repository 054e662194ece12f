//! Sockets of one interface, and frames to clients that can't answer an ARP question yet: the module
//! of `unsafe`.
//!
//! UDP sockets have no `SO_REUSEADDR`: with it a second daemon would bind the same port of the same
//! interface and silently take half the packets. TCP's listener has it, where it only lets a
//! restart pass connections that are still closing.
#![expect(
    unsafe_code,
    reason = "AF_PACKET addresses, batches with a message's own control data and a mapping have no safe constructor"
)]

mod arp;
mod inbox;
mod memory;
mod sealed;
mod send_batch;
mod tcp_info;

pub use arp::{arp_query_socket, knows_neighbour, neighbour_mac};
pub use inbox::{BATCH as DATAGRAMS_PER_BATCH, Inbox};
pub use memory::return_free_memory;
pub use sealed::{SealedMemory, memory_file};
pub use send_batch::{BatchMark, SendBatch};
pub use tcp_info::{Unacknowledged, unacknowledged};

use crate::model::{
    MacAddr,
    limits::{HTTP_KEEPALIVE_IDLE, HTTP_KEEPALIVE_INTERVAL, HTTP_KEEPALIVE_PROBES_MAX},
};
use nix::{
    errno::Errno,
    libc,
    sys::socket::{ControlMessageOwned, LinkAddr, MsgFlags, SockaddrIn, recvmsg, sendto, setsockopt, sockopt},
};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use std::{
    ffi::OsString,
    io::{self, IoSliceMut},
    net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    time::Duration,
};

/// Bytes of packets that may wait in the kernel for a server: a storm's DISCOVERs come at once. The kernel takes twice
/// that, and counts 1,280 bytes for a DISCOVER: ten thousand of them.
const RECEIVE_BUFFER_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of packets that may wait in the kernel for the wire: a batch to many clients.
const SEND_BUFFER_BYTES: usize = 1024 * 1024;
/// Connections that may wait to be accepted.
const ACCEPT_QUEUE: i32 = 4096;

/// A UDP socket on `port` of the interface alone (0: one that is free), whatever addresses it has;
/// it tells the address that was asked, and may broadcast.
pub fn udp(interface: &str, port: u16) -> io::Result<UdpSocket> {
    let socket = bound(
        interface,
        Type::DGRAM,
        Protocol::UDP,
        SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port),
    )?;
    socket.set_broadcast(true)?;
    setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
    // The kernel caps it at rmem_max unless we are root; less than asked for is still a server.
    if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES).is_err() {
        socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    }
    if setsockopt(&socket, sockopt::SndBufForce, &SEND_BUFFER_BYTES).is_err() {
        socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    }
    Ok(socket.into())
}

/// A TCP listener on `port` of the interface alone.
pub fn tcp(interface: &str, port: u16) -> io::Result<TcpListener> {
    let socket = bound(
        interface,
        Type::STREAM,
        Protocol::TCP,
        SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port),
    )?;
    keep_alive(&socket)?;
    socket.listen(ACCEPT_QUEUE)?;
    Ok(socket.into())
}

/// Has the kernel ask silent clients whether they are still there. What is accepted inherits it.
///
/// No TCP_USER_TIMEOUT stands beside it: Linux counts it against a client that is there, and whose buffer was full
/// all the time (seen: one that reads steadily was cut at 65 s). What has bytes on their way asks nothing either: there
/// `net::http::stall` looks.
fn keep_alive(socket: &Socket) -> io::Result<()> {
    let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    setsockopt(socket, sockopt::KeepAlive, &true)?;
    setsockopt(socket, sockopt::TcpKeepIdle, &seconds(HTTP_KEEPALIVE_IDLE))?;
    setsockopt(socket, sockopt::TcpKeepInterval, &seconds(HTTP_KEEPALIVE_INTERVAL))?;
    setsockopt(socket, sockopt::TcpKeepCount, &HTTP_KEEPALIVE_PROBES_MAX)?;
    Ok(())
}

fn bound(interface: &str, kind: Type, protocol: Protocol, address: SocketAddrV4) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    }
    // Before bind: two interfaces' sockets on one port do not collide then.
    setsockopt(&socket, sockopt::BindToDevice, &OsString::from(interface))?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// A datagram as it came in.
#[derive(Clone, Copy, Debug)]
pub struct ReceivedDatagram {
    /// Bytes written to the buffer.
    pub length: usize,
    /// Who sent it.
    pub source: SocketAddrV4,
    /// The address it was sent to: one of ours, or a broadcast.
    pub asked: Ipv4Addr,
    /// It was longer than the buffer.
    pub is_truncated: bool,
}

/// Receives one datagram, without waiting.
pub fn receive(socket: &impl AsRawFd, buffer: &mut [u8]) -> io::Result<ReceivedDatagram> {
    let mut control = nix::cmsg_space!(libc::in_pktinfo);
    let mut parts = [IoSliceMut::new(buffer)];
    let message = recvmsg::<SockaddrIn>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut control),
        MsgFlags::MSG_DONTWAIT,
    )?;
    let asked = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::Ipv4PacketInfo(info) => Some(Ipv4Addr::from_bits(u32::from_be(info.ipi_addr.s_addr))),
        _ => None,
    });
    let source = message.address.ok_or(Errno::EINVAL)?;
    Ok(ReceivedDatagram {
        length: message.bytes,
        source: source.into(),
        asked: asked.ok_or(Errno::EINVAL)?,
        is_truncated: message.flags.contains(MsgFlags::MSG_TRUNC),
    })
}

/// Sends IP packets to a link-layer address of one interface; it receives nothing.
#[derive(Debug)]
pub struct FrameSender {
    socket: OwnedFd,
    index: i32,
}

impl FrameSender {
    /// A sender on the interface with that index; needs CAP_NET_RAW.
    pub fn new(index: u32) -> io::Result<FrameSender> {
        Ok(FrameSender {
            socket: packet_socket()?,
            index: i32::try_from(index).map_err(io::Error::other)?,
        })
    }

    /// Sends an IP packet in a frame to `mac`.
    pub fn send(&self, mac: MacAddr, packet: &[u8]) -> io::Result<()> {
        self.send_as(libc::ETH_P_IP, mac, packet)
    }

    /// Sends an ARP packet to everybody on the wire.
    pub fn broadcast_arp(&self, packet: &[u8]) -> io::Result<()> {
        self.send_as(libc::ETH_P_ARP, MacAddr([0xff; 6]), packet)
    }

    /// Sends an IPv6 packet in a frame to `mac`.
    pub fn send_ipv6(&self, mac: MacAddr, packet: &[u8]) -> io::Result<()> {
        self.send_as(libc::ETH_P_IPV6, mac, packet)
    }

    fn send_as(&self, protocol: i32, mac: MacAddr, packet: &[u8]) -> io::Result<()> {
        let mut address = link_address(protocol, self.index);
        address.sll_halen = 6;
        address.sll_addr[..6].copy_from_slice(&mac.0);
        // SAFETY: both pointers are to live values of the lengths given, which the kernel only
        // reads during the call.
        let sent = unsafe {
            libc::sendto(
                self.socket.as_raw_fd(),
                packet.as_ptr().cast(),
                packet.len(),
                libc::MSG_DONTWAIT,
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

/// An address of a packet socket: everything of `protocol` on one interface.
fn link_address(protocol: i32, index: i32) -> libc::sockaddr_ll {
    // SAFETY: sockaddr_ll is plain numbers; all zeros is a valid value of it.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (protocol as u16).to_be();
    address.sll_ifindex = index;
    address
}

/// A packet socket that receives nothing yet: its protocol is 0.
fn packet_socket() -> io::Result<OwnedFd> {
    // SAFETY: socket(2) takes no pointer.
    let descriptor = unsafe {
        libc::socket(
            libc::AF_PACKET,
            libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
            0,
        )
    };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made the descriptor and nothing else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Sees the DHCP replies that others send on the interface with that index, UDP from port 67 to port
/// 68; needs CAP_NET_RAW. A `UdpSocket` in type only, because the event loop can wait on one; it is
/// read with [`receive_packet`].
pub fn dhcp_replies(index: u32) -> io::Result<UdpSocket> {
    let filtered = Socket::from(packet_socket()?);
    filtered.attach_filter(&DHCP_REPLIES)?;
    bound_to(filtered.into(), libc::ETH_P_IP, index)
}

/// Sees the ARP packets on the interface with that index; needs CAP_NET_RAW. Also gives the interface's own
/// link-layer address. Read with [`receive_packet`].
pub fn arp_packets(index: u32) -> io::Result<(UdpSocket, MacAddr)> {
    let socket = bound_to(packet_socket()?, libc::ETH_P_ARP, index)?;
    let own = own_mac(&socket)?;
    Ok((socket, own))
}

/// Sees the IPv6 router solicitations and advertisements on the interface with that index; needs CAP_NET_RAW.
/// Also gives the interface's own link-layer address. Read with [`receive_packet`].
pub fn router_packets(index: u32, groups: [MacAddr; 2]) -> io::Result<(UdpSocket, MacAddr)> {
    let filtered = Socket::from(packet_socket()?);
    filtered.attach_filter(&ROUTER_DISCOVERY)?;
    for group in groups {
        join(&filtered, index, group)?;
    }
    let socket = bound_to(filtered.into(), libc::ETH_P_IPV6, index)?;
    let own = own_mac(&socket)?;
    Ok((socket, own))
}

/// Has an interface take the frames for a multicast group, for as long as the socket is open.
fn join(socket: &impl AsRawFd, index: u32, group: MacAddr) -> io::Result<()> {
    let mut wanted = libc::packet_mreq {
        mr_ifindex: i32::try_from(index).map_err(io::Error::other)?,
        mr_type: libc::PACKET_MR_MULTICAST as u16,
        mr_alen: 6,
        mr_address: [0; 8],
    };
    wanted.mr_address[..6].copy_from_slice(&group.0);
    // SAFETY: the pointer is to a live value of the length given, which the kernel only reads.
    let joined = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_ADD_MEMBERSHIP,
            (&raw const wanted).cast(),
            size_of::<libc::packet_mreq>() as libc::socklen_t,
        )
    };
    match joined {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The link-layer address of the interface that a packet socket is bound to. The kernel writes no more
/// of it than there is, which the safe call takes for no address at all.
fn own_mac(socket: &impl AsRawFd) -> io::Result<MacAddr> {
    let mut address = link_address(0, 0);
    let mut length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: both pointers are to live values, and the kernel writes no more than the length says.
    let told = unsafe { libc::getsockname(socket.as_raw_fd(), (&raw mut address).cast(), &raw mut length) };
    let [mac @ .., _, _] = address.sll_addr;
    match told {
        0 => Ok(MacAddr(mac)),
        _ => Err(io::Error::last_os_error()),
    }
}

fn bound_to(socket: OwnedFd, protocol: i32, index: u32) -> io::Result<UdpSocket> {
    let address = link_address(protocol, i32::try_from(index).map_err(io::Error::other)?);
    // SAFETY: the pointer is to a live value of the length given, which the kernel only reads.
    let bound = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    match bound {
        0 => Ok(socket.into()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sends and sees ICMP; needs CAP_NET_RAW. A `UdpSocket` in type only, as above; read with
/// [`receive_icmp`].
pub fn icmp() -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Sends an ICMP message, without waiting.
pub fn send_icmp(socket: &impl AsRawFd, message: &[u8], to: Ipv4Addr) -> io::Result<()> {
    let to = SockaddrIn::from(SocketAddrV4::new(to, 0));
    sendto(socket.as_raw_fd(), message, &to, MsgFlags::MSG_DONTWAIT)?;
    Ok(())
}

/// One IP packet with an ICMP message and the address it came from, without waiting.
pub fn receive_icmp(socket: &impl AsRawFd, buffer: &mut [u8]) -> io::Result<(usize, Ipv4Addr)> {
    let mut parts = [IoSliceMut::new(buffer)];
    let message = recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut parts, None, MsgFlags::MSG_DONTWAIT)?;
    let source = message.address.ok_or(Errno::EINVAL)?;
    Ok((message.bytes, source.ip()))
}

/// One IP packet and the link-layer address it came from, without waiting.
pub fn receive_packet(socket: &impl AsRawFd, buffer: &mut [u8]) -> io::Result<(usize, MacAddr)> {
    let mut parts = [IoSliceMut::new(buffer)];
    let message = recvmsg::<LinkAddr>(socket.as_raw_fd(), &mut parts, None, MsgFlags::MSG_DONTWAIT)?;
    let mac = message.address.and_then(|address| address.addr()).unwrap_or_default();
    Ok((message.bytes, MacAddr(mac)))
}

/// A classic BPF program over an IPv4 packet: not a later fragment, UDP, from port 67 to port 68.
static DHCP_REPLIES: [SockFilter; 11] = [
    SockFilter::new(0x30, 0, 0, 9),           // A = protocol
    SockFilter::new(0x15, 0, 8, 17),          // UDP?
    SockFilter::new(0x28, 0, 0, 6),           // A = fragment field
    SockFilter::new(0x45, 6, 0, 0x1fff),      // an offset: no header here
    SockFilter::new(0xb1, 0, 0, 0),           // X = length of the IP header
    SockFilter::new(0x48, 0, 0, 0),           // A = source port
    SockFilter::new(0x15, 0, 3, 67),          // a server's?
    SockFilter::new(0x48, 0, 0, 2),           // A = destination port
    SockFilter::new(0x15, 0, 1, 68),          // a client's?
    SockFilter::new(0x06, 0, 0, 0x0004_0000), // take the packet
    SockFilter::new(0x06, 0, 0, 0),           // leave it
];

/// The same over an IPv6 packet: ICMPv6 in its first header, of the types 133 and 134.
static ROUTER_DISCOVERY: [SockFilter; 7] = [
    SockFilter::new(0x30, 0, 0, 6),           // A = next header
    SockFilter::new(0x15, 0, 4, 58),          // ICMPv6?
    SockFilter::new(0x30, 0, 0, 40),          // A = its type
    SockFilter::new(0x15, 1, 0, 133),         // a router solicitation?
    SockFilter::new(0x15, 0, 1, 134),         // a router advertisement?
    SockFilter::new(0x06, 0, 0, 0x0004_0000), // take the packet
    SockFilter::new(0x06, 0, 0, 0),           // leave it
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits until something is there to be received. A busy kernel hands a datagram over some time after
    /// it was sent, on loopback too.
    pub(super) fn wait_for_datagram(socket: &UdpSocket) {
        socket.set_nonblocking(false).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket.peek_from(&mut [0; 16]).unwrap();
        socket.set_nonblocking(true).unwrap();
    }

    #[test]
    fn a_second_daemon_cannot_bind_the_same_port_of_the_same_interface() {
        let first = udp("lo", 0).unwrap();
        let port = first.local_addr().unwrap().port();
        assert_eq!(udp("lo", port).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let listener = tcp("lo", 0).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(tcp("lo", port).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_datagram_tells_the_address_that_was_asked_and_the_answer_comes_from_it() {
        let server = udp("lo", 0).unwrap();
        let port = server.local_addr().unwrap().port();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let asked = Ipv4Addr::new(127, 0, 0, 77);
        client.send_to(b"ask", (asked, port)).unwrap();
        wait_for_datagram(&server);
        let mut buffer = [0; 16];
        let received = receive(&server, &mut buffer).unwrap();
        assert_eq!(
            (received.length, received.asked, received.is_truncated),
            (3, asked, false)
        );
        let mut batch = SendBatch::default();
        batch.push(asked, received.source, 6).copy_from_slice(b"answer");
        batch.send(&server).unwrap();
        let (_, from) = client.recv_from(&mut buffer).unwrap();
        assert_eq!(from.ip(), asked);
    }
}
