//! Rung 3: what a hostile or broken machine sends.

use super::daemon::{Daemon, Line, ask_json};
use super::held::Held;
use super::namespace::{SERVER, Wire};
use super::room::Room;
use super::wire::{Rack, hear, throw};
use super::{SOON, poll};
use nix::sys::resource::{Resource, setrlimit};
use socket2::{Domain, Socket, Type};
use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    os::unix::fs::{lchown, symlink},
    time::Duration,
};

/// A file outside of every folder that is served; no answer may hold its words.
const SECRET: &str = "the-words-that-must-not-leave";

/// A room with a secret beside it and symlinks that lead there. A loader's is followed where root made it, so
/// that one is somebody else's.
fn room_with_a_secret() -> Room {
    let room = Room::new("").with_small_image(b"kernel");
    fs::write(room.path("secret"), SECRET).expect("a new file in our own folder");
    for link in ["loaders/link.efi", "images/small/link", "loaders/folder"] {
        let target = if link.ends_with("folder") {
            room.path("")
        } else {
            room.path("secret")
        };
        symlink(target, room.path(link)).expect("a new link in our own folder");
    }
    let nobody = Some(65_534);
    lchown(room.path("loaders/link.efi"), nobody, nobody).expect("the lab is run by root");
    room
}

/// Ways out of a folder that servers have fallen for.
const WAYS_OUT: &[&str] = &[
    "../secret",
    "/../secret",
    "../../secret",
    "loaders/../../secret",
    "image/small/../../secret",
    "image/small/../../../secret",
    "image/../../secret",
    "image/small/link",
    "link.efi",
    "folder/secret",
    "..%2fsecret",
    "%2e%2e/secret",
    "%2e%2e%2fsecret",
    "image/small/%2e%2e/%2e%2e/secret",
    "image/small/..%2f..%2f..%2fsecret",
    "image/%2e%2e/small/kernel.bin/../../../secret",
    "image/..%5c..%5csecret",
    "..\\secret",
    "....//secret",
    "//etc/passwd",
    "/etc/passwd",
    "etc/passwd",
    "image//etc/passwd",
    "image/small//etc/passwd",
    "%2fetc%2fpasswd",
    "image/small/%2fetc%2fpasswd",
    "%252e%252e/secret",
    "%c0%ae%c0%ae/secret",
    "answer/../../secret",
    "answer/r1u07/../../../secret",
    "snponly.efi%00.txt",
    "..%00/secret",
    "image/small/kernel.bin%00",
    "image/small/image.toml/../../../secret",
    "./../secret",
    "image/.hidden",
    "/proc/self/environ",
    "image/small/.",
    "image/small/..",
    "",
    "/",
    ".",
    "..",
];

#[test]
fn no_path_leads_out_of_the_folders_over_http() {
    let wire = Wire::new();
    let room = room_with_a_secret();
    let _daemon = Daemon::start(&wire, &room);
    let client = wire.client_at("02:00:00:00:00:51", "192.0.2.51");
    client.enter(|| {
        for way in WAYS_OUT {
            // Written by hand: curl would tidy the path up before it sends it.
            let path = if way.starts_with('/') {
                (*way).to_owned()
            } else {
                format!("/{way}")
            };
            let answer = http(&format!(
                "GET {path} HTTP/1.1\r\nHost: {SERVER}\r\nConnection: close\r\n\r\n"
            ));
            assert!(answer.starts_with("HTTP/1.1 4"), "{path}: {answer}");
            assert!(
                !answer.contains(SECRET) && !answer.contains("root:"),
                "{path}: {answer}"
            );
        }
    });
}

#[test]
fn no_path_leads_out_of_the_folders_over_tftp() {
    let wire = Wire::new();
    let room = room_with_a_secret();
    let _daemon = Daemon::start(&wire, &room);
    let client = wire.client_at("02:00:00:00:00:51", "192.0.2.51");
    client.enter(|| {
        for way in WAYS_OUT {
            // A request without a name is no request; it may go unanswered.
            let patience = if way.is_empty() { Duration::from_secs(2) } else { SOON };
            let answer = tftp(&read_request(way.as_bytes(), &[]), patience);
            assert!(
                answer.starts_with(&[0, 5]) || way.is_empty() && answer.is_empty(),
                "{way}: {answer:?}"
            );
        }
    });
}

