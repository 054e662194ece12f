//! Carries one transfer over its socket: the machine decides, this sends, receives and reads.

use crate::boot::{event::Step, resource::Answered};
use crate::model::text::escape;
use crate::net::{
    Counter, socket,
    tftp::{
        may_answer,
        session::{Prepared, Request, Session, Source, failed},
        sessions::Ticket,
    },
};
use crate::proto::tftp::{
    transfer::{Ending, Transfer, Transmit},
    wire::{self, DATA_HEADER_BYTES, ErrorCode, Packet},
};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::UdpSocket, time::sleep_until};
use tracing::debug;

/// Bytes of a file that one transfer holds in memory.
const READ_AHEAD_BYTES: usize = 16 * 1024;
/// A client that repeats its request after so long without taking a block has started over.
const STARTED_OVER_AFTER: Duration = Duration::from_secs(1);
/// Bytes read of a packet to a transfer: acknowledgements and errors.
const PACKET_BYTES_MAX: usize = 600;

/// How carrying went on after one thing happened.
enum Next {
    Go,
    StartOver(Request),
    GiveWay,
}

/// Carries one transfer over its socket.
pub(super) struct Carrier<'s> {
    session: &'s Session,
    socket: UdpSocket,
    answered: Answered,
    transfer: Transfer,
    source: Source,
    /// A run of the file's bytes, and where it starts.
    ahead: Vec<u8>,
    ahead_at: u64,
    highest_offset: Option<u64>,
    /// The packet to be sent: one buffer for the whole transfer.
    packet: Vec<u8>,
}

/// Serves a session's request to its end. The request that took its place, if the client started
/// over.
pub(super) async fn serve(session: &Session, ticket: &mut Ticket) -> Option<Request> {
    let prepared = session.prepare().await?;
    Carrier::new(session, prepared).carry(ticket).await
}

