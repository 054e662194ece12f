//! The DHCP server of one interface: receive, decide, make durable, send.

use crate::boot::{
    engine::{self, Destination, Ingress, Sending},
    event::{Event, Stage, Step},
    sightings::Learned,
};
use crate::model::{
    Mode,
    limits::{DHCP_REQUEST_BYTES_MAX, EXHAUSTED_REMINDER, LEASE_QUEUE_MAX},
};
use crate::net::{
    Counter, Durable, Shared, frame,
    intake::datagrams,
    interface::Interface,
    others::Chosen,
    report,
    running::Running,
    socket::{self, FrameSender, Received},
};
use crate::proto::dhcp;
use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
};
use tokio::{
    net::UdpSocket,
    sync::{Semaphore, watch},
};
use tracing::{debug, warn};

/// The port that requests come to.
pub const SERVER_PORT: u16 = 67;
/// The port that PXE's second conversation comes to.
pub const PXE_PORT: u16 = 4011;

/// The server of one port of one interface.
pub struct DhcpServer {
    /// What every server shares.
    pub shared: Arc<Shared>,
    /// The socket that requests come in on.
    pub socket: Arc<UdpSocket>,
    /// The port it is bound to.
    pub port: u16,
    /// Whether we give the addresses there.
    pub mode: Mode,
    /// Sends to clients without an address; `None` where the kernel refused one.
    pub frames: Option<Arc<FrameSender>>,
    /// The interface as it is now.
    pub interface: watch::Receiver<Interface>,
    /// Other servers whose offers machines take here.
    pub(super) chosen: Chosen,
    /// Places for lease changes that wait for the store.
    pub waiting: Arc<Semaphore>,
    /// Where replies that wait are started.
    pub running: Running,
}

/// Places for lease changes that wait for the store, for all interfaces together.
pub fn waiting_places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(LEASE_QUEUE_MAX))
}

impl DhcpServer {
    /// Serves until it is dropped or no new work may begin.
    pub async fn run(self) {
        let common = ("DHCP", &*self.shared, &self.running);
        datagrams(common, &self.socket, DHCP_REQUEST_BYTES_MAX, |received, bytes| {
            self.take(received, bytes)
        })
        .await;
    }

    /// Takes one packet.
    fn take(&self, received: &Received, bytes: &[u8]) {
        let counters = &self.shared.counters;
        counters.count(Counter::DhcpReceived);
        let request = match dhcp::parse(bytes) {
            Ok(request) if !received.cut => request,
            Ok(_) => return self.malformed(received, "longer than any DHCP packet"),
            Err(reason) => return self.malformed(received, &format!("{reason}")),
        };
        let Some(own) = self.interface.borrow().answering(received.asked) else {
            return counters.count(Counter::DhcpNoAddress);
        };
        let ingress = Ingress {
            address: own.address,
            cidr: own.cidr,
            port: self.port,
            mode: self.mode,
            source: received.source,
            to: received.asked,
        };
        let (outcome, durable) = {
            let snapshot = self.shared.snapshot.load();
            let mut leases = self.shared.lease_table();
            let outcome = engine::handle(self.shared.clock.now(), &snapshot, &mut leases, &ingress, &request);
            // Under the lock, so that changes reach the disk in the order they were made.
            let durable = outcome
                .change
                .clone()
                .map(|change| self.shared.lease_log.append(change));
            (outcome, durable)
        };
        if outcome.learned != Learned::default() {
            self.shared.sightings().note(outcome.learned);
        }
        match (&outcome.event.step, &outcome.send) {
            (Step::Misplaced { .. }, _) => counters.count(Counter::DhcpMisplaced),
            (Step::Exhausted { reason }, _) => self.exhausted(reason),
            (Step::WentElsewhere { server }, _) => {
                counters.count(Counter::DhcpIgnored);
                self.chosen.take(&self.shared, &self.interface.borrow().name, *server);
            }
            (_, None) => counters.count(Counter::DhcpIgnored),
            (_, Some(_)) => {}
        }
        self.finish(own.address, outcome.send, outcome.event, durable);
    }

