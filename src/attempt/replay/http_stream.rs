//! The HTTP requests of a capture: the bytes of each connection in their order, and the heads in them.

use super::{
    Replay,
    files::{ReplayedFile, refused},
};
use crate::boot::{
    event::{FilePart, Step},
    method::Method,
    resource::{FileRequest, InventoryResources, Resources, Transport},
};
use crate::model::{
    limits::{REPLAY_HEAD_BYTES_MAX, REPLAY_STREAMS_MAX},
    text,
};
use crate::proto::capture::{DissectedPacket, SegmentOrDatagram};
use std::{collections::HashMap, net::SocketAddrV4, time::Duration};

/// What ends a head.
const HEAD_END: &[u8] = b"\r\n\r\n";
/// What the flight recorder makes of a token.
const HIDDEN: &str = "****************";

/// The connections of a capture, by their clients.
#[derive(Default)]
pub(super) struct HttpStreams(HashMap<SocketAddrV4, ReplayedStream>);

/// What a client sent over one connection.
#[derive(Default)]
struct ReplayedStream {
    /// The number of the next byte that is expected.
    next: Option<u32>,
    bytes: Vec<u8>,
    /// Bytes of a body that are still to be passed over.
    body: usize,
    /// Answers that the capture has none for yet, and whether each is one of success.
    awaiting: Vec<(usize, bool)>,
    last: Duration,
}

impl ReplayedStream {
    /// Takes the bytes of a segment that are new. Where some are missing, what follows begins anew.
    fn add(&mut self, sequence: u32, bytes: &[u8]) {
        let ahead = self.next.map_or(0, |next| sequence.wrapping_sub(next));
        let behind = 0_u32.wrapping_sub(ahead);
        let is_again = ahead != 0 && behind < 1 << 31;
        let new = match usize::try_from(behind) {
            Ok(known) if is_again => bytes.get(known..).unwrap_or_default(),
            _ => bytes,
        };
        if ahead != 0 && !is_again {
            self.bytes.clear();
            self.body = 0;
        }
        if !is_again || !new.is_empty() {
            self.next = Some(sequence.wrapping_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX)));
        }
        let passed_over = self.body.min(new.len());
        self.body -= passed_over;
        let room = REPLAY_HEAD_BYTES_MAX.saturating_sub(self.bytes.len());
        let new = &new[passed_over..];
        self.bytes.extend_from_slice(&new[..new.len().min(room)]);
    }

    /// Takes the next head that is there whole, with as much of its body as is there.
    fn take_head(&mut self) -> Option<(Vec<u8>, Vec<u8>)> {
        let end = self.bytes.windows(HEAD_END.len()).position(|part| part == HEAD_END)? + HEAD_END.len();
        let head: Vec<u8> = self.bytes.drain(..end).collect();
        let length = header(&head, "content-length")
            .and_then(|value| value.parse().ok())
            .unwrap_or(0);
        let body: Vec<u8> = self.bytes.drain(..self.bytes.len().min(length)).collect();
        self.body = length - body.len();
        Some((head, body))
    }
}

/// The value of a header of that name, in small letters.
fn header<'h>(head: &'h [u8], name: &str) -> Option<&'h str> {
    let lines = head.split(|byte| *byte == b'\n').skip(1);
    let mut values = lines.filter_map(|line| {
        let (key, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
        key.trim().eq_ignore_ascii_case(name).then_some(value.trim())
    });
    values.next()
}

/// The method, the path and the query of a request's head.
fn request_line(head: &[u8]) -> Option<(&str, &str, Option<&str>)> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    words.next().filter(|version| version.starts_with("HTTP/"))?;
    // A proxy's form has the server in front of the path.
    let behind_scheme = target.split_once("://").map(|(_, rest)| rest);
    let target = match behind_scheme {
        Some(rest) => rest.find('/').map_or("/", |path| &rest[path..]),
        None => target,
    };
    let (path, query) = target
        .split_once('?')
        .map_or((target, None), |(path, query)| (path, Some(query)));
    Some((method, path, query))
}

