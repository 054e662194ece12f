//! What a lane sends, and what it does not: what the kernel would keep for an address that no host answers for must
//! take no other client's room.

use super::{super::may_answer, Worker};
use crate::model::limits::{NEIGHBOUR_TTL, TFTP_SEND_POLL_INTERVAL, TFTP_SEND_STALL_TIMEOUT};
use crate::net::socket::{BatchMark, ReceivedDatagram};
use crate::proto::tftp::wire::{self, ErrorCode, MalformedPacket, Packet};
use crate::state::Counter;
use std::{io, net::SocketAddrV4, time::Duration};
use tokio::{io::Interest, time::timeout};
use tracing::debug;

impl Worker {
    /// Answers a packet of no transfer's, if that can start no conversation of servers.
    pub(super) fn reject_foreign_packet(
        &mut self,
        received: &ReceivedDatagram,
        packet: Result<Packet, MalformedPacket>,
    ) {
        if self.single_port {
            // The request port answers nothing that could be an answer.
            return self.shared.counters.count(Counter::TftpUnanswerable);
        }
        self.shared.counters.count(Counter::TftpForeignPacket);
        // Only what can be no answer to an answer gets one.
        if matches!(packet, Ok(Packet::Ack(_))) && may_answer(received.source) && self.filter.is_ours(received.asked) {
            let mark = self.batch.mark();
            let error = wire::error(ErrorCode::UnknownTransfer, "not your transfer");
            self.batch
                .push(received.asked, received.source, error.len())
                .copy_from_slice(&error);
            self.hold_back(received.source, mark);
        }
    }

    /// Takes back what was put out for a client since `mark` where the kernel would have to ask who has its
    /// address, and keep it meanwhile: all, or all but what it asks with. A transfer sends it again in its time.
    pub(super) fn hold_back(&mut self, client: SocketAddrV4, mark: BatchMark) {
        if self.batch.mark() == mark {
            return;
        }
        let (now, address) = (self.shared.clock.monotonic(), *client.ip());
        let entry = self.sessions.get_mut(client);
        if entry.as_ref().is_some_and(|entry| now < entry.neighbour_until) {
            return;
        }
        if self.neighbours.knows(address) {
            if let Some(entry) = entry {
                entry.neighbour_until = now + NEIGHBOUR_TTL;
            }
            return;
        }
        let is_named = || self.shared.snapshot.load().names_router(address);
        let dropped = match self.neighbours.may_resolve(address, is_named) {
            true => self.batch.back_to_first(mark),
            false => {
                let others = self.batch.back_to_first(mark);
                self.batch.back_to(mark);
                others + 1
            }
        };
        let dropped = u64::try_from(dropped).unwrap_or(u64::MAX);
        self.shared.counters.add(Counter::TftpUnresolved, dropped);
    }

    /// Sends what is in the batch. For room in the kernel it waits as long as that takes some now and then: what
    /// nobody takes must not hold up all others. A datagram that the kernel does not take is a lost one, and is sent
    /// again.
    pub(super) async fn send(&mut self) {
        let mut idle = Duration::ZERO;
        while !self.batch.is_empty() {
            let before = self.batch.waiting();
            let (socket, batch) = (&self.socket, &mut self.batch);
            let sent = match batch.send(socket) {
                // Once more, so that the event loop knows that it is full.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    socket.try_io(Interest::WRITABLE, || batch.send(socket))
                }
                sent => sent,
            };
            match sent {
                Ok(0) => return,
                Ok(lost) => return debug!(lost, "TFTP packets not sent"),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return debug!("TFTP packets not sent: {error}"),
            }
            if self.batch.waiting() < before {
                idle = Duration::ZERO;
            }
            if idle >= TFTP_SEND_STALL_TIMEOUT {
                return self.give_up();
            }
            if timeout(TFTP_SEND_POLL_INTERVAL, self.socket.writable()).await.is_err() {
                idle += TFTP_SEND_POLL_INTERVAL;
            }
        }
    }

    fn give_up(&mut self) {
        let mut dropped = 0;
        let lost = self.batch.give_up(|_, _, _| dropped += 1);
        self.shared.counters.add(Counter::TftpNoRoom, dropped);
        debug!(lost, dropped, "TFTP packets not sent: the kernel has no room");
    }
}
