//! The TFTP requests of a capture, and what became of each transfer.

use super::{
    Replay,
    files::{ReplayedFile, refused},
};
use crate::boot::{
    event::{Event, Reason, Step, Subject},
    resource::{FileRequest, Transport},
};
use crate::model::{
    limits::{REPLAY_STREAMS_MAX, REPLAY_TFTP_SILENCE},
    text,
};
use crate::proto::tftp::{
    transfer::Transfer,
    wire::{self, Packet, ServerPacket},
};
use std::{collections::BTreeMap, net::SocketAddrV4, time::Duration};

/// Transfers of a capture, by their clients.
#[derive(Default)]
pub(super) struct ReplayedTransfers(
    BTreeMap<SocketAddrV4, ReplayedTransfer>,
    /// Bytes of each file as the server in the capture has it, where it told anybody.
    BTreeMap<Vec<u8>, u64>,
);

/// One of them.
struct ReplayedTransfer {
    /// Its answer's place.
    answer: usize,
    path: Vec<u8>,
    subject: Subject,
    /// Bytes of the file; `None` where it was refused.
    length: Option<u64>,
    block_bytes: u64,
    /// The last block that was acknowledged, as far as the capture shows: by its number on the wire.
    acknowledged: u64,
    last: Duration,
}

impl ReplayedTransfer {
    /// Bytes that the client has for sure.
    fn had(&self) -> u64 {
        let had = self.acknowledged.saturating_mul(self.block_bytes);
        had.min(self.length.unwrap_or(0))
    }
}

impl Replay<'_> {
    pub(super) fn tftp_request(&mut self, at: Duration, client: SocketAddrV4, bytes: &[u8]) {
        let Ok(Packet::Read(request)) = wire::parse(bytes) else {
            // With a single port the client's other packets come here, too.
            return self.tftp_packet(at, client, bytes);
        };
        let before = self.transfers.0.get(&client);
        if before.is_some_and(|before| before.path == request.path && before.acknowledged == 0) {
            // It asks again, because nothing came.
            return;
        }
        let now = self.now(at);
        let asked = ["TFTP ", &text::escape(&request.path)].concat();
        let ask = FileRequest::get(
            Transport::Tftp,
            &request.path,
            *client.ip(),
            self.settings.server.address,
        );
        let ReplayedFile {
            subject,
            block_max,
            result,
        } = self.file(now, &ask);
        let mut options = request.options;
        if let Some(largest) = block_max {
            options.blksize = options.blksize.map(|asked| asked.min(largest));
        }
        let told = self.transfers.1.get(&request.path).copied();
        let length = result.as_ref().ok().map(|own| told.unwrap_or(*own));
        let (block_bytes, _) = Transfer::begin(now.monotonic, &options, length.unwrap_or(0)).shape();
        let event = result.err().map(|refusal| refused(now, &subject, refusal));
        if let Some(event) = &event {
            self.publish(event);
        }
        let answer = self.answer(at, asked, event, subject.machine.clone());
        let transfer = ReplayedTransfer {
            answer,
            path: request.path,
            subject,
            length,
            block_bytes: block_bytes as u64,
            acknowledged: 0,
            last: at,
        };
        self.transfers.0.insert(client, transfer);
        if self.transfers.0.len() > REPLAY_STREAMS_MAX {
            let oldest = self.transfers.0.iter().min_by_key(|(_, transfer)| transfer.last);
            if let Some(client) = oldest.map(|(client, _)| *client) {
                self.transfers.0.remove(&client);
            }
        }
    }

    /// A packet of a client's whose transfer is under way.
    pub(super) fn tftp_packet(&mut self, at: Duration, client: SocketAddrV4, bytes: &[u8]) {
        let Some(transfer) = self.transfers.0.get_mut(&client) else {
            return;
        };
        transfer.last = at;
        let Some(length) = transfer.length else { return };
        let file = transfer.subject.file.clone();
        let step = match wire::parse(bytes) {
            Ok(Packet::Ack(number)) => {
                let last = length / transfer.block_bytes + 1;
                if number != wire::block_number(last) || (number == 0 && last < 0x1_0000) {
                    transfer.acknowledged = transfer.acknowledged.max(number.into());
                    return;
                }
                let (part, bytes) = (None, length);
                Step::Sent { file, part, bytes }
            }
            Ok(Packet::Error { .. }) if transfer.acknowledged == 0 => Step::SizeAsked { file },
            Ok(Packet::Error { code, message }) => Step::Failed {
                file,
                part: None,
                reason: Reason::ClientGaveUp {
                    had: transfer.had(),
                    length,
                    error_code: code,
                    message: message.as_slice().into(),
                },
            },
            Ok(Packet::Read(_) | Packet::Write | Packet::Data | Packet::OptionAck) | Err(_) => return,
        };
        self.end(at, client, step);
    }

    /// Holds what the server in the capture sends against what was decided: the file, or an error.
    pub(super) fn tftp_reply(&mut self, client: SocketAddrV4, bytes: &[u8]) {
        let Some(transfer) = self.transfers.0.get_mut(&client) else {
            return;
        };
        let is_sent = match wire::parse_reply(bytes) {
            Ok(ServerPacket::OptionAck { agreed, .. }) => {
                // The file that the capture is of may be another one than ours. EDK2 asks for its size in a transfer of
                // its own.
                if let Some(told) = agreed.tsize.filter(|_| transfer.length.is_some()) {
                    transfer.length = Some(told);
                    if self.transfers.1.len() < REPLAY_STREAMS_MAX {
                        self.transfers.1.insert(transfer.path.clone(), told);
                    }
                }
                transfer.block_bytes = agreed
                    .blksize
                    .filter(|bytes| *bytes > 0)
                    .map_or(transfer.block_bytes, u64::from);
                true
            }
            Ok(ServerPacket::Data { .. }) => true,
            Ok(ServerPacket::Error { .. }) => false,
            Err(_) => return,
        };
        let answer = &mut self.answers[transfer.answer];
        answer.is_same = answer.is_same.or(Some(transfer.length.is_some() == is_sent));
    }

    /// Ends the transfers whose clients were not heard for long.
    pub(super) fn give_up_silent(&mut self, at: Duration) {
        let is_silent = |transfer: &ReplayedTransfer| at.saturating_sub(transfer.last) >= REPLAY_TFTP_SILENCE;
        let transfers = self.transfers.0.iter();
        let silent: Vec<(SocketAddrV4, Duration)> = transfers
            .filter(|(_, transfer)| is_silent(transfer))
            .map(|(client, transfer)| (*client, transfer.last))
            .collect();
        for (client, last) in silent {
            let Some(transfer) = self.transfers.0.get(&client) else {
                continue;
            };
            match transfer.length {
                None => drop(self.transfers.0.remove(&client)),
                Some(length) => {
                    let had = transfer.had();
                    let step = Step::Failed {
                        file: transfer.subject.file.clone(),
                        part: None,
                        reason: Reason::ClientSilent {
                            had,
                            length,
                            ago: REPLAY_TFTP_SILENCE.into(),
                        },
                    };
                    self.end(last.saturating_add(REPLAY_TFTP_SILENCE), client, step);
                }
            }
        }
    }

    fn end(&mut self, at: Duration, client: SocketAddrV4, step: Step) {
        if let Some(transfer) = self.transfers.0.remove(&client) {
            let event: Event = transfer.subject.event(self.now(at), step);
            self.publish(&event);
            self.answers[transfer.answer].event = Some(event);
        }
    }
}
