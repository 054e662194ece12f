//! Rung 3: what the flight recorder has of a boot, as tshark reads it, and what a replay of it says.

use super::SOON;
use super::daemon::{Daemon, ask, ask_json_with};
use super::namespace::{INTERFACE, Namespace, SERVER, Wire, text};
use super::room::{ONE_LIVE_HOST, Room, bootwright};
use serde_json::Value;
use std::{fs, path::Path, process::Command};
use tempfile::TempDir;

const MAC: &str = "02:00:00:00:00:41";
/// One that no install has.
const TOKEN: &str = "30313233343536373839616263646566";

fn room() -> Room {
    Room::new(ONE_LIVE_HOST)
        .with_script("who", "#!ipxe\necho {{ name }}\n")
        .with_small_image(&[7; 100_000])
}

/// A boot by hand: firmware's DHCP by dhclient, a loader by tftp, the script and files by curl.
fn boots(client: &Namespace, folder: &Path) {
    let file = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let settings = "option arch code 93 = unsigned integer 16;\nsend arch 7;\n\
                    send vendor-class-identifier \"PXEClient:Arch:00007:UNDI:003016\";\n";
    fs::write(folder.join("dhclient.conf"), settings).expect("our own folder");
    let [settings, leases, pid, loader] = ["dhclient.conf", "leases", "pid", "loader"].map(file);
    let files = ["-cf", &settings, "-lf", &leases, "-pf", &pid, "-sf", "/bin/true"];
    client.expect("dhclient", &[&["-4", "-1"], &files[..], &["eth0"]].concat());
    client.expect("tftp", &["-m", "binary", SERVER, "-c", "get", "snponly.efi", &loader]);
    assert!(fs::metadata(&loader).is_ok_and(|loader| loader.len() > 100_000));
    client.run(
        "tftp",
        &["-m", "binary", SERVER, "-c", "get", "nothing.efi", &file("nothing")],
    );
    let get = |path: &str, more: &[&str]| {
        let url = format!("http://{SERVER}{path}");
        client.run("curl", &[&["-s", "-o", "/dev/null", &url], more].concat())
    };
    get(
        &format!("/boot.ipxe?mac={}", MAC.replace(':', "-")),
        &["-H", "Authorization: Basic c2VjcmV0"],
    );
    get("/image/small/kernel.bin", &[]);
    get("/image/small/nothing", &[]);
    get(&format!("/callback/r1u01/{TOKEN}/done"), &[]);
}

/// Fields of each packet that tshark finds, a line each, and that it has nothing to complain of.
fn tshark(file: &Path, fields: &[&str]) -> Vec<Vec<String>> {
    let mut command = Command::new("tshark");
    command
        .arg("-r")
        .arg(file)
        .args(["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"]);
    command.args(["-T", "fields", "-E", "separator=|"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let output = command.output().expect("package tshark is installed");
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    // It says so of whoever runs it.
    let complaints: Vec<&str> = complaints
        .lines()
        .filter(|line| !line.contains("Running as user"))
        .collect();
    assert!(output.status.success() && complaints.is_empty(), "{complaints:#?}");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    shown
        .lines()
        .map(|line| line.split('|').map(str::to_owned).collect())
        .collect()
}

/// What is in a column, without what is empty.
fn column(rows: &[Vec<String>], at: usize) -> Vec<&str> {
    rows.iter()
        .map(|row| &*row[at])
        .filter(|cell| !cell.is_empty())
        .collect()
}

fn capture(room: &Room, file: &Path) {
    let file = file.to_string_lossy().into_owned();
    let output = ask(room, &["capture", "r1u01", "-o", &file]);
    assert!(output.status.success(), "{}", text(&output));
}

fn replay(room: &Room, file: &Path) -> Value {
    let (file, config) = (
        file.to_string_lossy().into_owned(),
        room.config().to_string_lossy().into_owned(),
    );
    let output = bootwright(&["replay", &file, "--config", &config, "--json"]);
    assert!(output.status.success(), "{}", text(&output));
    serde_json::from_slice(&output.stdout).expect("--json prints JSON")
}

fn of_each<'v>(list: &'v Value, field: &str) -> Vec<&'v str> {
    let items = list.as_array().expect("a list");
    items.iter().map(|item| item[field].as_str().unwrap_or("-")).collect()
}

