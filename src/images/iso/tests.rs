//! ISOs laid out by hand, where no program makes what is to be tried.

use super::*;
use std::io::Write;

/// A directory record: its identifier, flags, block, bytes, and system use area.
fn record(identifier: &[u8], flags: u8, block: u32, bytes: u32, system_use: &[u8]) -> Vec<u8> {
    let mut record = vec![0; 33];
    record[2..6].copy_from_slice(&block.to_le_bytes());
    record[10..14].copy_from_slice(&bytes.to_le_bytes());
    record[25] = flags;
    record[32] = identifier.len() as u8;
    record.extend(identifier);
    record.resize(record.len().next_multiple_of(2), 0);
    record.extend(system_use);
    record[0] = record.len() as u8;
    record
}

/// An ISO of 40 blocks whose root directory, at block 18, has these records.
fn iso(records: &[Vec<u8>]) -> File {
    let mut bytes = vec![0; 40 * SECTOR_BYTES];
    let mut put = |block: usize, offset: usize, what: &[u8]| {
        let at = block * SECTOR_BYTES + offset;
        bytes[at..at + what.len()].copy_from_slice(what);
    };
    put(16, 0, b"\x01CD001");
    put(16, 80, &40_u32.to_le_bytes());
    put(16, 128, &2048_u16.to_le_bytes());
    put(16, 156, &record(&[0], 2, 18, 2048, &[]));
    put(17, 0, b"\xFFCD001");
    let own = [record(&[0], 2, 18, 2048, &[]), record(&[1], 2, 18, 2048, &[])];
    put(18, 0, &[&own[..], records].concat().concat());
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    file
}

fn extent(block: u64, bytes: u64) -> Extent {
    let at = block * SECTOR_BYTES as u64;
    Extent { at, bytes }
}

#[test]
fn a_file_of_several_extents_is_one_file() {
    let file = iso(&[
        record(b"BIG.SFS;1", 0x80, 20, 4096, &[]),
        record(b"BIG.SFS;1", 0, 30, 100, &[]),
        record(b"VMLINUZ.;1", 0, 31, 7, &[]),
    ]);
    let files = files(&file).unwrap();
    assert_eq!(files["big.sfs"], [extent(20, 4096), extent(30, 100)]);
    assert_eq!(files["vmlinuz"], [extent(31, 7)]);
}

#[test]
fn a_tree_that_leads_back_into_itself_ends() {
    let file = iso(&[
        record(b"LOOP", 2, 18, 2048, &[]),
        record(b"AGAIN", 2, 18, 2048, &[]),
        record(b"A.;1", 0, 20, 5, &[]),
    ]);
    assert_eq!(files(&file).unwrap().into_keys().collect::<Vec<String>>(), ["a"]);
}

#[test]
fn pieces_that_make_more_than_there_is_are_damage() {
    let piece = |flags| record(b"BIG", flags, 20, 30_000, &[]);
    let file = iso(&[piece(0x80), piece(0x80), piece(0)]);
    assert!(matches!(files(&file), Err(IsoError::Damaged(_))));
}

/// An ISO whose root says that there is Rock Ridge.
fn rock_ridge_iso(records: &[Vec<u8>]) -> File {
    let file = iso(&[]);
    let own = [
        record(&[0], 2, 18, 2048, b"SP\x07\x01\xBE\xEF\x00"),
        record(&[1], 2, 18, 2048, &[]),
    ];
    let all = [&own[..], records].concat().concat();
    file.write_all_at(&all, 18 * SECTOR_BYTES as u64).unwrap();
    file
}

fn called(name: &[u8]) -> Vec<u8> {
    [&[b'N', b'M', 5 + name.len() as u8, 1, 0][..], name].concat()
}

#[test]
fn names_that_would_lead_elsewhere_are_no_names() {
    // A continuation that names itself: so many are followed, and no more.
    let itself = [
        &b"CE\x1c\x01"[..],
        &[21, 0, 0, 0, 0, 0, 0, 21],
        &[0; 8],
        &[28, 0, 0, 0, 0, 0, 0, 28],
    ]
    .concat();
    let file = rock_ridge_iso(&[
        record(b"A;1", 0, 20, 1, &called(b"../../etc/passwd")),
        record(b"B;1", 0, 20, 1, &called(b"..")),
        record(b"C;1", 0, 20, 1, &called(b"a\0b")),
        record(b"D;1", 0, 20, 1, b"NM\x04\x01"),
        record(b"E;1", 0, 20, 1, b"NM\xC8\x01\x00x"),
        record(b"F;1", 0, 20, 1, &called(b"Vmlinuz")),
        record(b"G;1", 0, 20, 1, &itself),
    ]);
    file.write_all_at(&itself, 21 * SECTOR_BYTES as u64).unwrap();
    let paths: Vec<String> = files(&file).unwrap().into_keys().collect();
    assert_eq!(paths, ["Vmlinuz", "d", "e", "g"]);
}

#[test]
fn a_symbolic_link_is_no_file() {
    let file = rock_ridge_iso(&[record(b"L;1", 0, 20, 1, b"SL\x08\x01\x00\x04\x00\x00")]);
    assert!(files(&file).unwrap().is_empty());
}
