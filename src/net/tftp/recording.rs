//! What the flight recorder has of TFTP: requests, agreed options, errors, the first block without its bytes, and a few
//! acknowledgements. Never what a file says: a script has secrets in it.

use crate::attempt::PacketKind;
use crate::boot::paths;
use crate::net::socket::ReceivedDatagram;
use crate::proto::{
    ip::Payload,
    tftp::wire::{self, DATA_HEADER_BYTES},
};
use crate::state::{
    Shared,
    recorder::{ObservedPacket, PacketOwner},
};
use std::{net::SocketAddrV4, time::Duration};

/// A request that came to the request port.
pub(super) fn request(shared: &Shared, received: &ReceivedDatagram, bytes: &[u8]) {
    if shared.recorder.is_on() {
        let hidden = paths::with_tokens_hidden(bytes);
        let server = SocketAddrV4::new(received.asked, shared.snapshot.load().ports.tftp);
        self::received(shared, shared.clock.monotonic(), (received.source, server), &hidden);
    }
}

/// A packet of a client's.
pub(super) fn received(shared: &Shared, at: Duration, (client, server): (SocketAddrV4, SocketAddrV4), bytes: &[u8]) {
    keep(shared, at, (client, server, false), Payload::whole(bytes));
}

/// A packet of ours that goes out now.
pub(super) fn sent(shared: &Shared, (server, client): (SocketAddrV4, SocketAddrV4), payload: Payload<'_>) {
    if shared.recorder.is_on() {
        keep(shared, shared.clock.monotonic(), (client, server, true), payload);
    }
}

/// The first block, of so many bytes, goes out now.
pub(super) fn first_block(shared: &Shared, ends: (SocketAddrV4, SocketAddrV4), number: u16, length: usize) {
    let header = wire::data_header(number);
    let payload = Payload {
        bytes: &header,
        length: DATA_HEADER_BYTES + length,
    };
    sent(shared, ends, payload);
}

fn keep(
    shared: &Shared,
    at: Duration,
    (client, server, is_ours): (SocketAddrV4, SocketAddrV4, bool),
    payload: Payload<'_>,
) {
    let (from, to) = match is_ours {
        true => (server, client),
        false => (client, server),
    };
    shared.record(&ObservedPacket {
        owner: PacketOwner::At(*client.ip()),
        kind: PacketKind::Tftp,
        at,
        is_ours,
        from,
        to,
        mac: None,
        interface: None,
        bytes: payload.bytes,
        length: payload.length,
    });
}
