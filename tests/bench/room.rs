//! What 10,000 and 100,000 hosts cost, each with a script and an answer: the time of `bootwright check`, of `serve` until
//! it says READY, the daemon's memory, a reload for one changed host, and how late a packet is answered meanwhile; that
//! what is wrong with one host among 100,000 is found; and the time of `why`, `hosts` and `events` while as many attempts
//! are kept as ever are. Each start after the first is one after SIGKILL.
//!
//! `make bench-room` runs it with the profile of an installed daemon. `BINARY` is another program to measure, and
//! `OLD` one to be measured beside it; `PARTS` is some of `rooms faults attempts`. `serve` runs in network namespaces
//! that are joined to nothing and needs root; without root those figures are left out, and the output says so.

use bootwright::{
    attempt::Attempt,
    lease::{LeaseRecord, LeaseTable},
    model::{MacAddr, Now, WallTime, limits::ATTEMPTS_KEPT_MAX},
    store::{self, records::attempts},
};
use serde_json::{Value, json};
use std::{
    env,
    fmt::Write as _,
    fs,
    io::{self, Read as _},
    net::{Ipv4Addr, UdpSocket},
    os::unix::{fs::PermissionsExt, net::UnixDatagram},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tempfile::TempDir;

const HOSTS: u32 = 10_000;
/// The rooms that are measured.
const ROOMS: [u32; 2] = [HOSTS, 100_000];
/// Reloads of each start, and as many starts.
const RELOADS: usize = 5;
/// Hosts that are asked for, one after the other.
const WHY_RUNS: u32 = 25;
const RUNS: usize = 5;
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// What a start and a reload do behind themselves is done by then.
const SETTLING: Duration = Duration::from_secs(2);
/// Both ends of the wire, and the word by which this program is the client there.
const SERVER: &str = "198.18.0.1";
const RELAY: &str = "198.18.0.9";
const ASK: &str = "--ask-every-millisecond";

/// Leases whose copying is measured: packets wait while `explain` does that.
const LEASES: u32 = 100_000;

fn main() {
    let arguments: Vec<String> = env::args().collect();
    if let [_, word, server, relay] = &arguments[..]
        && word == ASK
    {
        return ask(server.parse().expect("an address"), relay.parse().expect("an address"));
    }
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    println!("{profile} profile, median of {RUNS} runs");
    let parts = env::var("PARTS").unwrap_or_else(|_| "rooms faults attempts".to_owned());
    let has = |part: &str| parts.split_whitespace().any(|one| one == part);
    let is_root = nix::unistd::Uid::effective().is_root();
    if !is_root {
        println!("{:32} not measured: it needs root", "bootwright serve");
    }
    if has("rooms") {
        let mut figures = Figures::begin();
        for hosts in ROOMS {
            for (server, program) in programs() {
                measure((hosts, is_root), (&server, &program), &mut figures);
            }
        }
    }
    if has("faults") {
        faults(ROOMS[1]);
    }
    if has("attempts") {
        copies_of_leases();
        if is_root {
            attempts(&room(HOSTS));
        }
    }
}

/// Who is measured: the program of this build or `BINARY`, and beside it `OLD`.
fn programs() -> Vec<(String, PathBuf)> {
    let old = env::var_os("OLD").map(|old| ("before".to_owned(), PathBuf::from(old)));
    let ours = ("ours".to_owned(), program());
    [ours].into_iter().chain(old).collect()
}

fn program() -> PathBuf {
    env::var_os("BINARY").map_or_else(|| env!("CARGO_BIN_EXE_bootwright").into(), PathBuf::from)
}

/// One room and one program.
fn measure((hosts, is_root): (u32, bool), (server, program): (&str, &Path), figures: &mut Figures) {
    let folder = room(hosts);
    println!("{server}: an inventory of {hosts} hosts, each with a script and an answer");
    let thousands = hosts / 1000;
    let checks: Vec<Duration> = (0..RUNS).map(|_| check(&folder, program)).collect();
    figures.keep(
        &format!("check, {thousands},000 hosts (s)"),
        server,
        report("bootwright check", checks),
    );
    if !is_root {
        return;
    }
    let wire = Wire::new();
    let (mut starts, mut resident, mut reloads) = (Vec::new(), Vec::new(), Vec::new());
    let mut latest = Duration::ZERO;
    for start in 0..RUNS {
        let (took, daemon) = Daemon::start(&folder, (program, &wire));
        starts.push(took);
        // What a start leaves to be done behind it.
        thread::sleep(SETTLING);
        resident.push(daemon.resident_kb() / 1024);
        if start == 0 {
            let asking = Asking::begin(&wire);
            for reload in 0..RELOADS {
                reloads.push(reload_one(&folder, program, u32::try_from(reload).expect("a few")));
                thread::sleep(SETTLING);
            }
            latest = asking.end();
            println!("{:32} {} MiB", "memory after reloads", daemon.resident_kb() / 1024);
        }
    }
    figures.keep(
        &format!("start, {thousands},000 hosts (s)"),
        server,
        report("bootwright serve, to READY", starts),
    );
    resident.sort_unstable();
    println!("{:32} {} MiB", "memory of the daemon", resident[resident.len() / 2]);
    figures.keep(
        &format!("memory, {thousands},000 hosts (MiB)"),
        server,
        resident[resident.len() / 2] as f64,
    );
    figures.keep(
        &format!("reload of one of {thousands},000 hosts (s)"),
        server,
        report("reload of one changed host", reloads),
    );
    println!(
        "{:32} {:.1} ms",
        "the latest packet meanwhile",
        latest.as_secs_f64() * 1000.0
    );
    figures.keep(
        &format!("latest packet meanwhile, {thousands},000 hosts (ms)"),
        server,
        latest.as_secs_f64() * 1000.0,
    );
}

/// Changes a value of one host, and has the daemon read it: how long from the file to the new generation.
fn reload_one(folder: &TempDir, program: &Path, turn: u32) -> Duration {
    let path = folder.path().join("inventory.toml");
    let text = fs::read_to_string(&path).expect("our own file");
    let middle = text.len() / 2;
    let at = middle + text[middle..].find("/dev/vd").expect("every host has one") + "/dev/vd".len();
    let letter = ["b", "c", "d", "e", "f"][turn as usize % 5];
    let changed = [&text[..at], letter, &text[at + 1..]].concat();
    let new = folder.path().join("inventory.new");
    fs::write(&new, changed).expect("room on the disk");
    let start = Instant::now();
    fs::rename(new, path).expect("our own file");
    let socket = folder.path().join("admin.sock").display().to_string();
    run_by(program, &["reload", "--socket", &socket]);
    start.elapsed()
}

/// What is wrong with one host among all is found, and named.
fn faults(hosts: u32) {
    let folder = room(hosts);
    let path = folder.path().join("inventory.toml");
    let sound = fs::read_to_string(&path).expect("our own file");
    let odd = hosts / 3;
    let (name, own) = (
        host_name(odd),
        format!("vars = {{ disk = \"/dev/vda\", rack = {} }}", odd / 40),
    );
    let begins = sound.find(&format!("\"{name}\"")).expect("it is listed");
    let at = begins + sound[begins..].find(&own).expect("it has them");
    for (what, lines) in [
        ("a variable that it lacks", "vars = { rack = 7 }".to_owned()),
        (
            "a value that a filter refuses",
            "vars = { disk = \"/dev/vda\", locale = \"a b\" }".to_owned(),
        ),
        (
            "keys of another kind, in a branch",
            "vars = { disk = \"/dev/vda\", ssh_keys = 7 }".to_owned(),
        ),
        (
            "an answer that is not there",
            "vars = { disk = \"\", tasks = \"a\" }\nanswer = \"gone\"".to_owned(),
        ),
        (
            "parameters that are too long",
            format!("{own}\ncmdline = [\"{}\"]", "x".repeat(2100)),
        ),
    ] {
        fs::write(&path, [&sound[..at], &lines, &sound[at + own.len()..]].concat()).expect("room on the disk");
        let output = Command::new(program())
            .args(["check", &config(&folder).display().to_string()])
            .output()
            .expect("the program runs");
        let said = String::from_utf8_lossy(&output.stderr);
        let is_named = said.contains(&format!("host `{name}`")) || said.contains("no answer `gone`");
        assert!(is_named, "{what}: {said}");
        println!("{:32} found among {hosts} hosts", what);
    }
}

/// How long `explain` keeps the lease table to itself.
fn copies_of_leases() {
    let expires = WallTime(2_000_000_000);
    let leases = (0..LEASES).map(|number| LeaseRecord {
        address: Ipv4Addr::from(0xC612_0100 + number),
        client: MacAddr([
            2,
            0,
            0,
            number.to_be_bytes()[1],
            number.to_be_bytes()[2],
            number.to_be_bytes()[3],
        ])
        .into(),
        expires,
    });
    let mut table = LeaseTable::default();
    let now = Now {
        wall: WallTime(expires.0 - 3600),
        ..Now::START
    };
    assert_eq!(table.restore(now, leases.collect()), []);
    let copy = |_| {
        let start = Instant::now();
        let copy = std::hint::black_box(table.clone());
        let elapsed = start.elapsed();
        drop(copy);
        elapsed
    };
    report(&format!("a copy of {LEASES} leases"), (0..RUNS).map(copy).collect());
}

/// What the attempts cost that are kept of these hosts: a start, memory, and an answer.
fn attempts(folder: &TempDir) {
    let (wire, program) = (Wire::new(), program());
    let start = || Daemon::start(folder, (&program, &wire));
    drop(start());
    fill(&folder.path().join("state"));
    println!("{HOSTS} hosts with {ATTEMPTS_KEPT_MAX} attempts kept");
    let starts = (0..RUNS).map(|_| start().0).collect();
    report("bootwright serve, to READY", starts);
    let (_, daemon) = start();
    let socket = folder.path().join("admin.sock").display().to_string();
    let asked = |arguments: &[&str]| {
        let start = Instant::now();
        run(&[arguments, &["--socket", &socket, "--json"]].concat());
        start.elapsed()
    };
    let hosts = || (0..WHY_RUNS).map(|run| run * (HOSTS / WHY_RUNS));
    let of_one = |what: &str, name: &dyn Fn(u32) -> String, more: &[&str]| {
        let times = hosts().map(|host| asked(&[&["why", &name(host)], more].concat()));
        report(what, times.collect());
    };
    of_one("bootwright why HOST", &host_name, &[]);
    of_one("bootwright why MAC", &mac, &[]);
    of_one("bootwright why SERIAL", &serial, &[]);
    of_one("bootwright why ADDRESS", &|host| address(host).to_string(), &[]);
    of_one("bootwright why HOST --all", &host_name, &["--all"]);
    let of_all = |command: &str| {
        let times = (0..RUNS).map(|_| asked(&[command])).collect();
        report(&format!("bootwright {command} (every host)"), times);
    };
    of_all("why");
    of_all("hosts");
    of_all("events");
    println!("{:32} {} MiB", "memory of the daemon", daemon.resident_kb() / 1024);
    let files = fs::read_dir(folder.path().join("state")).expect("its folder").flatten();
    let bytes: u64 = files
        .filter_map(|file| file.metadata().ok())
        .map(|file| file.len())
        .sum();
    println!("{:32} {} MiB", "its files", bytes / (1024 * 1024));
}

/// Writes so many attempts as are kept, of all hosts in turn, each of a machine that booted and asked for its answer.
fn fill(state: &Path) {
    let opened = store::open(state).expect("the daemon's own store");
    let began = SystemTime::now().duration_since(UNIX_EPOCH).expect("a date").as_secs() - 30 * 24 * 3600;
    let kept = u32::try_from(ATTEMPTS_KEPT_MAX).expect("a bound");
    let attempt = |number: u32| -> Attempt {
        let began = began + u64::from(number);
        let step = |at_ms: u32, stage: &str, event: &str, more: Value| {
            let mut step = json!({"at_ms": at_ms, "until_ms": at_ms, "times": 1, "stage": stage, "event": event});
            let fields = step.as_object_mut().expect("an object");
            fields.extend(more.as_object().expect("an object").clone());
            step
        };
        let address = json!({"address": "198.18.3.7", "boot": "loader"});
        let file = |file: &str, kind: &str| json!({"file": file, "file_kind": kind, "bytes": 12_000_000});
        let steps = [
            step(0, "uefi-pxe", "offered", address.clone()),
            step(3100, "uefi-pxe", "acknowledged", address.clone()),
            step(3400, "uefi-pxe", "sent", file("loader snponly.efi", "loader")),
            step(3900, "ipxe", "sent", file("autoexec.ipxe", "autoexec")),
            step(8000, "ipxe", "offered", address.clone()),
            step(8100, "ipxe", "acknowledged", address),
            step(8200, "ipxe", "sent", file("script debian-installer", "script")),
            step(9000, "ipxe", "sent", file("image debian-12/linux", "artifact")),
            step(10_000, "ipxe", "sent", file("image debian-12/initrd.gz", "artifact")),
            step(
                70_000,
                "system",
                "acknowledged",
                json!({"address": "198.18.3.7", "boot": "not_firmware"}),
            ),
            step(90_000, "system", "sent", file("answer preseed.cfg", "answer")),
        ];
        let of = json!({"id": began * 1000, "owner": {"host": host_name(number % HOSTS)}, "mac": "52:54:00:00:00:07",
            "generation": 3, "began": began, "last_ms": 90_000, "progress": "answer", "steps": steps, "omitted": 0});
        serde_json::from_value(of).expect("an attempt")
    };
    for thousand in 0..kept / 1000 {
        let numbers = thousand * 1000..(thousand + 1) * 1000;
        let written: Vec<Attempt> = numbers.map(attempt).collect();
        opened
            .store
            .commit(&attempts::puts(&written))
            .expect("room on the disk");
    }
}

/// Says times, and returns their median in seconds.
fn report(what: &str, mut times: Vec<Duration>) -> f64 {
    times.sort();
    let seconds = |time: Duration| time.as_secs_f64();
    println!(
        "{what:32} {:.3} s  ({:.3} to {:.3})",
        seconds(times[times.len() / 2]),
        seconds(times[0]),
        seconds(times[times.len() - 1])
    );
    seconds(times[times.len() / 2])
}

/// A room as large as the daemon is made for: racks of forty, each host with variables of its own.
fn room(hosts: u32) -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("our own folder");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::create_dir(folder.path().join("images")).expect("a new folder");
    fs::write(folder.path().join("kernel"), b"kernel").expect("a new file");
    fs::write(folder.path().join("initrd"), b"initrd").expect("a new file");
    let (kernel, initrd, images) = (path("kernel"), path("initrd"), path("images"));
    run(&[
        "image",
        "add",
        "debian-12",
        "--kernel",
        &kernel,
        "--initrd",
        &initrd,
        "--images",
        &images,
    ]);
    let appliance = format!(
        "[network]\ninterfaces = [\"eno2\"]\n[paths]\ninventory = \"inventory.toml\"\nscripts = \"{}\"\n\
         answers = \"{}\"\nimages = \"images\"\nloaders = [\"/usr/lib/ipxe\"]\n[state]\npath = \"{}\"\n\
         [admin]\nsocket = \"{}\"\n",
        shipped.join("ipxe-scripts").display(),
        shipped.join("config/answers").display(),
        path("state"),
        path("admin.sock"),
    );
    fs::write(config(&folder), appliance).expect("a new file");
    fs::write(folder.path().join("inventory.toml"), inventory(hosts)).expect("a new file");
    folder
}

