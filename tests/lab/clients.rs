//! Rung 3: the clients that systems and technicians really use.

use super::daemon::{Daemon, ask_json};
use super::namespace::{Namespace, Running, SERVER, Wire};
use super::room::Room;
use std::{fs, os::unix::fs::PermissionsExt, process::Stdio, time::Duration};
use tempfile::TempDir;

/// A lease so short that a client renews while the test looks on.
const SHORT_LEASES: &str = r#"
[[subnet]]
cidr   = "192.0.2.0/24"
router = "192.0.2.1"
dns    = ["192.0.2.1"]
pool   = ["192.0.2.100-192.0.2.199"]
lease  = "30s"

[[host]]
name = "client"
mac  = "02:00:00:00:00:21"
"#;

/// What dhclient and udhcpc run at every turn: sets the address and leaves the rest of the system,
/// which the namespaces share, alone.
const HOOK: &str = r#"#!/bin/sh
case "${reason:-$1}" in
    BOUND|RENEW|REBIND|REBOOT|bound|renew) ip addr replace "${new_ip_address:-$ip}/24" dev "$interface" ;;
    RELEASE|STOP|EXPIRE|FAIL|deconfig) ip addr flush dev "$interface" ;;
esac
"#;

/// A client on the wire with a daemon that gives short leases.
struct Visit {
    daemon: Daemon,
    client: Namespace,
    folder: TempDir,
    room: Room,
    _wire: Wire,
}

impl Visit {
    fn new() -> Visit {
        let wire = Wire::new();
        let room = Room::new("");
        room.write("inventory.toml", SHORT_LEASES);
        let daemon = Daemon::start(&wire, &room);
        let client = wire.client("02:00:00:00:00:21");
        let folder = TempDir::new().expect("a temporary folder");
        let hook = folder.path().join("hook");
        fs::write(&hook, HOOK).expect("a new file in our own folder");
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("our own file");
        Visit {
            daemon,
            client,
            folder,
            room,
            _wire: wire,
        }
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }

    fn run_client(&self, program: &str, arguments: &[&str]) -> Running {
        let mut command = self.client.command(program);
        let child = command
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Running(child.expect("package iproute2 is installed"))
    }

    /// Gets, then renews: two acknowledgements of one address, and the client has it.
    fn expect_lease_and_renewal(&self) {
        let acknowledged = |count: usize| {
            super::poll(Duration::from_secs(40), || {
                let lines = self.daemon.lines();
                let mut steps = lines
                    .into_iter()
                    .filter(|line| line.says("client", &["acknowledged 192.0.2.1"]));
                steps.nth(count - 1)
            })
            .unwrap_or_else(|| panic!("no acknowledgement {count}\n{}", self.daemon.log_tail()))
        };
        let first = acknowledged(1);
        let has_it = super::poll(Duration::from_secs(15), || {
            let addresses = self.client.addresses("eth0");
            addresses
                .iter()
                .any(|address| first.message.contains(address.as_str()))
                .then_some(())
        });
        assert!(
            has_it.is_some(),
            "{}, and the client has {:?}",
            first.message,
            self.client.addresses("eth0")
        );
        assert_eq!(acknowledged(2).message, first.message, "a renewal keeps the address");
        let leases = ask_json(&self.room, "leases").to_string();
        assert!(leases.contains("192.0.2.1"), "{leases}");
    }

    fn expect_release(&self) {
        self.daemon.wait_for("the release", Duration::from_secs(10), |line| {
            line.says("client", &["released 192.0.2.1"])
        });
    }
}

#[test]
fn dhclient_gets_renews_and_releases_a_lease() {
    let visit = Visit::new();
    let (hook, leases, pid) = (visit.file("hook"), visit.file("leases"), visit.file("pid"));
    let files = ["-sf", hook.as_str(), "-lf", &leases, "-pf", &pid, "-cf", "/dev/null"];
    let _client = visit.run_client("dhclient", &[&["-4", "-d", "-v"], &files[..], &["eth0"]].concat());
    visit.expect_lease_and_renewal();
    visit
        .client
        .expect("dhclient", &[&["-4", "-r"], &files[..], &["eth0"]].concat());
    visit.expect_release();
}

#[test]
fn udhcpc_gets_renews_and_releases_a_lease() {
    let visit = Visit::new();
    let (hook, pid) = (visit.file("hook"), visit.file("pid"));
    let _client = visit.run_client(
        "busybox",
        &["udhcpc", "-f", "-R", "-i", "eth0", "-s", &hook, "-p", &pid],
    );
    visit.expect_lease_and_renewal();
    let pid = fs::read_to_string(&pid).expect("udhcpc writes its pid");
    visit.client.expect("kill", &["-USR2", pid.trim()]);
    visit.expect_release();
}

