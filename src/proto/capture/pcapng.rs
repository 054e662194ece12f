//! Writing pcapng: one section, its interfaces, packets with their times and comments, and when the capture ended.

use crate::model::{MacAddr, OwnAddress};
use crate::proto::ip::{self, Payload};
use std::{net::SocketAddrV4, time::Duration};

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const INTERFACE_DESCRIPTION: u32 = 1;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;
const ETHERNET: u16 = 1;
/// Options of every block.
const END_OF_OPTIONS: u16 = 0;
const COMMENT: u16 = 1;
/// Options of a section's header.
const USER_APPLICATION: u16 = 4;
/// Options of an interface.
const INTERFACE_NAME: u16 = 2;
const INTERFACE_ADDRESS: u16 = 4;
const TIME_RESOLUTION: u16 = 9;
/// Options of an interface's statistics.
const END_TIME: u16 = 3;
/// Times are in nanoseconds: 10 to the minus 9th.
const NANOSECONDS: u8 = 9;
/// Bytes of an Ethernet frame's header.
const ETHERNET_HEADER_BYTES: usize = 14;
/// What stands for a MAC that nobody knows.
const UNKNOWN_MAC: MacAddr = MacAddr([0; 6]);
/// An option's length is 16 bits; a comment is a sentence.
const COMMENT_BYTES_MAX: usize = 4096;

/// An interface that packets went over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureInterface {
    /// Its name.
    pub name: Box<str>,
    /// Its addresses: ours.
    pub addresses: Vec<OwnAddress>,
}

/// What is around a packet's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RebuiltTransport {
    /// UDP.
    Udp,
    /// TCP: the number of its first byte, and of the first one that did not come from the other side yet.
    Tcp(u32, u32),
}

/// A packet whose headers are made anew around what was kept of it.
#[derive(Clone, Copy, Debug)]
pub struct RebuiltPacket<'a> {
    /// When it was on the wire, since 1970.
    pub at: Duration,
    /// The sender's and the receiver's MAC, as far as they are known.
    pub macs: (Option<MacAddr>, Option<MacAddr>),
    /// The sender.
    pub from: SocketAddrV4,
    /// The receiver.
    pub to: SocketAddrV4,
    /// What is around its payload.
    pub transport: RebuiltTransport,
    /// Its payload.
    pub payload: Payload<'a>,
}

/// A capture that is being written.
#[derive(Debug)]
pub struct PcapngWriter {
    bytes: Vec<u8>,
    interfaces: u32,
}

impl PcapngWriter {
    /// One written by `application`, with a comment of its own.
    pub fn new(application: &str, comment: &str) -> PcapngWriter {
        let mut body = Vec::new();
        body.extend_from_slice(&BYTE_ORDER_MAGIC.to_le_bytes());
        // Version 1.0, and a section whose length nobody counted.
        body.extend_from_slice(&[1, 0, 0, 0]);
        body.extend_from_slice(&u64::MAX.to_le_bytes());
        option(&mut body, COMMENT, bounded(comment).as_bytes());
        option(&mut body, USER_APPLICATION, application.as_bytes());
        option(&mut body, END_OF_OPTIONS, &[]);
        let mut writer = PcapngWriter {
            bytes: Vec::new(),
            interfaces: 0,
        };
        writer.block(SECTION_HEADER, &body);
        writer
    }

    /// Adds an interface; its number is for its packets.
    pub fn interface(&mut self, interface: &CaptureInterface) -> u32 {
        let mut body = Vec::new();
        body.extend_from_slice(&ETHERNET.to_le_bytes());
        // No packet is cut by its length.
        body.extend_from_slice(&[0; 6]);
        option(&mut body, INTERFACE_NAME, bounded(&interface.name).as_bytes());
        for own in &interface.addresses {
            let pair = [own.address.octets(), own.cidr.mask().octets()].concat();
            option(&mut body, INTERFACE_ADDRESS, &pair);
        }
        option(&mut body, TIME_RESOLUTION, &[NANOSECONDS]);
        option(&mut body, END_OF_OPTIONS, &[]);
        self.block(INTERFACE_DESCRIPTION, &body);
        self.interfaces += 1;
        self.interfaces - 1
    }

