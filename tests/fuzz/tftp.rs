//! What must hold of TFTP's packets and of every transfer, whatever its client says and when.
//!
//! An input is a file's size, a request, and a row of steps: packets of the client, well formed or
//! not, and waits. At the end the client falls silent, and the transfer must end too.

use bootwright::model::limits::{TFTP_BLOCK_BYTES_MAX, TFTP_SILENT_PACKETS_MAX, TFTP_WINDOW_BLOCKS_MAX};
use bootwright::proto::tftp::transfer::{Transfer, TransferEnd, Transmit};
use bootwright::proto::tftp::wire::{self, Agreed, Packet, TransferOptions};
use std::time::Duration;

/// Steps of one transfer.
const STEPS_MAX: usize = 256;

/// What one transfer sent.
struct Client {
    transfer: Transfer,
    asked: TransferOptions,
    length: u64,
    now: Duration,
    /// The number of the block that came last.
    last: u16,
    /// How far into the file blocks were sent.
    reached: u64,
}

/// Runs one input. Panics where a property does not hold.
pub fn transfer(input: &[u8]) {
    let Some((size, rest)) = input.split_first_chunk::<4>() else {
        return;
    };
    let Some((length, rest)) = rest.split_first() else {
        return;
    };
    let (request, mut steps) = rest.split_at(usize::from(*length).min(rest.len()));
    let asked = match wire::parse(request) {
        Ok(Packet::Read(request)) => request.options,
        Ok(_) | Err(_) => TransferOptions::default(),
    };
    let length = u64::from(u32::from_be_bytes(*size));
    let mut client = Client {
        transfer: Transfer::begin(Duration::ZERO, &asked, length),
        asked,
        length,
        now: Duration::ZERO,
        last: 0,
        reached: 0,
    };
    client.receive();
    for _ in 0..STEPS_MAX {
        let [what, value, after @ ..] = steps else { break };
        steps = client.step(*what, *value, after);
        client.receive();
    }
    client.falls_silent();
}

impl Client {
    /// One step of the client; the steps behind it.
    fn step<'s>(&mut self, what: u8, value: u8, rest: &'s [u8]) -> &'s [u8] {
        let before = self.transfer.acknowledged_bytes();
        let ended = self.transfer.ending().cloned();
        let mut left = rest;
        match what % 4 {
            // It acknowledges the last block, or one near it.
            0 => self.says(&Packet::Ack(
                self.last.wrapping_add_signed(i16::from(value.cast_signed()) / 16),
            )),
            1 => {
                self.now += Duration::from_millis(u64::from(value) * 10);
                self.transfer.handle_timeout(self.now);
            }
            2 => {
                let bytes;
                (bytes, left) = rest.split_at(usize::from(value).min(rest.len()));
                if let Ok(packet) = wire::parse(bytes) {
                    self.says(&packet);
                }
            }
            _ => self.says(&Packet::Ack(self.last)),
        }
        assert!(self.transfer.acknowledged_bytes() >= before, "blocks came back");
        if ended.is_some() {
            assert_eq!(self.transfer.ending(), ended.as_ref(), "an end is final");
        }
        left
    }

    fn says(&mut self, packet: &Packet) {
        self.transfer.handle(self.now, packet);
    }

    /// Takes everything that is to be sent now: never more than a window.
    fn receive(&mut self) {
        let (block_bytes, window) = self.transfer.shape();
        assert!((1..=usize::from(TFTP_WINDOW_BLOCKS_MAX)).contains(&window));
        assert!((8..=usize::from(TFTP_BLOCK_BYTES_MAX)).contains(&block_bytes));
        let mut sent = 0;
        while let Some(transmit) = self.transfer.poll_transmit() {
            sent += 1;
            assert!(sent <= window, "{sent} packets at once, in a window of {window}");
            match transmit {
                Transmit::OptionAck(agreed) => self.assert_agreed(&agreed),
                Transmit::Block { number, offset, length } => {
                    assert!(
                        length <= block_bytes && offset + length as u64 <= self.length,
                        "beyond the file"
                    );
                    assert!(
                        length == block_bytes || offset + length as u64 == self.length,
                        "a short block inside"
                    );
                    assert!(offset <= self.reached, "a block was left out");
                    self.reached = self.reached.max(offset + length as u64);
                    let block = offset / block_bytes as u64 + 1;
                    assert_eq!(u64::from(number), block & 0xffff);
                    self.last = number;
                }
            }
        }
        assert!(sent == 0 || self.transfer.ending().is_none(), "sent after the end");
        assert!(
            self.transfer.acknowledged_bytes() <= self.reached,
            "acknowledged and never sent"
        );
        if self.transfer.ending() == Some(&TransferEnd::Complete) {
            assert_eq!(self.transfer.acknowledged_bytes(), self.length);
        }
    }

    /// An OACK has nothing that was not asked for, nothing beyond it, and is read back by our reader.
    fn assert_agreed(&self, agreed: &Agreed) {
        let within = |agreed: Option<u16>, asked: Option<u16>| {
            agreed.is_none_or(|value| asked.is_some_and(|asked| value <= asked))
        };
        assert!(within(agreed.blksize, self.asked.blksize) && within(agreed.windowsize, self.asked.windowsize));
        assert!(agreed.tsize.is_none_or(|size| self.asked.tsize && size == self.length));
        assert!(agreed.timeout_s.is_none() || agreed.timeout_s == self.asked.timeout_s);
        assert_ne!(*agreed, Agreed::default(), "an OACK without options");
        assert_eq!(wire::parse(&wire::option_ack(agreed)), Ok(Packet::OptionAck));
    }

    /// Nothing more comes: a few packets later the transfer is over.
    fn falls_silent(&mut self) {
        for _ in 0..=TFTP_SILENT_PACKETS_MAX {
            let Some(deadline) = self.transfer.deadline() else {
                break;
            };
            self.now = self.now.max(deadline);
            self.transfer.handle_timeout(self.now);
            self.receive();
        }
        assert!(self.transfer.ending().is_some(), "a silent client holds a transfer");
    }
}
