//! What 10,000 hosts cost: the time of `bootwright check`, of `serve` until it says READY, and of `why`, `hosts` and
//! `events` while as many attempts are kept as ever are. Each start after the first is one after SIGKILL.
//!
//! `make bench-room` runs it with the profile of an installed daemon. `serve` runs in a network
//! namespace of its own and needs root; without root that figure is left out, and the output says so.

use bootwright::{
    attempt::Attempt,
    lease::{LeaseRecord, LeaseTable},
    model::{MacAddr, Now, WallTime, limits::ATTEMPTS_KEPT_MAX},
    store::{self, records::attempts},
};
use serde_json::{Value, json};
use std::{
    fmt::Write as _,
    fs,
    net::Ipv4Addr,
    os::unix::{fs::PermissionsExt, net::UnixDatagram},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tempfile::TempDir;

const HOSTS: u32 = 10_000;
/// Hosts that are asked for, one after the other.
const WHY_RUNS: u32 = 25;
const RUNS: usize = 5;
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Leases whose copying is measured: packets wait while `explain` does that.
const LEASES: u32 = 100_000;

fn main() {
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let folder = room();
    println!("an inventory of {HOSTS} hosts, {profile} profile, median of {RUNS} runs");
    copies_of_leases();
    report("bootwright check", (0..RUNS).map(|_| check(&folder)).collect());
    if nix::unistd::Uid::effective().is_root() {
        report(
            "bootwright serve, to READY",
            (0..RUNS).map(|_| Daemon::start(&folder).0).collect(),
        );
        attempts(&folder);
    } else {
        println!("{:32} not measured: it needs root", "bootwright serve, to READY");
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
    fill(&folder.path().join("state"));
    println!("the same with {ATTEMPTS_KEPT_MAX} attempts kept");
    let starts = (0..RUNS).map(|_| Daemon::start(folder).0).collect();
    report("bootwright serve, to READY", starts);
    let (_, daemon) = Daemon::start(folder);
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

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let seconds = |time: Duration| time.as_secs_f64();
    println!(
        "{what:32} {:.3} s  ({:.3} to {:.3})",
        seconds(times[times.len() / 2]),
        seconds(times[0]),
        seconds(times[times.len() - 1])
    );
}

/// A room as large as the daemon is made for: racks of forty, each host with variables of its own.
fn room() -> TempDir {
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
    fs::write(folder.path().join("inventory.toml"), inventory()).expect("a new file");
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

fn inventory() -> String {
    let mut text = String::from(
        "[[subnet]]\ncidr = \"198.18.0.0/15\"\nrouter = \"198.18.0.1\"\ndns = [\"198.18.0.1\"]\n\
         pool = [\"198.19.0.0-198.19.255.0\"]\nlease = \"1h\"\n\n\
         [profile.base]\ncmdline = [\"console=ttyS0,115200\"]\nvars = { timezone = \"UTC\" }\n\n\
         [profile.worker]\ninherits = [\"base\"]\nimage = \"debian-12\"\nboot = \"live\"\n\
         script = \"debian-installer\"\nanswer = \"preseed\"\n",
    );
    for host in 0..HOSTS {
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

fn check(folder: &TempDir) -> Duration {
    let start = Instant::now();
    run(&["check", &config(folder).display().to_string()]);
    start.elapsed()
}

fn run(arguments: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_bootwright"))
        .args(arguments)
        .output()
        .expect("the built binary runs");
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
    fn start(folder: &TempDir) -> (Duration, Daemon) {
        start(folder)
    }

    fn resident_kb(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).expect("the daemon runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok())
            .expect("the kernel tells")
    }
}

fn start(folder: &TempDir) -> (Duration, Daemon) {
    let socket = folder.path().join("notify");
    let notify = UnixDatagram::bind(&socket).expect("a socket in our own folder");
    // The daemon has given up root by the time it says READY.
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).expect("our own socket");
    notify
        .set_read_timeout(Some(START_TIMEOUT))
        .expect("a timeout above zero");
    let wire = "ip link set lo up; ip link add eno2 type bridge; ip addr add 198.18.0.1/15 dev eno2; \
                ip link set eno2 up; exec \"$@\"";
    let start = Instant::now();
    let daemon = Command::new("unshare")
        .args([
            "--net",
            "sh",
            "-c",
            wire,
            "sh",
            env!("CARGO_BIN_EXE_bootwright"),
            "serve",
            "--config",
        ])
        .arg(config(folder))
        .env("NOTIFY_SOCKET", &socket)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("unshare is part of Debian");
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
