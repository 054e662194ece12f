//! The client against a scripted server, and against our own server's machine over a wire that
//! drops, doubles and reorders.

use super::*;
use crate::proto::tftp::{
    lossy::{CALM, LATENCY, LossRates, LossyLink},
    transfer::{self, Transfer, Transmit},
    wire::{data_header, option_ack, parse, parse_reply},
};

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn asking(blksize: u16, windowsize: u16) -> TransferOptions {
    TransferOptions {
        blksize: Some(blksize),
        windowsize: Some(windowsize),
        tsize: true,
        ..TransferOptions::default()
    }
}

/// What the machine says now.
fn next_packet(fetch: &mut Fetch) -> Option<Vec<u8>> {
    let mut packet = b"left over".to_vec();
    fetch.poll_transmit(&mut packet).then_some(packet)
}

fn ack(number: u16) -> Option<Vec<u8>> {
    Some(wire::ack(number).to_vec())
}

fn oack(agreed: Agreed) -> ServerPacket<'static> {
    ServerPacket::OptionAck { agreed, foreign: false }
}

/// A fetch in windows of 4 blocks of 8 bytes whose options were agreed at 1 ms.
fn windowed() -> Fetch {
    let mut fetch = Fetch::begin(ms(0), b"f", asking(8, 4));
    next_packet(&mut fetch);
    let agreed = Agreed {
        blksize: Some(8),
        windowsize: Some(4),
        ..Agreed::default()
    };
    fetch.handle(ms(1), &oack(agreed));
    assert_eq!(next_packet(&mut fetch), ack(0));
    fetch
}

fn block(fetch: &mut Fetch, number: u16) -> usize {
    let data = b"8 bytes.";
    fetch.handle(ms(2), &ServerPacket::Data { number, data }).len()
}

#[test]
fn a_window_is_acknowledged_once_and_the_short_block_ends_it() {
    let mut fetch = windowed();
    for number in 1..=3 {
        assert_eq!(block(&mut fetch, number), 8);
        assert_eq!(next_packet(&mut fetch), None, "block {number}");
    }
    block(&mut fetch, 4);
    assert_eq!(next_packet(&mut fetch), ack(4));
    let short = ServerPacket::Data {
        number: 5,
        data: b"end",
    };
    assert_eq!(fetch.handle(ms(3), &short), b"end");
    assert_eq!(next_packet(&mut fetch), ack(5));
    assert_eq!((fetch.ending(), fetch.bytes()), (Some(&FetchEnd::Complete), 35));
    assert_eq!(fetch.deadline(), None);
    fetch.handle(ms(4), &short);
    assert_eq!(next_packet(&mut fetch), ack(5), "the acknowledgement was lost");
}

#[test]
fn a_server_that_knows_no_options_is_fetched_from_in_lock_step() {
    let mut fetch = Fetch::begin(ms(0), b"f", asking(1468, 16));
    next_packet(&mut fetch);
    let data = [7; 512];
    assert_eq!(
        fetch
            .handle(ms(1), &ServerPacket::Data { number: 1, data: &data })
            .len(),
        512
    );
    assert_eq!(next_packet(&mut fetch), ack(1));
    assert_eq!(fetch.shape(), (512, 1));
}

#[test]
fn a_gap_is_told_once_and_a_doubled_block_in_a_window_never() {
    let mut fetch = windowed();
    block(&mut fetch, 1);
    block(&mut fetch, 1);
    assert_eq!(next_packet(&mut fetch), None);
    for early in [3, 4] {
        assert_eq!(block(&mut fetch, early), 0, "never out of order");
    }
    assert_eq!(next_packet(&mut fetch), ack(1));
    block(&mut fetch, 4);
    assert_eq!(next_packet(&mut fetch), None);
    assert_eq!(block(&mut fetch, 2), 8);
    let expected = Tally {
        retries: 0,
        repeated: 1,
        early: 3,
    };
    assert_eq!(fetch.tally(), expected);
}

#[test]
fn what_was_not_asked_for_is_refused_with_error_8() {
    let asked = TransferOptions {
        blksize: Some(1428),
        ..TransferOptions::default()
    };
    let agreements = [
        Agreed {
            blksize: Some(1432),
            ..Agreed::default()
        },
        Agreed {
            windowsize: Some(2),
            ..Agreed::default()
        },
        Agreed {
            tsize: Some(1),
            ..Agreed::default()
        },
        Agreed {
            timeout_s: Some(1),
            ..Agreed::default()
        },
    ];
    for agreed in agreements {
        let mut fetch = Fetch::begin(ms(0), b"f", asked);
        next_packet(&mut fetch);
        fetch.handle(ms(1), &oack(agreed));
        assert!(matches!(fetch.ending(), Some(FetchEnd::Unfit(_))), "{agreed:?}");
        let error = next_packet(&mut fetch).unwrap();
        assert_eq!(error[..4], [0, 5, 0, 8]);
    }
}

#[test]
fn a_block_longer_than_agreed_is_refused() {
    let mut fetch = windowed();
    let long = ServerPacket::Data {
        number: 1,
        data: b"nine byte",
    };
    assert_eq!(fetch.handle(ms(2), &long), b"");
    assert!(matches!(fetch.ending(), Some(FetchEnd::Unfit(_))));
}

#[test]
fn an_error_ends_it_with_the_servers_words() {
    let mut fetch = Fetch::begin(ms(0), b"f", TransferOptions::default());
    next_packet(&mut fetch);
    let error = wire::error(ErrorCode::NotFound, "no such file");
    fetch.handle(ms(1), &parse_reply(&error).unwrap());
    let expected = FetchEnd::Refused {
        code: 1,
        message: b"no such file".to_vec(),
    };
    assert_eq!(fetch.ending(), Some(&expected));
    assert_eq!(next_packet(&mut fetch), None);
}

