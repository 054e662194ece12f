//! One incoming transfer as a client: from the request to the last block.
//!
//! The machine is handed a server's packets and time, writes what is to be sent, and hands out the
//! file's bytes in order; it keeps none. Whoever carries it holds the socket and the server's
//! transfer address: the request goes to the server's port, everything after the first answer to
//! the port that answered, and packets from elsewhere are not for this machine.
//!
//! When something is sent again:
//!
//! - A block that is not the next one says that a block was lost, or that our acknowledgement was.
//!   It is answered with what we have, **once**, until the next block in order comes (the Sorcerer's
//!   Apprentice, RFC 1123 section 4.2.3.1).
//! - After a wait that doubles, the last packet is sent again, [`TFTP_FETCH_TRIES_MAX`] times in all.
//!
//! A server whose last acknowledgement was lost repeats its last block: the machine goes on
//! answering that after its end, for as long as it is handed packets.

use crate::model::limits::{TFTP_FETCH_RETRY_INITIAL, TFTP_FETCH_TRIES_MAX, TFTP_RETRANSMIT_MAX};
use crate::proto::tftp::wire::{
    self, Agreed, BLOCK_BYTES_DEFAULT, ErrorCode, ServerPacket, TransferOptions, block_number,
};
use std::time::Duration;

/// How a fetch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchEnd {
    /// Every block is here.
    Complete,
    /// The server sent an ERROR.
    Refused {
        /// Its code.
        code: u16,
        /// The server's words, raw.
        message: Vec<u8>,
    },
    /// The server broke the protocol, and was told so with an ERROR.
    Unfit(&'static str),
    /// The server stopped answering.
    Silent,
}

/// What happened besides blocks in order; all zero on a wire that loses nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Packets sent again because nothing came in time.
    pub retries: u64,
    /// Blocks that are here already.
    pub repeated: u64,
    /// Blocks that came before one that is missing.
    pub early: u64,
}

/// One incoming transfer.
#[derive(Clone, Debug)]
pub struct Fetch {
    path: Vec<u8>,
    options: TransferOptions,
    block_bytes: usize,
    window: u64,
    /// The size as the server told it.
    size: Option<u64>,
    phase: FetchPhase,
    /// What is to be sent now.
    word: Option<LastSent>,
    /// The last block that came in order.
    have: u64,
    /// The bytes of the blocks that came in order.
    bytes: u64,
    /// Blocks taken since the last acknowledgement.
    unacknowledged: u64,
    /// Whether the gap behind `have` was told already.
    gap_reported: bool,
    tries: u32,
    wait: Duration,
    deadline: Duration,
    tally: Tally,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum FetchPhase {
    /// The request is not answered yet.
    Asking,
    /// Blocks come in.
    Receiving,
    Ended(FetchEnd),
}

#[derive(Clone, Copy, Debug)]
enum LastSent {
    ReadRequest,
    Have,
    Unfit(ErrorCode, &'static str),
}

impl Fetch {
    /// Begins to fetch `path`, asking for `options`.
    pub fn begin(now: Duration, path: &[u8], options: TransferOptions) -> Fetch {
        Fetch {
            path: path.to_vec(),
            options,
            block_bytes: usize::from(BLOCK_BYTES_DEFAULT),
            window: 1,
            size: None,
            phase: FetchPhase::Asking,
            word: Some(LastSent::ReadRequest),
            have: 0,
            bytes: 0,
            unacknowledged: 0,
            gap_reported: false,
            tries: 1,
            wait: TFTP_FETCH_RETRY_INITIAL,
            deadline: now + TFTP_FETCH_RETRY_INITIAL,
            tally: Tally::default(),
        }
    }

    /// Writes the packet that is to be sent now in place of what `packet` holds; false when there
    /// is none.
    pub fn poll_transmit(&mut self, packet: &mut Vec<u8>) -> bool {
        let Some(word) = self.word.take() else {
            return false;
        };
        packet.clear();
        match word {
            LastSent::ReadRequest => packet.extend(wire::read_request(&self.path, &self.options)),
            LastSent::Have => packet.extend(wire::ack(block_number(self.have))),
            LastSent::Unfit(code, why) => packet.extend(wire::error(code, why)),
        }
        true
    }

    /// Takes a packet that came from the server's transfer address: the next bytes of the file, or
    /// none.
    pub fn handle<'b>(&mut self, now: Duration, reply: &ServerPacket<'b>) -> &'b [u8] {
        match (*reply, &self.phase) {
            (ServerPacket::Data { number, data }, FetchPhase::Asking | FetchPhase::Receiving) => {
                return self.block(now, number, data);
            }
            (ServerPacket::Data { number, .. }, FetchPhase::Ended(FetchEnd::Complete)) => {
                self.tally.repeated += 1;
                if number == block_number(self.have) {
                    self.word = Some(LastSent::Have);
                }
            }
            (ServerPacket::OptionAck { agreed, foreign }, FetchPhase::Asking) => match self.misfit(&agreed, foreign) {
                Some(why) => self.give_up(ErrorCode::TransferOptions, why),
                None => self.agree(now, &agreed),
            },
            // Our acknowledgement of the options was lost.
            (ServerPacket::OptionAck { .. }, FetchPhase::Receiving) if self.have == 0 => {
                self.word = Some(LastSent::Have)
            }
            (ServerPacket::Error { code, message }, FetchPhase::Asking | FetchPhase::Receiving) => {
                let message = message.to_vec();
                self.phase = FetchPhase::Ended(FetchEnd::Refused { code, message });
            }
            (
                ServerPacket::OptionAck { .. } | ServerPacket::Error { .. },
                FetchPhase::Receiving | FetchPhase::Ended(_),
            ) => {}
            (ServerPacket::Data { .. }, FetchPhase::Ended(_)) => {}
        }
        &[]
    }

