//! A network that comes and goes, and servers that change their mind.

use super::*;
use crate::fetch_image::server::{head, part};
use bootwright::model::ImagePieces;
use std::{io::Write, net::TcpListener};

fn cut(stream: &mut TcpStream, file: &[u8], etag: &str, at: usize) {
    head(stream, "200 OK", file.len(), &[("ETag", etag)]);
    let _ = stream.write_all(&file[..at]);
}

#[test]
fn a_connection_that_breaks_goes_on_where_it_was() {
    let image = noise(11 * MIB);
    let file = packed("zstd", &image);
    let at = file.len() / 3;
    let room = DeployRoom::giving(file.clone(), move |before, request, file, stream| {
        match (before, request.from()) {
            (0, None) => cut(stream, file, "\"1\"", at),
            (1, Some(_)) => answer(stream, "503 Service Unavailable", &[("Retry-After", "1")], b""),
            (_, Some(from)) => part(stream, file, from, "\"1\""),
            (_, None) => panic!("it begins anew"),
        }
    });
    room.order(&room.order_of(ImageFormat::Zstd, &file, &image));
    let machine = Machine::with_disk(&vec![0xaa; 16 * MIB]);
    room.assert_done(&machine.install(&room));
    assert!(machine.bytes().starts_with(&image));
    let requests = room.image_requests();
    assert_eq!(requests.len(), 3);
    for request in &requests[1..] {
        assert_eq!(request.from(), Some(at));
        assert_eq!(request.headers.get("if-match").map(String::as_str), Some("\"1\""));
    }
}

#[test]
fn an_install_that_was_broken_off_goes_on_behind_what_its_pieces_say_is_there() {
    const PIECE: usize = 256 * 1024;
    let image = noise(11 * MIB + 777);
    let machine = Machine::with_disk(&vec![0xaa; 16 * MIB]);
    let pieces = |order: DeployOrder| DeployOrder {
        image: DeployImage {
            pieces: Some(ImagePieces {
                bytes: PIECE as u64,
                sha256: image.chunks(PIECE).map(sum).collect(),
            }),
            ..order.image
        },
        ..order
    };
    // The network goes for good in the middle.
    let broken = DeployRoom::giving(image.clone(), |before, _, file, stream| {
        if before == 0 {
            cut(stream, file, "\"1\"", 7 * MIB + 5);
        }
    });
    broken.order(&pieces(broken.order_of(ImageFormat::Raw, &image, &image)));
    broken.assert_failed(&machine.install(&broken), "server gone");
    let left = machine.bytes();
    assert!(is_all(&left[..MIB], 0));
    let same = left
        .iter()
        .zip(&image)
        .skip(MIB)
        .take_while(|(left, image)| left == image)
        .count();
    let whole = (MIB + same) / PIECE * PIECE;
    assert!(whole > MIB, "{same}");

    // It is there again, and slow enough for a word about progress.
    let room = DeployRoom::giving(image.clone(), |_, request, file, stream| {
        let range = request.headers["range"].strip_prefix("bytes=").unwrap();
        let (from, last) = range.split_once('-').unwrap();
        let from: usize = from.parse().unwrap();
        let end = last.parse::<usize>().map_or(file.len(), |last| last + 1);
        let whole = format!("bytes {from}-{}/{}", end - 1, file.len());
        head(
            stream,
            "206 Partial Content",
            end - from,
            &[("ETag", "\"1\""), ("Content-Range", &whole)],
        );
        for part in file[from..end].chunks(MIB) {
            let _ = stream.write_all(part);
            std::thread::sleep(std::time::Duration::from_millis(700));
        }
    });
    room.order(&pieces(room.order_of(ImageFormat::Raw, &image, &image)));
    room.assert_done(&machine.install(&room));
    assert!(machine.bytes().starts_with(&image));
    let ranges: Vec<String> = room
        .image_requests()
        .iter()
        .map(|request| request.headers["range"].clone())
        .collect();
    assert_eq!(ranges, [format!("bytes=0-{}", MIB - 1), format!("bytes={whole}-")]);
    let words = room.words();
    let resumed = words
        .iter()
        .any(|word| word.0 == "progress" && word.1.contains("resumed at "));
    assert!(resumed, "{words:?}");

    // What stands there is another image's from some piece on: that is fetched, and what stands in front of it is kept.
    let other = Machine::with_disk(&[&vec![0; MIB], &image[MIB..5 * MIB], &vec![7; 11 * MIB][..]].concat());
    let honest = DeployRoom::giving(image.clone(), |_, request, file, stream| {
        part(stream, file, request.from().unwrap_or(0), "\"1\"");
    });
    honest.order(&pieces(honest.order_of(ImageFormat::Raw, &image, &image)));
    honest.assert_done(&other.install(&honest));
    assert!(other.bytes().starts_with(&image));
    assert_eq!(honest.image_requests()[1].from(), Some(5 * MIB));

    // Without pieces nothing is known of what stands there.
    let plain = Machine::with_disk(&[&vec![0; MIB], &image[MIB..5 * MIB], &vec![7; 11 * MIB][..]].concat());
    let room = DeployRoom::of(image.clone());
    room.order(&room.order_of(ImageFormat::Raw, &image, &image));
    room.assert_done(&plain.install(&room));
    assert_eq!(room.image_requests().len(), 1);
    assert!(room.image_requests()[0].from().is_none());
}

