//! `GET /packets`: what the flight recorder has of a machine.

use crate::attempt::PacketKind;
use crate::model::MacAddr;
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddrV4};

/// Whose packets are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PacketFilter {
    /// The machine, by name, MAC, serial number or address; once.
    #[serde(default)]
    pub machine: Vec<String>,
    /// One of its attempts, by its number; all packets that are kept where it does not say.
    #[serde(default)]
    pub attempt: Vec<String>,
}

/// The packets of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedPackets {
    /// The machine.
    pub machine: String,
    /// When they were asked for.
    pub asked: PacketTime,
    /// Our interfaces.
    pub interfaces: Vec<RecordedInterface>,
    /// The packets, in the order of their times.
    pub packets: Vec<PacketStatus>,
}

/// A moment, to the nanosecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketTime {
    /// Seconds since 1970.
    pub s: u64,
    /// Nanoseconds of the next one.
    pub ns: u32,
}

/// An interface that we serve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedInterface {
    /// Its name.
    pub name: String,
    /// Its addresses, each with the length of its network's prefix.
    pub addresses: Vec<(Ipv4Addr, u8)>,
}

/// One packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketStatus {
    /// When it was on the wire.
    pub at: PacketTime,
    /// What it is of.
    pub kind: PacketKind,
    /// Whether we sent it.
    pub sent: bool,
    /// The sender.
    pub from: SocketAddrV4,
    /// The receiver.
    pub to: SocketAddrV4,
    /// The machine's MAC, where it is known.
    pub mac: Option<MacAddr>,
    /// The interface's name, where it is known.
    pub interface: Option<String>,
    /// Bytes of its payload.
    pub length: usize,
    /// Its payload in hexadecimal digits, as far as it is kept.
    pub bytes: String,
    /// What we made of it, in sentences.
    pub notes: Vec<String>,
}
