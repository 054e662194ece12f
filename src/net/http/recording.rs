//! What the flight recorder has of HTTP: the head of each request and of its response, as they were on the wire, and
//! never a body. What may be a token or a password is blacked out before it is kept.

use crate::attempt::PacketKind;
use crate::boot::paths;
use crate::model::limits::RECORDED_HEAD_BYTES_MAX;
use crate::state::{
    Shared,
    recorder::{ObservedPacket, PacketOwner},
};
use std::{
    io::IoSlice,
    net::{IpAddr, SocketAddr, SocketAddrV4},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// What ends a head.
const HEAD_END: &[u8] = b"\r\n\r\n";
/// Headers whose values are nobody's business, in small letters.
const SECRET_HEADERS: [&[u8]; 3] = [b"authorization", b"proxy-authorization", b"cookie"];

/// A request that came in and the response that goes out, as far as their heads.
#[derive(Debug, Default)]
pub(super) struct RecordedHeads {
    /// Whether a request was heard that nothing was sent for yet.
    awaits_response: AtomicBool,
    heads: Mutex<Heads>,
}

#[derive(Debug, Default)]
struct Heads {
    request: Head,
    response: Head,
    /// When the request began, on the monotonic clock.
    since: Duration,
}

/// The beginning of what one side sent.
#[derive(Debug, Default)]
struct Head {
    bytes: Vec<u8>,
    /// Whether its end is there, or as much as is kept.
    is_over: bool,
}

impl Head {
    fn clear(&mut self) {
        self.bytes.clear();
        self.is_over = false;
    }

    fn add(&mut self, bytes: &[u8]) {
        if self.is_over {
            return;
        }
        let searched = self.bytes.len().saturating_sub(HEAD_END.len() - 1);
        let room = RECORDED_HEAD_BYTES_MAX - self.bytes.len();
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        let end = self.bytes[searched..]
            .windows(HEAD_END.len())
            .position(|part| part == HEAD_END);
        if let Some(end) = end {
            self.bytes.truncate(searched + end + HEAD_END.len());
        }
        self.is_over = end.is_some() || self.bytes.len() >= RECORDED_HEAD_BYTES_MAX;
    }
}

impl RecordedHeads {
    /// Takes what the client sent.
    pub(super) fn hear(&self, shared: &Shared, bytes: &[u8]) {
        if !shared.recorder.is_on() || bytes.is_empty() {
            return;
        }
        let mut heads = self.heads();
        if !self.awaits_response.swap(true, Ordering::Relaxed) {
            heads.request.clear();
            heads.response.clear();
            heads.since = shared.clock.monotonic();
        }
        heads.request.add(bytes);
    }

    /// Whether a response has not been sent as far as its head.
    pub(super) fn awaits_response(&self) -> bool {
        self.awaits_response.load(Ordering::Relaxed)
    }

    /// Takes what was sent: so many bytes of these parts. `ends` are the client and we.
    pub(super) fn sent(
        &self,
        shared: &Shared,
        (mut written, parts): (usize, &[IoSlice<'_>]),
        ends: impl FnOnce() -> Option<(SocketAddr, SocketAddr)>,
    ) {
        let mut heads = self.heads();
        for part in parts {
            let bytes = &part[..part.len().min(written)];
            written -= bytes.len();
            heads.response.add(bytes);
        }
        if !heads.response.is_over {
            return;
        }
        self.awaits_response.store(false, Ordering::Relaxed);
        let Some((client, server)) = ends().and_then(|(client, server)| Some((of_v4(client)?, of_v4(server)?))) else {
            return;
        };
        heads.record(shared, (client, server));
    }

    fn heads(&self) -> MutexGuard<'_, Heads> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heads {
    fn record(&mut self, shared: &Shared, (client, server): (SocketAddrV4, SocketAddrV4)) {
        hide_values(&mut self.request.bytes);
        let request = paths::with_tokens_hidden(&self.request.bytes);
        let of_request = ObservedPacket {
            owner: PacketOwner::At(*client.ip()),
            kind: PacketKind::HttpHead,
            at: self.since,
            is_ours: false,
            from: client,
            to: server,
            mac: None,
            interface: None,
            bytes: &request,
            length: request.len(),
        };
        shared.record(&of_request);
        let response = paths::with_tokens_hidden(&self.response.bytes);
        shared.record(&ObservedPacket {
            at: shared.clock.monotonic(),
            is_ours: true,
            from: server,
            to: client,
            bytes: &response,
            length: response.len(),
            ..of_request
        });
    }
}

/// Makes stars of the values of headers that nobody is to read.
fn hide_values(head: &mut [u8]) {
    for line in head.split_mut(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let (name, value) = line.split_at_mut(colon);
        if SECRET_HEADERS.iter().any(|secret| name.eq_ignore_ascii_case(secret)) {
            for byte in value.iter_mut().skip(1).filter(|byte| byte.is_ascii_graphic()) {
                *byte = b'*';
            }
        }
    }
}

fn of_v4(end: SocketAddr) -> Option<SocketAddrV4> {
    match end.ip().to_canonical() {
        IpAddr::V4(address) => Some(SocketAddrV4::new(address, end.port())),
        IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_where_its_body_begins_however_it_is_cut() {
        let whole = b"GET /boot.ipxe HTTP/1.1\r\nHost: a\r\n\r\n";
        let sent = [&whole[..], b"body"].concat();
        for cut in 0..sent.len() {
            let mut head = Head::default();
            head.add(&sent[..cut]);
            head.add(&sent[cut..]);
            head.add(b"more of the body\r\n\r\n");
            assert_eq!((&*head.bytes, head.is_over), (&whole[..], true), "{cut}");
        }
        let mut endless = Head::default();
        for _ in 0..2000 {
            endless.add(b"X: y\r\n");
        }
        assert_eq!((endless.bytes.len(), endless.is_over), (RECORDED_HEAD_BYTES_MAX, true));
    }

    #[test]
    fn passwords_in_headers_are_stars_of_the_same_length() {
        let mut head = b"GET / HTTP/1.1\r\nAUTHORIZATION: Basic c2VjcmV0\r\nHost: a\r\ncookie:x=1\r\n\r\n".to_vec();
        hide_values(&mut head);
        assert_eq!(
            head,
            b"GET / HTTP/1.1\r\nAUTHORIZATION: ***** ********\r\nHost: a\r\ncookie:***\r\n\r\n"
        );
    }
}