impl<'s> Carrier<'s> {
    fn new(session: &'s Session, prepared: Prepared) -> Carrier<'s> {
        let Prepared {
            socket,
            answered,
            transfer,
            source,
        } = prepared;
        Carrier {
            session,
            socket,
            answered,
            transfer,
            source,
            ahead: Vec::new(),
            ahead_at: 0,
            highest_offset: None,
            packet: Vec::new(),
        }
    }

    async fn carry(mut self, ticket: &mut Ticket) -> Option<Request> {
        let mut buffer = [0; PACKET_BYTES_MAX];
        loop {
            if let Err(reason) = self.transmit().await {
                self.session.shared.counters.count(Counter::TftpAborted);
                let _ = self
                    .session
                    .send(
                        &self.socket,
                        &wire::error(ErrorCode::Undefined, &reason),
                        self.session.client,
                    )
                    .await;
                self.session.tell(&self.answered, failed(&self.answered, reason));
                return None;
            }
            let Some(deadline) = self.transfer.deadline() else {
                self.conclude();
                return None;
            };
            let clock = self.session.shared.clock;
            let next = tokio::select! {
                biased;
                received = self.socket.recv_from(&mut buffer) => {
                    if self.received(received, &buffer).await {
                        ticket.heard.set();
                    }
                    Next::Go
                }
                request = ticket.mailbox.recv() => match request {
                    Some(request) => {
                        self.catch_up(&mut buffer).await;
                        self.repeated(request)
                    }
                    None => Next::GiveWay,
                },
                () = sleep_until(clock.instant(deadline)) => {
                    self.transfer.handle_timeout(clock.monotonic());
                    Next::Go
                }
            };
            let (client, what) = (self.session.client, self.answered.what.as_str());
            match next {
                Next::Go => {}
                Next::StartOver(request) if self.transfer.deadline().is_none() => {
                    self.conclude();
                    return Some(request);
                }
                Next::StartOver(request) => {
                    self.session.shared.counters.count(Counter::TftpAborted);
                    debug!(%client, what, "the client started over");
                    return Some(request);
                }
                Next::GiveWay => {
                    self.session.shared.counters.count(Counter::TftpDisplaced);
                    debug!(%client, what, "never heard, and another client needs the place");
                    return None;
                }
            }
        }
    }

    /// Takes every packet that is here already. A client's ERROR goes to this socket and its next
    /// request to port 69: the two can be noticed in the wrong order, but the kernel has had the
    /// ERROR since before. Without this, EDK2's request after its size probe would be taken for a
    /// repetition now and then, and left alone.
    async fn catch_up(&mut self, buffer: &mut [u8]) {
        while let Ok((length, from)) = socket::receive_now(&self.socket, buffer) {
            self.received(Ok((length, from)), buffer).await;
        }
    }

    /// Takes a packet from whoever sent it; true when the client took something of ours.
    async fn received(&mut self, received: io::Result<(usize, SocketAddr)>, buffer: &[u8]) -> bool {
        let counters = &self.session.shared.counters;
        // An error here is an ICMP message about the client: its silence says the same.
        let Ok((length, SocketAddr::V4(from))) = received else {
            return false;
        };
        let packet = wire::parse(&buffer[..length]);
        if from == self.session.client {
            if let Ok(packet) = packet {
                self.transfer.handle(self.session.now(), &packet);
                return matches!(packet, Packet::Ack(_));
            }
            return false;
        }
        counters.count(Counter::TftpStranger);
        // Only what can be no answer to an answer gets one.
        if matches!(packet, Ok(Packet::Ack(_))) && may_answer(from) {
            let error = wire::error(ErrorCode::UnknownTransfer, "not your transfer");
            let _ = self.session.send(&self.socket, &error, from).await;
        }
        false
    }

    /// The client's port asked again. The same request before the first acknowledgement is a
    /// repetition, and so is one that was under way while blocks were taken; anything else is a
    /// machine that started over.
    fn repeated(&self, request: Request) -> Next {
        if self.transfer.deadline().is_none() {
            return Next::StartOver(request);
        }
        let same = request == self.session.request;
        let fresh = match self.transfer.last_progress() {
            None => true,
            Some(at) => self.session.now() < at + STARTED_OVER_AFTER,
        };
        if same && fresh {
            Next::Go
        } else {
            Next::StartOver(request)
        }
    }

    /// Sends everything that is to be sent now.
    async fn transmit(&mut self) -> Result<(), String> {
        while let Some(transmit) = self.transfer.poll_transmit() {
            match transmit {
                Transmit::OptionAck(agreed) => self.packet = wire::option_ack(&agreed),
                Transmit::Block { number, offset, length } => {
                    self.packet.clear();
                    self.packet.extend_from_slice(&wire::data_header(number));
                    self.append(offset, length).await?;
                    self.count(offset, length);
                }
            }
            let _ = self.session.send(&self.socket, &self.packet, self.session.client).await;
        }
        Ok(())
    }

    fn count(&mut self, offset: u64, length: usize) {
        let counters = &self.session.shared.counters;
        counters.add(Counter::TftpBytes, length as u64);
        if self.highest_offset.is_some_and(|highest| offset <= highest) {
            counters.count(Counter::TftpRetransmitted);
        } else {
            self.highest_offset = Some(offset);
        }
    }

    /// Appends a block's data to the packet.
    async fn append(&mut self, offset: u64, length: usize) -> Result<(), String> {
        if let Source::File(opened) = &self.source {
            let held = self.ahead_at..self.ahead_at + self.ahead.len() as u64;
            if length > 0 && !(held.start <= offset && offset + length as u64 <= held.end) {
                let wanted = READ_AHEAD_BYTES.max(length) as u64;
                let wanted = usize::try_from(wanted.min(opened.length() - offset)).unwrap_or(length);
                let mut ahead = std::mem::take(&mut self.ahead);
                let opened = Arc::clone(opened);
                let read = tokio::task::spawn_blocking(move || {
                    ahead.resize(wanted, 0);
                    opened.read_exactly(&mut ahead, offset).map(|()| ahead)
                });
                let read = read.await.map_err(|error| error.to_string())?;
                self.ahead = read.map_err(|error| error.to_string())?;
                self.ahead_at = offset;
            }
        }
        let (bytes, start) = match &self.source {
            Source::Text(text) => (text, offset),
            Source::File(_) if length == 0 => return Ok(()),
            Source::File(_) => (&self.ahead, offset - self.ahead_at),
        };
        let start = usize::try_from(start).map_err(|error| error.to_string())?;
        self.packet.extend_from_slice(&bytes[start..start + length]);
        debug_assert_eq!(self.packet.len(), DATA_HEADER_BYTES + length);
        Ok(())
    }

    /// Says how the transfer ended.
    fn conclude(&self) {
        let counters = &self.session.shared.counters;
        let had = self.transfer.acknowledged_bytes();
        let length = self.source.length();
        let step = match self.transfer.ending() {
            None => return,
            Some(Ending::Complete) => {
                counters.count(Counter::TftpSent);
                Step::Sent {
                    what: self.answered.what.clone(),
                    bytes: length,
                }
            }
            Some(Ending::Probed) => {
                counters.count(Counter::TftpProbed);
                return debug!(client = %self.session.client, what = self.answered.what, "size asked");
            }
            Some(Ending::Aborted { code, message }) => {
                counters.count(Counter::TftpAborted);
                let said = escape(message);
                failed(
                    &self.answered,
                    format!("the client gave up after {had} of {length} bytes: error {code} {said}"),
                )
            }
            Some(Ending::Silent) => {
                counters.count(Counter::TftpSilent);
                failed(
                    &self.answered,
                    format!("the client fell silent after {had} of {length} bytes"),
                )
            }
        };
        self.session.tell(&self.answered, step);
    }
}
