//! A capture, run through the daemon's own decisions: every DHCP request, TFTP request and head of an HTTP request in
//! it, at the times that it has, over a configuration and tables of its own. What comes of that is taken in by attempts,
//! which have their verdicts.
//!
//! What a capture does not show is taken to be as it should be: artifacts have the bytes of their checksums, a file that
//! HTTP sends arrives, nobody's lease is on disk, and who is armed is said by whoever replays.

mod dhcp;
mod files;
mod http_stream;
mod tftp;

use super::{
    attempts::Attempts,
    timeline::{Attempt, AttemptOwner},
};
use crate::boot::{
    arming::Arming,
    engine::DiscoverCache,
    event::{Event, Machine, MachineKey, Stage, Step},
    identity_cache::IdentityCache,
    loops::LoaderLoops,
    paths,
    snapshot::Snapshot,
    verification::{HashResult, Verification},
    world::{FileWorld, World},
};
use crate::lease::LeaseTable;
use crate::model::{By, Mode, Name, Now, OwnAddress, Token, WallTime, limits::REPLAY_TWICE};
use crate::proto::capture::{CaptureFile, DissectedPacket, SegmentOrDatagram, dissect};
use http_stream::HttpStreams;
use std::{
    borrow::Cow,
    collections::{HashMap, VecDeque},
    net::{Ipv4Addr, SocketAddrV4},
    path::Path,
    sync::Arc,
    time::Duration,
};
use tftp::ReplayedTransfers;

/// How long the daemon that is played had run when the capture began: long enough to have forgotten its start.
const UPTIME: Duration = Duration::from_secs(24 * 3600);
/// Packets that are looked at for one that was captured twice.
const RECENT_PACKETS_MAX: usize = 16;
/// How long hosts stay armed that are said to be.
const ARMED_FOR_S: u64 = 365 * 24 * 3600;

/// What a capture is run over.
pub struct ReplaySettings<'s> {
    /// The configuration.
    pub snapshot: &'s Snapshot,
    /// The server in the capture that is played.
    pub server: OwnAddress,
    /// Whether it gives the addresses.
    pub mode: Mode,
    /// The interface that requests come in on.
    pub interface: Arc<str>,
    /// Hosts whose next boot installs.
    pub armed: Vec<Name>,
    /// Bytes of a file beneath a folder; `None` where it is not there.
    pub length_of: &'s dyn Fn(&Path, &str) -> Option<u64>,
}

/// What a request in a capture comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayedAnswer {
    /// When it was on the wire, since 1970.
    pub at: Duration,
    /// Who asked, as far as that is known.
    pub machine: MachineKey,
    /// What was asked: `DHCPDISCOVER`, `TFTP snponly.efi`, `GET /boot.ipxe`.
    pub asked: String,
    /// What the daemon says of it; `None` where the capture has not enough of it, or it is one more of the same.
    pub event: Option<Event>,
    /// Whether the capture has the same answer; `None` where it has none.
    pub is_same: Option<bool>,
    /// Bytes of the reply to a DHCP request.
    pub reply: Option<Vec<u8>>,
}

/// What a capture came to.
#[derive(Debug)]
pub struct ReplayReport {
    /// Every answer, in the order of the requests.
    pub answers: Vec<ReplayedAnswer>,
    /// Every attempt, the earliest first, and how long its machine was silent at the end of it.
    pub attempts: Vec<(Attempt, Duration)>,
}

/// A capture that is being replayed.
struct Replay<'s> {
    settings: &'s ReplaySettings<'s>,
    /// When the capture began, since 1970.
    began: Duration,
    /// The latest time of it.
    latest: Duration,
    leases: LeaseTable,
    arming: Arming,
    identities: IdentityCache,
    verification: Verification,
    discovers: DiscoverCache,
    loops: LoaderLoops,
    attempts: Attempts,
    answers: Vec<ReplayedAnswer>,
    /// The last answer to each DHCP transaction.
    transactions: HashMap<u32, usize>,
    transfers: ReplayedTransfers,
    streams: HttpStreams,
    recent: VecDeque<(Duration, SocketAddrV4, SocketAddrV4, Vec<u8>)>,
}