fn config(folder: &TempDir) -> PathBuf {
    folder.path().join("bootwright.toml")
}

fn host_name(host: u32) -> String {
    let (rack, unit) = (host / 40, host % 40);
    format!("r{rack}u{unit:02}")
}

fn mac(host: u32) -> String {
    let [_, a, b, c] = host.to_be_bytes();
    format!("52:54:00:{a:02x}:{b:02x}:{c:02x}")
}

fn serial(host: u32) -> String {
    format!("SN{host:06}")
}

fn address(host: u32) -> Ipv4Addr {
    Ipv4Addr::from(0xC612_0100 + host)
}

fn inventory(hosts: u32) -> String {
    let mut text = String::from(
        "[[subnet]]\ncidr = \"198.18.0.0/15\"\nrouter = \"198.18.0.1\"\ndns = [\"198.18.0.1\"]\n\
         pool = [\"198.19.200.0-198.19.255.0\"]\nlease = \"1h\"\n\n\
         [profile.base]\ncmdline = [\"console=ttyS0,115200\"]\nvars = { timezone = \"UTC\" }\n\n\
         [profile.worker]\ninherits = [\"base\"]\nimage = \"debian-12\"\nboot = \"live\"\n\
         script = \"debian-installer\"\nanswer = \"preseed\"\n",
    );
    for host in 0..hosts {
        let rack = host / 40;
        writeln!(
            text,
            "\n[[host]]\nname = \"{}\"\nmac = \"{}\"\nserial = \"{}\"\naddress = \"{}\"\n\
             profile = \"worker\"\nvars = {{ disk = \"/dev/vda\", rack = {rack} }}",
            host_name(host),
            mac(host),
            serial(host),
            address(host)
        )
        .expect("a String takes every write");
    }
    text
}

