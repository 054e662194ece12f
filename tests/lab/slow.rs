//! Rung 3: HTTP clients that are slow on purpose, from addresses that nobody was given by DHCP, reserved for hosts
//! that are off or not: a machine boots beside each of them.

use super::daemon::{Daemon, ask_json};
use super::namespace::{Namespace, SERVER, TaskTracker, Wire};
use super::room::Room;
use super::{SOON, poll};
use bootwright::model::limits::{
    HTTP_BULK_STREAMS_DEFAULT, HTTP_BULK_STREAMS_PER_CLIENT_MAX, HTTP_CONNECTIONS_MAX, HTTP_CONNECTIONS_PER_CLIENT_MAX,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};
use std::{
    fs,
    io::Write,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    process::Stdio,
};

/// A host with a reservation; any other machine has a lease.
const HOST: &str = "[[host]]\nname = \"r1u07\"\nmac = \"52:54:00:00:00:07\"\naddress = \"192.0.2.11\"\n";
const INITRD: &str = "/image/debian-12/initrd.gz";

/// What a machine fetches from its first packet to its image, each within the time that firmware has for it:
/// one with a reservation, and one with a lease.
fn boots(wire: &Wire, room: &Room, daemon: &Daemon, beside: &str) {
    let script = room.path("configure");
    let text = "#!/bin/sh\n[ \"$1\" = bound ] && ip addr replace \"$ip/24\" dev \"$interface\"\nexit 0\n";
    fs::write(&script, text).expect("a new file in our own folder");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("our own file");
    for mac in ["52:54:00:00:00:07", "52:54:00:00:00:99"] {
        let machine = wire.client(mac);
        let configured = machine.gets_lease(&["-s", &script.to_string_lossy()]);
        assert!(configured, "{mac} beside {beside}\n{}", daemon.log_tail());
        for url in [
            format!("tftp://{SERVER}/snponly.efi"),
            format!("http://{SERVER}/snponly.efi"),
            format!("http://{SERVER}/boot.ipxe?mac={mac}"),
            format!("http://{SERVER}{INITRD}"),
        ] {
            let fetched = machine.run("curl", &["-sSf", "-m", "120", "-o", "/dev/null", &url]);
            assert!(
                fetched.status.success(),
                "{mac} beside {beside}: {url}: {}\n{}",
                String::from_utf8_lossy(&fetched.stderr),
                daemon.log_tail()
            );
        }
    }
}

/// Namespaces whose one address each is nobody's.
fn strangers(wire: &Wire) -> Vec<Namespace> {
    let at = |number: u8| {
        wire.client_at(
            &format!("02:00:00:00:66:{number:02x}"),
            &format!("192.0.2.{}", 60 + number),
        )
    };
    (1..=4).map(at).collect()
}

#[test]
fn a_machine_boots_beside_each_attack_of_slowhttptest() {
    let wire = Wire::new();
    // As many streams as the attackers of the slow read could have for themselves.
    let room = Room::new(HOST)
        .with_debian()
        .with_settings("[http]\nbulk_streams = 24\n");
    let daemon = Daemon::start(&wire, &room);
    let attackers = strangers(&wire);
    let image = format!("http://{SERVER}{INITRD}");
    let loader = format!("http://{SERVER}/snponly.efi");
    // 60 connections of each address, for three minutes at most.
    let common = ["-c", "60", "-r", "60", "-l", "180", "-i", "5"];
    let attacks: [(&str, &[&str], &str); 4] = [
        ("slow headers", &["-H"], &loader),
        ("slow bodies", &["-B", "-s", "100000"], &loader),
        ("ranges", &["-R", "-a", "10", "-b", "3000", "-t", "GET"], &image),
        (
            "slow reads",
            &["-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32", "-k", "3"],
            &image,
        ),
    ];
    for (name, mode, url) in attacks {
        let before = ask_json(&room, "status")["counters"]["http_connections"].as_u64();
        let running: Vec<TaskTracker> = attackers
            .iter()
            .map(|attacker| {
                let mut command = attacker.command("slowhttptest");
                command.args(mode).args(common).args(["-u", url]);
                let command = command.stdout(Stdio::null()).stderr(Stdio::null());
                TaskTracker(
                    command
                        .spawn()
                        .expect("tests/install-packages.sh installs slowhttptest"),
                )
            })
            .collect();
        let connected = || {
            let now = ask_json(&room, "status")["counters"]["http_connections"].as_u64();
            (now >= before.map(|before| before + 200)).then_some(())
        };
        poll(SOON, connected).unwrap_or_else(|| panic!("{name} did not begin\n{}", daemon.log_tail()));
        boots(&wire, &room, &daemon, name);
        drop(running);
    }
}

