//! What is an image, and what is a damaged one.

use super::*;
use bootwright::model::ImagePieces;

/// 13 MiB and 1000 bytes: zeros in long and short rows, and an end in the middle of a sector.
fn holey() -> Vec<u8> {
    let mut image = noise(13 * MIB + 1000);
    image[2 * MIB..5 * MIB + 4096].fill(0);
    image[6 * MIB + 300..6 * MIB + 700].fill(0);
    image[9 * MIB - 70_000..11 * MIB].fill(0);
    image
}

#[test]
fn an_image_is_on_the_disk_byte_for_byte_and_its_zeros_are_zeros() {
    let image = holey();
    let room = DeployRoom::of(image.clone());
    room.order(&room.order_of(ImageFormat::Raw, &image, &image));
    let machine = Machine::with_disk(&vec![0xaa; 20 * MIB]);
    room.assert_done(&machine.install(&room));
    let disk = machine.bytes();
    assert_eq!(disk.len(), 20 * MIB);
    assert!(disk.starts_with(&image), "the image is not on the disk");
    // The sector that the image ends in is padded; what is behind it is nobody's business but for the disk's end.
    let end = image.len().next_multiple_of(512);
    assert!(is_all(&disk[image.len()..end], 0) && is_all(&disk[end..19 * MIB], 0xaa));
    assert!(is_all(&disk[19 * MIB..], 0), "labels of RAID at the end");
}

#[test]
fn packed_images_of_several_frames_and_members_are_unpacked_whole() {
    let image = holey();
    for (program, format) in [("zstd", ImageFormat::Zstd), ("gzip", ImageFormat::Gzip)] {
        let file: Vec<u8> = image.chunks(5 * MIB).flat_map(|part| packed(program, part)).collect();
        let room = DeployRoom::of(file.clone());
        room.order(&room.order_of(format, &file, &image));
        let (machine, _loop) = Machine::with_loop(&vec![0xaa; 20 * MIB], 512);
        room.assert_done(&machine.install(&room));
        assert!(machine.bytes().starts_with(&image), "{program}");
    }
}

#[test]
fn an_image_as_large_as_the_disk_and_a_tiny_one_are_written() {
    for bytes in [8 * MIB, 512, MIB, MIB + 1, 4 * MIB + 512] {
        let image = noise(bytes);
        let room = DeployRoom::of(image.clone());
        room.order(&room.order_of(ImageFormat::Raw, &image, &image));
        let machine = Machine::with_disk(&vec![0xaa; 8 * MIB]);
        room.assert_done(&machine.install(&room));
        assert!(machine.bytes().starts_with(&image), "{bytes}");
    }
}

#[test]
fn the_wrong_checksum_at_the_end_leaves_a_disk_without_a_beginning() {
    let image = noise(9 * MIB);
    let room = DeployRoom::of(image.clone());
    let mut order = room.order_of(ImageFormat::Raw, &image, &image);
    order.image.sha256 = sum(b"another");
    room.order(&order);
    let machine = Machine::with_disk(&vec![0xaa; 12 * MIB]);
    room.assert_failed(
        &machine.install(&room),
        "wrong checksum: the SHA-256 of the image's file",
    );
    assert!(
        is_all(&machine.bytes()[..MIB], 0),
        "no firmware may take it for a system"
    );
}

#[test]
fn what_is_unpacked_has_its_own_checksum_and_length() {
    let image = noise(6 * MIB);
    let file = packed("zstd", &image);
    let room = DeployRoom::of(file.clone());
    let order = room.order_of(ImageFormat::Zstd, &file, &image);
    for (unpacked, reason) in [
        (
            UnpackedImage {
                bytes: 6 * 1024 * 1024,
                sha256: Some(sum(b"another")),
            },
            "wrong checksum: the SHA-256 of the image unpacked",
        ),
        (
            UnpackedImage {
                bytes: 7 * 1024 * 1024,
                sha256: None,
            },
            "short image: it has 6291456 bytes and should have 7340032",
        ),
    ] {
        let mut order = order.clone();
        order.image.unpacked = Some(unpacked);
        room.order(&order);
        let machine = Machine::with_disk(&vec![0xaa; 12 * MIB]);
        room.assert_failed(&machine.install(&room), reason);
        assert!(is_all(&machine.bytes()[..MIB], 0));
    }
}