fn check(folder: &TempDir, program: &Path) -> Duration {
    let start = Instant::now();
    run_by(program, &["check", &config(folder).display().to_string()]);
    start.elapsed()
}

fn run(arguments: &[&str]) {
    run_by(&program(), arguments);
}

fn run_by(program: &Path, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .expect("the program runs");
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A daemon; killed on drop.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Daemon {
    /// Starts it as systemd would and waits for its READY: how long that took.
    fn start(folder: &TempDir, by: (&Path, &Wire)) -> (Duration, Daemon) {
        start(folder, by)
    }

    fn resident_kb(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).expect("the daemon runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok())
            .expect("the kernel tells")
    }
}

fn start(folder: &TempDir, (program, wire): (&Path, &Wire)) -> (Duration, Daemon) {
    let socket = folder.path().join("notify");
    let notify = UnixDatagram::bind(&socket).expect("a socket in our own folder");
    // The daemon has given up root by the time it says READY.
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).expect("our own socket");
    notify
        .set_read_timeout(Some(START_TIMEOUT))
        .expect("a timeout above zero");
    let start = Instant::now();
    let daemon = Command::new("ip")
        .args(["netns", "exec", &wire.end('s')])
        .arg(program)
        .args(["serve", "--config"])
        .arg(config(folder))
        .env("NOTIFY_SOCKET", &socket)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("iproute2 is part of Debian");
    let daemon = Daemon(daemon);
    let ready = wait_ready(&notify);
    let elapsed = start.elapsed();
    fs::remove_file(&socket).expect("our own socket");
    assert!(ready, "serve did not become ready");
    (elapsed, daemon)
}