/// So many connections from addresses that are nobody's, so many of each, all of which said `words`.
fn connect(wire: &Wire, (number, each): (usize, usize), words: &[u8]) -> (Namespace, Vec<TcpStream>) {
    let attacker = wire.client_at("02:00:00:00:66:ff", "192.0.2.66");
    attacker.expect("ip", &["route", "add", "local", "198.18.0.0/16", "dev", "lo"]);
    wire.server
        .expect("ip", &["route", "add", "198.18.0.0/16", "via", "192.0.2.66"]);
    let open = |at: usize| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
        // It takes little, so that the server's own buffers stay small as well.
        socket.set_recv_buffer_size(4096).ok()?;
        let from = Ipv4Addr::from_bits(READERS_FROM + u32::try_from(at / each).ok()?);
        socket.bind(&SocketAddr::from((from, 0)).into()).ok()?;
        let server: SocketAddr = format!("{SERVER}:80").parse().ok()?;
        socket.connect(&server.into()).ok()?;
        let mut stream = TcpStream::from(socket);
        stream.write_all(words).ok()?;
        Some(stream)
    };
    let held: Vec<TcpStream> = attacker.enter(|| (0..number).filter_map(open).collect());
    (attacker, held)
}

fn open_many_files() -> u64 {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit to read");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("as many as are allowed");
    most
}

#[test]
fn a_machine_boots_beside_slow_readers_that_would_hold_every_image_stream() {
    slow_readers_hold_their_share(&Room::new(HOST).with_debian());
}

#[test]
fn a_machine_boots_beside_slow_readers_at_the_addresses_of_hosts_that_are_off() {
    let subnet = "[[subnet]]\ncidr = \"198.18.0.0/16\"\n".to_owned();
    let off = (0..READERS.div_ceil(HTTP_BULK_STREAMS_PER_CLIENT_MAX)).map(|number| {
        let address = Ipv4Addr::from_bits(READERS_FROM + u32::try_from(number).expect("few"));
        format!("[[host]]\nname = \"off{number}\"\nmac = \"02:0f:00:00:00:{number:02x}\"\naddress = \"{address}\"\n")
    });
    let hosts: String = [HOST.to_owned(), subnet].into_iter().chain(off).collect();
    slow_readers_hold_their_share(&Room::new(&hosts).with_debian());
}

/// The address of the first of those that `connect`, and the others beside it.
const READERS_FROM: u32 = 0xC612_0001;
/// More than there are image streams.
const READERS: usize = HTTP_BULK_STREAMS_DEFAULT + 76;

fn slow_readers_hold_their_share(room: &Room) {
    open_many_files();
    let wire = Wire::new();
    let daemon = Daemon::start(&wire, room);
    let ask = format!("GET {INITRD} HTTP/1.1\r\nHost: slow\r\n\r\n");
    let readers = READERS;
    let (_attacker, held) = connect(&wire, (readers, HTTP_BULK_STREAMS_PER_CLIENT_MAX), ask.as_bytes());
    assert_eq!(held.len(), readers, "every reader came in");
    // As many of them as strangers may have are under way.
    let under_way = || ask_json(room, "status")["transfers"].as_array().map(Vec::len);
    let share = poll(SOON, || {
        (under_way() == Some(HTTP_BULK_STREAMS_DEFAULT / 2)).then_some(())
    });
    assert!(
        share.is_some(),
        "{:?} transfers under way\n{}",
        under_way(),
        daemon.log_tail()
    );
    boots(&wire, room, &daemon, "slow readers");
    drop(held);
}

#[test]
fn a_machine_boots_beside_slow_headers_that_would_hold_every_connection() {
    let open_files = open_many_files();
    let wire = Wire::new();
    let room = Room::new(HOST).with_debian();
    let mut daemon = Daemon::start(&wire, &room);
    // A connection takes two descriptors of four tenths of all that the daemon may have.
    let connections = usize::try_from(open_files.min(65_536) / 10 * 4 / 2).expect("a small number");
    let slow = connections.min(HTTP_CONNECTIONS_MAX) + 400;
    let words = b"GET /snponly.efi HTTP/1.1\r\nHost: slow\r\nX-Slow: ";
    let (_attacker, held) = connect(&wire, (slow, HTTP_CONNECTIONS_PER_CLIENT_MAX - 4), words);
    assert!(held.len() > slow - 100, "{} of {slow} connections", held.len());
    let gave_way = || ask_json(&room, "status")["counters"]["http_evicted"].as_u64();
    assert!(
        poll(SOON, || (gave_way() > Some(0)).then_some(())).is_some(),
        "the oldest of them gave way\n{}",
        daemon.log_tail()
    );
    boots(&wire, &room, &daemon, "slow headers");
    // A stranger that says what it wants is served, too.
    let other = wire.client_at("02:00:00:00:66:fe", "192.0.2.67");
    let url = format!("http://{SERVER}/snponly.efi");
    other.expect("curl", &["-sSf", "-m", "60", "-o", "/dev/null", &url]);
    assert!(daemon.is_alive(), "{}", daemon.log_tail());
    drop(held);
}