#[test]
fn a_wrong_piece_ends_an_install_before_it_is_written() {
    let image = noise(40 * MIB);
    let mut damaged = image.clone();
    damaged[8 * MIB + 77] ^= 1;
    let room = DeployRoom::of(damaged);
    let mut order = room.order_of(ImageFormat::Raw, &image, &image);
    order.image.pieces = Some(ImagePieces {
        bytes: 4 * 1024 * 1024,
        sha256: image.chunks(4 * MIB).map(sum).collect(),
    });
    room.order(&order);
    let machine = Machine::with_disk(&vec![0xaa; 48 * MIB]);
    room.assert_failed(&machine.install(&room), "the image's piece at byte 8388608 is damaged");
    let disk = machine.bytes();
    assert!(
        is_all(&disk[8 * MIB..47 * MIB], 0xaa),
        "something behind the damage was written"
    );
    assert!(is_all(&disk[..MIB], 0));

    // The first one: the disk stays what it was, to the last byte.
    order.image.pieces.as_mut().unwrap().sha256[0] = sum(b"another");
    room.order(&order);
    let machine = Machine::with_disk(&vec![0xaa; 48 * MIB]);
    room.assert_failed(&machine.install(&room), "the image's piece at byte 0 is damaged");
    assert!(is_all(&machine.bytes(), 0xaa));
}

#[test]
fn sound_pieces_pass_and_the_last_one_is_what_is_left() {
    let image = holey();
    let file = packed("zstd", &image);
    let room = DeployRoom::of(file.clone());
    let mut order = room.order_of(ImageFormat::Zstd, &file, &image);
    order.image.pieces = Some(ImagePieces {
        bytes: 1024 * 1024,
        sha256: file.chunks(MIB).map(sum).collect(),
    });
    room.order(&order);
    let machine = Machine::with_disk(&vec![0xaa; 20 * MIB]);
    room.assert_done(&machine.install(&room));
    assert!(machine.bytes().starts_with(&image));
}

#[test]
fn a_packed_file_that_is_none_writes_nothing() {
    let file = noise(3 * MIB);
    for format in [ImageFormat::Zstd, ImageFormat::Gzip] {
        let room = DeployRoom::of(file.clone());
        room.order(&room.order_of(format, &file, &file));
        let machine = Machine::with_disk(&vec![0xaa; 8 * MIB]);
        room.assert_failed(&machine.install(&room), "the image can't be unpacked behind byte 0");
        assert!(is_all(&machine.bytes(), 0xaa));
    }
}

#[test]
fn an_order_of_another_version_or_none_is_refused_and_costs_nothing() {
    let machine = Machine::with_disk(&vec![0xaa; 2 * MIB]);
    let room = DeployRoom::of(Vec::new());
    for text in ["{\"version\":9}", "<html>", ""] {
        *room.order.lock().unwrap() = text.to_owned();
        let output = machine.install(&room);
        assert_eq!(output.status.code(), Some(1));
    }
    *room.order.lock().unwrap() = "{\"version\":9}".to_owned();
    let log = String::from_utf8(machine.install(&room).stderr).unwrap();
    assert!(log.contains("version 9") && log.contains("version 1"), "{log}");
    assert!(is_all(&machine.bytes(), 0xaa) && room.words().is_empty());
}

#[test]
fn an_order_with_words_of_a_newer_daemon_fails_its_host_at_once_and_costs_nothing() {
    let image = noise(MIB);
    let machine = Machine::with_disk(&vec![0xaa; 2 * MIB]);
    let room = DeployRoom::of(image.clone());
    let order = serde_json::to_string(&room.order_of(ImageFormat::Raw, &image, &image)).unwrap();
    for (from, to, reason) in [
        ("\"then\":\"reboot\"", "\"then\":\"dance\"", "dance"),
        ("\"version\":1", "\"version\":9", "version 9"),
    ] {
        assert!(order.contains(from), "{order}");
        *room.order.lock().unwrap() = order.replace(from, to);
        room.assert_failed(&machine.install(&room), reason);
    }
    assert!(is_all(&machine.bytes(), 0xaa) && room.image_requests().is_empty());
}
