//! Rung 3: what machines log, by real loggers, joins their boot and takes nothing from anybody else.

use super::SOON;
use super::daemon::{Daemon, ask, ask_json, ask_json_with};
use super::namespace::{Namespace, SERVER, Wire, text};
use super::room::{ONE_LIVE_HOST, Room};
use bootwright::store::{self, records::attempts};
use serde_json::Value;
use std::{fs, net::UdpSocket};

/// One that no install has.
const TOKEN: &str = "30313233343536373839616263646566";
/// Lines of a flood, which one machine sends as fast as it can.
const FLOOD: u64 = 10_000;

fn room() -> Room {
    Room::new(ONE_LIVE_HOST)
        .with_script("who", "#!ipxe\necho {{ name }} {{ syslog }}\n")
        .with_small_image(&[7; 1000])
}

/// A host that has its script: there is a boot that lines can join.
fn booted(wire: &Wire) -> Namespace {
    let client = wire.client_at("02:00:00:00:00:41", "192.0.2.41");
    let script = format!("http://{SERVER}/boot.ipxe?mac=02-00-00-00-00-41");
    let script = client.expect("curl", &["-sSf", &script]);
    assert_eq!(
        String::from_utf8_lossy(&script),
        format!("#!ipxe\necho r1u01 {SERVER}\n")
    );
    client
}

/// The log of a machine's last boot, once it is as wanted.
fn log(room: &Room, daemon: &Daemon, machine: &str, is_so: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let found = super::poll(SOON, || {
        let listed = ask_json_with(room, &["why", machine]);
        let lines = listed[0]["log"]["lines"].as_array()?.clone();
        is_so(&lines).then_some(lines)
    });
    found.unwrap_or_else(|| panic!("{}\n{}", text(&ask(room, &["why", machine])), daemon.log_tail()))
}

/// Whether a line of a boot with these words is in the store, as a copy of its files has it.
fn is_on_disk(room: &Room, words: &str) -> bool {
    let copy = tempfile::tempdir().expect("a temporary folder");
    for entry in fs::read_dir(room.path("state")).expect("the state's folder") {
        let file = entry.expect("an entry").path();
        if let Some(name) = file.file_name().filter(|_| file.is_file()) {
            fs::copy(&file, copy.path().join(name)).expect("a copy of it");
        }
    }
    let Ok(opened) = store::open(copy.path()) else {
        return false;
    };
    let mut is_there = false;
    let taken = attempts::each(&*opened.store, |_, whole| {
        let lines = whole().map(|attempt| attempt.log.lines).unwrap_or_default();
        is_there |= lines.iter().any(|line| line.line.text.contains(words));
    });
    taken.is_ok() && is_there
}

fn counter(room: &Room, name: &str) -> u64 {
    ask_json(room, "status")["counters"][name].as_u64().expect("a counter")
}

/// Whether there is a line of that severity and program with these words.
fn has(lines: &[Value], severity: &str, tag: &str, words: &str) -> bool {
    let is_it = |line: &Value| {
        line["severity"] == severity
            && line["tag"] == tag
            && line["text"].as_str().is_some_and(|text| text.contains(words))
    };
    lines.iter().any(is_it)
}