    /// Adds a packet that went over an interface. One that is too long for IP, or whose interface is not there, is left
    /// out.
    pub fn packet(&mut self, interface: u32, packet: &RebuiltPacket<'_>, comments: &[&str]) {
        let Some(frame) = ethernet(packet).filter(|_| interface < self.interfaces) else {
            return;
        };
        let cut = packet.payload.length.saturating_sub(packet.payload.bytes.len());
        let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
        let mut body = Vec::new();
        body.extend_from_slice(&interface.to_le_bytes());
        body.extend_from_slice(&time(packet.at));
        body.extend_from_slice(&length(frame.len()));
        body.extend_from_slice(&length(frame.len() + cut));
        body.extend_from_slice(&frame);
        pad(&mut body);
        for comment in comments {
            option(&mut body, COMMENT, bounded(comment).as_bytes());
        }
        if !comments.is_empty() {
            option(&mut body, END_OF_OPTIONS, &[]);
        }
        self.block(ENHANCED_PACKET, &body);
    }

    /// The whole file, of a capture that ended then.
    pub fn finish(mut self, end: Duration) -> Vec<u8> {
        for interface in 0..self.interfaces {
            let mut body = Vec::new();
            body.extend_from_slice(&interface.to_le_bytes());
            body.extend_from_slice(&time(end));
            option(&mut body, END_TIME, &time(end));
            option(&mut body, END_OF_OPTIONS, &[]);
            self.block(INTERFACE_STATISTICS, &body);
        }
        self.bytes
    }

    fn block(&mut self, kind: u32, body: &[u8]) {
        let length = u32::try_from(body.len() + 12).unwrap_or(u32::MAX).to_le_bytes();
        self.bytes.extend_from_slice(&kind.to_le_bytes());
        self.bytes.extend_from_slice(&length);
        self.bytes.extend_from_slice(body);
        self.bytes.extend_from_slice(&length);
    }
}

/// The frame around a packet.
fn ethernet(packet: &RebuiltPacket<'_>) -> Option<Vec<u8>> {
    let RebuiltPacket { from, to, payload, .. } = *packet;
    let inner = match packet.transport {
        RebuiltTransport::Udp => ip::udp_packet_of(from, to, payload),
        RebuiltTransport::Tcp(sequence, acknowledged) => ip::tcp_packet_of(from, to, (sequence, acknowledged), payload),
    }?;
    let is_for_all = to.ip().is_broadcast();
    let receiver = if is_for_all {
        MacAddr([0xff; 6])
    } else {
        packet.macs.1.unwrap_or(UNKNOWN_MAC)
    };
    let mut frame = Vec::with_capacity(ETHERNET_HEADER_BYTES + inner.len());
    frame.extend_from_slice(&receiver.0);
    frame.extend_from_slice(&packet.macs.0.unwrap_or(UNKNOWN_MAC).0);
    frame.extend_from_slice(&[8, 0]);
    frame.extend_from_slice(&inner);
    Some(frame)
}

/// A moment in two words, the upper one first, whatever the byte order.
fn time(at: Duration) -> [u8; 8] {
    let nanoseconds = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
    let (upper, lower) = (nanoseconds >> 32, nanoseconds & 0xffff_ffff);
    let mut words = [0; 8];
    words[..4].copy_from_slice(&upper.to_le_bytes()[..4]);
    words[4..].copy_from_slice(&lower.to_le_bytes()[..4]);
    words
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    body.extend_from_slice(&code.to_le_bytes());
    body.extend_from_slice(&length.to_le_bytes());
    body.extend_from_slice(value);
    pad(body);
}

/// Fills up to 32 bits.
fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

fn bounded(text: &str) -> &str {
    crate::model::text::prefix(text, COMMENT_BYTES_MAX)
}