#[test]
fn a_block_of_65464_bytes_is_negotiated_down() {
    let wire = Wire::new();
    let room = Room::new("");
    let daemon = Daemon::start(&wire, &room);
    let client = wire.client_at("02:00:00:00:00:52", "192.0.2.52");
    let before = daemon.resident_kb();
    client.enter(|| {
        let request = read_request(b"snponly.efi", &[("blksize", "65464"), ("windowsize", "65535")]);
        for _ in 0..50 {
            let answer = tftp(&request, SOON);
            assert!(answer.starts_with(&[0, 6]), "an OACK: {answer:?}");
            assert!(
                answer.windows(4).any(|four| four == b"1468"),
                "{}",
                String::from_utf8_lossy(&answer)
            );
        }
    });
    let grown = daemon.resident_kb().saturating_sub(before);
    assert!(grown < 8 * 1024, "fifty greedy transfers took {grown} kB");
}

#[test]
fn a_client_that_falls_silent_gets_six_packets_at_most() {
    let wire = Wire::new();
    let room = Room::new("");
    let _daemon = Daemon::start(&wire, &room);
    let client = wire.client_at("02:00:00:00:00:53", "192.0.2.53");
    let packets = client.enter(|| {
        let socket = said_to_tftp(0, &read_request(b"snponly.efi", &[]), Duration::from_secs(12));
        let mut buffer = [0; 2048];
        // Twelve quiet seconds are longer than the longest wait between two packets.
        std::iter::from_fn(|| hear(&socket, &mut buffer)).take(20).count()
    });
    assert!((1..=6).contains(&packets), "{packets} packets to a silent client");
}

#[test]
fn garbage_on_every_port_is_counted_and_changes_nothing() {
    let wire = Wire::new();
    let room = Room::new("");
    let mut daemon = Daemon::start(&wire, &room);
    let client = wire.client_at("02:00:00:00:00:54", "192.0.2.54");
    let other = wire.client_at("02:00:00:00:00:57", "192.0.2.57");
    let rack = Rack::new(&client);
    assert!(rack.lease(1).is_some(), "{}", daemon.log_tail());
    let counted = ask_json(&room, "status");
    let before = daemon.resident_kb();

    let garbage: Vec<Vec<u8>> = (0..2000)
        .map(noise)
        .chain((0..300).map(truncated))
        .chain(odd_lengths())
        .collect();
    for port in [67, 4011, 69] {
        throw(&client, port, &garbage);
    }
    client.enter(|| {
        for bytes in garbage.iter().take(100) {
            let Ok(mut stream) = TcpStream::connect((SERVER, 80)) else {
                continue;
            };
            let _ = stream.write_all(bytes);
        }
    });

    assert!(daemon.is_alive(), "{}", daemon.log_tail());
    assert!(rack.lease(2).is_some(), "leases go on\n{}", daemon.log_tail());
    let loader = format!("http://{SERVER}/snponly.efi");
    let fetch = ["-sSf", "-o", "/dev/null", &loader];
    other.expect("curl", &fetch);
    // More connections than one address may have: its places are free again once the daemon has seen
    // that they ended.
    let again = poll(SOON, || client.run("curl", &fetch).status.success().then_some(()));
    assert!(again.is_some(), "its own connections ended\n{}", daemon.log_tail());
    let panicked = daemon.lines().into_iter().find(|line| line.event == "panic");
    assert!(panicked.is_none(), "{panicked:?}");
    let counted_now = ask_json(&room, "status");
    assert_ne!(counted["counters"], counted_now["counters"], "garbage is counted");
    let grown = daemon.resident_kb().saturating_sub(before);
    assert!(grown < 16 * 1024, "garbage took {grown} kB");
}

