//! The transfer against a client that acknowledges as EDK2 does, over a wire that drops, doubles
//! and reorders by a seed. Time is scripted: no test waits.

use super::*;
use crate::proto::tftp::lossy::{CALM, LossRates, LossyLink};

const CLIENT_TIMEOUT: Duration = Duration::from_secs(1);

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn asked(blksize: u16, windowsize: u16) -> TransferOptions {
    TransferOptions {
        blksize: Some(blksize),
        windowsize: Some(windowsize),
        ..TransferOptions::default()
    }
}

/// Everything the machine wants sent now.
fn sends(transfer: &mut Transfer) -> Vec<Transmit> {
    std::iter::from_fn(|| transfer.poll_transmit()).collect()
}

/// The same as block numbers.
fn numbers(transfer: &mut Transfer) -> Vec<u16> {
    sends(transfer)
        .iter()
        .filter_map(|transmit| match transmit {
            Transmit::Block { number, .. } => Some(*number),
            Transmit::OptionAck(_) => None,
        })
        .collect()
}

/// A transfer whose options the client has taken at 2 ms, before its first window is sent.
fn accepted(options: TransferOptions, length: u64) -> Transfer {
    let mut transfer = Transfer::begin(ms(0), &options, length);
    assert!(matches!(sends(&mut transfer)[..], [Transmit::OptionAck(_)]));
    transfer.handle(ms(2), &Packet::Ack(0));
    transfer
}

#[test]
fn case_31_nothing_is_agreed_that_was_not_asked() {
    let mut plain = Transfer::begin(ms(0), &TransferOptions::default(), 700);
    assert_eq!(numbers(&mut plain), [1], "no OACK at all");
    let only_size = TransferOptions {
        tsize: true,
        ..TransferOptions::default()
    };
    let mut sized = Transfer::begin(ms(0), &only_size, 700);
    let expected = Agreed {
        tsize: Some(700),
        ..Agreed::default()
    };
    assert_eq!(sends(&mut sized), [Transmit::OptionAck(expected)]);
}

#[test]
fn case_38_the_largest_window_and_block_are_clamped() {
    let mut transfer = Transfer::begin(ms(0), &asked(65464, 65535), 1 << 30);
    let expected = Agreed {
        blksize: Some(TFTP_BLOCK_BYTES_MAX),
        windowsize: Some(TFTP_WINDOW_BLOCKS_MAX),
        ..Agreed::default()
    };
    assert_eq!(sends(&mut transfer), [Transmit::OptionAck(expected)]);
    transfer.handle(ms(2), &Packet::Ack(0));
    assert_eq!(sends(&mut transfer).len(), usize::from(TFTP_WINDOW_BLOCKS_MAX));
}

#[test]
fn case_35_a_size_that_is_a_multiple_of_the_block_ends_with_an_empty_block() {
    let mut transfer = Transfer::begin(ms(0), &TransferOptions::default(), 512);
    sends(&mut transfer);
    transfer.handle(ms(1), &Packet::Ack(1));
    let empty = Transmit::Block {
        number: 2,
        offset: 512,
        length: 0,
    };
    assert_eq!(sends(&mut transfer), [empty]);
    transfer.handle(ms(2), &Packet::Ack(2));
    assert_eq!(transfer.ending(), Some(&TransferEnd::Complete));
}

#[test]
fn a_silent_client_gets_six_packets_and_no_more() {
    for options in [TransferOptions::default(), asked(1468, 64)] {
        let mut transfer = Transfer::begin(ms(0), &options, 1 << 20);
        let mut packets = sends(&mut transfer).len();
        while let Some(deadline) = transfer.deadline() {
            transfer.handle_timeout(deadline);
            packets += sends(&mut transfer).len();
        }
        assert_eq!(packets, 6);
        assert_eq!(transfer.ending(), Some(&TransferEnd::Silent));
    }
}

