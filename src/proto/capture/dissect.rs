//! From a frame of a capture to the UDP datagram or TCP segment in it.

use super::{CapturedFrame, LinkLayer};
use crate::model::MacAddr;
use crate::proto::ip::{TCP, UDP};
use std::net::{Ipv4Addr, SocketAddrV4};

const IPV4: u16 = 0x0800;
/// VLAN tags: 802.1Q, 802.1ad, and what some switches had before that.
const VLAN_TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];
/// Tags behind each other that are looked through.
const VLAN_TAGS_MAX: usize = 4;
/// Flags and offset of a packet that is a fragment, and not the only one.
const FRAGMENT: u16 = 0x3fff;

/// What a datagram or a segment brings, as far as it was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentOrDatagram<'a> {
    /// A UDP datagram.
    Udp(&'a [u8]),
    /// A TCP segment.
    Tcp {
        /// The number of its first byte.
        sequence: u32,
        /// Whether it begins a connection.
        is_first: bool,
        /// Its bytes.
        bytes: &'a [u8],
    },
}

/// A packet of IPv4, as far as a server reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DissectedPacket<'a> {
    /// The MAC that sent the frame, where its link has them.
    pub source_mac: Option<MacAddr>,
    /// The sender.
    pub from: SocketAddrV4,
    /// The receiver.
    pub to: SocketAddrV4,
    /// What it brings.
    pub payload: SegmentOrDatagram<'a>,
}

/// What is in a frame; `None` for what is neither UDP nor TCP over IPv4, was cut before its ports, or is a fragment.
pub fn dissect<'a>(frame: &CapturedFrame<'a>) -> Option<DissectedPacket<'a>> {
    let (source_mac, packet) = network_layer(frame.link, frame.bytes)?;
    let (header, rest) = ip(packet)?;
    let (from, to) = (Ipv4Addr::from(quad(header, 12)?), Ipv4Addr::from(quad(header, 16)?));
    let (ports, payload) = match *header.get(9)? {
        UDP => {
            let length = usize::from(word(rest, 4)?).max(8);
            let body = rest.get(8..rest.len().min(length))?;
            (rest, SegmentOrDatagram::Udp(body))
        }
        TCP => {
            let header_bytes = usize::from(rest.get(12)? >> 4) * 4;
            let bytes = rest.get(header_bytes.max(20)..)?;
            let sequence = u32::from_be_bytes(quad(rest, 4)?);
            let is_first = rest.get(13)? & 2 != 0;
            let payload = SegmentOrDatagram::Tcp {
                sequence,
                is_first,
                bytes,
            };
            (rest, payload)
        }
        _ => return None,
    };
    Some(DissectedPacket {
        source_mac,
        from: SocketAddrV4::new(from, word(ports, 0)?),
        to: SocketAddrV4::new(to, word(ports, 2)?),
        payload,
    })
}

/// The sender's MAC, and the IPv4 packet behind what its link has in front of it.
fn network_layer(link: LinkLayer, frame: &[u8]) -> Option<(Option<MacAddr>, &[u8])> {
    match link {
        LinkLayer::Ip => Some((None, frame)),
        // 2 is IPv4 on every BSD; a file from elsewhere may have it in the other byte order.
        LinkLayer::Loopback => {
            let family = frame.first_chunk::<4>()?;
            (*family == [2, 0, 0, 0] || *family == [0, 0, 0, 2]).then_some((None, &frame[4..]))
        }
        LinkLayer::Ethernet => {
            let packet = behind_tags(word(frame, 12)?, frame.get(14..)?)?;
            Some((mac(frame.get(6..12)?), packet))
        }
        LinkLayer::LinuxCooked => {
            let packet = behind_tags(word(frame, 14)?, frame.get(16..)?)?;
            let length = word(frame, 4)?;
            Some((mac(frame.get(6..12)?).filter(|_| length == 6), packet))
        }
        LinkLayer::LinuxCooked2 => {
            let packet = behind_tags(word(frame, 0)?, frame.get(20..)?)?;
            let length = *frame.get(11)?;
            Some((mac(frame.get(12..18)?).filter(|_| length == 6), packet))
        }
        LinkLayer::Other => None,
    }
}

/// What follows the VLAN tags, if that is IPv4.
fn behind_tags(mut ether_type: u16, mut rest: &[u8]) -> Option<&[u8]> {
    for _ in 0..VLAN_TAGS_MAX {
        if !VLAN_TAGS.contains(&ether_type) {
            break;
        }
        ether_type = word(rest, 2)?;
        rest = rest.get(4..)?;
    }
    (ether_type == IPV4).then_some(rest)
}

/// The header of an IPv4 packet, and what it carries, without the padding of a short frame.
fn ip(packet: &[u8]) -> Option<(&[u8], &[u8])> {
    let first = *packet.first()?;
    let header_bytes = usize::from(first & 15) * 4;
    if first >> 4 != 4 || header_bytes < 20 || word(packet, 6)? & FRAGMENT != 0 {
        return None;
    }
    // Zero is what a kernel captures that leaves the cutting up to its network card.
    let total = match usize::from(word(packet, 2)?) {
        0 => packet.len(),
        total => total.max(header_bytes).min(packet.len()),
    };
    Some((packet.get(..header_bytes)?, packet.get(header_bytes..total)?))
}

fn mac(bytes: &[u8]) -> Option<MacAddr> {
    bytes.try_into().ok().map(MacAddr)
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes([pair[0], pair[1]]))
}

fn quad(bytes: &[u8], at: usize) -> Option<[u8; 4]> {
    bytes.get(at..at + 4)?.try_into().ok()
}
