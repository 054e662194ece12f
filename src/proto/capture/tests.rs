//! Captures as others write them, byte by byte, and as we do.

use super::*;
use crate::model::{Cidr, MacAddr, OwnAddress};
use crate::proto::ip::{self, Payload};
use std::{net::SocketAddrV4, time::Duration};

const CLIENT: &str = "192.0.2.9:2070";
const SERVER: &str = "192.0.2.1:69";
const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 7]);
const SECOND: u32 = 1_764_000_000;

fn end(text: &str) -> SocketAddrV4 {
    text.parse().unwrap()
}

/// The IP packet of a request.
fn packet() -> Vec<u8> {
    ip::udp_packet(end(CLIENT), end(SERVER), b"request").unwrap()
}

/// The same in a frame: what stands before its type, that, and what stands between.
fn frame(before: &[u8], ether_type: u16, between: &[u8]) -> Vec<u8> {
    [before, &ether_type.to_be_bytes(), between, &packet()].concat()
}

fn ethernet_header() -> Vec<u8> {
    [&[0xff; 6][..], &MAC.0].concat()
}

/// A pcap of one frame, with `fraction` behind the second.
fn pcap(magic: u32, is_big: bool, link: u32, fraction: u32, frame: &[u8]) -> Vec<u8> {
    let word = |value: u32| {
        if is_big {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    };
    let length = word(u32::try_from(frame.len()).unwrap());
    let version = if is_big { [0, 2, 0, 4] } else { [2, 0, 4, 0] };
    let header = [word(magic), version, [0; 4], [0; 4], word(65_535), word(link)].concat();
    [
        header,
        [word(SECOND), word(fraction), length, length].concat(),
        frame.to_vec(),
    ]
    .concat()
}

fn is_the_request(frame: &CapturedFrame<'_>, mac: Option<MacAddr>) {
    let read = dissect(frame).expect("a datagram");
    assert_eq!((read.from, read.to, read.source_mac), (end(CLIENT), end(SERVER), mac));
    assert_eq!(read.payload, SegmentOrDatagram::Udp(b"request"));
}

#[test]
fn a_pcap_of_either_byte_order_and_either_resolution_is_read() {
    let frame = frame(&ethernet_header(), 0x0800, &[]);
    for (magic, fraction, nanoseconds) in [(0xa1b2_c3d4, 7_000, 7_000_000), (0xa1b2_3c4d, 7_000, 7_000)] {
        for is_big in [false, true] {
            let file = pcap(magic, is_big, 1, fraction, &frame);
            let read = read(&file).unwrap();
            assert_eq!((read.frames.len(), read.is_cut), (1, false));
            assert_eq!(read.frames[0].at, Duration::new(SECOND.into(), nanoseconds));
            is_the_request(&read.frames[0], Some(MAC));
        }
    }
}

#[test]
fn what_linux_and_switches_put_in_front_is_looked_through() {
    let cooked = [&[0, 0, 0, 1, 0, 6][..], &MAC.0, &[0, 0]].concat();
    let cooked2 = [&[0, 0, 0, 0, 0, 3, 0, 1, 0, 6][..], &MAC.0, &[0, 0]].concat();
    // VLAN 12, and one within a provider's.
    let tag = [0x20, 12, 8, 0];
    let tags = [0, 7, 0x81, 0, 0x20, 12, 8, 0];
    for (link, bytes, mac) in [
        (1, frame(&ethernet_header(), 0x8100, &tag), Some(MAC)),
        (1, frame(&ethernet_header(), 0x88a8, &tags), Some(MAC)),
        (113, frame(&cooked, 0x0800, &[]), Some(MAC)),
        (113, frame(&cooked, 0x8100, &tag), Some(MAC)),
        (276, frame(&[], 0x0800, &cooked2), Some(MAC)),
        (101, packet(), None),
        (228, packet(), None),
        (0, [&[2, 0, 0, 0][..], &packet()].concat(), None),
    ] {
        let file = pcap(0xa1b2_c3d4, false, link, 0, &bytes);
        is_the_request(&read(&file).unwrap().frames[0], mac);
    }
    // The padding of a short frame is no payload, and a packet that is to be cut up later has no length.
    let mut padded = frame(&ethernet_header(), 0x0800, &[]);
    padded.resize(60, 0);
    is_the_request(
        &read(&pcap(0xa1b2_c3d4, false, 1, 0, &padded)).unwrap().frames[0],
        Some(MAC),
    );
    for other in [frame(&ethernet_header(), 0x86dd, &[]), vec![0; 13], Vec::new()] {
        let file = pcap(0xa1b2_c3d4, false, 1, 0, &other);
        assert_eq!(dissect(&read(&file).unwrap().frames[0]), None);
    }
}

#[test]
fn a_fragment_is_no_packet() {
    let mut packet = packet();
    packet[6] = 0x20;
    let whole = pcap(0xa1b2_c3d4, false, 101, 0, &packet);
    assert_eq!(dissect(&read(&whole).unwrap().frames[0]), None);
    // "Don't fragment" is none.
    packet[6] = 0x40;
    let whole = pcap(0xa1b2_c3d4, false, 101, 0, &packet);
    is_the_request(&read(&whole).unwrap().frames[0], None);
}

/// A block of a big-endian pcapng.
fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 12).unwrap().to_be_bytes();
    [&kind.to_be_bytes()[..], &length, body, &length].concat()
}

