//! Rung 3: machines that are switched off in the middle of what they fetch, and slow ones that are not.

use super::daemon::{Daemon, ask_json};
use super::held::Held;
use super::namespace::{Namespace, SERVER, TaskTracker, Wire};
use super::room::Room;
use super::wire::hear;
use super::{SOON, poll};
use bootwright::model::limits::{
    HTTP_UNACKNOWLEDGED_POLL_INTERVAL, HTTP_UNACKNOWLEDGED_TIMEOUT, TFTP_RETRANSMIT_MAX, TFTP_SILENT_PACKETS_MAX,
};
use nix::sys::signal::Signal;
use std::{
    fs,
    io::Write,
    net::{TcpStream, UdpSocket},
    process::Stdio,
    time::Duration,
};

const INITRD: &str = "/image/debian-12/initrd.gz";
/// As many as the test's clients take, none of which has its address by DHCP.
const SETTINGS: &str = "[http]\nbulk_streams = 3\n";
const KNOWN: &str = "mode = \"dhcp\"\nmachines_per_address = { \"192.0.2.0/24\" = 1 }";

fn counter(room: &Room, name: &str) -> u64 {
    ask_json(room, "status")["counters"][name].as_u64().expect("a count")
}

fn wait_for_count(room: &Room, name: &str, count: u64, timeout: Duration) {
    let counted = poll(timeout, || (counter(room, name) == count).then_some(()));
    let status = || ask_json(room, "status")["counters"].clone();
    assert!(counted.is_some(), "{name} is not {count}: {}", status());
}

/// A client that reads an image as fast as a slow disk takes it.
fn steady_reader(client: &Namespace) -> TaskTracker {
    let mut command = client.command("curl");
    command.args(["-sSf", "--limit-rate", "1M", "-m", "170", "-o", "/dev/null"]);
    command.arg(format!("http://{SERVER}{INITRD}"));
    TaskTracker(command.stderr(Stdio::null()).spawn().expect("curl is installed"))
}

/// A client that has the first block of a loader.
fn begin_by_tftp(client: &Namespace) -> UdpSocket {
    client.enter(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket in our own namespace");
        socket.set_read_timeout(Some(SOON)).expect("a timeout above zero");
        let request = b"\0\x01snponly.efi\0octet\0";
        socket.send_to(request, (SERVER, 69)).expect("the wire is up");
        let mut buffer = [0; 2048];
        let (length, from) = hear(&socket, &mut buffer).expect("the first block");
        assert_eq!((length, &buffer[..4]), (516, &[0, 3, 0, 1][..]));
        socket.send_to(&[0, 4, 0, 1], from).expect("the wire is up");
        socket
    })
}

#[test]
fn a_machine_that_is_switched_off_frees_its_places_and_one_that_reads_slowly_keeps_its_own() {
    let wire = Wire::new();
    let room = Room::new("").with_debian().with_settings(SETTINGS);
    room.set("mode = \"dhcp\"", KNOWN);
    let daemon = Daemon::start(&wire, &room);
    let slow = wire.client_at("02:00:00:00:00:71", "192.0.2.71");
    let off = wire.client_at("02:00:00:00:00:72", "192.0.2.72");
    let next = wire.client_at("02:00:00:00:00:73", "192.0.2.73");
    let reads_slowly = Held::begin(&slow, INITRD);
    let _full = Held::begin(&off, INITRD);
    let _steady = steady_reader(&off);
    let _loader = begin_by_tftp(&off);
    let transfers = || ask_json(&room, "status")["transfers"].as_array().map(Vec::len);
    let begun = poll(SOON, || (transfers() == Some(4)).then_some(()));
    assert!(begun.is_some(), "{:?} transfers\n{}", transfers(), daemon.log_tail());

    off.expect("ip", &["link", "set", "eth0", "down"]);
    let mut command = next.command("curl");
    command.args(["-sSf", "-m", "170", "-o", "/dev/null"]);
    command.arg(format!("http://{SERVER}{INITRD}"));
    let mut next = TaskTracker(command.spawn().expect("curl is installed"));
    wait_for_count(&room, "http_held", 1, SOON);
    let looked = HTTP_UNACKNOWLEDGED_TIMEOUT + HTTP_UNACKNOWLEDGED_POLL_INTERVAL * 2;
    wait_for_count(&room, "http_gone", 2, looked + SOON);
    let tries = TFTP_RETRANSMIT_MAX * TFTP_SILENT_PACKETS_MAX;
    wait_for_count(&room, "tftp_silent", 1, tries + SOON);
    let served = poll(SOON * 3, || next.0.try_wait().expect("our own child"));
    assert!(served.is_some_and(|status| status.success()), "{}", daemon.log_tail());

    let (is_whole, bytes) = reads_slowly.end();
    let expected = fs::read(room.path("images/debian-12/initrd.gz")).expect("imported");
    assert!(is_whole && bytes == expected, "{}", daemon.log_tail());
    assert_eq!((counter(&room, "http_stalled"), counter(&room, "http_gone")), (0, 2));

    // Who is gone and who closed the connection are two things.
    let closes = Held::begin(&slow, INITRD);
    drop(closes);
    let failed = |reason: &str| {
        let lines = daemon.lines();
        let failed = lines
            .iter()
            .filter(|line| line.event == "failed" && line.reason == reason);
        failed.map(|line| line.machine.clone()).collect::<Vec<_>>()
    };
    let ended = poll(SOON, || (failed("connection_ended") == ["192.0.2.71"]).then_some(()));
    assert!(ended.is_some(), "{}", daemon.log_tail());
    assert_eq!(
        failed("client_gone"),
        ["192.0.2.72", "192.0.2.72"],
        "{}",
        daemon.log_tail()
    );
}

#[test]
fn a_machine_that_never_acknowledges_the_head_it_was_promised_a_body_by_waits_no_longer() {
    let wire = Wire::new();
    let room = Room::new("").with_debian().with_settings("[http]\nbulk_streams = 1\n");
    let daemon = Daemon::start(&wire, &room);
    let holder = wire.client_at("02:00:00:00:00:71", "192.0.2.71");
    let off = wire.client_at("02:00:00:00:00:72", "192.0.2.72");
    let _only_place = Held::begin(&holder, INITRD);
    // It is off before the head can be sent: its connection waits in the kernel.
    daemon.signal(Signal::SIGSTOP);
    let _waits = off.enter(|| {
        let mut stream = TcpStream::connect((SERVER, 80)).expect("the kernel listens");
        write!(
            stream,
            "GET {INITRD} HTTP/1.1\r\nHost: x\r\nUser-Agent: GRUB 2.12-9+deb13u4\r\n\r\n"
        )
        .expect("the kernel takes it");
        stream
    });
    off.expect("ip", &["link", "set", "eth0", "down"]);
    daemon.signal(Signal::SIGCONT);
    wait_for_count(&room, "http_held", 1, SOON);
    let looked = HTTP_UNACKNOWLEDGED_TIMEOUT + HTTP_UNACKNOWLEDGED_POLL_INTERVAL * 2;
    wait_for_count(&room, "http_held_abandoned", 1, looked + SOON);
    let line = daemon.wait_for("the end of its wait", |line| line.reason == "wait_ended");
    assert_eq!((&*line.machine, &*line.field("by")), ("192.0.2.72", "client_gone"));
    assert_eq!(counter(&room, "http_gone"), 1);
}