#[test]
fn lines_of_real_loggers_stand_beneath_the_boot_of_their_machine() {
    let (wire, room) = (Wire::new(), room());
    let daemon = Daemon::start(&wire, &room);
    let client = booted(&wire);
    let logger = |more: &[&str]| {
        client.expect(
            "logger",
            &[&["--udp", "--server", SERVER, "--port", "514"], more].concat(),
        )
    };
    logger(&[
        "--rfc5424",
        "--priority",
        "daemon.err",
        "--tag",
        "netcfg",
        "no link\u{1b}[31m",
    ]);
    logger(&[
        "--rfc3164",
        "--priority",
        "user.info",
        "--tag",
        "partman",
        "a disk was found",
    ]);
    let callback = format!("bootwright=http://{SERVER}/callback/r1u01/{TOKEN} quiet");
    logger(&["--priority", "kern.notice", "--tag", "kernel", &callback]);
    // busybox's, as Debian's installer runs it: it hears its own /dev/log, and has a /dev of its own for that.
    let busybox = format!(
        "mount -t tmpfs none /dev && mknod /dev/null c 1 3 && chmod 666 /dev/null || exit 1
         busybox syslogd -n -R {SERVER} & logger=$!
         tries=0; until [ -S /dev/log ]; do tries=$((tries+1)); [ $tries -lt 100 ] || exit 1; sleep 0.1; done
         busybox logger -t main-menu -p daemon.warn 'menu item selected'
         sleep 1; kill $logger"
    );
    client.expect("unshare", &["--mount", "sh", "-c", &busybox]);
    let lines = log(&room, &daemon, "r1u01", |lines| {
        has(lines, "warning", "main-menu", "menu item selected")
    });
    assert!(has(&lines, "err", "netcfg", "no link\\x1b[31m"), "{lines:?}");
    assert!(has(&lines, "info", "partman", "a disk was found"), "{lines:?}");
    assert!(has(&lines, "notice", "kernel", "/callback/r1u01/****"), "{lines:?}");
    let shown = text(&ask(&room, &["why", "r1u01"]));
    assert!(
        shown.contains("The last lines of its own log:") && shown.contains("netcfg: no link\\x1b[31m"),
        "{shown}"
    );
    let events = text(&ask(&room, &["events"]));
    assert!(events.contains("menu item selected"), "{events}");
    for text in [&shown, &events, &daemon.log_tail()] {
        assert!(!text.contains(TOKEN) && !text.contains('\u{1b}'), "{text}");
    }
    // They are there after a kill, as the rest of the boot is.
    let is_written = || is_on_disk(&room, "menu item selected").then_some(());
    assert!(super::poll(SOON, is_written).is_some(), "{}", daemon.log_tail());
    daemon.crash();
    let daemon = Daemon::start(&wire, &room);
    log(&room, &daemon, "r1u01", |lines| has(lines, "err", "netcfg", "no link"));
}

#[test]
fn an_unlisted_machine_is_known_by_its_lease() {
    const MAC: &str = "02:00:00:00:00:42";
    let (wire, room) = (Wire::new(), room());
    let daemon = Daemon::start(&wire, &room);
    let client = wire.client(MAC);
    assert!(client.gets_lease(&["-V", "PXEClient:Arch:00000:UNDI:002001", "-x", "0x5d:0000"]));
    let leases = ask_json(&room, "leases");
    let address = leases[0]["address"].as_str().expect("it has one").to_owned();
    client.expect("ip", &["addr", "add", &format!("{address}/24"), "dev", "eth0"]);
    let line = [
        "--udp",
        "--server",
        SERVER,
        "--priority",
        "daemon.crit",
        "--tag",
        "init",
        "no root",
    ];
    client.expect("logger", &line);
    log(&room, &daemon, MAC, |lines| has(lines, "crit", "init", "no root"));
}