impl Replay<'_> {
    pub(super) fn http_segment(&mut self, at: Duration, packet: &DissectedPacket<'_>) {
        let SegmentOrDatagram::Tcp {
            sequence,
            is_first,
            bytes,
        } = packet.payload
        else {
            return;
        };
        let stream = self.streams.0.entry(packet.from).or_default();
        stream.last = at;
        match is_first {
            true => {
                *stream = ReplayedStream {
                    next: Some(sequence.wrapping_add(1)),
                    last: at,
                    ..ReplayedStream::default()
                };
            }
            false => stream.add(sequence, bytes),
        }
        while let Some((head, body)) = self.streams.0.get_mut(&packet.from).and_then(ReplayedStream::take_head) {
            self.http_request(at, packet.from, (&head, &body));
        }
        if self.streams.0.len() > REPLAY_STREAMS_MAX {
            let oldest = self.streams.0.iter().min_by_key(|(_, stream)| stream.last);
            if let Some(client) = oldest.map(|(client, _)| *client) {
                self.streams.0.remove(&client);
            }
        }
    }

    fn http_request(&mut self, at: Duration, client: SocketAddrV4, (head, body): (&[u8], &[u8])) {
        let Some((word, path, query)) = request_line(head) else {
            return;
        };
        let method = match word {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            _ => return,
        };
        let (now, asked) = (self.now(at), [word, " ", &text::escape(path.as_bytes())].concat());
        let request = FileRequest {
            method,
            query,
            body,
            accept: header(head, "accept"),
            ..FileRequest::get(
                Transport::Http,
                path.as_bytes(),
                *client.ip(),
                self.settings.server.address,
            )
        };
        if path.contains(HIDDEN) || !InventoryResources.methods(path.as_bytes()).has(method) {
            let machine = crate::boot::event::Machine::default().or_at(*client.ip());
            self.answer(at, asked, None, machine);
            return;
        }
        let ReplayedFile { subject, result, .. } = self.file(now, &request);
        let is_sent = result.is_ok();
        let event = match result {
            Ok(length) => subject.event(now, sent(&subject.file, method, (length, header(head, "range")))),
            Err(refusal) => refused(now, &subject, refusal),
        };
        // Who asks for a length alone has nothing yet.
        if method != Method::Head {
            self.publish(&event);
        }
        let answer = self.answer(at, asked, Some(event), subject.machine);
        if let Some(stream) = self.streams.0.get_mut(&client) {
            stream.awaiting.push((answer, is_sent));
        }
    }

    /// Holds the status of a response in the capture against what was decided: success, or none.
    pub(super) fn http_reply(&mut self, client: SocketAddrV4, bytes: &[u8]) {
        let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let status = std::str::from_utf8(line).ok().and_then(|line| {
            let mut words = line.split(' ');
            words
                .next()?
                .starts_with("HTTP/")
                .then(|| words.next()?.parse::<u16>().ok())?
        });
        let Some((status, stream)) = status.zip(self.streams.0.get_mut(&client)) else {
            return;
        };
        if status >= 200 && !stream.awaiting.is_empty() {
            let (answer, is_sent) = stream.awaiting.remove(0);
            self.answers[answer].is_same = Some((200..400).contains(&status) == is_sent);
        }
    }
}

/// That a file, or the part of it that was asked for, goes out.
fn sent(file: &crate::boot::event::RequestedFile, method: Method, (length, range): (u64, Option<&str>)) -> Step {
    let file = file.clone();
    if method == Method::Head {
        return Step::SizeAsked { file };
    }
    let part = range.and_then(|range| part(range, length));
    let bytes = part.map_or(length, |part| part.end - part.start);
    Step::Sent { file, part, bytes }
}

/// The one part that a `Range` asks for, if that is a part.
fn part(range: &str, of: u64) -> Option<FilePart> {
    let (start, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let start: u64 = start.parse().ok()?;
    let end = match last {
        "" => of,
        last => last.parse::<u64>().ok()?.checked_add(1)?.min(of),
    };
    (start < end).then_some(FilePart { start, end, of })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::replay::ReplaySettings;
    use crate::fixtures;
    use crate::model::{Mode, OwnAddress};
    use std::net::Ipv4Addr;

    #[test]
    fn connections_that_only_begin_take_bounded_memory() {
        let snapshot = fixtures::snapshot();
        let settings = ReplaySettings {
            snapshot: &snapshot,
            server: OwnAddress {
                address: fixtures::SERVER,
                cidr: "192.0.2.0/24".parse().unwrap(),
            },
            mode: Mode::Dhcp,
            interface: "eno2".into(),
            armed: Vec::new(),
            length_of: &|_, _| None,
        };
        let mut replay = Replay::new(&settings, Duration::ZERO);
        let clients = u32::try_from(REPLAY_STREAMS_MAX + 100).unwrap();
        for client in 0..clients {
            let packet = DissectedPacket {
                source_mac: None,
                from: SocketAddrV4::new(Ipv4Addr::from_bits(client), 4711),
                to: SocketAddrV4::new(fixtures::SERVER, 80),
                payload: SegmentOrDatagram::Tcp {
                    sequence: 1,
                    is_first: true,
                    bytes: &[],
                },
            };
            replay.http_segment(Duration::from_secs(client.into()), &packet);
        }
        assert_eq!(replay.streams.0.len(), REPLAY_STREAMS_MAX);
        let last = SocketAddrV4::new(Ipv4Addr::from_bits(clients - 1), 4711);
        assert!(replay.streams.0.contains_key(&last), "the oldest gave way");
    }
}
