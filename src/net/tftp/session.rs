//! One client's transfer: what the machine wants sent becomes datagrams in the lane's outbox.
//!
//! A session holds no bytes of its own: the sessions of one loader share it in memory, and blocks of
//! larger files are read from the page cache straight into the datagrams. Only what is not there is
//! read elsewhere, a little at a time, and kept until it was sent.

use super::{
    file_bytes::{PendingRead, ReadResult, TransferBytes},
    prepare::{Prepared, TransferRequest, TransferSource, turn_away},
    recording,
};
use crate::boot::{
    event::{Reason, RequestedFile, Step, Subject},
    resource::{Promise, Transport},
};
use crate::model::limits::RECORDED_TFTP_ACKS_MAX;
use crate::net::{files::FileError, socket::SendBatch};
use crate::proto::ip::Payload;
use crate::proto::tftp::{
    transfer::{Transfer, TransferEnd, Transmit},
    wire::{self, DATA_HEADER_BYTES, ErrorCode, Packet},
};
use crate::state::{Counter, Counters, Shared, transfers::TransferHandle};
use std::{
    net::{IpAddr, SocketAddrV4},
    sync::Arc,
    time::Duration,
};

/// A client that repeats its request after so long without taking a block has started over.
const STARTED_OVER_AFTER: Duration = Duration::from_secs(1);

/// One request of one client, from its first packet to its end.
pub(super) struct Session {
    client: SocketAddrV4,
    /// Our end of it.
    server: SocketAddrV4,
    request: TransferRequest,
    /// When the lane looks at it next; `None` before the transfer begins.
    pub(super) alarm: Option<Duration>,
    /// `None` while it is being prepared.
    active: Option<Box<ActiveTransfer>>,
    /// Acknowledgements that the flight recorder has.
    recorded_acks: u8,
}

/// A transfer under way.
struct ActiveTransfer {
    subject: Subject,
    transfer: Transfer,
    bytes: TransferBytes,
    /// What begins once the client is heard; no second packet of it goes out before that is on disk.
    proof: Proof,
    /// What waits for bytes from the disk.
    waiting: Option<Transmit>,
    /// The highest offset that was sent.
    highest: Option<u64>,
    handle: TransferHandle,
}

/// Whether something begins by the client's first acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    /// This does.
    Awaited(Promise),
    /// It came, and what begins is on its way to the disk.
    Given,
    /// Nothing, or it has begun.
    NotNeeded,
}

/// How a session goes on after it had its turn.
pub(super) enum SessionStatus {
    /// It waits for its client, or its disk.
    Continues,
    /// It waits for these bytes of its file.
    NeedsRead(PendingRead),
    /// Its client was heard, and this is to begin before it goes on.
    Begins(Promise, TransferRequest),
    /// It is over.
    Ended,
}

impl Session {
    /// A session whose request is being prepared, at this port of ours.
    pub(super) fn new(client: SocketAddrV4, request: TransferRequest, port: u16) -> Session {
        Session {
            client,
            server: SocketAddrV4::new(request.asked, port),
            request,
            alarm: None,
            active: None,
            recorded_acks: 0,
        }
    }

    /// Takes what the request came to; false when that is nothing, and the client is told so.
    pub(super) fn begin(&mut self, shared: &Shared, prepared: Prepared, batch: &mut SendBatch) -> bool {
        let (transfer, source) = match prepared.begun {
            Ok(begun) => begun,
            Err(denied) if matches!(denied.reason, Reason::TransfersFull) => {
                turn_away(shared, self.client, denied.reason);
                return false;
            }
            Err(denied) => {
                shared.counters.count(Counter::TftpRefused);
                self.send_error((shared, batch), denied.code, &denied.reason.to_string());
                let now = shared.clock.now();
                shared.publish(prepared.subject.failed(now, denied.reason, denied.is_optional));
                return false;
            }
        };
        let bytes = match source {
            TransferSource::Memory(whole) => TransferBytes::Memory(whole),
            TransferSource::File(opened, place) => TransferBytes::File {
                opened: Arc::new(opened),
                _place: place,
                ahead: Vec::new(),
                ahead_at: 0,
            },
        };
        let to = (Transport::Tftp, IpAddr::V4(*self.client.ip()));
        let began = shared.clock.monotonic();
        self.active = Some(Box::new(ActiveTransfer {
            handle: shared.transfers.begin(began, to, &prepared.subject, bytes.length()),
            subject: prepared.subject,
            transfer,
            bytes,
            proof: prepared.promise.map_or(Proof::NotNeeded, Proof::Awaited),
            waiting: None,
            highest: None,
        }));
        true
    }

    /// What came was no proof: its client is waited for still.
    pub(super) fn await_proof(&mut self, promise: Promise) {
        if let Some(active) = &mut self.active {
            active.proof = Proof::Awaited(promise);
        }
    }

