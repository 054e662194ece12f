#!/bin/bash
# Rust's crate pcap-parser 0.17.0: LegacyPcapSlice reads the frames of every pcap file as little-endian, and pcapng's
# timestamps in powers of two are always unknown.
#
# The file's header is read by its magic number, so that header.is_bigendian() is right, and the iterator over a slice
# does not look at it: a frame of 4 bytes in a big-endian file (as switches with such a processor write) has 67108864, and ends
# as "incomplete". LegacyPcapReader, over the same bytes, is right.
#
# In pcapng, if_tsresol with its top bit set counts in negative powers of two (0x89: 512 a second). The crate compares the
# whole byte with 63 before it takes the bit away, so that build_ts_resolution(0x89), and any other of these, is None.
#
# So who takes captures from the field reads them by LegacyPcapReader, and powers of two by itself.
#
# Needs cargo. Output seen:
#
#   slice, little-endian: 4 bytes
#   slice, big-endian: incomplete
#   reader, little-endian: 4 bytes
#   reader, big-endian: 4 bytes
#   resolution 6: Some(1000000)
#   resolution 137: None
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

mkdir -p read/src
cat > read/Cargo.toml <<'TOML'
[package]
name = "read"
version = "0.0.0"
edition = "2021"

[dependencies]
pcap-parser = "=0.17.0"
TOML
cat > read/src/main.rs <<'RUST'
use pcap_parser::{build_ts_resolution, traits::PcapReaderIterator, LegacyPcapReader, LegacyPcapSlice, PcapBlockOwned};

/// A file of one frame of 4 bytes: magic number, 2.4, zone, accuracy, snapshot length, Ethernet; seconds,
/// microseconds, length, length on the wire.
fn file(word: fn(u32) -> [u8; 4], half: fn(u16) -> [u8; 2]) -> Vec<u8> {
    let mut bytes = word(0xa1b2_c3d4).to_vec();
    bytes.extend(half(2).iter().chain(&half(4)));
    for value in [0, 0, 65_535, 1, 1_764_000_000, 7, 4, 4] {
        bytes.extend(word(value));
    }
    bytes.extend(*b"data");
    bytes
}

fn main() {
    let files = [
        ("little", file(u32::to_le_bytes, u16::to_le_bytes)),
        ("big", file(u32::to_be_bytes, u16::to_be_bytes)),
    ];
    for (endian, bytes) in &files {
        let mut slice = LegacyPcapSlice::from_slice(bytes).expect("a header");
        assert_eq!(slice.header.is_bigendian(), *endian == "big");
        match slice.next() {
            Some(Ok(PcapBlockOwned::Legacy(frame))) => println!("slice, {endian}-endian: {} bytes", frame.caplen),
            _ => println!("slice, {endian}-endian: incomplete"),
        }
    }
    for (endian, bytes) in &files {
        let mut reader = LegacyPcapReader::new(65_536, &bytes[..]).expect("a header");
        loop {
            match reader.next() {
                Ok((_, PcapBlockOwned::Legacy(frame))) => {
                    println!("reader, {endian}-endian: {} bytes", frame.caplen);
                    break;
                }
                Ok((read, _)) => reader.consume(read),
                Err(error) => panic!("{error:?}"),
            }
        }
    }
    for resolution in [6, 0x89] {
        println!("resolution {resolution}: {:?}", build_ts_resolution(resolution));
    }
}
RUST
seen=$(cd read && cargo run --quiet --release)
printf '%s\n' "$seen"
[ "$seen" = "slice, little-endian: 4 bytes
slice, big-endian: incomplete
reader, little-endian: 4 bytes
reader, big-endian: 4 bytes
resolution 6: Some(1000000)
resolution 137: None" ]
