//! Servers that break off, change, redirect and lie.

use super::nginx::{command, interrupted_once};
use super::place::{Place, hex, noise, request, sha256};
use super::server::{Server, answer, head, part};
use crate::strace::Stopped;
use bootwright::images::catalogue::Remote;
use nix::sys::signal::Signal;
use std::{
    fs,
    io::{Read, Write},
    path::Path,
    thread,
    time::Duration,
};

const ETAG: &str = "\"one\"";

#[test]
fn a_download_that_broke_off_goes_on_where_it_ended() {
    let (place, body) = (Place::new(), noise(300_000));
    let served = body.clone();
    let server = Server::start(move |before, request, stream| match (before, request.from()) {
        (0, _) => {
            head(stream, "200 OK", served.len(), &[("ETag", ETAG)]);
            stream.write_all(&served[..100_000]).unwrap();
        }
        (_, Some(from)) => part(stream, &served, from, ETAG),
        (_, None) => answer(stream, "200 OK", &[("ETag", ETAG)], &served),
    });
    let (done, told) = place.fetch(&request(format!("{}linux", server.base), Some(sha256(&body))));
    done.unwrap();
    place.holds("rescue", &body);
    let requests = server.requests();
    assert_eq!(requests.len(), 2, "{told}");
    assert_eq!(requests[1].from(), Some(100_000));
    assert_eq!(requests[1].headers.get("if-range").map(String::as_str), Some(ETAG));
}

#[test]
fn a_later_run_takes_up_what_an_earlier_one_left() {
    let (place, body) = (Place::new(), noise(300_000));
    let served = body.clone();
    let server = Server::start(move |before, request, stream| match request.from() {
        Some(from) if before >= 3 => part(stream, &served, from, ETAG),
        Some(_) => drop(stream.flush()),
        None => {
            head(stream, "200 OK", served.len(), &[("ETag", ETAG)]);
            stream.write_all(&served[..200_000]).unwrap();
        }
    });
    let asked = request(format!("{}linux", server.base), Some(sha256(&body)));
    let (done, _) = place.fetch(&asked);
    let error = done.unwrap_err().to_string();
    assert!(error.contains("200000 bytes of linux are kept"), "{error}");
    assert_eq!(place.kept("rescue"), [".linux.note", ".linux.part"]);
    place.holds_nothing();
    place.fetch(&asked).0.unwrap();
    place.holds("rescue", &body);
    assert_eq!(server.requests().last().unwrap().from(), Some(200_000));
}

#[test]
fn a_file_that_changes_between_two_parts_is_fetched_anew() {
    let (place, old, new) = (Place::new(), noise(200_000), vec![7; 150_000]);
    let served = new.clone();
    let server = Server::start(move |before, _, stream| match before {
        0 => {
            head(stream, "200 OK", old.len(), &[("ETag", ETAG)]);
            stream.write_all(&old[..100_000]).unwrap();
        }
        _ => answer(stream, "200 OK", &[("ETag", "\"two\"")], &served),
    });
    let (done, told) = place.fetch(&request(format!("{}linux", server.base), Some(sha256(&new))));
    done.unwrap();
    assert!(told.contains("from the start"), "{told}");
    place.holds("rescue", &new);
}

#[test]
fn a_part_of_another_version_is_never_joined_to_ours() {
    let (place, old, new) = (Place::new(), noise(200_000), vec![7; 200_000]);
    let served = new.clone();
    let server = Server::start(move |before, request, stream| match (before, request.from()) {
        (0, _) => {
            head(stream, "200 OK", old.len(), &[("ETag", ETAG)]);
            stream.write_all(&old[..100_000]).unwrap();
        }
        // It pays no heed to If-Range.
        (_, Some(from)) => part(stream, &served, from, "\"two\""),
        (_, None) => answer(stream, "200 OK", &[], &served),
    });
    let mut asked = request(format!("{}linux", server.base), None);
    asked.accept = true;
    let (done, told) = place.fetch(&asked);
    done.unwrap();
    assert!(
        told.contains(&hex(&new)) && told.contains("accepted as it came"),
        "{told}"
    );
    place.holds("rescue", &new);
}