    /// Goes on with what the request comes to now that its client was heard: with the same bytes, or not at all.
    pub(super) fn take_proof(&mut self, shared: &Shared, prepared: Prepared, batch: &mut SendBatch) -> SessionStatus {
        let Some(active) = self.active.as_deref_mut() else {
            return SessionStatus::Continues;
        };
        let promised = match &active.bytes {
            TransferBytes::Memory(whole) => Some(&whole.bytes),
            TransferBytes::File { .. } => None,
        };
        match prepared.begun {
            Ok((_, TransferSource::Memory(now))) if promised == Some(&now.bytes) => {
                active.proof = Proof::NotNeeded;
                self.transmit(shared, batch, false)
            }
            Ok(_) => self.fail(shared, batch, Reason::from(&FileError::Changed)),
            Err(denied) => self.fail(shared, batch, denied.reason),
        }
    }

    fn send_error(&self, (shared, batch): (&Shared, &mut SendBatch), code: ErrorCode, message: &str) {
        let error = wire::error(code, message);
        recording::sent(shared, (self.server, self.client), Payload::whole(&error));
        batch
            .push(self.request.asked, self.client, error.len())
            .copy_from_slice(&error);
    }

    /// Takes a packet of its client's.
    pub(super) fn handle(&mut self, now: Duration, packet: &Packet) {
        if let Some(active) = &mut self.active {
            active.transfer.handle(now, packet);
        }
    }

    /// Has the flight recorder keep a packet of its client's: its first acknowledgements, the last one, and its error.
    pub(super) fn record(&mut self, shared: &Shared, now: Duration, packet: &Packet) {
        if !shared.recorder.is_on() {
            return;
        }
        let active = self.active.as_ref();
        let is_over = || active.is_some_and(|active| active.transfer.ending().is_some());
        let ends = (self.client, self.server);
        match packet {
            Packet::Ack(number) if self.recorded_acks < RECORDED_TFTP_ACKS_MAX || is_over() => {
                recording::received(shared, now, ends, &wire::ack(*number));
                self.recorded_acks = self.recorded_acks.saturating_add(1);
            }
            Packet::Error { code, message } => {
                recording::received(shared, now, ends, &wire::clients_error(*code, message));
            }
            Packet::Ack(_) | Packet::Read(_) | Packet::Write | Packet::Data | Packet::OptionAck => {}
        }
    }

    /// Takes the time.
    pub(super) fn handle_timeout(&mut self, now: Duration) {
        if let Some(active) = &mut self.active {
            active.transfer.handle_timeout(now);
        }
    }

    /// When it wants the time next.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.active.as_ref()?.transfer.deadline()
    }

    /// Whether the lane looks at it in time.
    pub(super) fn is_alarmed(&self) -> bool {
        self.deadline()
            .is_none_or(|deadline| self.alarm.is_some_and(|alarm| alarm <= deadline))
    }

    /// Whether a request from its client's port is its own once more. The same request before the
    /// first acknowledgement is a repetition, and so is one that was under way while blocks were
    /// taken; anything else is a machine that started over.
    pub(super) fn is_repeated(&self, now: Duration, request: &TransferRequest) -> bool {
        let active = self.active.as_ref();
        let progress = active.and_then(|active| active.transfer.last_progress());
        self.request == *request && progress.is_none_or(|at| now < at + STARTED_OVER_AFTER)
    }

    /// Says that the client wants something else by now.
    pub(super) fn abandon(&self, shared: &Shared) {
        shared.counters.count(Counter::TftpAborted);
        self.end_early(shared, |file| Step::StartedOver { file });
    }

    /// Says that it ends before its end, whether or not it had begun.
    pub(super) fn end_early(&self, shared: &Shared, step: impl FnOnce(Option<RequestedFile>) -> Step) {
        match &self.active {
            Some(active) => {
                let (now, step) = (shared.clock.now(), step(Some(active.subject.file.clone())));
                shared.publish(active.subject.event(now, step));
            }
            None => shared.of_connection(shared.machine_at(*self.client.ip()), step(None)),
        }
    }

    /// Takes bytes that were read from the disk.
    pub(super) fn take_read(&mut self, shared: &Shared, read: ReadResult, batch: &mut SendBatch) -> SessionStatus {
        let Some(ActiveTransfer {
            bytes: TransferBytes::File { ahead, ahead_at, .. },
            ..
        }) = self.active.as_deref_mut()
        else {
            return SessionStatus::Continues;
        };
        match read.result {
            Ok(bytes) => (*ahead, *ahead_at) = (bytes, read.offset),
            Err(error) => return self.fail(shared, batch, Reason::from(&error)),
        }
        self.transmit(shared, batch, true)
    }

    /// Puts everything that is to be sent now into the outbox; `read` says that the bytes it waited
    /// for are here.
    pub(super) fn transmit(&mut self, shared: &Shared, batch: &mut SendBatch, read: bool) -> SessionStatus {
        let Some(active) = &mut self.active else {
            return SessionStatus::Continues;
        };
        match active.proof {
            Proof::Awaited(promise) if active.transfer.is_acknowledged() && !active.transfer.is_given_up() => {
                active.proof = Proof::Given;
                return SessionStatus::Begins(promise, self.request.clone());
            }
            Proof::Given if !active.transfer.is_given_up() => return SessionStatus::Continues,
            Proof::Given | Proof::Awaited(_) | Proof::NotNeeded => {}
        }
        if active.transfer.ending().is_some() {
            active.conclude(shared);
            return SessionStatus::Ended;
        }
        if active.waiting.is_some() && !read {
            return SessionStatus::Continues;
        }
        let mark = batch.mark();
        let filled = active.fill(batch, (self.server, self.client), shared);
        match filled.and_then(|reading| active.bytes.unchanged().map(|()| reading)) {
            Ok(None) => SessionStatus::Continues,
            Ok(Some(reading)) => SessionStatus::NeedsRead(reading),
            Err(error) => {
                // Bytes of a file that is another by now are not sent.
                batch.back_to(mark);
                self.fail(shared, batch, Reason::from(&error))
            }
        }
    }

    /// Says that it can't go on, to its client too.
    pub(super) fn fail(&self, shared: &Shared, batch: &mut SendBatch, reason: Reason) -> SessionStatus {
        shared.counters.count(Counter::TftpAborted);
        self.send_error((shared, batch), ErrorCode::Undefined, &reason.to_string());
        if let Some(active) = &self.active {
            shared.publish(active.subject.failed(shared.clock.now(), reason, false));
        }
        SessionStatus::Ended
    }
}