#[test]
fn a_silent_server_is_asked_six_times_in_half_a_minute_and_given_up() {
    let mut fetch = Fetch::begin(ms(0), b"f", TransferOptions::default());
    let (mut asked, mut last) = (0, ms(0));
    while let Some(deadline) = fetch.deadline() {
        asked += usize::from(next_packet(&mut fetch).is_some_and(|packet| packet.starts_with(b"\0\x01f\0")));
        fetch.handle_timeout(deadline);
        last = deadline;
    }
    assert_eq!((asked, last), (6, ms(31_000)));
    assert_eq!(fetch.ending(), Some(&FetchEnd::Silent));
}

type FetchInFlight = (bool, Vec<u8>);

/// Everything both ends want to send, onto the wire; how many packets of the server's.
fn exchange(
    wire: &mut LossyLink<FetchInFlight>,
    now: Duration,
    server: &mut Option<Transfer>,
    fetch: &mut Fetch,
    file: &[u8],
) -> u64 {
    let mut packets = 0;
    while let Some(packet) = next_packet(fetch) {
        wire.send(now, &(false, packet));
    }
    while let Some(transmit) = server.as_mut().and_then(Transfer::poll_transmit) {
        let packet = match transmit {
            Transmit::OptionAck(agreed) => option_ack(&agreed),
            Transmit::Block { number, offset, length } => {
                let start = usize::try_from(offset).unwrap();
                [&data_header(number)[..], &file[start..start + length]].concat()
            }
        };
        wire.send(now, &(true, packet));
        packets += 1;
    }
    packets
}

/// Fetches `file` from our own machine, byte for byte; how long it took, what was odd, and how many
/// packets the server sent.
fn run(options: TransferOptions, file: &[u8], rates: LossRates, seed: u64) -> (Duration, Tally, u64) {
    let mut wire = LossyLink::new(rates, seed);
    let mut fetch = Fetch::begin(ms(0), b"f", options);
    let (mut server, mut now, mut got, mut packets) = (None::<Transfer>, ms(0), Vec::new(), 0);
    // The client stays until the server is done too: it answers a last block that comes again.
    while server.as_ref().is_none_or(|server| server.ending().is_none()) {
        packets += exchange(&mut wire, now, &mut server, &mut fetch, file);
        let deadline = server.as_ref().and_then(Transfer::deadline);
        let next = [fetch.deadline(), deadline, wire.arrival()].into_iter().flatten().min();
        let Some(next) = next else { break };
        now = next;
        while let Some((to_client, packet)) = wire.arrived(now) {
            if to_client {
                got.extend_from_slice(fetch.handle(now, &parse_reply(&packet).unwrap()));
            } else {
                let packet = parse(&packet).unwrap();
                match (&mut server, &packet) {
                    (None, wire::Packet::Read(request)) => {
                        server = Some(Transfer::begin(now, &request.options, file.len() as u64));
                    }
                    (Some(server), packet) => server.handle(now, packet),
                    (None, _) => panic!("{packet:?} without a request"),
                }
            }
            packets += exchange(&mut wire, now, &mut server, &mut fetch, file);
        }
        fetch.handle_timeout(now);
        if let Some(server) = &mut server {
            server.handle_timeout(now);
        }
    }
    assert_eq!(fetch.ending(), Some(&FetchEnd::Complete), "seed {seed}");
    assert!(got == file, "seed {seed}: {} of {} bytes", got.len(), file.len());
    let server = server.as_ref().and_then(Transfer::ending);
    assert_eq!(server, Some(&transfer::TransferEnd::Complete), "seed {seed}");
    (now, fetch.tally(), packets)
}

fn file(length: u32) -> Vec<u8> {
    (0..length)
        .map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect()
}

#[test]
fn on_a_calm_wire_nothing_is_sent_twice() {
    for (window, length) in [(1, 0), (1, 512), (4, 100_000), (16, 1_000_000)] {
        let (_, tally, packets) = run(asking(512, window), &file(length), CALM, 1);
        assert_eq!(tally, Tally::default(), "window {window}, {length} bytes");
        assert_eq!(packets, u64::from(length / 512) + 2, "every block once, and the OACK");
    }
}

#[test]
fn whatever_the_wire_does_our_own_server_gives_our_own_client_every_byte() {
    let storm = LossRates {
        dropped: 20,
        doubled: 15,
        late: 10,
    };
    for seed in 1..=60 {
        for (window, length) in [(1, 40_000), (4, 150_000), (64, 600_000)] {
            run(asking(1468, window), &file(length), storm, seed);
        }
    }
}

#[test]
fn a_wire_that_only_doubles_costs_hardly_a_block() {
    let doubling = LossRates {
        dropped: 0,
        doubled: 20,
        late: 0,
    };
    for window in [1, 4, 16] {
        let (_, _, calm) = run(asking(1468, window), &file(500_000), CALM, 1);
        for seed in 1..=20 {
            let (_, tally, packets) = run(asking(1468, window), &file(500_000), doubling, seed);
            assert_eq!(tally.retries, 0, "window {window}, seed {seed}");
            assert!(
                packets <= calm * 12 / 10,
                "window {window}, seed {seed}: {packets}, calm {calm}"
            );
        }
    }
}

#[test]
fn more_than_65535_blocks_are_fetched() {
    let file = file(66_000 * 8);
    let (took, tally, _) = run(asking(8, 64), &file, CALM, 1);
    assert_eq!(tally, Tally::default());
    assert!(took < LATENCY * 2 * (66_000 / 64 + 10), "{took:?}");
}