/// Runs a capture through the decisions. `silence` is how long nothing was heard after it, where it does not say itself
/// when it ended.
pub fn replay(settings: &ReplaySettings<'_>, capture: &CaptureFile<'_>, silence: Duration) -> ReplayReport {
    let began = capture.frames.iter().map(|frame| frame.at).min().unwrap_or_default();
    let mut replay = Replay::new(settings, began);
    for frame in &capture.frames {
        if let Some(packet) = dissect(frame) {
            replay.take(frame.at, &packet);
        }
    }
    let end = capture
        .end
        .unwrap_or(replay.latest)
        .max(replay.latest)
        .saturating_add(silence);
    replay.finish(end)
}

/// Which address of a capture's is the server's: an interface's own where the capture says so, else the one that files
/// or leases were asked of.
pub fn server_in(snapshot: &Snapshot, capture: &CaptureFile<'_>) -> Option<OwnAddress> {
    let of_subnet = |address: Ipv4Addr| {
        let subnet = snapshot.subnet_of(address)?;
        Some(OwnAddress {
            address,
            cidr: subnet.cidr,
        })
    };
    let own = capture.own.iter().find(|own| snapshot.subnet_of(own.address).is_some());
    let asked = || {
        let packets = capture.frames.iter().filter_map(dissect);
        let named = packets.filter_map(|packet| named_server(snapshot, &packet));
        named.filter(|address| !address.is_broadcast()).find_map(of_subnet)
    };
    own.or(capture.own.first()).copied().or_else(asked)
}

/// The server that a packet speaks to by name.
fn named_server(snapshot: &Snapshot, packet: &DissectedPacket<'_>) -> Option<Ipv4Addr> {
    match packet.payload {
        SegmentOrDatagram::Udp(_) if packet.to.port() == snapshot.ports.tftp => Some(*packet.to.ip()),
        SegmentOrDatagram::Tcp { .. } if packet.to.port() == snapshot.ports.http => Some(*packet.to.ip()),
        SegmentOrDatagram::Udp(bytes) if dhcp::is_to_server(packet) => {
            let request = crate::proto::dhcp::parse(bytes).ok()?;
            request.server_identifier.or(Some(*packet.to.ip()))
        }
        SegmentOrDatagram::Udp(_) | SegmentOrDatagram::Tcp { .. } => None,
    }
}