#[test]
fn images_beyond_their_places_wait_and_nothing_else_does() {
    let wire = Wire::new();
    let room = Room::new("").with_debian().with_settings("[http]\nbulk_streams = 1\n");
    let daemon = Daemon::start(&wire, &room);
    let (holder, other) = (
        wire.client_at("02:00:00:00:00:55", "192.0.2.55"),
        wire.client_at("02:00:00:00:00:56", "192.0.2.56"),
    );
    let image = "/image/debian-12/initrd.gz";
    let first = Held::begin(&holder, image);
    let head = |arguments: &[&str], path: &str| {
        let url = format!("http://{SERVER}{path}");
        let all = [
            arguments,
            &["-sS", "-A", "iPXE/2.0.0", "-o", "/dev/null", "-D", "-", &url],
        ]
        .concat();
        String::from_utf8_lossy(&other.run("curl", &all).stdout).to_ascii_lowercase()
    };
    // What was written is counted a moment later.
    let is_under_way = || {
        let status = ask_json(&room, "status");
        (status["transfers"][0]["sent_bytes"].as_u64() > Some(0)).then_some(())
    };
    poll(SOON, is_under_way).expect("the first file is on its way");
    let busy = head(&["-r", "0-9"], image);
    assert!(busy.starts_with("http/1.1 503"), "the only place is taken: {busy}");
    let after = busy.lines().find_map(|line| line.strip_prefix("retry-after: "));
    let after: u32 = after.expect("a time to come back").trim().parse().expect("seconds");
    assert!((2..=5).contains(&after), "{busy}");
    let status = ask_json(&room, "status");
    let [transfer] = &status["transfers"].as_array().expect("a list")[..] else {
        panic!("one file is on its way: {status}");
    };
    let bytes = |name: &str| transfer[name].as_u64().expect("a number");
    assert_eq!(transfer["what"], "image debian-12/initrd.gz");
    assert_eq!(transfer["transport"], "http");
    assert!((1..=bytes("length_bytes")).contains(&bytes("sent_bytes")), "{transfer}");
    for (arguments, path) in [
        (&[][..], "/snponly.efi"),
        (&[], "/boot.ipxe?mac=02-00-00-00-00-56"),
        (&["-I"], image),
    ] {
        assert!(head(arguments, path).starts_with("http/1.1 200"), "{path}");
    }
    assert!(first.end().0, "the first client was cut");
    // Its place is free once the daemon has seen that it ended.
    let served = poll(SOON, || head(&[], image).starts_with("http/1.1 200").then_some(()));
    assert!(served.is_some(), "{}", daemon.log_tail());
    daemon.wait_for("the log says it", |line| {
        line.level == "WARN" && line.event == "image_files_wait"
    });
}

/// Connections with a head that does not end: nginx with its 768 connections serves nobody beside them.
const SLOW_HEADERS: usize = 2000;
/// As many as one address may have are fewer than that.
const SLOW_PER_ADDRESS: usize = 50;

#[test]
fn two_thousand_slow_headers_do_not_keep_a_machine_from_booting() {
    // Their sockets are this test's own.
    let open_files = nix::sys::resource::getrlimit(Resource::RLIMIT_NOFILE)
        .expect("a limit to read")
        .1;
    setrlimit(Resource::RLIMIT_NOFILE, open_files, open_files).expect("as many as are allowed");
    let wire = Wire::new();
    let room = Room::new("").with_small_image(b"kernel");
    let daemon = Daemon::start(&wire, &room);
    let slow = wire.client_at("02:00:00:00:00:55", "192.0.2.55");
    let quick = wire.client_at("02:00:00:00:00:56", "192.0.2.56");
    let sources: Vec<Ipv4Addr> = (0..SLOW_HEADERS / SLOW_PER_ADDRESS)
        .map(|number| Ipv4Addr::new(198, 18, 0, number as u8 + 1))
        .collect();
    slow.expect("ip", &["route", "add", "local", "198.18.0.0/24", "dev", "lo"]);
    wire.server
        .expect("ip", &["route", "add", "198.18.0.0/24", "via", "192.0.2.55"]);
    let held: Vec<TcpStream> = slow.enter(|| {
        let connect = |number: usize| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
            let from = SocketAddr::from((sources[number / SLOW_PER_ADDRESS], 0));
            socket.bind(&from.into()).ok()?;
            let server: SocketAddr = format!("{SERVER}:80").parse().ok()?;
            socket.connect(&server.into()).ok()?;
            let mut stream = TcpStream::from(socket);
            stream
                .write_all(b"GET /snponly.efi HTTP/1.1\r\nHost: slow\r\nX-Slow: ")
                .ok()?;
            Some(stream)
        };
        (0..SLOW_HEADERS).filter_map(connect).collect()
    });
    assert_eq!(held.len(), SLOW_HEADERS, "every connection came to be");
    let status = ask_json(&room, "status");
    assert_eq!(status["counters"]["http_full"], 0, "none was turned away: {status}");

    assert!(quick.gets_lease(&[]), "an address");
    for url in [
        format!("tftp://{SERVER}/snponly.efi"),
        format!("http://{SERVER}/snponly.efi"),
        format!("http://{SERVER}/boot.ipxe?mac=02-00-00-00-00-56"),
        format!("http://{SERVER}/image/small/kernel.bin"),
    ] {
        quick.expect("curl", &["-sSf", "-o", "/dev/null", &url]);
    }
    drop((held, daemon));
}

#[test]
fn servers_do_not_answer_each_other() {
    let wire = Wire::new();
    let room = Room::new("");
    let _daemon = Daemon::start(&wire, &room);
    let client = wire.client_at("02:00:00:00:00:57", "192.0.2.57");
    let answered = client.enter(|| {
        let socket = said_to_tftp(69, &read_request(b"missing", &[]), Duration::from_secs(2));
        hear(&socket, &mut [0; 512]).is_some()
    });
    assert!(!answered, "a packet from another server's port was answered");
    let answered = client.enter(|| {
        let socket = said_to_tftp(0, b"\0\x05\0\x01no such file\0", Duration::from_secs(2));
        hear(&socket, &mut [0; 512]).is_some()
    });
    assert!(!answered, "an ERROR was answered");
}