    /// Counts every machine that a pool has no address for, and says it once a minute.
    fn exhausted(&self, reason: &str) {
        self.shared.counters.count(Counter::DhcpPoolExhausted);
        if self.shared.exhausted.is_due(&self.shared.clock, EXHAUSTED_REMINDER) {
            warn!("a machine gets no address: {reason}; make the subnet's `pool` larger or its `lease` shorter");
        }
    }

    fn malformed(&self, received: &Received, reason: &str) {
        self.shared.counters.count(Counter::DhcpMalformed);
        report(&Event {
            machine: "unknown".to_owned(),
            hardware: None,
            stage: Stage::Unknown,
            quirks: Vec::new(),
            step: Step::Ignored {
                reason: format!("a packet from {} is no DHCP request: {reason}", received.source),
            },
        });
    }

    /// Sends at once what depends on nothing, and the rest when it is durable.
    fn finish(&self, from: Ipv4Addr, send: Option<Sending>, event: Event, durable: Option<Durable>) {
        let shared = Arc::clone(&self.shared);
        let sender = Sender {
            shared: Arc::clone(&self.shared),
            socket: Arc::clone(&self.socket),
            frames: self.frames.clone(),
            port: self.port,
            from,
        };
        let Some(durable) = durable else {
            if let Some(sending) = &send {
                sender.send(sending);
            }
            return shared.report(&event);
        };
        let Ok(place) = Arc::clone(&self.waiting).try_acquire_owned() else {
            shared.counters.count(Counter::DhcpQueueFull);
            return report(&given_up(event, "too many lease changes wait for the store"));
        };
        self.running.spawn(async move {
            match durable.await {
                Ok(()) => {
                    if let Some(sending) = &send {
                        sender.send(sending);
                    }
                    shared.report(&event);
                }
                Err(reason) => {
                    shared.counters.count(Counter::DhcpStoreFailed);
                    report(&given_up(event, &format!("its lease is not on disk: {reason}")));
                }
            }
            drop(place);
        });
    }
}

/// The event of a reply that was never sent.
fn given_up(event: Event, reason: &str) -> Event {
    Event {
        step: Step::Failed {
            what: "the DHCP reply".to_owned(),
            reason: reason.to_owned(),
        },
        ..event
    }
}

/// What sends a reply.
struct Sender {
    shared: Arc<Shared>,
    socket: Arc<UdpSocket>,
    frames: Option<Arc<FrameSender>>,
    port: u16,
    from: Ipv4Addr,
}

impl Sender {
    fn send(&self, sending: &Sending) {
        let bytes = sending.reply.encode();
        let sent = match sending.destination {
            Destination::Unicast(to) => self.datagram(&bytes, to),
            Destination::Broadcast { port } => self.datagram(&bytes, SocketAddrV4::new(Ipv4Addr::BROADCAST, port)),
            Destination::Frame { mac, to } => self.frame(&bytes, mac, to),
        };
        match sent {
            Ok(()) => self.shared.counters.count(Counter::DhcpReplied),
            Err(error) => {
                self.shared.counters.count(Counter::DhcpSendFailed);
                warn!(destination = ?sending.destination, "DHCP reply not sent: {error}");
            }
        }
    }

    fn datagram(&self, bytes: &[u8], to: SocketAddrV4) -> io::Result<()> {
        socket::send_from(&*self.socket, bytes, self.from, to)
    }

    /// A frame to the client, or a broadcast where the kernel does not take one.
    fn frame(&self, bytes: &[u8], mac: crate::model::MacAddr, to: SocketAddrV4) -> io::Result<()> {
        let packet = frame::udp_packet(SocketAddrV4::new(self.from, self.port), to, bytes);
        if let (Some(frames), Some(packet)) = (&self.frames, packet) {
            match frames.send(mac, &packet) {
                Ok(()) => return Ok(()),
                Err(error) => debug!(%mac, "frame not sent, broadcast instead: {error}"),
            }
        }
        self.shared.counters.count(Counter::DhcpFrameFallback);
        self.datagram(bytes, SocketAddrV4::new(Ipv4Addr::BROADCAST, to.port()))
    }
}
