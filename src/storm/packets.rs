//! DHCP answers as relays read them: packets, and the first message in each.
//!
//! ISC's relay, and dhclient, udhcpc and dhcpcd behind it, have packet sockets. On a virtual wire a message that
//! a device was to cut up arrives there in one piece, where a UDP socket would still find all of its datagrams.

use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use std::{io, net::Ipv4Addr};

/// Bytes of a packet that hold the longest answer of a server: more than that is no answer's.
pub const PACKET_BYTES_MAX: usize = 2048;

const ETH_P_IP: u16 = 0x0800;
const UDP: u8 = 17;
const UDP_HEADER_BYTES: usize = 8;
pub(super) const SERVER_PORT: u16 = 67;

/// A classic BPF program over an IPv4 packet: not a later fragment, UDP, to port 67.
static TO_RELAYS: [SockFilter; 9] = [
    SockFilter::new(0x30, 0, 0, 9),           // A = protocol
    SockFilter::new(0x15, 0, 6, 17),          // UDP?
    SockFilter::new(0x28, 0, 0, 6),           // A = fragment field
    SockFilter::new(0x45, 4, 0, 0x1fff),      // an offset: no header here
    SockFilter::new(0xb1, 0, 0, 0),           // X = length of the IP header
    SockFilter::new(0x48, 0, 0, 2),           // A = destination port
    SockFilter::new(0x15, 0, 1, 67),          // a relay's?
    SockFilter::new(0x06, 0, 0, 0x0004_0000), // take the packet
    SockFilter::new(0x06, 0, 0, 0),           // leave it
];

/// Reads what comes in for relays, on every interface, without waiting; needs CAP_NET_RAW.
///
/// # Errors
/// When the kernel refuses one.
pub fn open() -> io::Result<Socket> {
    let protocol = Protocol::from(i32::from(ETH_P_IP.to_be()));
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol))?;
    socket.attach_filter(&TO_RELAYS)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The datagram in an IPv4 packet from `server` to `relay`; `None` for any other packet.
pub fn answer(packet: &[u8], server: Ipv4Addr, relay: Ipv4Addr) -> Option<&[u8]> {
    let address = |at: usize| -> Option<Ipv4Addr> {
        let four: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
        Some(four.into())
    };
    let header_bytes = usize::from(packet.first()? & 0x0f) * 4;
    let udp = packet.get(header_bytes..)?;
    let port = u16::from_be_bytes([*udp.get(2)?, *udp.get(3)?]);
    let is_one = packet[0] >> 4 == 4
        && packet.get(9) == Some(&UDP)
        && address(12)? == server
        && address(16)? == relay
        && port == SERVER_PORT;
    is_one.then(|| udp.get(UDP_HEADER_BYTES..))?
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const RELAY: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);

    fn packet(options: &[u8], payload: &[u8]) -> Vec<u8> {
        let words = u8::try_from(5 + options.len() / 4).unwrap();
        let mut packet = vec![0x40 | words, 0, 0, 0, 0, 0, 0, 0, 64, UDP, 0, 0];
        packet.extend(SERVER.octets());
        packet.extend(RELAY.octets());
        packet.extend(options);
        packet.extend([0, 67, 0, 67, 0, 0, 0, 0]);
        packet.extend(payload);
        packet
    }

    #[test]
    fn an_answer_is_what_the_server_sends_to_the_relay_behind_any_header() {
        for options in [&[][..], &[1, 1, 1, 0]] {
            assert_eq!(answer(&packet(options, b"offer"), SERVER, RELAY), Some(&b"offer"[..]));
        }
        assert_eq!(answer(&packet(&[], b"offer"), RELAY, RELAY), None);
        assert_eq!(answer(&packet(&[], b"offer"), SERVER, SERVER), None);
    }

    #[test]
    fn no_prefix_of_a_packet_panics() {
        let whole = packet(&[1, 1, 1, 0], b"offer");
        for length in 0..whole.len() {
            let _ = answer(&whole[..length], SERVER, RELAY);
        }
    }
}
