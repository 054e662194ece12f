//! What a reply tells whoever overhears it: its server, and whether that says what to boot.

use super::wire::{self, FILE, OP_REPLY};
use std::net::Ipv4Addr;

/// `giaddr` in the header.
const GIADDR: std::ops::Range<usize> = 24..28;
const SERVER_IDENTIFIER: u8 = 54;
const VENDOR_CLASS: u8 = 60;
const BOOT_FILE: u8 = 67;

/// A reply that another server sent straight to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SniffedReply {
    /// The server: option 54, else where the packet came from.
    pub server: Ipv4Addr,
    /// Whether it tells firmware what to boot: a boot file, or the class of a boot server.
    pub boots: bool,
}

/// What a reply from `source` tells. `None` for what is no reply, and for what a relay carries: that
/// is between it and its server.
pub fn sniff_reply(message: &[u8], source: Ipv4Addr) -> Option<SniffedReply> {
    if *message.first()? != OP_REPLY || message.get(GIADDR)? != [0; 4] {
        return None;
    }
    let mut heard = SniffedReply {
        server: source,
        // An empty name begins with its NUL.
        boots: *message.get(FILE.start)? != 0,
    };
    let mut field = message.get(wire::HEADER_BYTES..)?;
    while let Some((code, body, rest)) = wire::next(field) {
        match code {
            SERVER_IDENTIFIER => heard.server = <[u8; 4]>::try_from(body).map_or(source, Ipv4Addr::from),
            VENDOR_CLASS | BOOT_FILE => heard.boots = true,
            _ => {}
        }
        field = rest;
    }
    Some(heard)
}