#[test]
fn an_error_that_answers_the_oack_is_a_probe_and_nothing_follows_it() {
    let mut transfer = Transfer::begin(ms(0), &asked(1468, 4), 1 << 20);
    sends(&mut transfer);
    let probe = Packet::Error {
        code: 8,
        message: Vec::new(),
    };
    transfer.handle(ms(1), &probe);
    assert_eq!(transfer.ending(), Some(&TransferEnd::Probed));
    assert_eq!(transfer.deadline(), None);
    transfer.handle_timeout(ms(60_000));
    assert_eq!(sends(&mut transfer), []);
}

#[test]
fn case_32_a_window_goes_on_at_once_from_the_block_that_was_lost() {
    for lost in 1..=3_u16 {
        let mut transfer = accepted(asked(512, 4), 1 << 20);
        assert_eq!(numbers(&mut transfer), [1, 2, 3, 4]);
        transfer.handle(ms(4), &Packet::Ack(lost - 1));
        assert_eq!(numbers(&mut transfer)[0], lost, "block {lost}");
    }
}

#[test]
fn case_32_a_lost_last_block_of_a_window_is_sent_when_the_client_asks_for_it() {
    let mut transfer = accepted(asked(512, 4), 1 << 20);
    sends(&mut transfer);
    transfer.handle(ms(100), &Packet::Ack(3));
    assert_eq!(numbers(&mut transfer), [4, 5, 6, 7]);
}

#[test]
fn case_33_four_repeated_acknowledgements_bring_one_retransmission() {
    for gap_after in [0, 1] {
        let mut transfer = accepted(asked(512, 4), 1 << 20);
        sends(&mut transfer);
        let mut again = Vec::new();
        for _ in 0..4 {
            transfer.handle(ms(4), &Packet::Ack(gap_after));
            again.extend(numbers(&mut transfer));
        }
        let first = gap_after + 1;
        assert_eq!(again, [first, first + 1, first + 2, first + 3]);
    }
}

#[test]
fn a_doubled_acknowledgement_in_lock_step_does_not_double_the_rest() {
    let mut transfer = accepted(asked(512, 1), 1 << 20);
    sends(&mut transfer);
    transfer.handle(ms(4), &Packet::Ack(1));
    assert_eq!(numbers(&mut transfer), [2]);
    transfer.handle(ms(4), &Packet::Ack(1));
    assert_eq!(numbers(&mut transfer), [] as [u16; 0]);
}

#[test]
fn a_client_that_was_slow_once_is_not_sent_all_that_follows_twice() {
    for window in [1, 4] {
        let mut transfer = accepted(asked(512, window), 1 << 20);
        let mut now = ms(2);
        let mut have = 0;
        for _ in 0..5 {
            assert_eq!(numbers(&mut transfer).len(), usize::from(window));
            (now, have) = (now + ms(1), have + window);
            transfer.handle(now, &Packet::Ack(have));
        }
        let slow = numbers(&mut transfer);
        now = transfer.deadline().unwrap();
        transfer.handle_timeout(now);
        assert_eq!(numbers(&mut transfer), slow, "it might be lost");
        // It was not: the client answers both copies, and goes on to be slow.
        have += window;
        transfer.handle(now + ms(20), &Packet::Ack(have));
        assert_eq!(numbers(&mut transfer)[0], have + 1);
        transfer.handle(now + ms(40), &Packet::Ack(have));
        assert_eq!(numbers(&mut transfer), [] as [u16; 0], "that was the second copy's");
        have += window;
        transfer.handle(now + ms(60), &Packet::Ack(have));
        assert_eq!(numbers(&mut transfer)[0], have + 1);
        // A gap that is told from here on is one.
        transfer.handle(now + ms(100), &Packet::Ack(have));
        assert_eq!(numbers(&mut transfer)[0], have + 1, "window {window}");
    }
}

