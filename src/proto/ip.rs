//! IPv4 packets around UDP datagrams and TCP segments (RFC 791, RFC 768, RFC 9293), with their checksums: for clients
//! without an address, and for captures.

use std::net::SocketAddrV4;

const IP_HEADER_BYTES: u16 = 20;
const UDP_HEADER_BYTES: u16 = 8;
const TCP_HEADER_BYTES: u16 = 20;
/// UDP's protocol number.
pub(super) const UDP: u8 = 17;
/// TCP's protocol number.
pub(super) const TCP: u8 = 6;
/// Hops a frame on the same wire needs is one; 64 is what hosts send.
const TIME_TO_LIVE: u8 = 64;
/// TCP's header of five words, with the flags PSH and ACK.
const TCP_DATA_FLAGS: [u8; 2] = [0x50, 0x18];
/// A window that is never full.
const TCP_WINDOW: u16 = 0xffff;

/// The bytes of a datagram or a segment, as far as they are known.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    /// The first of them, or all.
    pub bytes: &'a [u8],
    /// How many there were.
    pub length: usize,
}

impl<'a> Payload<'a> {
    /// All of them.
    pub fn whole(bytes: &'a [u8]) -> Payload<'a> {
        Payload {
            bytes,
            length: bytes.len(),
        }
    }

    fn is_whole(self) -> bool {
        self.bytes.len() >= self.length
    }
}

/// The packet, both checksums filled in; `None` if the payload does not fit one.
pub fn udp_packet(from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> Option<Vec<u8>> {
    udp_packet_of(from, to, Payload::whole(payload))
}

/// The same around a payload of which the end is not known: its lengths are those of the whole, and it has no checksum
/// (RFC 768), because nobody could tell it.
pub fn udp_packet_of(from: SocketAddrV4, to: SocketAddrV4, payload: Payload<'_>) -> Option<Vec<u8>> {
    let udp_bytes = u16::try_from(payload.length).ok()?.checked_add(UDP_HEADER_BYTES)?;
    let mut packet = ip_header(from, to, (UDP, udp_bytes))?;
    let udp_start = packet.len();
    for number in [from.port(), to.port(), udp_bytes, 0] {
        packet.extend_from_slice(&number.to_be_bytes());
    }
    packet.extend_from_slice(payload.bytes);
    if payload.is_whole() {
        let checksum = match transport_checksum(&packet, udp_start, (UDP, udp_bytes)) {
            // Zero means "no checksum" (RFC 768).
            0 => 0xffff,
            other => other,
        };
        packet[udp_start + 6..udp_start + 8].copy_from_slice(&checksum.to_be_bytes());
    }
    Some(packet)
}

/// A segment of a TCP connection that brings `payload`: its first byte is number `sequence`, and the other side's
/// bytes before `acknowledged` arrived. `None` if the payload does not fit one. Of a payload whose end is not known
/// nobody could tell the checksum, and it is zero.
pub fn tcp_packet_of(
    from: SocketAddrV4,
    to: SocketAddrV4,
    (sequence, acknowledged): (u32, u32),
    payload: Payload<'_>,
) -> Option<Vec<u8>> {
    let tcp_bytes = u16::try_from(payload.length).ok()?.checked_add(TCP_HEADER_BYTES)?;
    let mut packet = ip_header(from, to, (TCP, tcp_bytes))?;
    let tcp_start = packet.len();
    packet.extend_from_slice(&from.port().to_be_bytes());
    packet.extend_from_slice(&to.port().to_be_bytes());
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&acknowledged.to_be_bytes());
    packet.extend_from_slice(&TCP_DATA_FLAGS);
    packet.extend_from_slice(&TCP_WINDOW.to_be_bytes());
    packet.extend_from_slice(&[0; 4]);
    packet.extend_from_slice(payload.bytes);
    if payload.is_whole() {
        let checksum = transport_checksum(&packet, tcp_start, (TCP, tcp_bytes));
        packet[tcp_start + 16..tcp_start + 18].copy_from_slice(&checksum.to_be_bytes());
    }
    Some(packet)
}

/// The header in front of so many bytes of a protocol.
fn ip_header(from: SocketAddrV4, to: SocketAddrV4, (protocol, bytes): (u8, u16)) -> Option<Vec<u8>> {
    let total_bytes = bytes.checked_add(IP_HEADER_BYTES)?;
    let mut packet = vec![0x45, 0];
    packet.extend_from_slice(&total_bytes.to_be_bytes());
    // No identification and no flags: it is never fragmented.
    packet.extend_from_slice(&[0, 0, 0, 0, TIME_TO_LIVE, protocol, 0, 0]);
    packet.extend_from_slice(&from.ip().octets());
    packet.extend_from_slice(&to.ip().octets());
    let checksum = !sum(0, &packet);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    Some(packet)
}

/// The checksum of what begins at `start` of a packet, where its own field is zero: over that, and the pseudo header of
/// both addresses, the protocol and the length.
fn transport_checksum(packet: &[u8], start: usize, (protocol, bytes): (u8, u16)) -> u16 {
    let pseudo = sum(u32::from(protocol) + u32::from(bytes), &packet[12..20]);
    !sum(u32::from(pseudo), &packet[start..])
}

/// The one's complement sum of 16-bit words (RFC 1071).
pub fn sum(start: u32, bytes: &[u8]) -> u16 {
    let mut sum = bytes.chunks(2).fold(u64::from(start), |sum, pair| {
        let low = pair.get(1).copied().unwrap_or(0);
        sum + u64::from(u16::from_be_bytes([pair[0], low]))
    });
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).expect("folded to 16 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a receiver sums: the headers, and what the pseudo header says of the rest.
    fn is_sound(packet: &[u8], protocol: u8) -> bool {
        let bytes = u32::try_from(packet.len() - 20).unwrap();
        let pseudo = sum(u32::from(protocol) + bytes, &packet[12..20]);
        sum(0, &packet[..20]) == 0xffff && sum(pseudo.into(), &packet[20..]) == 0xffff
    }

    #[test]
    fn a_receiver_that_sums_the_headers_finds_them_sound() {
        let from: SocketAddrV4 = "192.0.2.1:67".parse().unwrap();
        let to: SocketAddrV4 = "192.0.2.100:68".parse().unwrap();
        for payload in [&b"odd"[..], b"even", b"", &[0xff; 1472]] {
            assert!(is_sound(&udp_packet(from, to, payload).unwrap(), UDP));
            let segment = tcp_packet_of(from, to, (7, 9), Payload::whole(payload)).unwrap();
            assert!(is_sound(&segment, TCP));
        }
    }

    #[test]
    fn a_payload_that_fits_no_packet_makes_none() {
        let any: SocketAddrV4 = "192.0.2.1:67".parse().unwrap();
        assert_eq!(udp_packet(any, any, &[0; 65_530]), None);
        assert_eq!(tcp_packet_of(any, any, (0, 0), Payload::whole(&[0; 65_500])), None);
    }

    #[test]
    fn of_a_payload_that_was_cut_the_lengths_are_those_of_the_whole() {
        let any: SocketAddrV4 = "192.0.2.1:69".parse().unwrap();
        let cut = Payload {
            bytes: &[0, 3, 0, 1],
            length: 516,
        };
        let packet = udp_packet_of(any, any, cut).unwrap();
        assert_eq!(packet.len(), 32);
        assert_eq!(packet[2..4], 544_u16.to_be_bytes());
        assert_eq!(packet[24..28], [2, 12, 0, 0], "its length, and no checksum");
    }
}
