//! What the flight recorder has of HTTP: the head of each request and of its response, as they were on the wire, and
//! never a body. What may be a token or a password is blacked out before it is kept.

use crate::attempt::PacketKind;
use crate::boot::paths;
use crate::model::limits::{RECORDED_EXCHANGES_PER_S_MAX, RECORDED_HEAD_BYTES_MAX};
use crate::state::{
    Counter, Shared,
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
/// How a request begins that follows another on its connection: what is left of that one's body does not.
const REQUEST_BEGINNINGS: [&[u8]; 5] = [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"OPTIONS "];
/// How a response begins, and no file that is still on its way.
const RESPONSE_BEGINNING: [&[u8]; 1] = [b"HTTP/1."];
/// What is said before a body is read; the response comes after it.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// Headers whose values are nobody's business, in small letters.
const SECRET_HEADERS: [&[u8]; 3] = [b"authorization", b"proxy-authorization", b"cookie"];

/// A request that came in and the response that goes out, as far as their heads.
#[derive(Debug)]
pub(super) struct RecordedHeads {
    /// The client and we, where both are of IPv4.
    ends: Option<(SocketAddrV4, SocketAddrV4)>,
    /// Whether anything was heard.
    has_begun: AtomicBool,
    /// Whether a request was heard that nothing was sent for yet.
    awaits_response: AtomicBool,
    heads: Mutex<Heads>,
}

#[derive(Debug, Default)]
struct Heads {
    request: Head,
    response: Head,
    /// Whether the request is what the connection begins with, whatever that is.
    is_first: bool,
    /// When the request began, on the monotonic clock.
    since: Duration,
    budget: ExchangeBudget,
}

/// How many exchanges of a connection may still be kept in this second. Who asks as fast as it can is no machine that
/// boots: it would push out its own packets, and have each response cost more.
#[derive(Debug, Default)]
struct ExchangeBudget {
    /// When the second began, on the monotonic clock.
    since: Duration,
    kept: u32,
}

impl ExchangeBudget {
    fn take(&mut self, now: Duration) -> bool {
        if self.kept == 0 || now.saturating_sub(self.since) >= Duration::from_secs(1) {
            *self = ExchangeBudget { since: now, kept: 0 };
        }
        let is_left = self.kept < RECORDED_EXCHANGES_PER_S_MAX;
        self.kept += u32::from(is_left);
        is_left
    }
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
    /// Those of a connection between a client, where it is not gone yet, and this end of it.
    pub(super) fn new(client: Option<SocketAddr>, server: SocketAddr) -> RecordedHeads {
        RecordedHeads {
            ends: client.and_then(of_v4).zip(of_v4(server)),
            has_begun: AtomicBool::default(),
            awaits_response: AtomicBool::default(),
            heads: Mutex::default(),
        }
    }

    /// Takes what the client sent.
    pub(super) fn hear(&self, shared: &Shared, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let is_first = !self.has_begun.swap(true, Ordering::Relaxed);
        if !shared.recorder.is_on() {
            return;
        }
        let mut heads = self.heads();
        if !self.awaits_response() {
            if !is_first && !may_begin(bytes, &REQUEST_BEGINNINGS) {
                return;
            }
            let now = shared.clock.monotonic();
            if !heads.budget.take(now) {
                return shared.counters.count(Counter::RecorderDropped);
            }
            heads.begin(is_first, now);
            self.awaits_response.store(true, Ordering::Relaxed);
        }
        heads.request.add(bytes);
    }

    /// Whether a response has not been sent as far as its head.
    pub(super) fn awaits_response(&self) -> bool {
        self.awaits_response.load(Ordering::Relaxed)
    }

    /// Takes what was sent: so many bytes of these parts.
    pub(super) fn sent(&self, shared: &Shared, written: (usize, &[IoSlice<'_>])) {
        let mut heads = self.heads();
        heads.answer(written);
        if !heads.response.is_over {
            return;
        }
        self.awaits_response.store(false, Ordering::Relaxed);
        if heads.are_heads()
            && let Some(ends) = self.ends
        {
            heads.record(shared, ends);
        }
    }

    fn heads(&self) -> MutexGuard<'_, Heads> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heads {
    fn begin(&mut self, is_first: bool, now: Duration) {
        self.request.clear();
        self.response.clear();
        self.is_first = is_first;
        self.since = now;
    }

    /// Takes so many bytes of what was sent. The body of the response before may not have gone out wholly.
    fn answer(&mut self, (mut written, parts): (usize, &[IoSlice<'_>])) {
        for part in parts {
            let bytes = &part[..part.len().min(written)];
            written -= bytes.len();
            if !self.response.bytes.is_empty() {
                self.response.add(bytes);
                continue;
            }
            let bytes = bytes.strip_prefix(CONTINUE).unwrap_or(bytes);
            if may_begin(bytes, &RESPONSE_BEGINNING) {
                self.response.add(bytes);
            }
        }
    }

    /// Whether both are what they began like.
    fn are_heads(&self) -> bool {
        (self.is_first || begins(&self.request.bytes, &REQUEST_BEGINNINGS))
            && begins(&self.response.bytes, &RESPONSE_BEGINNING)
    }

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

fn begins(bytes: &[u8], beginnings: &[&[u8]]) -> bool {
    beginnings.iter().any(|beginning| bytes.starts_with(beginning))
}

/// Whether bytes begin so, as far as they are there.
fn may_begin(bytes: &[u8], beginnings: &[&[u8]]) -> bool {
    begins(bytes, beginnings) || beginnings.iter().any(|beginning| beginning.starts_with(bytes))
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
    fn the_rest_of_a_body_is_no_response_and_none_of_a_request_is_the_next_one() {
        const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
        let mut heads = Heads::default();
        heads.begin(false, Duration::ZERO);
        heads.request.add(b"GET /second HTTP/1.1\r\n\r\n");
        // The client asked on while it got its first file.
        for rest in [&b"rootpw --iscrypted $6$secret\r\n\r\n"[..], b"H", CONTINUE] {
            heads.response.clear();
            heads.answer((rest.len(), &[IoSlice::new(rest)]));
            assert!(!heads.response.is_over, "{rest:?}");
        }
        heads.response.clear();
        let parts = [CONTINUE, &RESPONSE[..3], &RESPONSE[3..], b"a secret"].map(IoSlice::new);
        heads.answer((parts.iter().map(|part| part.len()).sum(), &parts));
        assert_eq!(heads.response.bytes, RESPONSE);
        assert!(heads.response.is_over && heads.are_heads());

        assert!(may_begin(b"PO", &REQUEST_BEGINNINGS));
        assert!(!may_begin(b"38396162/done HTTP/1.1\r\n\r\n", &REQUEST_BEGINNINGS));
        heads.request.clear();
        heads.request.add(b"Password: secret");
        assert!(!heads.are_heads(), "it only began like one");
        heads.is_first = true;
        assert!(heads.are_heads(), "whatever a connection begins with was a request");
    }

    #[test]
    fn who_asks_as_fast_as_it_can_has_some_exchanges_of_each_second_kept() {
        let mut budget = ExchangeBudget::default();
        let mut kept = |from_ms: u64, every_ms: usize| {
            let times = (from_ms..from_ms + 3000).step_by(every_ms);
            times.filter(|ms| budget.take(Duration::from_millis(*ms))).count()
        };
        assert_eq!(kept(10, 100), 30, "a machine that boots has all of its own kept");
        assert_eq!(kept(5000, 1), 3 * RECORDED_EXCHANGES_PER_S_MAX as usize);
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