#[test]
fn parts_that_do_not_fit_together_are_fetched_once_more_from_the_start() {
    let (place, body) = (Place::new(), noise(200_000));
    let served = body.clone();
    let server = Server::start(move |before, request, stream| match (before, request.from()) {
        (0, _) => {
            head(stream, "200 OK", served.len(), &[]);
            stream.write_all(&vec![1; 100_000]).unwrap();
        }
        (_, Some(from)) => part(stream, &served, from, ETAG),
        (_, None) => answer(stream, "200 OK", &[], &served),
    });
    let (done, told) = place.fetch(&request(format!("{}linux", server.base), Some(sha256(&body))));
    done.unwrap();
    assert!(told.contains("does not fit together"), "{told}");
    assert_eq!(server.requests().len(), 3);
    place.holds("rescue", &body);
}

#[test]
fn a_wrong_file_makes_no_image_and_is_not_kept() {
    let (place, server) = (Place::new(), Server::of(vec![("linux", b"a trojan".to_vec())]));
    let (done, _) = place.fetch(&request(format!("{}linux", server.base), Some(sha256(b"linux"))));
    let error = done.unwrap_err().to_string();
    for words in [
        server.base.as_str(),
        &hex(b"a trojan"),
        &hex(b"linux"),
        "nothing of it is kept",
    ] {
        assert!(error.contains(words), "{error}");
    }
    assert_eq!(place.kept("rescue"), Vec::<String>::new());
    place.holds_nothing();
}

#[test]
fn a_server_that_lies_about_the_length_is_found_out() {
    for (claimed, words) in [
        (3, "is not the file that it should be"),
        (4000, "closed the connection too early"),
    ] {
        let place = Place::new();
        let server = Server::start(move |_, _, stream| {
            head(stream, "200 OK", claimed, &[]);
            let _ = stream.write_all(b"linux");
        });
        let (done, _) = place.fetch(&request(format!("{}linux", server.base), Some(sha256(b"linux"))));
        let error = done.unwrap_err().to_string();
        assert!(error.contains(words), "{claimed}: {error}");
        place.holds_nothing();
    }
}

#[test]
fn a_server_that_falls_silent_is_given_up_and_what_came_is_kept() {
    let (place, body) = (Place::new(), noise(100_000));
    let served = body.clone();
    let server = Server::start(move |before, _, stream| {
        // It breaks off once, and then says no byte of the rest for as long as it is listened to.
        if before == 0 {
            head(stream, "200 OK", served.len(), &[("ETag", ETAG)]);
            stream.write_all(&served[..50_000]).unwrap();
        } else {
            let rest = [("Content-Range", "bytes 50000-99999/100000"), ("ETag", ETAG)];
            head(stream, "206 Partial Content", 50_000, &rest);
            let _ = stream.read(&mut [0]);
        }
    });
    let mut asked = request(format!("{}linux", server.base), Some(sha256(&body)));
    asked.retry_policy.tries = 1;
    place.fetch(&asked).0.unwrap_err();
    asked.retry_policy.silence = Duration::from_millis(200);
    let error = place.fetch(&asked).0.unwrap_err().to_string();
    // However busy the machine: a server that is late is as silent before its first word.
    assert!(
        error.contains("silent for 0.2 s") && error.contains("50000 bytes of linux are kept"),
        "{error}"
    );
}

#[test]
fn ctrl_c_is_obeyed_while_a_server_is_silent_or_a_pause_lasts_and_leaves_nothing_where_nothing_came() {
    let silent = Server::start(|_, _, _| thread::park());
    let busy = Server::start(|_, _, stream| answer(stream, "503 Busy", &[("Retry-After", "60")], b""));
    for server in [silent, busy] {
        let (place, url, sum) = (Place::new(), format!("{}linux", server.base), hex(b"linux"));
        let args = ["rescue", "--kernel", url.as_str(), "--sha256", sum.as_str()];
        let asked = || !server.requests().is_empty();
        let (status, told) = interrupted_once(asked, &place, &args, Signal::SIGINT);
        assert_eq!(status.code(), Some(130), "{told}");
        assert!(
            told.contains("nothing had come yet, and no image has changed"),
            "{told}"
        );
        place.holds_nothing();
    }
}