    /// What is wrong with the options a server agreed to: it may lower what was asked, and leave it
    /// out, and nothing else.
    fn misfit(&self, agreed: &Agreed, foreign: bool) -> Option<&'static str> {
        let above = |agreed: Option<u16>, asked: Option<u16>| agreed > asked;
        if foreign {
            Some("an option that was not asked for")
        } else if above(agreed.blksize, self.options.blksize) || agreed.blksize.is_some_and(|bytes| bytes < 8) {
            Some("a blksize that was not asked for")
        } else if above(agreed.windowsize, self.options.windowsize) || agreed.windowsize == Some(0) {
            Some("a windowsize that was not asked for")
        } else if agreed.timeout_s.is_some() && agreed.timeout_s != self.options.timeout_s {
            Some("a timeout that was not asked for")
        } else if agreed.tsize.is_some() && !self.options.tsize {
            Some("a tsize that was not asked for")
        } else {
            None
        }
    }

    fn agree(&mut self, now: Duration, agreed: &Agreed) {
        self.block_bytes = agreed.blksize.unwrap_or(BLOCK_BYTES_DEFAULT).into();
        self.window = agreed.windowsize.unwrap_or(1).into();
        self.size = agreed.tsize;
        self.phase = FetchPhase::Receiving;
        self.word = Some(LastSent::Have);
        self.heard(now);
    }

    fn give_up(&mut self, code: ErrorCode, why: &'static str) {
        self.phase = FetchPhase::Ended(FetchEnd::Unfit(why));
        self.word = Some(LastSent::Unfit(code, why));
    }

    fn block<'b>(&mut self, now: Duration, number: u16, data: &'b [u8]) -> &'b [u8] {
        if number != block_number(self.have + 1) {
            self.out_of_order(number);
            return &[];
        }
        if data.len() > self.block_bytes {
            self.give_up(ErrorCode::IllegalOperation, "a block longer than agreed");
            return &[];
        }
        self.phase = FetchPhase::Receiving;
        self.have += 1;
        self.bytes += data.len() as u64;
        self.unacknowledged += 1;
        self.gap_reported = false;
        self.heard(now);
        let last = data.len() < self.block_bytes;
        if last {
            self.phase = FetchPhase::Ended(FetchEnd::Complete);
        }
        if last || self.unacknowledged >= self.window {
            self.say_have();
        }
        data
    }

    fn out_of_order(&mut self, number: u16) {
        let ahead = u64::from(number.wrapping_sub(block_number(self.have)));
        let early = (1..=self.window).contains(&ahead);
        if early {
            self.tally.early += 1;
        } else {
            self.tally.repeated += 1;
        }
        // A doubled block in the middle of a window that goes on says nothing.
        let telling = early || self.unacknowledged == 0;
        if telling && !self.gap_reported && self.phase == FetchPhase::Receiving {
            self.gap_reported = true;
            self.say_have();
        }
    }

    fn say_have(&mut self) {
        self.unacknowledged = 0;
        self.word = Some(LastSent::Have);
    }

    fn heard(&mut self, now: Duration) {
        self.tries = 1;
        self.wait = TFTP_FETCH_RETRY_INITIAL;
        self.deadline = now + self.wait;
    }

    /// Takes the time: what waited too long is sent again, or the server is given up.
    pub fn handle_timeout(&mut self, now: Duration) {
        if now < self.deadline || matches!(self.phase, FetchPhase::Ended(_)) {
            return;
        }
        if self.tries >= TFTP_FETCH_TRIES_MAX {
            self.phase = FetchPhase::Ended(FetchEnd::Silent);
            return;
        }
        self.tries += 1;
        self.tally.retries += 1;
        self.wait = (self.wait * 2).min(TFTP_RETRANSMIT_MAX);
        self.deadline = now + self.wait;
        self.gap_reported = false;
        if self.phase == FetchPhase::Asking {
            self.word = Some(LastSent::ReadRequest);
        } else {
            self.say_have();
        }
    }

    /// When [`Fetch::handle_timeout`] wants to be called; `None` at the end.
    pub fn deadline(&self) -> Option<Duration> {
        (!matches!(self.phase, FetchPhase::Ended(_))).then_some(self.deadline)
    }

    /// How it ended, if it did.
    pub fn ending(&self) -> Option<&FetchEnd> {
        match &self.phase {
            FetchPhase::Ended(ending) => Some(ending),
            FetchPhase::Asking | FetchPhase::Receiving => None,
        }
    }

    /// Bytes handed out so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The file's size as the server told it, if it was asked and did.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// The block size in bytes and the blocks in a window, as agreed so far.
    pub fn shape(&self) -> (usize, u64) {
        (self.block_bytes, self.window)
    }

    /// What happened besides blocks in order.
    pub fn tally(&self) -> Tally {
        self.tally
    }
}

#[cfg(test)]
mod tests;
