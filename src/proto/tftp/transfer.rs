//! One outgoing transfer, from the agreed options to the last acknowledgement.
//!
//! The machine is handed packets and time, and says what to send: an OACK, or which bytes of the
//! file go out as which block. It never holds file data.
//!
//! Blocks are counted from 1 without end; on the wire the count rolls over to 0 after 65,535, which
//! every client that gets that far expects.
//!
//! When something is sent again:
//!
//! - An acknowledgement in the middle of a window says that the next block was lost. Sending goes
//!   on from there, **once per gap**: EDK2 repeats that acknowledgement for every block that comes
//!   out of order, and answering each would send everything twice for ever (the Sorcerer's
//!   Apprentice, RFC 1123 section 4.2.3.1).
//! - A repeated acknowledgement of the window before says that the window's first block was lost,
//!   if the window has had the time to arrive; earlier it is only the echo of a doubled packet. What acknowledges
//!   blocks that were sent twice is the client's answer to the second of them, and says nothing of their successors:
//!   a machine that was slow once would be sent all that follows twice.
//! - After a wait that doubles, the whole window goes out again, until the client was given
//!   [`TFTP_SILENT_PACKETS_MAX`] chances without a word. The wait follows the time that windows took
//!   (RFC 6298, with [`TFTP_RETRANSMIT_MIN`] on top of it at least), so that a storm whose queues make every client slow is not answered with more
//!   packets. What was sent twice tells no time (Karn): until something did, the wait stays long.

use crate::model::limits::{
    TFTP_BLOCK_BYTES_MAX, TFTP_RETRANSMIT_INITIAL, TFTP_RETRANSMIT_MAX, TFTP_RETRANSMIT_MIN, TFTP_SILENT_PACKETS_MAX,
    TFTP_WINDOW_BLOCKS_MAX,
};
use crate::proto::tftp::wire::{Agreed, BLOCK_BYTES_DEFAULT, Packet, TransferOptions, block_number};
use std::time::Duration;

/// What is to be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transmit {
    /// The options as agreed.
    OptionAck(Agreed),
    /// A block of the file.
    Block {
        /// Its number on the wire.
        number: u16,
        /// Where its data starts in the file.
        offset: u64,
        /// How many bytes it has; fewer than a block, or none, in the last.
        length: usize,
    },
}

/// How a transfer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransferEnd {
    /// The client has every block.
    Complete,
    /// The client sent an ERROR before it took any data: it wanted the size (EDK2), or not these
    /// options. No failure.
    Probed,
    /// The client sent an ERROR later.
    Aborted {
        /// Its code.
        code: u16,
        /// The client's words, raw.
        message: Vec<u8>,
    },
    /// The client stopped answering.
    Silent,
}

/// One outgoing transfer.
#[derive(Clone, Debug)]
pub struct Transfer {
    agreed: Agreed,
    length: u64,
    block_bytes: u64,
    window: u64,
    /// The last block: shorter than the others, and empty where they come out even.
    last: u64,
    phase: TransferPhase,
    /// The lowest block that is not acknowledged.
    base: u64,
    /// The next block to send; never below `base`.
    next: u64,
    /// The highest block ever sent: nothing above it can be acknowledged.
    highest_sent: u64,
    /// The `base` whose gap was filled already.
    filled: Option<u64>,
    /// The highest block that was under way when a gap was filled. Everything up to it was sent
    /// twice, so an acknowledgement of it is the client's answer to a doubled block, and no new gap.
    echo: Option<u64>,
    /// When the present window's sending began, while no part of it was sent twice.
    window_began: Option<Duration>,
    /// When the window was last sent again or for the first time.
    sent_at: Duration,
    /// The shortest time a window took to be acknowledged.
    round_trip: Option<Duration>,
    /// The time that windows take of late, and how much it varies.
    smoothed: Option<(Duration, Duration)>,
    /// Times that something was sent since the client was last heard.
    tries: u32,
    wait: Duration,
    deadline: Duration,
    progress_at: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TransferPhase {
    /// The OACK has to be sent.
    Offering,
    /// The OACK waits for its ACK 0.
    Offered,
    /// Blocks go out.
    Sending,
    Ended(TransferEnd),
}

impl Transfer {
    /// Begins the transfer of `length` bytes to a client that asked for `options`. What is agreed
    /// is never more than was asked, and never over our limits.
    pub fn begin(now: Duration, options: &TransferOptions, length: u64) -> Transfer {
        let longest_s = TFTP_RETRANSMIT_MAX.as_secs();
        let agreed = Agreed {
            blksize: options.blksize.map(|asked| asked.min(TFTP_BLOCK_BYTES_MAX)),
            tsize: options.tsize.then_some(length),
            // A longer wait would let one packet hold a transfer for half an hour: left out of the
            // OACK, which RFC 2349 lets a server do.
            timeout_s: options.timeout_s.filter(|asked| u64::from(*asked) <= longest_s),
            windowsize: options.windowsize.map(|asked| asked.min(TFTP_WINDOW_BLOCKS_MAX)),
        };
        let block_bytes = u64::from(agreed.blksize.unwrap_or(BLOCK_BYTES_DEFAULT));
        let wait = agreed
            .timeout_s
            .map_or(TFTP_RETRANSMIT_INITIAL, |seconds| Duration::from_secs(seconds.into()));
        Transfer {
            agreed,
            length,
            block_bytes,
            window: u64::from(agreed.windowsize.unwrap_or(1)),
            last: length / block_bytes + 1,
            phase: if agreed == Agreed::default() {
                TransferPhase::Sending
            } else {
                TransferPhase::Offering
            },
            base: 1,
            next: 1,
            highest_sent: 0,
            filled: None,
            echo: None,
            window_began: Some(now),
            sent_at: now,
            round_trip: None,
            smoothed: None,
            tries: 1,
            wait,
            deadline: now + wait,
            progress_at: now,
        }
    }