#[test]
fn a_boot_is_captured_as_tshark_reads_it_and_replayed_to_the_same_answers() {
    let (wire, room, folder) = (Wire::new(), room(), TempDir::new().expect("a temporary folder"));
    let daemon = Daemon::start(&wire, &room);
    let client = wire.client_at(MAC, "192.0.2.41");
    let file = folder.path().join("r1u01.pcapng");
    let none = ask(&room, &["capture", "r1u01", "-o", &file.to_string_lossy()]);
    assert!(!none.status.success() && !file.exists(), "{}", text(&none));

    boots(&client, folder.path());
    daemon.wait_for("the callback", |line| line.is("r1u01", "failed", &["callback_refused"]));
    capture(&room, &file);
    let fields = [
        "frame.protocols",
        "dhcp.option.dhcp",
        "tftp.opcode",
        "tftp.source_file",
        "http.request.uri",
        "http.response.code",
        "eth.src",
        "ip.src",
        "frame.interface_name",
        "frame.comment",
    ];
    let rows = tshark(&file, &fields);
    // DISCOVER, OFFER, REQUEST, ACK.
    assert_eq!(column(&rows, 1), ["1", "2", "3", "5"]);
    // A request, its first block and its acknowledgement, the last one; a request, and an error.
    assert_eq!(column(&rows, 2), ["1", "3", "4", "4", "4", "1", "5"], "{rows:#?}");
    assert_eq!(column(&rows, 3), ["snponly.efi", "nothing.efi"]);
    let uris = column(&rows, 4);
    let script = format!("/boot.ipxe?mac={}", MAC.replace(':', "-"));
    assert_eq!(uris[..3], [&script, "/image/small/kernel.bin", "/image/small/nothing"]);
    assert_eq!(uris[3].replace('*', ""), "/callback/r1u01//done");
    assert_eq!(column(&rows, 5), ["200", "200", "404", "403"]);
    assert!(rows[0][6].starts_with(MAC) && rows[0][7] == "0.0.0.0", "{rows:#?}");
    assert!(rows.iter().all(|row| row[8] == INTERFACE), "{rows:#?}");
    assert!(rows[0][9].starts_with("offered 192.0.2.41"), "{rows:#?}");
    let wrong = tshark(&file, &["ip.checksum.status", "udp.checksum.status"]);
    assert!(wrong.iter().flatten().all(|status| status != "0"), "{wrong:#?}");
    let bytes = fs::read(&file).expect("it was written");
    for secret in [TOKEN.as_bytes(), b"c2VjcmV0"] {
        assert!(!bytes.windows(secret.len()).any(|part| part == secret));
    }
    let info = Command::new("capinfos")
        .arg("-T")
        .arg(&file)
        .output()
        .expect("it comes with tshark");
    assert!(info.status.success() && info.stderr.is_empty(), "{}", text(&info));

    let replayed = replay(&room, &file);
    let answers = &replayed["answers"];
    assert_eq!(
        of_each(answers, "event"),
        [
            "offered",
            "acknowledged",
            "sent",
            "failed",
            "sent",
            "sent",
            "failed",
            "-"
        ],
        "{answers:#}"
    );
    let same: Vec<&Value> = answers
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| &one["same_as_captured"])
        .collect();
    let known = [true, true, true, true, true, true, true].map(Value::from);
    assert_eq!(same[..7], known.each_ref()[..], "{answers:#}");
    let said = ask_json_with(&room, &["why", "r1u01"]);
    let (said, again) = (&said[0], &replayed["attempts"][0]);
    for field in ["host", "mac", "address", "progress", "outcome"] {
        assert_eq!(said[field], again[field], "{field}");
    }
    assert_eq!(again["verdict"]["cause"], "artifact_missing");

    // It is in memory alone.
    assert!(daemon.stop().success());
    let _daemon = Daemon::start(&wire, &room);
    let forgotten = ask(&room, &["capture", "r1u01", "-o", &file.to_string_lossy()]);
    assert!(!forgotten.status.success(), "{}", text(&forgotten));
}

#[test]
fn what_tcpdump_would_have_of_a_boot_is_replayed_too_and_the_recorder_is_switched_off_by_a_reload() {
    let (wire, room, folder) = (Wire::new(), room(), TempDir::new().expect("a temporary folder"));
    let daemon = Daemon::start(&wire, &room);
    room.write(
        "bootwright.toml",
        &(fs::read_to_string(room.config()).expect("our own file") + "\n[recorder]\nbytes = 0\n"),
    );
    assert!(ask(&room, &["reload"]).status.success(), "{}", daemon.log_tail());
    let client = wire.client_at(MAC, "192.0.2.41");
    let file = folder.path().join("any.pcap");
    // Linux's cooked packets, as `any` has them: dumpcap comes with tshark.
    let dumped = file.to_string_lossy().into_owned();
    let mut dumpcap = wire.server.command("dumpcap");
    let mut dumping = dumpcap
        .args(["-q", "-P", "-i", "any", "-w", &dumped])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("package tshark is installed");
    let begun = super::poll(SOON, || fs::metadata(&file).ok().filter(|file| file.len() >= 24));
    assert!(begun.is_some(), "dumpcap did not begin");
    boots(&client, folder.path());
    daemon.wait_for("the callback", |line| line.is("r1u01", "failed", &["callback_refused"]));
    let kept = ask(&room, &["capture", "r1u01", "-o", "-"]);
    assert!(!kept.status.success() && kept.stdout.is_empty(), "{}", text(&kept));

    // The kernel hands over what it has now and then.
    let expected = [
        "offered",
        "acknowledged",
        "sent",
        "failed",
        "sent",
        "sent",
        "failed",
        "failed",
    ];
    let dumped = super::poll(SOON, || {
        let replayed = replay(&room, &file);
        (of_each(&replayed["answers"], "event").len() == expected.len()).then_some(())
    });
    assert!(dumped.is_some(), "{:#}", replay(&room, &file));
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(dumping.id().cast_signed()),
        nix::sys::signal::Signal::SIGINT,
    )
    .expect("it is our child");
    dumping.wait().expect("it ends");
    let replayed = replay(&room, &file);
    let answers = &replayed["answers"];
    assert_eq!(of_each(answers, "event"), expected, "{answers:#}");
    let same = answers
        .as_array()
        .expect("a list")
        .iter()
        .all(|one| one["same_as_captured"] == true);
    assert!(same, "{answers:#}");
}