#[test]
fn the_agreed_timeout_is_the_wait_and_one_that_is_too_long_is_not_agreed() {
    let wanting = |seconds| TransferOptions {
        timeout_s: Some(seconds),
        ..TransferOptions::default()
    };
    let patient = Transfer::begin(ms(0), &wanting(3), 10);
    assert_eq!(patient.deadline(), Some(ms(3000)));
    let mut endless = Transfer::begin(ms(0), &wanting(255), 10);
    assert_eq!(numbers(&mut endless), [1], "no option is left, so no OACK");
}

/// Lets a client in windows of one take `windows` blocks, each after `took`; the wait that follows.
fn wait_after(took: Duration, windows: u16) -> Duration {
    let mut transfer = accepted(asked(512, 1), 1 << 20);
    let mut now = ms(2);
    for number in 1..=windows {
        sends(&mut transfer);
        now += took;
        transfer.handle(now, &Packet::Ack(number));
    }
    transfer.deadline().unwrap() - now
}

#[test]
fn the_wait_follows_the_client_within_its_limits() {
    assert_eq!(
        wait_after(ms(0), 0),
        ms(2) + TFTP_RETRANSMIT_MIN,
        "the options took 2 ms"
    );
    let quick = wait_after(ms(1), 40);
    assert!(quick >= TFTP_RETRANSMIT_MIN && quick < ms(203), "{quick:?}");
    let slow = wait_after(ms(190), 40);
    assert!(
        slow > ms(380) && slow < ms(420),
        "{slow:?}: steady, and yet a little late is no loss"
    );
    let jumped = wait_after(ms(400), 1);
    assert!(jumped > ms(450), "{jumped:?}: one slow answer is a warning");
}

#[test]
fn what_was_sent_twice_tells_no_time_and_leaves_the_wait_long() {
    let mut transfer = accepted(asked(512, 1), 1 << 20);
    sends(&mut transfer);
    let mut now = ms(2);
    for _ in 0..3 {
        now = transfer.deadline().unwrap();
        transfer.handle_timeout(now);
        sends(&mut transfer);
    }
    transfer.handle(now + ms(1), &Packet::Ack(1));
    assert_eq!(
        transfer.deadline().unwrap() - now - ms(1),
        ms(8 * 202),
        "which copy was answered?"
    );
    sends(&mut transfer);
    transfer.handle(now + ms(2), &Packet::Ack(2));
    let wait = transfer.deadline().unwrap() - now - ms(2);
    assert!(
        wait < ms(210),
        "{wait:?}: this window was sent once, and took a millisecond"
    );
}

/// A client that takes blocks in order and says the last one it has for every other.
struct LossyClient {
    block_bytes: u64,
    window: u64,
    /// The last block that came in order.
    have: u64,
    since_ack: u64,
    offset: u64,
    done: bool,
    next_word: Duration,
}

impl LossyClient {
    /// Takes one packet; the answer, if it has one.
    fn take(&mut self, now: Duration, transmit: &Transmit) -> Option<u16> {
        self.next_word = now + CLIENT_TIMEOUT;
        match transmit {
            Transmit::OptionAck(_) => (self.have == 0).then_some(0),
            Transmit::Block { number, offset, length } => {
                if *number == block_number(self.have + 1) && *offset == self.offset {
                    self.have += 1;
                    self.since_ack += 1;
                    self.offset += *length as u64;
                    self.done = (*length as u64) < self.block_bytes;
                    let due = self.done || self.since_ack == self.window;
                    return due.then(|| self.say());
                }
                Some(self.say())
            }
        }
    }

