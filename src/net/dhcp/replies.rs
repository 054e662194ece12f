//! How replies leave: datagrams in batches, and frames to clients without an address.

use super::answer::Answer;
use crate::boot::engine::{Destination, Sending};
use crate::model::MacAddr;
use crate::net::{
    Counter, Shared, frame,
    socket::{FrameSender, Outbox},
};
use std::{
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
};
use tokio::{io::Interest, net::UdpSocket};
use tracing::{debug, warn};

/// Replies on their way out of one port of one interface.
pub(super) struct Replies {
    pub(super) shared: Arc<Shared>,
    socket: Arc<UdpSocket>,
    frames: Option<Arc<FrameSender>>,
    port: u16,
    outbox: Outbox,
    /// Datagrams in the outbox.
    waiting: u64,
}

impl Replies {
    pub(super) fn new(
        shared: &Arc<Shared>,
        socket: &Arc<UdpSocket>,
        frames: &Option<Arc<FrameSender>>,
        port: u16,
    ) -> Replies {
        Replies {
            shared: Arc::clone(shared),
            socket: Arc::clone(socket),
            frames: frames.clone(),
            port,
            outbox: Outbox::default(),
            waiting: 0,
        }
    }

    /// Answers, and reports what happened.
    pub(super) fn say(&mut self, answer: &Answer) {
        if let Some(sending) = &answer.sending {
            self.push(sending);
        }
        self.shared.report(&answer.event);
    }

    /// Sends a reply: at the latest with the next flush.
    pub(super) fn push(&mut self, sending: &Sending) {
        let bytes = sending.reply.encode();
        for (from, destination) in [(sending.from, sending.destination)].into_iter().chain(sending.copy) {
            match destination {
                Destination::Unicast(to) => self.datagram(&bytes, from, to),
                Destination::Broadcast { port } => self.broadcast(&bytes, from, port),
                Destination::Frame { mac, to } => self.frame(&bytes, from, (mac, to)),
            }
        }
    }

    /// Whether so much waits that it wants to be flushed.
    pub(super) fn is_full(&self) -> bool {
        self.outbox.is_full()
    }

    /// Sends every datagram, waiting for room in the kernel.
    pub(super) async fn flush(&mut self) {
        if self.waiting == 0 {
            return;
        }
        let (socket, outbox) = (&*self.socket, &mut self.outbox);
        let lost = match socket.async_io(Interest::WRITABLE, || outbox.send(socket)).await {
            Ok(lost) => u64::try_from(lost).unwrap_or(u64::MAX),
            // The event loop itself ends; nothing is sent any more.
            Err(_) => self.waiting,
        };
        let counters = &self.shared.counters;
        counters.add(Counter::DhcpReplied, self.waiting.saturating_sub(lost));
        counters.add(Counter::DhcpSendFailed, lost);
        self.waiting = 0;
        if let Some(error) = self.outbox.take_refusal() {
            warn!("{lost} DHCP replies not sent, the last one because: {error}");
        }
    }

    fn datagram(&mut self, bytes: &[u8], from: Ipv4Addr, to: SocketAddrV4) {
        self.outbox.push(from, to, bytes.len()).copy_from_slice(bytes);
        self.waiting += 1;
    }

    fn broadcast(&mut self, bytes: &[u8], from: Ipv4Addr, port: u16) {
        self.datagram(bytes, from, SocketAddrV4::new(Ipv4Addr::BROADCAST, port));
    }

    /// A frame to the client, or a broadcast where the kernel does not take one.
    fn frame(&mut self, bytes: &[u8], from: Ipv4Addr, (mac, to): (MacAddr, SocketAddrV4)) {
        let packet = frame::udp_packet(SocketAddrV4::new(from, self.port), to, bytes);
        if let (Some(frames), Some(packet)) = (&self.frames, packet) {
            match frames.send(mac, &packet) {
                Ok(()) => return self.shared.counters.count(Counter::DhcpReplied),
                Err(error) => debug!(%mac, "frame not sent, broadcast instead: {error}"),
            }
        }
        self.shared.counters.count(Counter::DhcpFrameFallback);
        self.broadcast(bytes, from, to.port());
    }
}
