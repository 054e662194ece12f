//! What 10,000 hosts cost: the time of `bootwright check`, and of `serve` until it says READY.
//!
//! `make bench-room` runs it with the profile of an installed daemon. `serve` runs in a network
//! namespace of its own and needs root; without root that figure is left out, and the output says so.

use std::{
    fmt::Write as _,
    fs,
    os::unix::{fs::PermissionsExt, net::UnixDatagram},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

const HOSTS: u32 = 10_000;
const RUNS: usize = 5;
const START_TIMEOUT: Duration = Duration::from_secs(60);

fn main() {
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let folder = room();
    println!("an inventory of {HOSTS} hosts, {profile} profile, median of {RUNS} runs");
    report("bootwright check", (0..RUNS).map(|_| check(&folder)).collect());
    if nix::unistd::Uid::effective().is_root() {
        report(
            "bootwright serve, to READY",
            (0..RUNS).map(|_| start(&folder)).collect(),
        );
    } else {
        println!("{:32} not measured: it needs root", "bootwright serve, to READY");
    }
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let seconds = |time: Duration| time.as_secs_f64();
    println!(
        "{what:32} {:.2} s  ({:.2} to {:.2})",
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

fn inventory() -> String {
    let mut text = String::from(
        "[[subnet]]\ncidr = \"198.18.0.0/15\"\nrouter = \"198.18.0.1\"\ndns = [\"198.18.0.1\"]\n\
         pool = [\"198.19.0.0-198.19.255.0\"]\nlease = \"1h\"\n\n\
         [profile.base]\ncmdline = [\"console=ttyS0,115200\"]\nvars = { timezone = \"UTC\" }\n\n\
         [profile.worker]\ninherits = [\"base\"]\nimage = \"debian-12\"\nboot = \"live\"\n\
         script = \"debian-installer\"\nanswer = \"preseed\"\n",
    );
    for host in 0..HOSTS {
        let (rack, unit) = (host / 40, host % 40);
        let [_, a, b, c] = host.to_be_bytes();
        let address = std::net::Ipv4Addr::from(0xC612_0100 + host);
        writeln!(
            text,
            "\n[[host]]\nname = \"r{rack}u{unit:02}\"\nmac = \"52:54:00:{a:02x}:{b:02x}:{c:02x}\"\n\
             address = \"{address}\"\nprofile = \"worker\"\nvars = {{ disk = \"/dev/vda\", rack = {rack} }}"
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

/// Starts the daemon as systemd would and waits for its READY.
fn start(folder: &TempDir) -> Duration {
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
    let mut daemon = Command::new("unshare")
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
    let ready = wait_ready(&notify);
    let elapsed = start.elapsed();
    let _ = daemon.kill();
    let _ = daemon.wait();
    fs::remove_file(&socket).expect("our own socket");
    assert!(ready, "serve did not become ready");
    elapsed
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