#[test]
fn a_big_endian_pcapng_with_times_in_powers_of_two_and_an_offset_is_read() {
    let section = [&0x1a2b_3c4d_u32.to_be_bytes()[..], &[0, 1, 0, 0], &[0xff; 8]].concat();
    // Ten bits of a second, 1,000 s later than they say.
    let resolution = [0, 9, 0, 1, 0x8a, 0, 0, 0];
    let offset = [&[0, 14, 0, 8][..], &1000_u64.to_be_bytes(), &[0; 4]].concat();
    let interface = [&[0, 1, 0, 0, 0, 0, 0, 0][..], &resolution, &offset].concat();
    let frame = frame(&ethernet_header(), 0x0800, &[]);
    let length = u32::try_from(frame.len()).unwrap().to_be_bytes();
    let padding = vec![0; frame.len().next_multiple_of(4) - frame.len()];
    let units = (5 * 1024_u64 + 512).to_be_bytes();
    let packet = [&[0; 4][..], &units, &length, &length, &frame, &padding].concat();
    let simple = [&length[..], &frame, &padding].concat();
    let file = [
        block(0x0a0d_0d0a, &section),
        block(1, &interface),
        block(6, &packet),
        block(3, &simple),
        // A kind that nobody knows.
        block(0x0bad_beef, &[0; 8]),
    ]
    .concat();
    let whole = read(&file).unwrap();
    let times: Vec<Duration> = whole.frames.iter().map(|frame| frame.at).collect();
    assert_eq!(times, [Duration::from_millis(1_005_500); 2]);
    whole.frames.iter().for_each(|frame| is_the_request(frame, Some(MAC)));
    let cut = read(&file[..file.len() - 30]).unwrap();
    assert_eq!((cut.frames.len(), cut.is_cut), (1, true));
}