impl<'s> Replay<'s> {
    fn new(settings: &'s ReplaySettings<'s>, began: Duration) -> Replay<'s> {
        let mut replay = Replay {
            settings,
            began,
            latest: began,
            leases: LeaseTable::default(),
            arming: Arming::default(),
            identities: IdentityCache::default(),
            verification: Verification::default(),
            discovers: DiscoverCache::default(),
            loops: LoaderLoops::default(),
            attempts: Attempts::default(),
            answers: Vec::new(),
            transactions: HashMap::new(),
            transfers: ReplayedTransfers::default(),
            streams: HttpStreams::default(),
            recent: VecDeque::new(),
        };
        let now = replay.now(began);
        for image in settings.snapshot.images.values() {
            for artifact in image.artifacts() {
                let found = HashResult::Sum(artifact.sha256);
                replay
                    .verification
                    .record(now, &image.path(artifact), artifact.stamp, found);
            }
        }
        let until = WallTime(now.wall.0.saturating_add(ARMED_FOR_S));
        for name in &settings.armed {
            let host = settings.snapshot.hosts.by_name(name.as_str());
            if let Some(Ok(armed)) = host.map(|host| replay.arming.arm(now.wall, host, (until, By::Time))) {
                replay.arming.settle(&armed, true);
            }
        }
        replay
    }

    /// A moment of the capture, on the clock of the daemon that is played.
    fn now(&self, at: Duration) -> Now {
        Now {
            monotonic: UPTIME + at.saturating_sub(self.began),
            wall: WallTime(at.as_secs()),
        }
    }

    fn take(&mut self, at: Duration, packet: &DissectedPacket<'_>) {
        if self.is_twice(at, packet) {
            return;
        }
        // Packets of two interfaces may stand in another order than they came.
        let at = at.max(self.latest);
        self.latest = at;
        self.give_up_silent(at);
        let ours = self.settings.server.address;
        let ports = self.settings.snapshot.ports;
        match packet.payload {
            SegmentOrDatagram::Udp(bytes) if dhcp::is_to_server(packet) => self.dhcp(at, packet, bytes),
            SegmentOrDatagram::Udp(bytes) if dhcp::is_from_server(packet) && *packet.from.ip() == ours => {
                self.dhcp_reply(bytes);
            }
            SegmentOrDatagram::Udp(bytes) if packet.to == SocketAddrV4::new(ours, ports.tftp) => {
                self.tftp_request(at, packet.from, bytes);
            }
            SegmentOrDatagram::Udp(bytes) if *packet.to.ip() == ours => self.tftp_packet(at, packet.from, bytes),
            SegmentOrDatagram::Udp(bytes) if *packet.from.ip() == ours => self.tftp_reply(packet.to, bytes),
            SegmentOrDatagram::Tcp { .. } if packet.to == SocketAddrV4::new(ours, ports.http) => {
                self.http_segment(at, packet);
            }
            SegmentOrDatagram::Tcp { bytes, .. } if packet.from == SocketAddrV4::new(ours, ports.http) => {
                self.http_reply(packet.to, bytes);
            }
            SegmentOrDatagram::Udp(_) | SegmentOrDatagram::Tcp { .. } => {}
        }
    }

    /// Whether a datagram was captured a moment before, at another interface of a bridge.
    fn is_twice(&mut self, at: Duration, packet: &DissectedPacket<'_>) -> bool {
        let SegmentOrDatagram::Udp(bytes) = packet.payload else {
            return false;
        };
        let is_same = |(before, from, to, earlier): &(Duration, SocketAddrV4, SocketAddrV4, Vec<u8>)| {
            (*from, *to) == (packet.from, packet.to) && at.abs_diff(*before) < REPLAY_TWICE && earlier == bytes
        };
        if self.recent.iter().any(is_same) {
            return true;
        }
        self.recent.push_back((at, packet.from, packet.to, bytes.to_vec()));
        if self.recent.len() > RECENT_PACKETS_MAX {
            self.recent.pop_front();
        }
        false
    }

    /// What files are decided from now.
    fn files(&mut self, now: Now) -> FileWorld<'s, '_> {
        FileWorld {
            world: World {
                now,
                snapshot: self.settings.snapshot,
                leases: &mut self.leases,
                arming: &mut self.arming,
            },
            identities: &mut self.identities,
            verification: &self.verification,
            draw_token: || Token::SAMPLE,
        }
    }

    /// Takes in what happened, and what that is a sign of.
    fn publish(&mut self, event: &Event) {
        let generation = self.settings.snapshot.generation;
        self.attempts.observe(event, generation, &mut |_| None);
        if LoaderLoops::concerns(event)
            && let Some(alarm) = self.loops.observe(event.at, event)
        {
            self.publish(&alarm);
        }
    }

    /// Notes an answer; its place. An install's token is nobody's business, wherever the capture is from.
    fn answer(&mut self, at: Duration, asked: String, event: Option<Event>, machine: Machine) -> usize {
        let asked = match paths::with_tokens_hidden(asked.as_bytes()) {
            Cow::Borrowed(_) => asked,
            Cow::Owned(hidden) => String::from_utf8_lossy(&hidden).into_owned(),
        };
        self.answers.push(ReplayedAnswer {
            at,
            machine: machine.key,
            asked,
            event,
            is_same: None,
            reply: None,
        });
        self.answers.len() - 1
    }

    fn finish(mut self, end: Duration) -> ReplayReport {
        self.give_up_silent(end);
        let now = self.now(end);
        let mut attempts = Vec::new();
        for latest in self.attempts.latest_of_all() {
            let Some(owner) = self.attempts.in_memory(latest).map(|attempt| attempt.owner.clone()) else {
                continue;
            };
            attempts.extend(self.of(&owner, now));
        }
        attempts.sort_by_key(|(attempt, _): &(Attempt, Duration)| attempt.id);
        ReplayReport {
            answers: self.answers,
            attempts,
        }
    }

    /// A machine's attempts, each with the silence after it.
    fn of(&self, owner: &AttemptOwner, now: Now) -> Vec<(Attempt, Duration)> {
        let ids = self.attempts.of(owner);
        let next = std::iter::once(None).chain(ids.iter().copied().map(Some));
        let kept = ids.iter().zip(next).filter_map(|(id, next)| {
            let attempt = self.attempts.in_memory(*id)?;
            let silence = match next {
                Some(next) => attempt.silence_before(next),
                None => attempt.silence(now),
            };
            Some((attempt.clone(), silence))
        });
        kept.collect()
    }
}

/// An event of a machine of which no more is known than that.
fn event_of(at: Now, machine: Machine, stage: Stage, step: Step) -> Event {
    Event {
        at,
        machine,
        stage,
        quirks: Arc::default(),
        step,
    }
}

#[cfg(test)]
mod tests;