fn wait_ready(notify: &UnixDatagram) -> bool {
    let mut buffer = [0; 4096];
    while let Ok(length) = notify.recv(&mut buffer) {
        if String::from_utf8_lossy(&buffer[..length])
            .lines()
            .any(|line| line == "READY=1")
        {
            return true;
        }
    }
    false
}

/// Two network namespaces: the servers' end with eno2, and a relay's with eth0.
struct Wire(String);

impl Wire {
    fn new() -> Wire {
        let wire = Wire(format!("bwroom-{}", std::process::id()));
        let (server, relay) = (wire.end('s'), wire.end('c'));
        for words in [
            format!("netns add {server}"),
            format!("netns add {relay}"),
            format!("-n {server} link add eno2 type veth peer name eth0 netns {relay}"),
            format!("-n {server} addr add {SERVER}/15 dev eno2"),
            format!("-n {relay} addr add {RELAY}/15 dev eth0"),
            format!("-n {server} link set lo up"),
            format!("-n {server} link set eno2 up"),
            format!("-n {relay} link set eth0 up"),
        ] {
            assert!(ip(&words), "ip {words}");
        }
        wire
    }

    fn end(&self, which: char) -> String {
        format!("{}-{which}", self.0)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for which in ['s', 'c'] {
            ip(&format!("netns del {}", self.end(which)));
        }
    }
}