    /// What to send now; ask until it says `None`.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        match self.phase {
            TransferPhase::Offering => {
                self.phase = TransferPhase::Offered;
                Some(Transmit::OptionAck(self.agreed))
            }
            TransferPhase::Sending if self.next <= self.last && self.next < self.base + self.window => {
                let block = self.next;
                self.next += 1;
                self.highest_sent = self.highest_sent.max(block);
                Some(self.block(block))
            }
            TransferPhase::Sending | TransferPhase::Offered | TransferPhase::Ended(_) => None,
        }
    }

    fn block(&self, block: u64) -> Transmit {
        let offset = (block - 1) * self.block_bytes;
        let length = self.block_bytes.min(self.length - offset);
        Transmit::Block {
            number: block_number(block),
            offset,
            length: usize::try_from(length).expect("a block is at most 65,535 bytes"),
        }
    }

    /// Takes a packet that came from the client's own address and port.
    pub fn handle(&mut self, now: Duration, packet: &Packet) {
        match (packet, &self.phase) {
            (_, TransferPhase::Ended(_)) => {}
            (Packet::Error { code, message }, _) => self.aborted(*code, message),
            (Packet::Ack(0), TransferPhase::Offered) => self.accepted(now),
            (Packet::Ack(number), TransferPhase::Sending) => self.acknowledged(now, *number),
            (Packet::Ack(_), TransferPhase::Offering | TransferPhase::Offered) => {}
            (Packet::Read(_) | Packet::Write | Packet::Data | Packet::OptionAck, _) => {}
        }
    }

    fn aborted(&mut self, code: u16, message: &[u8]) {
        self.phase = TransferPhase::Ended(if self.base == 1 {
            TransferEnd::Probed
        } else {
            TransferEnd::Aborted {
                code,
                message: message.to_vec(),
            }
        });
    }

    /// The client took the options.
    fn accepted(&mut self, now: Duration) {
        self.measure(now);
        self.phase = TransferPhase::Sending;
        self.heard(now);
    }

    fn acknowledged(&mut self, now: Duration, number: u16) {
        let before = self.base - 1;
        let ahead = u64::from(number.wrapping_sub(block_number(before)));
        let block = before + ahead;
        if block > self.highest_sent {
            // An old acknowledgement that came late, or one of a block that never was.
        } else if block == self.last {
            self.phase = TransferPhase::Ended(TransferEnd::Complete);
        } else if ahead == 0 {
            self.repeated(now);
        } else {
            self.advanced(now, block);
        }
    }

    /// Every block up to `block` is with the client.
    fn advanced(&mut self, now: Duration, block: u64) {
        let short = block + 1 < self.next;
        let echo = self.echo.is_some_and(|highest| block <= highest);
        if !short && !echo {
            self.measure(now);
        }
        self.base = block + 1;
        self.next = self.next.max(self.base);
        self.progress_at = now;
        self.heard(now);
        self.filled = None;
        if echo {
            // Unless nothing is under way: what is sent next is sent once.
            self.window_began = self.window_began.filter(|_| self.next == self.base);
        } else {
            self.echo = None;
            if short {
                self.rewind();
            }
        }
    }

    /// Sends again from the first block that is not acknowledged.
    fn rewind(&mut self) {
        self.filled = Some(self.base);
        self.echo = Some(self.highest_sent);
        self.next = self.base;
        self.window_began = None;
    }

    /// The window before was acknowledged again: its successor's first block did not arrive.
    fn repeated(&mut self, now: Duration) {
        let arrived = self.sent_at + self.round_trip.unwrap_or(Duration::ZERO) * 3 / 4;
        let is_echo = self.echo.is_some_and(|highest| self.base <= highest + 1);
        if is_echo || self.filled == Some(self.base) || self.next == self.base || now < arrived {
            return;
        }
        self.heard(now);
        self.rewind();
    }

    /// The client spoke and sending goes on: its chances are as at the start.
    fn heard(&mut self, now: Duration) {
        self.tries = 1;
        self.deadline = now + self.wait;
        self.sent_at = now;
        self.window_began = Some(now);
    }

    /// Takes the time of a window that was sent once, and how long to wait for the next (RFC 6298
    /// section 2).
    fn measure(&mut self, now: Duration) {
        let Some(began) = self.window_began else {
            return;
        };
        let took = now.saturating_sub(began);
        self.round_trip = Some(self.round_trip.map_or(took, |shortest| shortest.min(took)));
        let (mean, variation) = match self.smoothed {
            None => (took, took / 2),
            Some((mean, variation)) => (mean * 7 / 8 + took / 8, variation * 3 / 4 + mean.abs_diff(took) / 4),
        };
        self.smoothed = Some((mean, variation));
        if self.agreed.timeout_s.is_none() {
            // As Linux's TCP: the shortest wait is beside the time that a window takes and not instead of it. Where
            // thousands take turns that time is long and steady, and any turn comes a little late.
            self.wait = (mean + (variation * 4).max(TFTP_RETRANSMIT_MIN)).min(TFTP_RETRANSMIT_MAX);
        }
    }

    /// Takes the time: whatever waited too long is sent again, or the client is given up.
    pub fn handle_timeout(&mut self, now: Duration) {
        if now < self.deadline || matches!(self.phase, TransferPhase::Ended(_)) {
            return;
        }
        if self.tries >= TFTP_SILENT_PACKETS_MAX {
            self.phase = TransferPhase::Ended(TransferEnd::Silent);
            return;
        }
        self.tries += 1;
        if self.agreed.timeout_s.is_none() {
            self.wait = (self.wait * 2).min(TFTP_RETRANSMIT_MAX);
        }
        self.deadline = now + self.wait;
        self.sent_at = now;
        self.window_began = None;
        match self.phase {
            TransferPhase::Offered => self.phase = TransferPhase::Offering,
            TransferPhase::Sending => self.rewind(),
            TransferPhase::Offering | TransferPhase::Ended(_) => {}
        }
    }

    /// When [`Transfer::handle_timeout`] wants to be called; `None` at the end.
    pub fn deadline(&self) -> Option<Duration> {
        (!matches!(self.phase, TransferPhase::Ended(_))).then_some(self.deadline)
    }

    /// How it ended, if it did.
    pub fn ending(&self) -> Option<&TransferEnd> {
        match &self.phase {
            TransferPhase::Ended(ending) => Some(ending),
            TransferPhase::Offering | TransferPhase::Offered | TransferPhase::Sending => None,
        }
    }

    /// Whether the client acknowledged anything: it receives what is sent to it.
    pub fn is_acknowledged(&self) -> bool {
        let is_accepted = self.agreed != Agreed::default() && self.phase == TransferPhase::Sending;
        is_accepted || self.base > 1 || self.phase == TransferPhase::Ended(TransferEnd::Complete)
    }

    /// Whether it ended before the client had everything.
    pub fn is_given_up(&self) -> bool {
        self.ending().is_some_and(|ending| *ending != TransferEnd::Complete)
    }

    /// Bytes that the client is known to have.
    pub fn acknowledged_bytes(&self) -> u64 {
        match self.phase {
            TransferPhase::Ended(TransferEnd::Complete) => self.length,
            _ => ((self.base - 1) * self.block_bytes).min(self.length),
        }
    }

    /// When the client last took a block, if it took one.
    pub fn last_progress(&self) -> Option<Duration> {
        (self.base > 1).then_some(self.progress_at)
    }

    /// Since when the client did nothing that goes on with it: its last new block, or its request.
    pub fn silent_since(&self) -> Duration {
        self.progress_at
    }

    /// The agreed block size in bytes, and blocks in a window.
    pub fn shape(&self) -> (usize, usize) {
        let narrow = |number: u64| usize::try_from(number).expect("options have 16 bits");
        (narrow(self.block_bytes), narrow(self.window))
    }
}

#[cfg(test)]
mod tests;
