//! The relay's socket: every machine's DHCP goes through it, and answers find their machine by the
//! transaction.

use super::{
    RelayMode, StormError,
    assigned::AssignedAddresses,
    packets::{self, SERVER_PORT},
    progress::StormClock,
};
use crate::model::limits::DHCP_REPLY_BYTES_MAX;
use crate::proto::dhcp::client::{ClientMessage, ServerReply, ServerReplyKind, parse_reply};
use crate::storm::{exchange::DhcpExchange, report::FailureCause, tftp::Failed};
use nix::sys::socket::{
    setsockopt,
    sockopt::{RcvBuf, RcvBufForce},
};
use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsFd, OwnedFd},
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::{net::UdpSocket, sync::mpsc};

/// Holds an answer to every machine: one that is lost here would be laid at the server's door.
const RECEIVE_BUFFER_BYTES: usize = 16 * 1024 * 1024;
/// Answers that may wait for one machine: an offer or an ACK, and doubles of them.
const ANSWERS_WAITING_MAX: usize = 4;

/// The relay.
pub(super) struct Relay {
    socket: UdpSocket,
    /// Where answers are heard, if not there: a packet socket, which the event loop knows as the other kind.
    packets: Option<UdpSocket>,
    address: Ipv4Addr,
    server: Ipv4Addr,
    waiting: Mutex<HashMap<u32, mpsc::Sender<ServerReply>>>,
    given: Mutex<AssignedAddresses>,
}

impl Relay {
    /// Binds port 67 of the relay's address; answers of `server` alone are heard.
    pub(super) async fn bind(relay: Ipv4Addr, server: Ipv4Addr, relay_mode: RelayMode) -> Result<Relay, StormError> {
        let socket = UdpSocket::bind((relay, SERVER_PORT)).await;
        let socket = socket.map_err(|source| StormError::Port { relay, source })?;
        let packets = match relay_mode {
            RelayMode::Datagrams => {
                make_room(&socket);
                None
            }
            RelayMode::Packets => Some(open_packets().map_err(StormError::NoPacketSocket)?),
        };
        Ok(Relay {
            socket,
            packets,
            address: relay,
            server,
            waiting: Mutex::default(),
            given: Mutex::default(),
        })
    }

    /// Hands answers to their machines, for ever.
    pub(super) async fn receive(&self) {
        match &self.packets {
            Some(packets) => self.receive_packets(packets).await,
            None => self.receive_datagrams().await,
        }
    }

    async fn receive_datagrams(&self) {
        // One more, so that what is too long is not taken for what it was cut to.
        let mut packet = [0; DHCP_REPLY_BYTES_MAX + 1];
        loop {
            // An error is an ICMP message about an earlier packet: the machine asks again.
            let Ok((length, from)) = self.socket.recv_from(&mut packet).await else {
                continue;
            };
            if from.ip() == IpAddr::V4(self.server) {
                self.hand_over(&packet[..length]);
            }
        }
    }

    async fn receive_packets(&self, packets: &UdpSocket) {
        let mut packet = [0; packets::PACKET_BYTES_MAX];
        loop {
            let received = packets.recv(&mut packet).await;
            // An error says that an interface went down.
            let length = received.unwrap_or(0);
            if let Some(answer) = packets::answer(&packet[..length], self.server, self.address) {
                self.hand_over(answer);
            }
        }
    }

    /// Hands an answer to the machine that waits for it.
    fn hand_over(&self, bytes: &[u8]) {
        if let Some(answer) = parse_reply(bytes) {
            let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(machine) = waiting.get(&answer.xid) {
                // A machine with that many answers needs no more.
                let _ = machine.try_send(answer);
            }
        }
    }

    /// One exchange to its end: the ACK, or why there is none; and how often it asked again.
    pub(super) async fn exchange(
        &self,
        clock: StormClock,
        message: ClientMessage<'static>,
    ) -> (Result<ServerReply, FailureCause>, u64) {
        self.exchange_to(clock, message, ServerReplyKind::Ack).await
    }

    /// The same to an answer of that kind: an offer that is not taken.
    pub(super) async fn exchange_to(
        &self,
        clock: StormClock,
        message: ClientMessage<'static>,
        last: ServerReplyKind,
    ) -> (Result<ServerReply, FailureCause>, u64) {
        let (sender, mut answers) = mpsc::channel(ANSWERS_WAITING_MAX);
        let _place = Transaction::take(self, message.xid, sender);
        let mut exchange = DhcpExchange::begin(clock.now(), message);
        let mut sent = 0;
        loop {
            if let Some(packet) = exchange.poll_transmit() {
                sent += 1;
                // What can't be sent now is sent again by the clock.
                let _ = self.socket.send_to(&packet, (self.server, SERVER_PORT)).await;
            }
            match tokio::time::timeout_at(clock.at(exchange.deadline()), answers.recv()).await {
                Ok(Some(answer)) if answer.kind == last && last == ServerReplyKind::Offer => return (Ok(answer), 0),
                Ok(Some(answer)) => exchange.handle(clock.now(), answer),
                Ok(None) | Err(_) => exchange.handle_timeout(clock.now()),
            }
            if let Some(ending) = exchange.ending() {
                // Two packets of ours are a whole exchange.
                return (ending.clone(), u64::saturating_sub(sent, 2));
            }
        }
    }

    /// Writes down whose the acknowledged address is.
    ///
    /// # Errors
    /// When another machine of the fleet has it.
    pub(super) fn given(&self, now: Duration, answer: &ServerReply) -> Result<(), Failed> {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.take(now, answer).map_err(|other| {
            let words = format!("{} is {other}'s", answer.address);
            (FailureCause::AddressTwice, words)
        })
    }
}

fn open_packets() -> io::Result<UdpSocket> {
    let socket = packets::open()?;
    make_room(&socket);
    UdpSocket::from_std(OwnedFd::from(socket).into())
}

/// Room for every answer. Where the machine's own limit stands in the way, it is asked for again without force.
fn make_room(socket: &impl AsFd) {
    let _ = setsockopt(socket, RcvBufForce, &RECEIVE_BUFFER_BYTES)
        .or_else(|_| setsockopt(socket, RcvBuf, &RECEIVE_BUFFER_BYTES));
}

/// A transaction that waits for answers, forgotten on drop.
struct Transaction<'a> {
    relay: &'a Relay,
    xid: u32,
}

impl Transaction<'_> {
    fn take(relay: &Relay, xid: u32, sender: mpsc::Sender<ServerReply>) -> Transaction<'_> {
        let mut waiting = relay.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.insert(xid, sender);
        Transaction { relay, xid }
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        let mut waiting = self.relay.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.remove(&self.xid);
    }
}