fn ip(words: &str) -> bool {
    let status = Command::new("ip").args(words.split_whitespace()).status();
    status.is_ok_and(|status| status.success())
}

/// A client of DHCP at the other end of the wire: this program once more.
struct Asking(Child);

impl Asking {
    fn begin(wire: &Wire) -> Asking {
        let asking = Command::new("ip")
            .args(["netns", "exec", &wire.end('c')])
            .arg(env::current_exe().expect("this program"))
            .args([ASK, SERVER, RELAY])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        Asking(asking.expect("iproute2 is part of Debian"))
    }

    /// How long the latest answer took.
    fn end(mut self) -> Duration {
        drop(self.0.stdin.take());
        let output = self.0.wait_with_output().expect("it ends with its standard input");
        let said = String::from_utf8_lossy(&output.stdout);
        println!("{:32} {}", "a client's DISCOVERs", said.trim());
        let latest = said.split_whitespace().next().and_then(|word| word.parse().ok());
        Duration::from_micros(latest.expect("a number first"))
    }
}

/// Says a DISCOVER as a relay every millisecond until its standard input ends, and prints how long the latest answer
/// took.
fn ask(server: Ipv4Addr, relay: Ipv4Addr) {
    let socket = UdpSocket::bind((relay, 67)).expect("the relay's port");
    socket.set_nonblocking(true).expect("a socket");
    let is_over = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&is_over);
    thread::spawn(move || {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        tell.store(true, Ordering::Relaxed);
    });
    let mut said: Vec<(Instant, Option<Duration>)> = Vec::new();
    let mut packet = vec![0; 244];
    packet[..4].copy_from_slice(&[1, 1, 6, 1]);
    packet[24..28].copy_from_slice(&relay.octets());
    packet[236..240].copy_from_slice(&[99, 130, 83, 99]);
    packet[240..244].copy_from_slice(&[53, 1, 1, 255]);
    let began = Instant::now();
    let mut answer = [0; 2048];
    while !is_over.load(Ordering::Relaxed) {
        let number = u32::try_from(said.len()).expect("some minutes of it");
        if began.elapsed() >= Duration::from_millis(number.into()) {
            packet[4..8].copy_from_slice(&number.to_be_bytes());
            let [_, a, b, c] = (number % HOSTS).to_be_bytes();
            packet[28..34].copy_from_slice(&[0x52, 0x54, 0, a, b, c]);
            said.push((Instant::now(), None));
            socket.send_to(&packet, (server, 67)).expect("the wire is there");
        }
        while let Ok(length) = socket.recv(&mut answer) {
            let number: [u8; 4] = answer[4..8].try_into().expect("four bytes");
            if let Some((said, took)) = said
                .get_mut(u32::from_be_bytes(number) as usize)
                .filter(|_| length > 240)
            {
                took.get_or_insert(said.elapsed());
            }
        }
        thread::sleep(Duration::from_micros(100));
    }
    let mut took: Vec<Duration> = said.iter().filter_map(|(_, took)| *took).collect();
    took.sort_unstable();
    let at = |share: usize| took.get((took.len() * share / 1000).min(took.len().saturating_sub(1)));
    let micros = |time: Option<&Duration>| time.map_or(u128::MAX, Duration::as_micros);
    println!(
        "{} us at most, {} us at p99.9, {} us in the middle; {} of {} not answered",
        micros(took.last()),
        micros(at(999)),
        micros(at(500)),
        said.len() - took.len(),
        said.len()
    );
}

/// What is kept of a run, as the other benches keep it: a line each, "row, server, value" (tests/bench/common.sh).
struct Figures(PathBuf);

impl Figures {
    fn begin() -> Figures {
        let folder = env::var_os("RESULTS").map_or_else(|| Path::new("target/bench").to_owned(), PathBuf::from);
        fs::create_dir_all(&folder).expect("a folder for what is measured");
        let path = folder.join("room.tsv");
        fs::write(&path, "").expect("a new file");
        Figures(path)
    }

    fn keep(&mut self, row: &str, server: &str, value: f64) {
        let mut text = fs::read_to_string(&self.0).expect("our own file");
        writeln!(text, "{row}\t{server}\t{value}").expect("a String takes every write");
        fs::write(&self.0, text).expect("our own file");
    }
}