/// Sends a request as it is and reads the answer to its end.
fn http(request: &str) -> String {
    let mut stream = TcpStream::connect((SERVER, 80)).expect("the server listens");
    stream.set_read_timeout(Some(SOON)).expect("a timeout above zero");
    stream.write_all(request.as_bytes()).expect("the server reads");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// The socket at `port` (0: one that is free) that sent the TFTP server a packet; it waits no longer than
/// `patience` for an answer.
fn said_to_tftp(port: u16, packet: &[u8], patience: Duration) -> UdpSocket {
    let socket = UdpSocket::bind(("0.0.0.0", port)).expect("a socket in our own namespace");
    socket.set_read_timeout(Some(patience)).expect("a timeout above zero");
    socket.send_to(packet, (SERVER, 69)).expect("the server's port exists");
    socket
}

/// Sends one TFTP packet, again every second as clients do, and reads the first answer; then ends the
/// transfer.
fn tftp(request: &[u8], patience: Duration) -> Vec<u8> {
    let socket = said_to_tftp(0, request, Duration::from_secs(1));
    let mut buffer = [0; 2048];
    let heard = poll(patience, || {
        let heard = hear(&socket, &mut buffer);
        if heard.is_none() {
            socket.send_to(request, (SERVER, 69)).expect("the server's port exists");
        }
        heard
    });
    let Some((length, from)) = heard else { return Vec::new() };
    let _ = socket.send_to(b"\0\x05\0\0enough\0", from);
    buffer[..length].to_vec()
}

fn read_request(path: &[u8], options: &[(&str, &str)]) -> Vec<u8> {
    let mut request = vec![0, 1];
    request.extend_from_slice(path);
    request.extend_from_slice(b"\0octet\0");
    for (name, value) in options {
        request.extend_from_slice(format!("{name}\0{value}\0").as_bytes());
    }
    request
}

/// Bytes without a meaning, the same in every run.
fn noise(seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let length = seed as usize % 700;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

/// A DISCOVER as PXE ROMs send it.
fn discover() -> Vec<u8> {
    let mut packet = vec![1, 1, 6, 0, 0x42, 0x57, 0, 1];
    packet.resize(28, 0);
    packet.extend_from_slice(&[0x02, 0xCC, 0, 0, 0, 1]);
    packet.resize(236, 0);
    packet.extend_from_slice(&[99, 130, 83, 99, 53, 1, 1, 93, 2, 0, 7, 94, 3, 1, 3, 16, 60, 9]);
    packet.extend_from_slice(b"PXEClient\xff");
    packet
}

fn truncated(length: usize) -> Vec<u8> {
    let mut packet = discover();
    packet.truncate(length);
    packet
}

/// Every hardware address length, and option lengths that point past the end.
fn odd_lengths() -> impl Iterator<Item = Vec<u8>> {
    (0..=255_u8).flat_map(|length| {
        let mut hlen = discover();
        hlen[2] = length;
        let mut option = discover();
        option[241] = length;
        [hlen, option]
    })
}

#[test]
fn an_exhausted_pool_is_reported_once_and_counted_each_time() {
    let wire = Wire::new();
    let room = Room::new("");
    room.write(
        "inventory.toml",
        "[[subnet]]\ncidr = \"192.0.2.0/24\"\npool = [\"192.0.2.100-192.0.2.100\"]\n",
    );
    let daemon = Daemon::start(&wire, &room);
    let rack = Rack::new(&wire.client_at("02:00:00:00:00:fa", "192.0.2.250"));
    assert!(rack.lease(1).is_some());
    let rack = rack.impatient();
    for client in 2..5 {
        assert!(rack.discover(client).is_none());
    }
    // The clients gave up soon; the daemon may have been kept from their requests until now.
    let counted = || ask_json(&room, "status")["counters"]["dhcp_pool_exhausted"].as_u64();
    let all = poll(SOON, || (counted() >= Some(3)).then_some(()));
    assert!(all.is_some(), "{:?}\n{}", counted(), daemon.log_tail());
    let says_it = |line: &Line| {
        line.has(
            "pool_exhausted",
            &[("reason", "pool_used_up"), ("subnet", "192.0.2.0/24")],
        )
    };
    assert_eq!(daemon.wait_for("the used-up pool", says_it).level, "WARN");
    let times = daemon.lines().into_iter().filter(says_it).count();
    assert_eq!(times, 1, "{}", daemon.log_tail());
}
