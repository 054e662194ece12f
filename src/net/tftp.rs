//! The TFTP server of one interface: requests on one port, transfers on a few others.
//!
//! - [`worker`] is one socket and the transfers on it; a client's address chooses its lane.
//! - [`session`] is one transfer: the machine's wishes become datagrams.
//! - [`sessions`] are the places of a lane, and who gives way.
//! - [`disk`] are a lane's reads from the disk, and their bounds.
//! - [`prepare`] finds what a request reads from, off the lane.
//! - `recording` is what the flight recorder keeps of it.
//!
//! Packets on the request port that are themselves replies or errors, or that come from the DHCP
//! or TFTP port of another server, are never answered: two servers would answer each other for ever
//! (CVE-2024-2169).

mod disk;
mod file_bytes;
mod prepare;
mod recording;
mod session;
mod sessions;
mod worker;

use crate::boot::event::{Machine, Reason};
use crate::model::{
    SharedAddresses,
    limits::{TFTP_REQUEST_QUEUE_MAX, TFTP_TRANSFERS_MAX, TFTP_TRANSFERS_PER_CLIENT_MAX, TFTP_WORKERS_MAX},
};
use crate::net::{
    intake::datagrams, interface::Interface, neighbours::Neighbours, socket::ReceivedDatagram, tasks::TaskTracker,
};
use crate::proto::tftp::wire::{self, MalformedPacket, Packet};
use crate::state::{Counter, Shared};
pub use prepare::TransferFiles;
use prepare::TransferRequest;
use std::{
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
    thread::available_parallelism,
};
use tokio::{
    net::UdpSocket,
    sync::{mpsc, watch},
};
use tracing::debug;
use worker::{IncomingRequest, Worker};

/// Bytes read of a packet on the request port: anything longer than a request is malformed.
const PACKET_BYTES_MAX: usize = 2048;

/// The TFTP server of one interface.
pub struct TftpServer {
    /// What every server shares.
    pub shared: Arc<Shared>,
    /// The socket that requests come in on.
    pub socket: UdpSocket,
    /// The sockets that transfers go over; none where the request port does that too.
    pub transfers: Vec<UdpSocket>,
    /// The interface as it is now.
    pub interface: watch::Receiver<Interface>,
    /// Whom the kernel can send to at once: what DHCP asks for takes nothing of what is asked for here.
    pub(super) neighbours: Arc<Neighbours>,
    /// Transfers under way at once on this interface.
    pub transfers_max: usize,
    /// Addresses that many machines ask from.
    pub shared_addresses: SharedAddresses,
    /// Where transfers read from.
    pub files: TransferFiles,
    /// Where sessions are started.
    pub tasks: TaskTracker,
}

/// How many sockets an interface's transfers go over: one for each processor, within reason.
pub fn workers() -> usize {
    available_parallelism()
        .map_or(1, usize::from)
        .clamp(1, TFTP_WORKERS_MAX)
}

/// Transfers under way at once on each of so many interfaces: no interface's clients, and none who
/// forges them, take the places of another's. What a loader's transfer holds is no descriptor ([`TransferFiles`]).
pub fn transfers_max(interfaces: usize) -> usize {
    TFTP_TRANSFERS_MAX / interfaces.max(1)
}

impl TftpServer {
    /// Serves until it is dropped or no new work may begin; transfers under way go on.
    pub async fn run(self) {
        let single_port = self.transfers.is_empty();
        let (shared, tasks, interface) = (self.shared, self.tasks, self.interface);
        let filter = || RequestFilter {
            shared: Arc::clone(&shared),
            interface: interface.clone(),
        };
        let mut sockets = self.transfers;
        let requests = match single_port {
            true => {
                sockets.push(self.socket);
                None
            }
            false => Some(self.socket),
        };
        let each_max = (self.transfers_max / sockets.len()).max(1);
        let workers: Vec<mpsc::Sender<IncomingRequest>> = sockets
            .into_iter()
            .map(|socket| {
                let (sender, receiver) = mpsc::channel(TFTP_REQUEST_QUEUE_MAX);
                let common = WorkerConfig {
                    shared: Arc::clone(&shared),
                    tasks: tasks.clone(),
                    filter: filter(),
                    neighbours: Arc::clone(&self.neighbours),
                    single_port,
                    permits: (each_max, TFTP_TRANSFERS_PER_CLIENT_MAX),
                    shared_addresses: self.shared_addresses.clone(),
                    files: self.files.clone(),
                };
                tasks.spawn(Worker::new(common, socket, receiver).run());
                sender
            })
            .collect();
        let Some(socket) = requests else {
            // The lane takes requests itself, as long as this end of its queue is there.
            return tasks.stopped().await;
        };
        let filter = filter();
        datagrams(
            ("TFTP", &*shared, &tasks),
            &socket,
            PACKET_BYTES_MAX,
            |received, bytes| {
                let Some(asked) = filter.request(received, wire::parse(bytes)) else {
                    return;
                };
                recording::request(&shared, received, bytes);
                let client = *asked.0.ip();
                if workers[worker_of(client, workers.len())].try_send(asked).is_err() {
                    shared.counters.count(Counter::TftpFull);
                    // Who floods us is not looked up each time.
                    shared.turned_away(Machine::default().or_at(client), Reason::RequestQueueFull);
                }
            },
        )
        .await;
    }
}