#[test]
fn a_time_that_no_calendar_has_is_one_that_can_be_told() {
    let section = [&0x1a2b_3c4d_u32.to_be_bytes()[..], &[0, 1, 0, 0], &[0xff; 8]].concat();
    // Whole seconds.
    let interface = [&[0, 1, 0, 0, 0, 0, 0, 0][..], &[0, 9, 0, 1, 0, 0, 0, 0], &[0; 4]].concat();
    let frame = frame(&ethernet_header(), 0x0800, &[]);
    let length = u32::try_from(frame.len()).unwrap().to_be_bytes();
    let padding = vec![0; frame.len().next_multiple_of(4) - frame.len()];
    let packet = |units: u64| [&[0; 4][..], &units.to_be_bytes(), &length, &length, &frame, &padding].concat();
    let file = [
        block(0x0a0d_0d0a, &section),
        block(1, &interface),
        block(6, &packet(SECOND.into())),
        block(6, &packet(300_000_000_000)),
        block(6, &packet(u64::MAX)),
    ]
    .concat();
    let frames = read(&file).unwrap().frames;
    let times: Vec<u64> = frames.iter().map(|frame| frame.at.as_secs()).collect();
    assert_eq!(times[0], u64::from(SECOND));
    // That is the year 10000; what comes after a packet is reckoned from its time.
    let untold = 253_402_300_800 - 365 * 24 * 3600;
    assert!(times[1..].iter().all(|later| *later < untold), "{times:?}");
}

#[test]
fn what_is_no_capture_and_what_is_a_broken_one_are_told_apart() {
    for bytes in [&b""[..], b"#!ipxe\n", &[0; 100]] {
        assert_eq!(read(bytes), Err(CaptureError::NoCapture));
    }
    let mut file = PcapngWriter::new("bootwright", "").finish(Duration::ZERO);
    let whole = file.len();
    file.extend_from_slice(&[6, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(read(&file), Err(CaptureError::Broken { at: whole }));
}

#[test]
fn what_we_write_is_what_we_read() {
    let own = OwnAddress {
        address: [192, 0, 2, 1].into(),
        cidr: Cidr::containing([192, 0, 2, 0].into(), 24),
    };
    let mut writer = PcapngWriter::new("bootwright", "what it is");
    let interface = writer.interface(&CaptureInterface {
        name: "eno2".into(),
        addresses: vec![own],
    });
    let at = Duration::new(u64::from(SECOND), 123_456_789);
    let packet = RebuiltPacket {
        at,
        macs: (Some(MAC), None),
        from: end(CLIENT),
        to: end(SERVER),
        transport: RebuiltTransport::Udp,
        payload: Payload::whole(b"request"),
    };
    writer.packet(interface, &packet, &["offered 192.0.2.9", "and more"]);
    // One that there is no interface for is left out.
    writer.packet(interface + 1, &packet, &[]);
    let ended = at + Duration::from_secs(60);
    let file = writer.finish(ended);
    assert_eq!(file.len() % 4, 0);
    let read = read(&file).unwrap();
    assert_eq!((read.own, read.end, read.frames.len()), (vec![own], Some(ended), 1));
    assert_eq!(read.frames[0].at, at);
    is_the_request(&read.frames[0], Some(MAC));
}

#[test]
fn nothing_that_a_file_says_makes_it_panic() {
    let mut writer = PcapngWriter::new("bootwright", "");
    let interface = writer.interface(&CaptureInterface {
        name: "eno2".into(),
        addresses: Vec::new(),
    });
    let packet = RebuiltPacket {
        at: Duration::from_secs(SECOND.into()),
        macs: (Some(MAC), None),
        from: end(CLIENT),
        to: end(SERVER),
        transport: RebuiltTransport::Tcp(1, 1),
        payload: Payload::whole(b"GET / HTTP/1.1\r\n\r\n"),
    };
    writer.packet(interface, &packet, &["why"]);
    let ours = writer.finish(Duration::from_secs(SECOND.into()));
    let theirs = pcap(0xa1b2_c3d4, true, 113, 0, &frame(&[0; 14], 0x8100, &[0, 1, 8, 0]));
    for file in [ours, theirs] {
        for place in 0..file.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut changed = file.clone();
                changed[place] = byte;
                for frame in read(&changed).map(|read| read.frames).unwrap_or_default() {
                    let _ = dissect(&frame);
                }
            }
            let _ = read(&file[..place]);
        }
    }
}