#[test]
fn a_flood_leaves_the_steps_the_other_machines_and_the_memory_as_they_were() {
    let (wire, room) = (Wire::new(), room());
    let daemon = Daemon::start(&wire, &room);
    let client = booted(&wire);
    let other = wire.client("02:00:00:00:00:42");
    assert!(other.gets_lease(&["-V", "PXEClient:Arch:00000:UNDI:002001", "-x", "0x5d:0000"]));
    let before = (ask_json_with(&room, &["why", "r1u01"]), daemon.resident_kb());
    client.enter(|| {
        let socket = UdpSocket::bind("192.0.2.41:0").expect("its own address");
        for number in 0..FLOOD {
            let line = format!("<13>flood: line {number} {}\n", "x".repeat(600));
            // What the kernel has no room for is lost, as of any flood.
            let _ = socket.send_to(line.as_bytes(), (SERVER, 514));
        }
    });
    let lines = log(&room, &daemon, "r1u01", |lines| {
        // One that comes while the kernel has no room is lost with the rest.
        client.expect("logger", &["--udp", "--server", SERVER, "--tag", "last", "the end"]);
        has(lines, "notice", "last", "the end")
    });
    assert_eq!(lines.len(), 20);
    let after = (ask_json_with(&room, &["why", "r1u01"]), daemon.resident_kb());
    assert_eq!(after.0[0]["steps"], before.0[0]["steps"]);
    let grown = after.1.saturating_sub(before.1);
    assert!(grown < 8192, "{grown} KiB more");
    let (received, omitted) = (counter(&room, "syslog_received"), counter(&room, "syslog_omitted"));
    println!("{received} of {FLOOD} lines were received, {omitted} not kept, and {grown} KiB of memory taken");
    assert!(
        received > 20 && omitted > 0 && omitted < received,
        "{received} {omitted}"
    );
    assert_eq!(counter(&room, "attempt_events_missed"), 0);
    // The events of both machines' boots are there, and the flood is a few.
    let events = text(&ask(&room, &["events", "--json"]));
    let events: Vec<Value> = events
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let count = |event: &str| events.iter().filter(|line| line["event"] == event).count();
    assert!(count("sent") >= 1 && count("acknowledged") >= 1, "{events:?}");
    assert!((1..60).contains(&count("logged")), "{}", count("logged"));
}

#[test]
fn lines_of_an_address_that_nobody_has_are_counted_and_not_kept() {
    let (wire, room) = (Wire::new(), room());
    let daemon = Daemon::start(&wire, &room);
    let stranger = wire.client_at("02:00:00:00:00:99", "192.0.2.77");
    for _ in 0..3 {
        stranger.expect("logger", &["--udp", "--server", SERVER, "who am I"]);
    }
    let counted = super::poll(SOON, || (counter(&room, "syslog_unknown") == 3).then_some(()));
    assert!(
        counted.is_some(),
        "{}\n{}",
        ask_json(&room, "status"),
        daemon.log_tail()
    );
    assert_eq!(counter(&room, "syslog_received"), 3);
    assert!(!text(&ask(&room, &["events"])).contains("who am I"));
}

#[test]
fn a_port_that_another_program_has_keeps_nobody_from_booting() {
    let (wire, room) = (Wire::new(), room());
    let _taken = wire
        .server
        .enter(|| UdpSocket::bind("0.0.0.0:514").expect("nobody has it yet"));
    let daemon = Daemon::start(&wire, &room);
    let line = daemon.wait_for("the port is taken", |line| line.event == "no_syslog");
    assert_eq!(line.level, "WARN");
    let tail = daemon.log_tail();
    assert!(
        tail.contains("UDP port 514") && tail.contains("[syslog]") && tail.contains("restart"),
        "{tail}"
    );
    booted(&wire);
}

#[test]
fn a_client_that_asks_for_a_log_server_is_told_ours_while_there_is_one() {
    let (wire, room) = (Wire::new(), room());
    let hook = room.path("hook");
    let told = room.path("told");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" != bound ] || echo \"$opt7\" > {}\n",
        told.display()
    );
    fs::write(&hook, script).expect("our own folder");
    let client = wire.client("02:00:00:00:00:43");
    let ask = |room: &Room| {
        let daemon = Daemon::start(&wire, room);
        let common = ["udhcpc", "-f", "-q", "-n", "-t", "15", "-i", "eth0", "-O", "7", "-s"];
        client.expect("busybox", &[&common[..], &[&hook.to_string_lossy()]].concat());
        assert!(daemon.stop().success());
        fs::read_to_string(&told).expect("the hook wrote it").trim().to_owned()
    };
    std::process::Command::new("chmod")
        .arg("755")
        .arg(&hook)
        .status()
        .expect("chmod runs");
    assert_eq!(ask(&room), "c0000201");
    let room = room.with_settings("[syslog]\nenabled = false\n");
    assert_eq!(ask(&room), "");
}