/// Whether the signal finds the command at work, or waiting for a server that says no more: then it has no
/// time to tidy up.
#[test]
fn what_could_not_be_taken_up_is_not_kept_after_ctrl_c() {
    for (urls, arrived) in [
        (vec!["--kernel", "linux"], (".linux.part", 1)),
        (vec!["--kernel", "linux"], (".linux.part", 1_000_000)),
        (
            vec!["--kernel", "complete", "--initrd", "linux"],
            (".linux.part", 1_000_000),
        ),
    ] {
        let (place, body) = (Place::new(), noise(3_000_000));
        let server = Server::start(move |_, request, stream| {
            // No version, and no checksum is known.
            head(stream, "200 OK", body.len(), &[]);
            let sent = if request.path == "/linux" {
                1_000_000
            } else {
                body.len()
            };
            stream.write_all(&body[..sent]).unwrap();
            let _ = stream.read(&mut [0]);
        });
        let mut args: Vec<String> = ["rescue", "--sha256", "accept"].map(str::to_owned).to_vec();
        for pair in urls.chunks(2) {
            args.extend([pair[0].to_owned(), format!("{}{}", server.base, pair[1])]);
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let part = place.images().join(".fetch-rescue").join(arrived.0);
        let has_begun = || fs::metadata(&part).is_ok_and(|part| part.len() >= arrived.1);
        let (status, told) = interrupted_once(has_begun, &place, &args, Signal::SIGTERM);
        assert_eq!(status.code(), Some(143), "{told}");
        assert!(told.contains("terminated: nothing had come yet"), "{told}");
        assert_eq!(place.names(), Vec::<String>::new());
    }
}

#[test]
fn a_redirect_is_followed_with_its_part_and_a_loop_ends() {
    let (place, body) = (Place::new(), noise(200_000));
    let served = body.clone();
    let server = Server::start(
        move |before, request, stream| match (request.path.as_str(), request.from()) {
            ("/linux", _) => answer(stream, "302 Found", &[("Location", "/mirror/linux")], b""),
            ("/loop", _) => answer(stream, "302 Found", &[("Location", "/loop")], b""),
            (_, Some(from)) => part(stream, &served, from, ETAG),
            (_, None) => {
                assert_eq!(before, 1);
                head(stream, "200 OK", served.len(), &[("ETag", ETAG)]);
                stream.write_all(&served[..100_000]).unwrap();
            }
        },
    );
    let (done, _) = place.fetch(&request(format!("{}linux", server.base), Some(sha256(&body))));
    done.unwrap();
    place.holds("rescue", &body);
    assert_eq!(server.requests().last().unwrap().from(), Some(100_000));
    let looped = Place::new().fetch(&request(format!("{}loop", server.base), Some(sha256(b""))));
    let error = looped.0.unwrap_err().to_string();
    assert!(error.contains("redirected more than 10 times"), "{error}");
}

#[test]
fn a_status_says_whether_it_is_tried_again() {
    for (status, tries, words) in [
        ("404 Not Found", 1, "catalogue.toml"),
        ("403 Forbidden", 1, "another mirror"),
        ("503 Service Unavailable", 3, "tried often enough"),
        ("429 Too Many Requests", 3, "tried often enough"),
    ] {
        let (place, server) = (
            Place::new(),
            Server::start(move |_, _, stream| answer(stream, status, &[], b"no")),
        );
        let (done, _) = place.fetch(&request(format!("{}linux", server.base), Some(sha256(b"linux"))));
        let error = done.unwrap_err().to_string();
        assert_eq!(place.names(), Vec::<String>::new());
        assert!(
            error.contains(status) && error.contains(words) && error.contains(&server.base),
            "{error}"
        );
        assert_eq!(server.requests().len(), tries, "{error}");
    }
}

#[test]
fn a_server_that_is_busy_for_a_moment_is_asked_again() {
    let place = Place::new();
    let server = Server::start(|before, _, stream| match before {
        0 => answer(stream, "503 Service Unavailable", &[("Retry-After", "0")], b""),
        _ => answer(stream, "200 OK", &[], b"linux"),
    });
    place
        .fetch(&request(format!("{}linux", server.base), Some(sha256(b"linux"))))
        .0
        .unwrap();
    place.holds("rescue", b"linux");
}

#[test]
fn without_a_checksum_or_a_signature_nothing_is_asked_for() {
    let (place, server) = (Place::new(), Server::of(vec![("linux", b"linux".to_vec())]));
    let (done, _) = place.fetch(&request(format!("{}linux", server.base), None));
    let error = done.unwrap_err().to_string();
    assert_eq!(place.names(), Vec::<String>::new());
    assert!(
        error.contains("there is no checksum for") && error.contains("--sha256 accept"),
        "{error}"
    );
    assert_eq!(server.requests().len(), 0);
    place.holds_nothing();
}

/// A place whose image is a server's file `a`, and that server, which has a file `b` too.
fn place_with_an_image() -> (Place, Server) {
    let (place, server) = (
        Place::new(),
        Server::of(vec![("a", b"one".to_vec()), ("b", b"two".to_vec())]),
    );
    place
        .fetch(&request(format!("{}a", server.base), Some(sha256(b"one"))))
        .0
        .unwrap();
    (place, server)
}

#[test]
fn an_image_that_is_there_is_replaced_only_by_force() {
    let (place, server) = place_with_an_image();
    let mut second = request(format!("{}b", server.base), Some(sha256(b"two")));
    let error = place.fetch(&second).0.unwrap_err().to_string();
    assert!(error.contains("use --force"), "{error}");
    assert_eq!(server.requests().len(), 1);
    place.holds("rescue", b"one");
    second.replace = true;
    place.fetch(&second).0.unwrap();
    place.holds("rescue", b"two");
    let described = fs::read_to_string(place.images().join("rescue/image.toml")).unwrap();
    assert!(
        described.contains("# Made by `bootwright image fetch rescue`.") && described.contains("/b: "),
        "{described}"
    );
}

/// `bootwright image fetch`, stopped at its how-manieth try of a lock, which somebody else has: `locked` lets it go.
fn goes_on_once_unlocked(place: &Place, args: &[&str], time: usize, locked: fs::File) {
    let run = Stopped::at(&command(place, args, &[]), "flock", time);
    drop(locked);
    let ended = run.go_on();
    assert!(ended.status.success(), "{ended:?}");
}

fn locked(folder: &Path) -> fs::File {
    let folder = fs::File::open(folder).unwrap();
    folder.lock().unwrap();
    folder
}

#[test]
fn an_image_whose_maker_has_yet_to_end_is_replaced_and_leaves_nothing() {
    let (place, server) = place_with_an_image();
    let made = locked(&place.images().join("rescue"));
    let (url, sum) = (format!("{}b", server.base), hex(b"two"));
    let args = ["rescue", "--kernel", &url, "--sha256", &sum, "--force"];
    // The first lock is that of its own folder.
    goes_on_once_unlocked(&place, &args, 2, made);
    place.holds("rescue", b"two");
}

#[test]
fn what_a_url_says_behind_its_path_is_asked_for_and_not_written_down() {
    let (place, server) = (
        Place::new(),
        Server::of(vec![("linux?token=secret", b"linux".to_vec())]),
    );
    let url = format!("{}linux?token=secret", server.base);
    place.fetch(&request(url, Some(sha256(b"linux")))).0.unwrap();
    place.holds("rescue", b"linux");
    let described = fs::read_to_string(place.images().join("rescue/image.toml")).unwrap();
    assert!(
        described.contains("/linux: ") && !described.contains("secret"),
        "{described}"
    );
}

#[test]
fn two_runs_at_once_do_not_write_into_one_file() {
    let (place, body) = (Place::new(), noise(1000));
    let served = body.clone();
    let images = place.images();
    let server = Server::start(move |before, _, stream| {
        if before == 0 {
            let told = super::place::ProgressLines::default();
            let second = request("http://127.0.0.1:9/linux".to_owned(), Some([0; 32]));
            let error = bootwright::images::fetch::fetch(&images, &second, &told)
                .unwrap_err()
                .to_string();
            assert!(error.contains("another command fetches `rescue`"), "{error}");
            answer(stream, "200 OK", &[], &served);
        }
    });
    let mut asked = request(format!("{}linux", server.base), Some(sha256(&body)));
    asked.retry_policy.silence = Duration::from_secs(10);
    place.fetch(&asked).0.unwrap();
    place.holds("rescue", &body);
}

#[test]
fn a_run_that_only_looks_at_the_folder_of_another_is_not_taken_for_one_that_fetches() {
    let (place, server) = (Place::new(), Server::of(vec![("linux", b"linux".to_vec())]));
    let folder = place.images().join(".fetch-rescue");
    fs::create_dir_all(&folder).unwrap();
    let (url, sum) = (format!("{}linux", server.base), hex(b"linux"));
    goes_on_once_unlocked(
        &place,
        &["rescue", "--kernel", &url, "--sha256", &sum],
        1,
        locked(&folder),
    );
    // And a run that has just made its folder has not left a download behind.
    fs::create_dir(place.images().join(".fetch-young")).unwrap();
    let mut asked = request(format!("{}linux", server.base), Some(sha256(b"linux")));
    asked.replace = true;
    let (done, told) = place.fetch(&asked);
    assert!(done.is_ok() && !told.contains("young"), "{told}");
}

#[test]
fn a_download_that_nobody_takes_up_is_reported_and_in_the_end_removed() {
    let (place, server) = (Place::new(), Server::of(vec![("linux", b"linux".to_vec())]));
    for (name, days) in [("young", 1), ("old", 20)] {
        let folder = place.images().join(format!(".fetch-{name}"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(".linux.part"), noise(2_000_000)).unwrap();
        let then = std::time::SystemTime::now() - Duration::from_secs(days * 24 * 3600);
        for path in [folder.join(".linux.part"), folder.clone()] {
            fs::File::open(path).unwrap().set_modified(then).unwrap();
        }
    }
    let (done, told) = place.fetch(&request(format!("{}linux", server.base), Some(sha256(b"linux"))));
    done.unwrap();
    assert!(told.contains("unfinished download of `young` takes 2 MB"), "{told}");
    assert!(told.contains("removed the download of `old`"), "{told}");
    assert_eq!(place.names(), [".fetch-young", "rescue"]);
}

#[test]
fn a_part_that_is_longer_than_the_file_is_not_taken() {
    let (place, body) = (Place::new(), noise(200_000));
    let served = body.clone();
    let server = Server::start(move |before, request, stream| match (before, request.from()) {
        (0, _) => {
            head(stream, "200 OK", served.len(), &[("ETag", ETAG)]);
            stream.write_all(&served[..100_000]).unwrap();
        }
        (1, Some(from)) => {
            let range = format!("bytes {from}-{}/{}", served.len() - 1, served.len());
            let body = [&served[from..], b"and more"].concat();
            answer(
                stream,
                "206 Partial Content",
                &[("Content-Range", &range), ("ETag", ETAG)],
                &body,
            );
        }
        (_, _) => answer(stream, "200 OK", &[("ETag", ETAG)], &served),
    });
    let mut asked = request(format!("{}linux", server.base), None);
    asked.accept = true;
    let (done, told) = place.fetch(&asked);
    done.unwrap();
    assert!(told.contains("more than the"), "{told}");
    place.holds("rescue", &body);
}

#[test]
fn two_files_of_which_one_is_called_as_the_others_unfinished_part_do_not_meet() {
    let place = Place::new();
    let files = [
        ("linux", noise(1000)),
        ("linux.part", noise(2000)),
        ("linux.note", noise(30)),
    ];
    let server = Server::of(files.to_vec());
    let remote = |(name, body): &(&str, Vec<u8>)| Remote {
        url: format!("{}{name}", server.base),
        sha256: Some(sha256(body)),
        ..Remote::default()
    };
    let mut asked = request(String::new(), None);
    // Whatever the order, each is the other's while it comes.
    asked.entry.kernel = Some(remote(&files[1]));
    asked.entry.initrds = vec![remote(&files[2]), remote(&files[0])];
    place.fetch(&asked).0.unwrap();
    place.holds("rescue", &files[1].1);
}
