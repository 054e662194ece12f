//! Captures: files of packets as tcpdump, Wireshark and our own flight recorder write them.
//!
//! [`read`] takes pcapng and the older pcap, of either byte order; [`dissect()`] finds what a server would have read of a
//! packet, behind Ethernet, VLAN tags and what Linux puts in front of packets of any interface. [`PcapngWriter`] writes
//! pcapng (draft-ietf-opsawg-pcapng). Whatever a file says ends in packets or in an error, never in a panic.

mod dissect;
mod pcapng;
mod reading;

pub use dissect::{DissectedPacket, SegmentOrDatagram, dissect};
pub use pcapng::{CaptureInterface, PcapngWriter, RebuiltPacket, RebuiltTransport};
pub use reading::{CaptureError, CaptureFile, CapturedFrame, read};

/// What a frame of a capture begins with: the numbers of <https://www.tcpdump.org/linktypes.html>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkLayer {
    /// BSD's loopback: the protocol family, in either byte order (0, 108).
    Loopback,
    /// Ethernet (1).
    Ethernet,
    /// An IP packet, and nothing in front of it (101, 12, 14, 228).
    Ip,
    /// What Linux puts in front of packets of any interface: "cooked" (113).
    LinuxCooked,
    /// The same, version 2 (276).
    LinuxCooked2,
    /// Something that no boot goes over.
    Other,
}

impl LinkLayer {
    /// By its number.
    pub fn of(number: i32) -> LinkLayer {
        match number {
            0 | 108 => LinkLayer::Loopback,
            1 => LinkLayer::Ethernet,
            12 | 14 | 101 | 228 => LinkLayer::Ip,
            113 => LinkLayer::LinuxCooked,
            276 => LinkLayer::LinuxCooked2,
            _ => LinkLayer::Other,
        }
    }
}

#[cfg(test)]
mod tests;
