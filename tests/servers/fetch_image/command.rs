//! The command itself: its arguments, its exit codes, a full disk and a proxy.

use super::nginx::run_command;
use super::place::{Place, hex, noise};
use super::server::{Server, answer};
use std::{
    fs,
    io::{self, Write},
    net::TcpStream,
    process::Command,
    thread,
};

#[test]
fn every_file_needs_its_checksum() {
    let (place, server) = (
        Place::new(),
        Server::of(vec![("linux", b"linux".to_vec()), ("ram", b"ram".to_vec())]),
    );
    let (kernel, initrd) = (format!("{}linux", server.base), format!("{}ram", server.base));
    let sums = [hex(b"linux"), hex(b"ram")];
    let args = |sums: &[&'static str]| {
        let mut args = vec!["rescue", "--kernel", &kernel, "--initrd", &initrd];
        for sum in sums {
            args.extend(["--sha256", sum]);
        }
        run_command(&place, &args, &[])
    };
    for (sums, words) in [
        (vec![], "there is no checksum for"),
        (vec!["0123"], "2 files and 1 checksums"),
        (vec!["0123", "4567"], "`0123` is not a sha256"),
    ] {
        let (status, told) = args(&sums);
        assert!(!status.success() && told.contains(words), "{told}");
    }
    let pinned = [
        "rescue", "--kernel", &kernel, "--initrd", &initrd, "--sha256", &sums[0], "--sha256", &sums[1],
    ];
    let (status, told) = run_command(&place, &pinned, &[]);
    assert!(status.success() && told.contains("image `rescue` is in"), "{told}");
    place.holds("rescue", b"linux");
}

#[test]
fn the_kernels_header_says_the_architecture_and_may_not_be_contradicted() {
    let arm64 = [vec![0; 0x38], b"ARM\x64".to_vec(), vec![0; 5000]].concat();
    let (place, server) = (Place::new(), Server::of(vec![("linux", arm64.clone())]));
    let (url, sum) = (format!("{}linux", server.base), hex(&arm64));
    let args = ["rescue", "--kernel", url.as_str(), "--sha256", sum.as_str()];
    let (status, told) = run_command(&place, &[&args[..], &["--arch", "x86_64"]].concat(), &[]);
    let words = "the kernel linux is for arm64, not for x86_64";
    assert!(status.code() == Some(1) && told.contains(words), "{told}");
    place.holds_nothing();
    let (status, told) = run_command(&place, &args, &[]);
    assert!(
        status.success() && told.contains("is here from an earlier run"),
        "{told}"
    );
    let described = fs::read_to_string(place.images().join("rescue/image.toml")).unwrap();
    assert!(described.contains("arch    = \"arm64\""), "{described}");
}

#[test]
fn the_proxy_of_the_environment_is_asked_and_no_proxy_is_obeyed() {
    // It lets nobody through on the first day, and everybody on the second.
    let proxy = Server::start(|before, request, stream| match before {
        0 => answer(stream, "403 Forbidden", &[], b"not through here"),
        _ => tunnel(stream, &request.path),
    });
    let server = Server::of(vec![("linux", b"linux".to_vec())]);
    let (place, url, sum) = (Place::new(), format!("{}linux", server.base), hex(b"linux"));
    let args = [
        "rescue",
        "--kernel",
        url.as_str(),
        "--sha256",
        sum.as_str(),
        "--tries",
        "1",
    ];
    let through = ("http_proxy", proxy.base.as_str());
    let (status, told) = run_command(&place, &args, &[through]);
    assert!(
        !status.success() && told.contains("the proxy of the environment gives no way"),
        "{told}"
    );
    let (status, told) = run_command(&place, &args, &[through]);
    assert!(status.success() && proxy.requests().len() == 2, "{told}");
    let again = [&args[..], &["--force"]].concat();
    let (status, told) = run_command(&place, &again, &[through, ("no_proxy", "127.0.0.1")]);
    assert!(status.success() && proxy.requests().len() == 2, "{told}");
    place.holds("rescue", b"linux");
}

/// What CONNECT asks for.
fn tunnel(client: &mut TcpStream, to: &str) {
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    let server = TcpStream::connect(to).unwrap();
    let (mut asks, mut takes) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || io::copy(&mut asks, &mut takes));
    let _ = io::copy(&mut &server, client);
}

#[test]
#[ignore = "mounts a small disk, for which it must be root"]
fn a_full_disk_is_reported_and_room_is_all_it_takes_to_go_on() {
    let body = noise(3_000_000);
    let served = body.clone();
    // The length is not said, so that nothing can be known before.
    let server = Server::start(move |_, request, stream| {
        let from = request.from().unwrap_or(0);
        let range = format!("Content-Range: bytes {from}-{}/{}\r\n", served.len() - 1, served.len());
        let (status, range) = if from > 0 {
            ("206 Partial Content", range.as_str())
        } else {
            ("200 OK", "")
        };
        let _ = write!(
            stream,
            "HTTP/1.1 {status}\r\nETag: \"one\"\r\n{range}Connection: close\r\n\r\n"
        );
        let _ = stream.write_all(&served[from..]);
    });
    let place = Place::new();
    fs::create_dir(place.images()).unwrap();
    let script = r#"
        mount -t tmpfs -o size=2m tmpfs "$1"
        shift
        if "$@"; then exit 9; fi
        ls -A "$IMAGES" "$IMAGES/.fetch-rescue"
        mount -o remount,size=8m "$IMAGES"
        "$@" && cat "$IMAGES/rescue/linux" | sha256sum"#;
    let (url, sum, images) = (
        format!("{}linux", server.base),
        hex(&body),
        place.images().display().to_string(),
    );
    let output = Command::new("unshare")
        .args([
            "--mount",
            "sh",
            "-eu",
            "-c",
            script,
            "sh",
            &images,
            env!("CARGO_BIN_EXE_bootwright"),
        ])
        .args([
            "image", "fetch", "rescue", "--images", &images, "--kernel", &url, "--sha256", &sum,
        ])
        .env("IMAGES", &images)
        .output()
        .unwrap();
    let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{told}");
    assert!(
        told.contains("the disk is full") && told.contains("bytes of linux are kept"),
        "{told}"
    );
    assert!(
        told.contains("linux.part") && told.contains(&format!("{sum}  -")),
        "{told}"
    );
    assert!(server.requests().last().unwrap().from().is_some());
}
