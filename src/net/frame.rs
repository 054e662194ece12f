//! An IPv4 packet around a UDP datagram (RFC 791, RFC 768), for clients without an address.

use std::net::SocketAddrV4;

const IP_HEADER_BYTES: u16 = 20;
const UDP_HEADER_BYTES: u16 = 8;
const UDP: u8 = 17;
/// Hops a frame on the same wire needs is one; 64 is what hosts send.
const TIME_TO_LIVE: u8 = 64;

/// The packet, both checksums filled in; `None` if the payload does not fit one.
pub fn udp_packet(from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> Option<Vec<u8>> {
    let udp_bytes = u16::try_from(payload.len()).ok()?.checked_add(UDP_HEADER_BYTES)?;
    let total_bytes = udp_bytes.checked_add(IP_HEADER_BYTES)?;
    let mut packet = vec![0x45, 0];
    packet.extend_from_slice(&total_bytes.to_be_bytes());
    // No identification and no flags: it is never fragmented.
    packet.extend_from_slice(&[0, 0, 0, 0, TIME_TO_LIVE, UDP, 0, 0]);
    packet.extend_from_slice(&from.ip().octets());
    packet.extend_from_slice(&to.ip().octets());
    let checksum = !sum(0, &packet);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());

    let udp_start = packet.len();
    for number in [from.port(), to.port(), udp_bytes, 0] {
        packet.extend_from_slice(&number.to_be_bytes());
    }
    packet.extend_from_slice(payload);
    // The pseudo header: both addresses, the protocol and the length.
    let pseudo = sum(u32::from(UDP) + u32::from(udp_bytes), &packet[12..20]);
    let checksum = match !sum(u32::from(pseudo), &packet[udp_start..]) {
        // Zero means "no checksum" (RFC 768).
        0 => 0xffff,
        other => other,
    };
    packet[udp_start + 6..udp_start + 8].copy_from_slice(&checksum.to_be_bytes());
    Some(packet)
}

/// The one's complement sum of 16-bit words (RFC 1071).
pub(super) fn sum(start: u32, bytes: &[u8]) -> u16 {
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

    #[test]
    fn a_receiver_that_sums_the_headers_finds_them_sound() {
        let from: SocketAddrV4 = "192.0.2.1:67".parse().unwrap();
        let to: SocketAddrV4 = "192.0.2.100:68".parse().unwrap();
        for payload in [&b"odd"[..], b"even", b"", &[0xff; 1472]] {
            let packet = udp_packet(from, to, payload).unwrap();
            assert_eq!(sum(0, &packet[..20]), 0xffff);
            let udp_bytes = u32::try_from(packet.len() - 20).unwrap();
            let pseudo = sum(u32::from(UDP) + udp_bytes, &packet[12..20]);
            assert_eq!(sum(pseudo.into(), &packet[20..]), 0xffff);
        }
    }

    #[test]
    fn a_payload_that_fits_no_packet_makes_none() {
        let any: SocketAddrV4 = "192.0.2.1:67".parse().unwrap();
        assert_eq!(udp_packet(any, any, &[0; 65_530]), None);
    }
}
