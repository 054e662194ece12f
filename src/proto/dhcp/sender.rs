//! Which server sent a reply, for whoever overhears one; nothing else of it is read.

use super::wire;
use std::net::Ipv4Addr;

/// `op` of a reply (BOOTREPLY).
const OP_REPLY: u8 = 2;
/// `giaddr` in the header.
const GIADDR: std::ops::Range<usize> = 24..28;
const SERVER_IDENTIFIER: u8 = 54;

/// The server that sent a reply straight to a client: option 54, else `source`, where the packet
/// came from. `None` for what is no reply, and for what a relay carries: that is between it and its
/// server.
pub fn overheard_server(message: &[u8], source: Ipv4Addr) -> Option<Ipv4Addr> {
    if *message.first()? != OP_REPLY || message.get(GIADDR)? != [0; 4] {
        return None;
    }
    let mut field = message.get(wire::HEADER_BYTES..)?;
    while let Some((code, body, rest)) = wire::next(field) {
        if code == SERVER_IDENTIFIER {
            let named = <[u8; 4]>::try_from(body).map(Ipv4Addr::from);
            return Some(named.unwrap_or(source));
        }
        field = rest;
    }
    Some(source)
}