/// What lanes have in common.
struct WorkerConfig {
    shared: Arc<Shared>,
    tasks: TaskTracker,
    filter: RequestFilter,
    neighbours: Arc<Neighbours>,
    single_port: bool,
    /// Transfers in all and for one machine.
    permits: (usize, usize),
    shared_addresses: SharedAddresses,
    files: TransferFiles,
}

/// The lane of a client's address.
fn worker_of(client: Ipv4Addr, workers: usize) -> usize {
    // Knuth's multiplicative hash: racks whose addresses have a stride share lanes evenly all the same.
    let mixed = client.to_bits().wrapping_mul(2_654_435_761) >> 16;
    mixed as usize % workers
}

/// What is asked of a packet before it is a request.
#[derive(Clone)]
struct RequestFilter {
    shared: Arc<Shared>,
    interface: watch::Receiver<Interface>,
}

impl RequestFilter {
    /// The request in a packet to the request port, unless it is to be left alone, which is counted.
    fn request(&self, received: &ReceivedDatagram, packet: Result<Packet, MalformedPacket>) -> Option<IncomingRequest> {
        let counters = &self.shared.counters;
        counters.count(Counter::TftpReceived);
        // A request to a broadcast address is left alone (RFC 1123 section 4.2.3.4).
        if !may_answer(received.source) || !self.is_ours(received.asked) {
            counters.count(Counter::TftpUnanswerable);
            return None;
        }
        let read = match packet {
            Ok(Packet::Read(request)) => Some(request),
            Ok(Packet::Write) => None,
            Ok(Packet::Data | Packet::Ack(_) | Packet::Error { .. } | Packet::OptionAck) => {
                counters.count(Counter::TftpUnanswerable);
                return None;
            }
            Err(reason) => {
                counters.count(Counter::TftpMalformed);
                debug!(source = %received.source, "TFTP packet dropped: {reason}");
                return None;
            }
        };
        let asked = received.asked;
        Some((received.source, TransferRequest { asked, read }))
    }

    /// Whether an address is the interface's own.
    fn is_ours(&self, asked: Ipv4Addr) -> bool {
        self.interface.borrow().own(asked).is_some()
    }
}

/// Whether an answer can't start a conversation of servers.
fn may_answer(source: SocketAddrV4) -> bool {
    let ours = [0, 67, 69].contains(&source.port());
    let ip = *source.ip();
    !ours && ip != Ipv4Addr::UNSPECIFIED && !ip.is_broadcast() && !ip.is_multicast()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_other_server_is_ever_answered() {
        for source in [
            "192.0.2.9:69",
            "192.0.2.9:67",
            "192.0.2.9:0",
            "0.0.0.0:2070",
            "255.255.255.255:2070",
        ] {
            assert!(!may_answer(source.parse().unwrap()), "{source}");
        }
        assert!(may_answer("192.0.2.9:2070".parse().unwrap()));
    }

    #[test]
    fn a_room_of_machines_shares_the_lanes_evenly() {
        for stride in [1, 2, 4, 16, 256] {
            let mut shares = [0; 4];
            for number in 0..10_000_u32 {
                shares[worker_of(Ipv4Addr::from_bits(0xC612_0000 + number * stride), 4)] += 1;
            }
            assert!(
                shares.iter().all(|share| (2300..=2700).contains(share)),
                "{shares:?}, stride {stride}"
            );
        }
    }
}
