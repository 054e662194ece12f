//! The TFTP server of one interface: requests on one port, each transfer on its own.
//!
//! Packets on the request port that are themselves replies or errors, or that come from the DHCP
//! or TFTP port of another server, are never answered: two servers would answer each other for ever
//! (CVE-2024-2169).

mod carrier;
mod session;
mod sessions;

pub use sessions::Sessions;

use crate::net::{Counter, Shared, intake::datagrams, interface::Interface, running::Running, socket::Received};
use crate::proto::tftp::wire::{self, Packet};
use session::{Request, Session};
use sessions::Admission;
use std::{
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
};
use tokio::{net::UdpSocket, sync::watch};
use tracing::debug;

/// Bytes read of a packet on the request port: anything longer than a request is malformed.
const PACKET_BYTES_MAX: usize = 2048;

/// The TFTP server of one interface.
pub struct TftpServer {
    /// What every server shares.
    pub shared: Arc<Shared>,
    /// The socket that requests come in on.
    pub socket: UdpSocket,
    /// The interface as it is now.
    pub interface: watch::Receiver<Interface>,
    /// The sessions of every interface.
    pub sessions: Sessions,
    /// Where sessions are started.
    pub running: Running,
}

impl TftpServer {
    /// Serves until it is dropped or no new work may begin.
    pub async fn run(self) {
        let common = ("TFTP", &*self.shared, &self.running);
        datagrams(common, &self.socket, PACKET_BYTES_MAX, |received, bytes| {
            self.take(received, bytes)
        })
        .await;
    }

    fn take(&self, received: &Received, bytes: &[u8]) {
        let counters = &self.shared.counters;
        counters.count(Counter::TftpReceived);
        if !may_answer(received.source) {
            return counters.count(Counter::TftpUnanswerable);
        }
        let interface = self.interface.borrow().clone();
        // A request to a broadcast address is left alone (RFC 1123 section 4.2.3.4).
        let Some(own) = interface.own(received.asked) else {
            return counters.count(Counter::TftpUnanswerable);
        };
        match wire::parse(bytes) {
            Ok(Packet::Read(request)) => {
                self.begin(received.source, Request::read(interface.name, own.address, request))
            }
            Ok(Packet::Write) => self.begin(received.source, Request::write(interface.name, own.address)),
            Ok(Packet::Data | Packet::Ack(_) | Packet::Error { .. } | Packet::OptionAck) => {
                counters.count(Counter::TftpUnanswerable);
            }
            Err(reason) => {
                counters.count(Counter::TftpMalformed);
                debug!(source = %received.source, "TFTP packet dropped: {reason}");
            }
        }
    }

    fn begin(&self, client: SocketAddrV4, request: Request) {
        let counters = &self.shared.counters;
        match self.sessions.admit(client, &request) {
            Admission::Told => counters.count(Counter::TftpDuplicate),
            Admission::Full => {
                counters.count(Counter::TftpFull);
                debug!(%client, "TFTP request left alone: too many transfers under way");
            }
            Admission::Begin(mut ticket) => {
                let shared = Arc::clone(&self.shared);
                self.running.spawn(async move {
                    let mut next = Some(request);
                    while let Some(request) = next.take() {
                        let session = Session::new(Arc::clone(&shared), client, request);
                        next = carrier::serve(&session, &mut ticket).await;
                        if next.is_none() {
                            next = ticket.leave();
                        }
                    }
                });
            }
        }
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
}
