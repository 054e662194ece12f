//! How replies leave: datagrams in batches, each for itself, and frames to clients without an address.
//!
//! Architecture invariant: no reply is waited for. Any client can have us answer addresses that no host has,
//! and a kernel that asks for those has no room for others' replies; what does not go out is counted, and
//! its client asks again.

use super::pending_reply::PendingReply;
use crate::boot::{
    engine::{Destination, OutgoingReply},
    event::Event,
};
use crate::model::{MacAddr, limits::NEIGHBOUR_TIMEOUT};
use crate::net::{
    neighbours::Neighbours,
    socket::{FrameSender, SendBatch},
    tasks::TaskTracker,
};
use crate::proto::ip;
use crate::state::{Counter, Shared};
use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
};
use tokio::net::UdpSocket;
use tracing::{debug, warn};

/// The link-layer address that everybody takes.
const EVERYBODY: MacAddr = MacAddr([0xff; 6]);

/// The ways out of one port of one interface.
#[derive(Clone)]
pub(super) struct ReplyChannels {
    pub shared: Arc<Shared>,
    pub socket: Arc<UdpSocket>,
    pub frames: Option<Arc<FrameSender>>,
    pub port: u16,
    pub neighbours: Arc<Neighbours>,
    pub tasks: TaskTracker,
}

/// Replies on their way out of one port of one interface.
pub(super) struct Replies {
    channels: ReplyChannels,
    batch: SendBatch,
    /// Datagrams in the outbox.
    waiting: u64,
}

impl Replies {
    pub(super) fn new(channels: ReplyChannels) -> Replies {
        Replies {
            channels,
            batch: SendBatch::one_by_one(),
            waiting: 0,
        }
    }