#[test]
fn dhcpcd_gets_renews_and_releases_a_lease() {
    let visit = Visit::new();
    let options = ["-4", "-f", "/dev/null", "--script", "/bin/true"];
    let _client = visit.run_client("dhcpcd", &[&options[..], &["-B", "eth0"]].concat());
    visit.expect_lease_and_renewal();
    visit.client.expect("dhcpcd", &["-4", "-k", "eth0"]);
    visit.expect_release();
}

const FETCHER: &str = r#"
[profile.live]
image   = "small"
boot    = "live"
script  = "fetched"

[[host]]
name    = "fetcher"
mac     = "02:00:00:00:00:31"
address = "192.0.2.31"
profile = "live"
"#;

#[test]
fn a_loader_a_script_and_an_image_arrive_byte_by_byte() {
    // Three megabytes and a bit: many blocks, and a last one that is not full.
    let kernel: Vec<u8> = (0..3_000_017_u32)
        .map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    let wire = Wire::new();
    let room = Room::new(FETCHER)
        .with_small_image(&kernel)
        .with_script("fetched", "#!ipxe\necho {{ name }}\n");
    let _daemon = Daemon::start(&wire, &room);
    let client = wire.client_at("02:00:00:00:00:31", "192.0.2.31");
    let loader = fs::read("/usr/lib/ipxe/snponly.efi").expect("package ipxe is installed");
    let script = "#!ipxe\necho fetcher\n".as_bytes();
    for (path, content) in [
        ("snponly.efi", loader.as_slice()),
        ("autoexec.ipxe", script),
        ("image/small/kernel.bin", &kernel),
    ] {
        for (program, fetched) in fetch_with_everything(&client, path) {
            assert!(
                fetched == content,
                "{program} {path}: {} of {} bytes",
                fetched.len(),
                content.len()
            );
        }
    }
    let url = format!("http://{SERVER}/boot.ipxe?mac=02-00-00-00-00-31");
    assert_eq!(
        client.expect("curl", &["-sSf", &url]),
        script,
        "the script that DHCP points to"
    );
}

fn fetch_with_everything(client: &Namespace, path: &str) -> Vec<(&'static str, Vec<u8>)> {
    let folder = TempDir::new().expect("a temporary folder");
    let file = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let read = |name: &str| fs::read(folder.path().join(name)).unwrap_or_default();
    let (hpa, atftp, windows) = (file("hpa"), file("atftp"), file("windows"));
    let (busybox, tftp_url) = (file("busybox"), format!("tftp://{SERVER}/{path}"));
    client.expect(
        "busybox",
        &["tftp", "-b", "1468", "-g", "-r", path, "-l", &busybox, SERVER],
    );
    client.expect("tftp", &["-m", "binary", SERVER, "-c", "get", path, &hpa]);
    client.expect(
        "atftp",
        &["-g", "-r", path, "-l", &atftp, "--option", "blksize 1432", SERVER],
    );
    client.expect(
        "atftp",
        &[
            "-g",
            "-r",
            path,
            "-l",
            &windows,
            "--option",
            "blksize 1468",
            "--option",
            "windowsize 4",
            SERVER,
        ],
    );
    let url = format!("http://{SERVER}/{path}");
    vec![
        ("curl", client.expect("curl", &["-sSf", &url])),
        ("curl over TFTP", client.expect("curl", &["-sSf", &tftp_url])),
        ("busybox", read("busybox")),
        ("tftp-hpa", read("hpa")),
        ("atftp, 1432-byte blocks", read("atftp")),
        ("atftp, windows of 4", read("windows")),
    ]
}

#[test]
fn a_machine_that_is_not_listed_may_read_images_and_gets_the_unknown_script() {
    let wire = Wire::new();
    let room = Room::new(FETCHER)
        .with_small_image(b"kernel")
        .with_script("fetched", "#!ipxe\necho {{ name }}\n");
    let daemon = Daemon::start(&wire, &room);
    let client = wire.client_at("02:00:00:00:00:32", "192.0.2.32");
    let url = format!("http://{SERVER}/boot.ipxe?mac=02-00-00-00-00-32");
    let script = client.expect("curl", &["-sSf", &url]);
    assert!(script.starts_with(b"#!ipxe"), "{}", String::from_utf8_lossy(&script));
    daemon.wait_for("the unknown machine's script", Duration::from_secs(5), |line| {
        line.target == "boot" && line.message.starts_with("sent script unknown")
    });
}