#[test]
fn a_server_without_ranges_is_read_from_its_beginning_and_nothing_is_twice_on_the_disk() {
    let image = noise(9 * MIB);
    let room = DeployRoom::giving(image.clone(), |before, _, file, stream| match before {
        0 => cut(stream, file, "\"1\"", 5 * MIB + 77),
        _ => answer(stream, "200 OK", &[("ETag", "\"1\"")], file),
    });
    room.order(&room.order_of(ImageFormat::Raw, &image, &image));
    let machine = Machine::with_disk(&vec![0xaa; 16 * MIB]);
    room.assert_done(&machine.install(&room));
    assert!(machine.bytes().starts_with(&image));
}

#[test]
fn an_image_that_is_replaced_in_the_middle_is_not_mixed() {
    let image = noise(9 * MIB);
    for refuses in [true, false] {
        let room = DeployRoom::giving(image.clone(), move |before, request, file, stream| match before {
            0 => cut(stream, file, "\"1\"", 2 * MIB),
            _ if refuses => answer(stream, "412 Precondition Failed", &[], b""),
            _ => part(stream, file, request.from().unwrap(), "\"2\""),
        });
        room.order(&room.order_of(ImageFormat::Raw, &image, &image));
        let machine = Machine::with_disk(&vec![0xaa; 16 * MIB]);
        room.assert_failed(&machine.install(&room), "the image was replaced on the server");
        assert!(is_all(&machine.bytes()[4 * MIB..15 * MIB], 0xaa));
    }
}

#[test]
fn a_truncated_file_is_a_short_image() {
    let image = noise(9 * MIB);
    // Its length is honest: nothing is written.
    let room = DeployRoom::of(image[..6 * MIB].to_vec());
    room.order(&room.order_of(ImageFormat::Raw, &image, &image));
    let machine = Machine::with_disk(&vec![0xaa; 16 * MIB]);
    room.assert_failed(
        &machine.install(&room),
        "short image: it has 6291456 bytes and should have 9437184",
    );
    assert!(is_all(&machine.bytes(), 0xaa));

    // Its length is not, and there is no more where it breaks off.
    let room = DeployRoom::giving(image.clone(), |_, request, file, stream| match request.from() {
        None => cut(stream, file, "\"1\"", 6 * MIB),
        Some(_) => answer(stream, "416 Range Not Satisfiable", &[], b""),
    });
    room.order(&room.order_of(ImageFormat::Raw, &image, &image));
    room.assert_failed(&machine.install(&room), "short image: it has 6291456 bytes");
    assert!(is_all(&machine.bytes()[..MIB], 0));

    let longer = DeployRoom::of([image.clone(), vec![0]].concat());
    longer.order(&longer.order_of(ImageFormat::Raw, &image, &image));
    longer.assert_failed(&machine.install(&longer), "wrong image: it has 9437185 bytes");
}

#[test]
fn a_server_that_is_gone_for_good_is_a_failure_with_its_reason() {
    let image = noise(9 * MIB);
    let room = DeployRoom::giving(image.clone(), |before, _, file, stream| {
        if before == 0 {
            cut(stream, file, "\"1\"", 2 * MIB);
        }
    });
    room.order(&room.order_of(ImageFormat::Raw, &image, &image));
    let machine = Machine::with_disk(&vec![0xaa; 16 * MIB]);
    room.assert_failed(&machine.install(&room), "server gone: nothing came from it for ");
    assert!(room.image_requests().len() > 2, "it does not try again");
}

#[test]
fn an_order_is_waited_for_and_not_for_ever() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/order", listener.local_addr().unwrap());
    drop(listener);
    let machine = Machine::with_disk(&vec![0xaa; 2 * MIB]);
    let output = machine.command(&url).output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains("server gone: nothing came from it for 3 s"), "{log}");
}

#[test]
fn what_the_server_refuses_is_not_asked_for_again() {
    let image = noise(2 * MIB);
    let room = DeployRoom::giving(image.clone(), |_, _, _, stream| {
        answer(stream, "404 Not Found", &[], b"")
    });
    room.order(&room.order_of(ImageFormat::Raw, &image, &image));
    let machine = Machine::with_disk(&vec![0xaa; 4 * MIB]);
    room.assert_failed(
        &machine.install(&room),
        "the server does not give the image to this machine (it answers 404)",
    );
    assert_eq!(room.image_requests().len(), 1);
    assert!(is_all(&machine.bytes(), 0xaa));
}

#[test]
fn progress_is_told_every_two_seconds_at_most() {
    let image = noise(8 * MIB);
    let room = DeployRoom::giving(image.clone(), |_, _, file, stream| {
        head(stream, "200 OK", file.len(), &[]);
        for part in file.chunks(MIB) {
            let _ = stream.write_all(part);
            std::thread::sleep(std::time::Duration::from_millis(700));
        }
    });
    room.order(&room.order_of(ImageFormat::Raw, &image, &image));
    let machine = Machine::with_disk(&vec![0xaa; 8 * MIB]);
    let began = std::time::Instant::now();
    room.assert_done(&machine.install(&room));
    let words = room.words();
    let told: Vec<&(String, String)> = words.iter().filter(|word| word.0 == "progress").collect();
    let most = began.elapsed().as_secs() / 2;
    assert!(
        (1..=usize::try_from(most).unwrap()).contains(&told.len()),
        "{told:?} in {most}"
    );
    let percent = |word: &(String, String)| -> u64 {
        let form = word.1.strip_prefix("percent=").unwrap();
        form.split_once("&message=writing: ").unwrap().0.parse().unwrap()
    };
    let percents: Vec<u64> = told.iter().map(|word| percent(word)).collect();
    assert!(
        percents.is_sorted() && percents[0] > 0 && percents[0] < 98,
        "{percents:?}"
    );
}