    /// What every server shares.
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.channels.shared
    }

    /// Answers, and says what happened.
    pub(super) fn say(&mut self, answer: PendingReply) {
        if let Some(sending) = &answer.sending {
            self.push(sending, &answer.event);
        }
        self.channels.shared.publish(answer.event);
    }

    /// Sends the reply of an event's machine: at the latest with the next flush.
    pub(super) fn push(&mut self, sending: &OutgoingReply, event: &Event) {
        let bytes = sending.encode();
        self.channels.record(sending, &bytes, event);
        for (from, destination) in [(sending.from, sending.destination)].into_iter().chain(sending.copy) {
            match destination {
                Destination::Unicast(to) => self.unicast(&bytes, (from, to), sending.link),
                Destination::Broadcast { port } => self.broadcast(&bytes, from, port),
                Destination::Frame { mac, to } => self.frame(&bytes, from, (mac, to)),
            }
        }
    }

    /// Whether so much waits that it wants to be flushed.
    pub(super) fn is_full(&self) -> bool {
        self.batch.is_full()
    }

    /// Sends every datagram that the kernel has room for.
    pub(super) fn flush(&mut self) {
        if self.waiting == 0 {
            return;
        }
        let sent = self.batch.send(&*self.channels.socket);
        let (lost, dropped) = match sent {
            Ok(lost) => (lost, 0),
            Err(_) => self.drop_for_full_buffer(),
        };
        let lost = u64::try_from(lost).unwrap_or(u64::MAX);
        let counters = &self.channels.shared.counters;
        counters.add(Counter::DhcpReplied, self.waiting.saturating_sub(lost + dropped));
        counters.add(Counter::DhcpSendFailed, lost);
        counters.add(Counter::DhcpSendBufferFull, dropped);
        self.waiting = 0;
        if let Some(error) = self.batch.take_refusal() {
            warn!("{lost} DHCP replies not sent, the last one because: {error}");
        }
    }

    /// The kernel has no room for the rest. What is for everybody goes out all the same: a packet socket has
    /// room of its own, and none of it waits for an answer to an ARP question. How many messages were lost
    /// before that, and how many are dropped now.
    fn drop_for_full_buffer(&mut self) -> (usize, u64) {
        let Replies { channels, batch, .. } = self;
        let mut dropped = 0;
        let lost = batch.give_up(|from, to, bytes| {
            let is_out = to.ip().is_broadcast() && channels.send_frame(bytes, from, (EVERYBODY, to)).is_ok();
            dropped += u64::from(!is_out);
        });
        (lost, dropped)
    }

    /// A datagram to one address. Where the kernel would have to ask who has that, a client that asked from
    /// our own wire is addressed by its MAC; and only so many others are asked for.
    fn unicast(&mut self, bytes: &[u8], (from, to): (Ipv4Addr, SocketAddrV4), link: Option<MacAddr>) {
        if self.channels.neighbours.knows(*to.ip()) {
            return self.datagram(bytes, from, to);
        }
        if link.is_some_and(|mac| self.channels.send_frame(bytes, from, (mac, to)).is_ok()) {
            return self.channels.shared.counters.count(Counter::DhcpReplied);
        }
        let is_named = || self.channels.shared.snapshot.load().names_router(*to.ip());
        if self.channels.neighbours.may_resolve(*to.ip(), is_named) {
            self.datagram(bytes, from, to);
            self.channels.look_later(*to.ip());
        } else {
            self.channels.shared.counters.count(Counter::DhcpUnresolved);
        }
    }

    fn datagram(&mut self, bytes: &[u8], from: Ipv4Addr, to: SocketAddrV4) {
        self.batch.push(from, to, bytes.len()).copy_from_slice(bytes);
        self.waiting += 1;
    }

    fn broadcast(&mut self, bytes: &[u8], from: Ipv4Addr, port: u16) {
        self.datagram(bytes, from, SocketAddrV4::new(Ipv4Addr::BROADCAST, port));
    }

    /// A frame to the client, or a broadcast where the kernel does not take one.
    fn frame(&mut self, bytes: &[u8], from: Ipv4Addr, (mac, to): (MacAddr, SocketAddrV4)) {
        match self.channels.send_frame(bytes, from, (mac, to)) {
            Ok(()) => self.channels.shared.counters.count(Counter::DhcpReplied),
            Err(reason) => {
                debug!(%mac, "frame not sent, broadcast instead: {reason}");
                self.channels.shared.counters.count(Counter::DhcpFrameFallback);
                self.broadcast(bytes, from, to.port());
            }
        }
    }
}

/// Why a frame is not sent.
#[derive(Debug)]
enum FrameError {
    /// The kernel gave us no packet socket.
    NoSocket,
    /// The reply fits no packet.
    TooLong,
    /// The kernel took it not.
    Refused(io::Error),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::NoSocket => f.write_str("there is no packet socket"),
            FrameError::TooLong => f.write_str("it fits no packet"),
            FrameError::Refused(error) => error.fmt(f),
        }
    }
}

impl ReplyChannels {
    /// Sends a datagram in a frame to a MAC, or says why it is not sent.
    fn send_frame(&self, bytes: &[u8], from: Ipv4Addr, (mac, to): (MacAddr, SocketAddrV4)) -> Result<(), FrameError> {
        let frames = self.frames.as_ref().ok_or(FrameError::NoSocket)?;
        let packet = ip::udp_packet(SocketAddrV4::new(from, self.port), to, bytes);
        let packet = packet.ok_or(FrameError::TooLong)?;
        frames.send(mac, &packet).map_err(FrameError::Refused)
    }

    /// Counts what was sent to an address that no host turns out to have.
    fn look_later(&self, address: Ipv4Addr) {
        let (shared, neighbours) = (Arc::clone(&self.shared), Arc::clone(&self.neighbours));
        let tasks = self.tasks.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = tasks.stopped() => {}
                () = tokio::time::sleep(NEIGHBOUR_TIMEOUT) => {
                    if !neighbours.knows(address) {
                        shared.counters.count(Counter::DhcpUnresolved);
                    }
                }
            }
        });
    }
}