    fn say(&mut self) -> u16 {
        self.since_ack = 0;
        block_number(self.have)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum InFlight {
    ToClient {
        oack: bool,
        number: u16,
        offset: u64,
        length: usize,
    },
    ToServer(u16),
}

/// Sends everything that the machine wants sent; how many packets.
fn transmit(wire: &mut LossyLink<InFlight>, now: Duration, transfer: &mut Transfer) -> u64 {
    let out = sends(transfer);
    for transmit in &out {
        let cargo = match *transmit {
            Transmit::OptionAck(_) => InFlight::ToClient {
                oack: true,
                number: 0,
                offset: 0,
                length: 0,
            },
            Transmit::Block { number, offset, length } => InFlight::ToClient {
                oack: false,
                number,
                offset,
                length,
            },
        };
        wire.send(now, &cargo);
    }
    out.len() as u64
}

/// Runs a whole transfer; how long it took and how many packets the server sent.
fn run(options: TransferOptions, length: u64, rates: LossRates, seed: u64) -> (Duration, u64) {
    let mut transfer = Transfer::begin(ms(0), &options, length);
    let (block_bytes, window) = transfer.shape();
    let mut client = LossyClient {
        block_bytes: block_bytes as u64,
        window: window as u64,
        have: 0,
        since_ack: 0,
        offset: 0,
        done: false,
        next_word: CLIENT_TIMEOUT,
    };
    let mut wire = LossyLink::new(rates, seed);
    let mut now = ms(0);
    let mut packets = transmit(&mut wire, now, &mut transfer);
    while let Some(deadline) = transfer.deadline() {
        let arrival = wire.arrival();
        now = [Some(deadline), Some(client.next_word), arrival]
            .into_iter()
            .flatten()
            .min()
            .unwrap();
        if let Some(cargo) = wire.arrived(now) {
            match cargo {
                InFlight::ToServer(number) => transfer.handle(now, &Packet::Ack(number)),
                InFlight::ToClient {
                    oack,
                    number,
                    offset,
                    length,
                } => {
                    let transmit = if oack {
                        Transmit::OptionAck(Agreed::default())
                    } else {
                        Transmit::Block { number, offset, length }
                    };
                    if let Some(number) = client.take(now, &transmit) {
                        wire.send(now, &InFlight::ToServer(number));
                    }
                }
            }
        } else if client.next_word == now {
            client.next_word = now + CLIENT_TIMEOUT;
            let number = client.say();
            wire.send(now, &InFlight::ToServer(number));
        }
        transfer.handle_timeout(now);
        packets += transmit(&mut wire, now, &mut transfer);
    }
    assert!(client.done, "seed {seed}: {transfer:?}");
    assert_eq!(client.offset, length, "seed {seed}");
    (now, packets)
}

#[test]
fn case_34_a_file_of_more_than_65535_blocks_rolls_over() {
    let length = 70_000 * 512;
    let (_, packets) = run(asked(512, 16), length, CALM, 1);
    assert_eq!(packets, 70_001 + 1, "every block once, and the OACK");
}

#[test]
fn whatever_the_wire_does_the_file_arrives_whole() {
    let storm = LossRates {
        dropped: 20,
        doubled: 15,
        late: 10,
    };
    for seed in 1..=60 {
        for (window, length) in [(1, 40_000), (4, 150_000), (64, 600_000)] {
            run(asked(1468, window), length, storm, seed);
        }
    }
}

#[test]
fn a_wire_that_doubles_does_not_make_the_server_send_everything_twice() {
    let doubling = LossRates {
        dropped: 0,
        doubled: 40,
        late: 0,
    };
    for window in [1, 4, 16] {
        let (_, calm) = run(asked(1468, window), 1_000_000, CALM, 7);
        for seed in 1..=20 {
            let (_, doubled) = run(asked(1468, window), 1_000_000, doubling, seed);
            assert!(
                doubled <= calm * 13 / 10,
                "window {window}, seed {seed}: {doubled} packets, {calm} on a calm wire"
            );
        }
    }
}

#[test]
fn one_lost_block_in_a_window_costs_a_round_trip() {
    let rare = LossRates {
        dropped: 400,
        doubled: 0,
        late: 0,
    };
    let (calm, _) = run(asked(1468, 8), 1_000_000, CALM, 3);
    let (took, packets) = run(asked(1468, 8), 1_000_000, rare, 3);
    assert!(packets < 760, "{packets} packets for 682 blocks");
    assert!(took < calm + ms(1100), "{took:?} against {calm:?}");
}