impl ActiveTransfer {
    /// Puts what the machine wants sent into the outbox, until it wants nothing or the bytes have
    /// to be read from the disk.
    fn fill(
        &mut self,
        batch: &mut SendBatch,
        (server, to): (SocketAddrV4, SocketAddrV4),
        shared: &Shared,
    ) -> Result<Option<PendingRead>, FileError> {
        let from = *server.ip();
        while let Some(transmit) = self.waiting.take().or_else(|| self.transfer.poll_transmit()) {
            match transmit {
                Transmit::OptionAck(agreed) => {
                    let packet = wire::option_ack(&agreed);
                    recording::sent(shared, (server, to), Payload::whole(&packet));
                    batch.push(from, to, packet.len()).copy_from_slice(&packet);
                }
                Transmit::Block { number, offset, length } => {
                    let mark = batch.mark();
                    let packet = batch.push(from, to, DATA_HEADER_BYTES + length);
                    let (header, data) = packet.split_at_mut(DATA_HEADER_BYTES);
                    header.copy_from_slice(&wire::data_header(number));
                    if !self.bytes.read(data, offset)? {
                        batch.back_to(mark);
                        self.waiting = Some(transmit);
                        return Ok(self.bytes.reading(offset, length));
                    }
                    if offset == 0 {
                        recording::first_block(shared, (server, to), number, length);
                    }
                    self.count(&shared.counters, offset, length);
                }
            }
        }
        Ok(None)
    }

    fn count(&mut self, counters: &Counters, offset: u64, length: usize) {
        counters.add(Counter::TftpBytes, length as u64);
        if self.highest.is_some_and(|highest| offset <= highest) {
            counters.count(Counter::TftpRetransmitted);
        } else {
            self.highest = Some(offset);
            self.handle.reached(offset + length as u64);
        }
    }

    /// Says how the transfer ended.
    fn conclude(&self, shared: &Shared) {
        let counters = &shared.counters;
        let (had, length) = (self.transfer.acknowledged_bytes(), self.bytes.length());
        let step = match self.transfer.ending() {
            None => return,
            Some(TransferEnd::Complete) => {
                counters.count(Counter::TftpCompleted);
                Step::Sent {
                    file: self.subject.file.clone(),
                    part: None,
                    bytes: length,
                }
            }
            Some(TransferEnd::Probed) => {
                counters.count(Counter::TftpProbed);
                Step::SizeAsked {
                    file: self.subject.file.clone(),
                }
            }
            Some(TransferEnd::Aborted { code, message }) => {
                counters.count(Counter::TftpAborted);
                self.failed(Reason::ClientGaveUp {
                    had,
                    length,
                    error_code: *code,
                    message: message.as_slice().into(),
                })
            }
            Some(TransferEnd::Silent) => {
                counters.count(Counter::TftpSilent);
                let ago = shared.clock.monotonic().saturating_sub(self.transfer.silent_since());
                self.failed(Reason::ClientSilent {
                    had,
                    length,
                    ago: ago.into(),
                })
            }
        };
        shared.publish(self.subject.event(shared.clock.now(), step));
    }

    fn failed(&self, reason: Reason) -> Step {
        Step::Failed {
            file: self.subject.file.clone(),
            part: None,
            reason,
        }
    }
}
