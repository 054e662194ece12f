//! Rung 3: whole lives of leases, in the clients that systems really run: get, renew, rebind, come
//! back after a crash, be refused on another network, release.
//!
//! Which state a client is in is read off the wire, and what came of it off the daemon's log and
//! `bootwright leases`.

mod newer;
mod own;

use super::daemon::{Daemon, ask_json};
use super::frames::{Sent, Watch, option};
use super::namespace::{INTERFACE, Namespace, TaskTracker, Wire};
use super::room::Room;
use dhcproto::v4::{Message, MessageType};
use std::{cell::Cell, fs, net::Ipv4Addr, os::unix::fs::PermissionsExt, path::PathBuf, process::Stdio, time::Duration};
use tempfile::TempDir;

const MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x21];
const MAC_TEXT: &str = "02:00:00:00:00:21";
const MACHINE: &str = "02-00-00-00-00-21";
/// Longer than the shortest lease that the daemon gives, so that clients' own clocks come round.
const TURN: Duration = Duration::from_secs(45);
const SHORTEST: &str = "30s";

/// What dhclient and udhcpc run at every turn: sets the address and leaves the rest of the system,
/// which the namespaces share, alone.
const HOOK: &str = r#"#!/bin/sh
case "${reason:-$1}" in
    BOUND|RENEW|REBIND|REBOOT|bound|renew) ip addr replace "${new_ip_address:-$ip}/24" dev "$interface" ;;
    RELEASE|STOP|EXPIRE|FAIL|deconfig) ip addr flush dev "$interface" ;;
esac
"#;

/// A client on a wire with a daemon, both watched.
struct Life {
    client: Namespace,
    watch: Watch,
    /// Frames of the watch that are told already.
    told: Cell<usize>,
    /// How often it was granted an address.
    granted: Cell<usize>,
    daemon: Daemon,
    folder: TempDir,
    room: Room,
    wire: Wire,
}

impl Life {
    /// With leases that last so long.
    fn new(lease: &str) -> Life {
        Life::in_room(lease, |_, _| {})
    }

    /// The same where the wire or the room is not as they are at first.
    fn in_room(lease: &str, change: impl FnOnce(&Wire, &Room)) -> Life {
        let wire = Wire::new();
        let room = Room::new("");
        room.write("inventory.toml", &inventory("192.0.2", "100-192.0.2.199", lease));
        change(&wire, &room);
        let daemon = Daemon::start(&wire, &room);
        let client = wire.client(MAC_TEXT);
        let folder = TempDir::new().expect("a temporary folder");
        let hook = folder.path().join("hook");
        fs::write(&hook, HOOK).expect("a new file in our own folder");
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("our own file");
        Life {
            watch: Watch::new(&client),
            told: Cell::new(0),
            granted: Cell::new(0),
            client,
            daemon,
            folder,
            room,
            wire,
        }
    }

    fn file(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A folder of the test's own, as the client sees it at `place`: clients keep their files in
    /// places that all namespaces share.
    fn mounted(&self, name: &str, place: &str) -> String {
        fs::create_dir_all(self.path(name)).expect("our own folder");
        format!("mkdir -p {place} && mount --bind {} {place} && ", self.file(name))
    }

    fn start(&self, program: &str, arguments: &[&str]) -> TaskTracker {
        let mut command = self.client.command(program);
        let child = command
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        TaskTracker(child.expect("package iproute2 is installed"))
    }

    /// What the client asks for next in that state and the answer that is meant, on the wire.
    fn exchange(&self, sent: Sent, kind: MessageType, is_meant: impl Fn(&Message) -> bool) -> Message {
        let answered = super::poll(TURN, || {
            let frames = self.watch.frames();
            let asks = |at: &usize| frames[*at].sent_by(MAC) == Some(sent);
            (self.told.get()..frames.len()).filter(asks).find_map(|asked| {
                // Clients keep one number from exchange to exchange, so what came before does not count.
                let number = |at: usize| frames[at].message().map(Message::xid);
                let is_answer = |at: &usize| {
                    let frame = &frames[*at];
                    number(*at) == number(asked) && frame.answers(MAC, kind) && frame.message().is_some_and(&is_meant)
                };
                let answer = (asked..frames.len()).find(is_answer)?;
                self.told.set(answer + 1);
                frames[answer].message().cloned()
            })
        });
        answered.unwrap_or_else(|| {
            panic!(
                "{sent:?} got no {kind:?}\n{}\n{}",
                self.watch.text(),
                self.daemon.log_tail()
            )
        })
    }

    /// The same for what the daemon grants: its log and its table say so too.
    fn granted(&self, sent: Sent) -> Message {
        self.granted_where(sent, |_| true)
    }

    /// The same at a new address of the server. The old one's last answer is not meant: the client may ask
    /// before the daemon sees that its address is another.
    fn granted_at(&self, server: &str, sent: Sent) -> Message {
        let server: Ipv4Addr = server.parse().expect("an address");
        self.granted_where(sent, |ack| option(ack, 54) == Some(server.octets().to_vec()))
    }

    fn granted_where(&self, sent: Sent, is_meant: impl Fn(&Message) -> bool) -> Message {
        let ack = self.exchange(sent, MessageType::Ack, is_meant);
        self.granted.set(self.granted.get() + 1);
        let logged = super::poll(super::SOON, || {
            let lines = self.daemon.lines();
            let grants = lines.iter().filter(|line| line.is(MACHINE, "acknowledged", &[]));
            (grants.count() >= self.granted.get()).then_some(())
        });
        assert!(logged.is_some(), "{ack}\n{}", self.daemon.log_tail());
        assert_eq!(self.leases(), [ack.yiaddr().to_string()], "{}", self.daemon.log_tail());
        ack
    }

    /// A lease from nothing; its address, once the client has it.
    fn gets(&self) -> Ipv4Addr {
        let address = self.granted(Sent::Selecting).yiaddr();
        self.has(address);
        address
    }

    fn has(&self, address: Ipv4Addr) {
        let has_it = super::poll(TURN, || {
            let all = self.client.addresses("eth0");
            all.contains(&address.to_string()).then_some(())
        });
        assert!(
            has_it.is_some(),
            "{address} was given, and the client has {:?}",
            self.client.addresses("eth0")
        );
    }

    /// Waits until what the client keeps of its lease, in a file of that folder, holds those bytes. It
    /// releases to the server that it knows of, and an answer that is on the wire may be unread yet.
    fn notes(&self, folder: &str, bytes: &[u8]) {
        let holds = |path: PathBuf| fs::read(path).is_ok_and(|all| all.windows(bytes.len()).any(|some| some == bytes));
        let kept = super::poll(super::SOON, || {
            let mut files = fs::read_dir(self.path(folder)).ok()?.filter_map(Result::ok);
            files.any(|file| holds(file.path())).then_some(())
        });
        assert!(
            kept.is_some(),
            "{folder} does not tell the new server\n{}",
            self.watch.text()
        );
    }

    fn refused(&self, sent: Sent) {
        self.exchange(sent, MessageType::Nak, |_| true);
        self.daemon
            .wait_for("the refusal", |line| line.is(MACHINE, "refused", &[]));
    }

    fn released(&self) {
        self.daemon
            .wait_for("the release", |line| line.is(MACHINE, "released", &[]));
        let sent = self
            .watch
            .frames()
            .iter()
            .any(|frame| frame.sent_by(MAC) == Some(Sent::Release));
        assert!(sent, "{}", self.watch.text());
        assert_eq!(self.leases(), [""; 0]);
    }

    /// The addresses that the client has leased, as the command lists them.
    fn leases(&self) -> Vec<String> {
        let leases = ask_json(&self.room, "leases");
        let leases = leases.as_array().expect("a list").iter();
        let own = leases.filter(|lease| lease["client"].as_str() == Some(MAC_TEXT));
        own.filter_map(|lease| lease["address"].as_str().map(str::to_owned))
            .collect()
    }

    /// The server gets another address: nobody answers at the one that the client knows.
    fn move_server(&self, to: &str) {
        let server = &self.wire.server;
        server.expect("ip", &["addr", "flush", "dev", INTERFACE]);
        server.expect("ip", &["addr", "add", &format!("{to}/24"), "dev", INTERFACE]);
        let serves = super::poll(super::SOON, || {
            let lines = self.daemon.lines();
            let last = lines.iter().rfind(|line| !line.addresses.is_empty())?;
            (last.addresses == to).then_some(())
        });
        assert!(serves.is_some(), "{}", self.daemon.log_tail());
    }

    /// The wire becomes another network. The address goes first: a client that renews meanwhile is not
    /// refused before its time.
    fn renumber(&self) {
        self.move_server("198.51.100.1");
        self.write_inventory(&inventory("198.51.100", "100-198.51.100.199", SHORTEST));
    }

    fn write_inventory(&self, text: &str) {
        self.room.write("inventory.toml", text);
        self.daemon.wait_for("the new generation", |line| {
            line.has("reloaded", &[("generation", "2")])
        });
    }
}

fn inventory(network: &str, pool: &str, lease: &str) -> String {
    format!(
        "[[subnet]]\ncidr = \"{network}.0/24\"\nrouter = \"{network}.1\"\npool = [\"{network}.{pool}\"]\nlease = \"{lease}\"\n"
    )
}

/// dhclient, with clocks of its own that are shorter than the lease's.
fn dhclient(life: &Life, options: &[&str]) -> TaskTracker {
    let clocks = "supersede dhcp-renewal-time 2;\nsupersede dhcp-rebinding-time 3;\n";
    fs::write(life.path("dhclient.conf"), clocks).expect("our own folder");
    let files = ["hook", "leases", "pid", "dhclient.conf"].map(|name| life.file(name));
    let [hook, leases, pid, settings] = &files;
    let files = ["-4", "-sf", hook, "-lf", leases, "-pf", pid, "-cf", settings];
    life.start("dhclient", &[&files[..], options, &["eth0"]].concat())
}

#[test]
fn dhclient_renews_rebinds_when_its_server_moved_and_releases() {
    let life = Life::new(SHORTEST);
    let _client = dhclient(&life, &["-d"]);
    let address = life.gets();
    assert_eq!(life.granted(Sent::Renewing).yiaddr(), address);
    life.move_server("192.0.2.2");
    assert_eq!(life.granted_at("192.0.2.2", Sent::Rebinding).yiaddr(), address);
    // It releases to the server that it first took.
    life.move_server("192.0.2.1");
    let _release = dhclient(&life, &["-r"]);
    life.released();
}

#[test]
fn dhclient_comes_back_to_its_address_after_a_crash_and_is_refused_on_another_network() {
    let life = Life::new("1h");
    let client = dhclient(&life, &["-d"]);
    let address = life.gets();
    drop(client);
    life.client.expect("ip", &["addr", "flush", "dev", "eth0"]);
    let client = dhclient(&life, &["-d"]);
    assert_eq!(life.granted(Sent::Rebooting).yiaddr(), address);
    drop(client);
    life.renumber();
    let _client = dhclient(&life, &["-d"]);
    life.refused(Sent::Rebooting);
    let there = life.granted(Sent::Selecting).yiaddr();
    assert!(there.to_string().starts_with("198.51.100."), "{there}");
    life.has(there);
}

fn dhcpcd(life: &Life, options: &[&str]) -> TaskTracker {
    let folders = [("run", "/run/dhcpcd"), ("lib", "/var/lib/dhcpcd")];
    let folders: String = folders.iter().map(|(name, place)| life.mounted(name, place)).collect();
    let script = format!("{folders} exec dhcpcd \"$@\"");
    // It claims its address by ARP first, which takes six seconds, unless told not to.
    let common = [
        "-c",
        &script,
        "sh",
        "-4",
        "-f",
        "/dev/null",
        "--script",
        "/bin/true",
        "--noarp",
    ];
    life.start("sh", &[&common[..], options, &["eth0"]].concat())
}

#[test]
fn dhcpcd_renews_rebinds_when_its_server_moved_and_releases() {
    let life = Life::new(SHORTEST);
    let _client = dhcpcd(&life, &["-B"]);
    let address = life.gets();
    let _renew = dhcpcd(&life, &["-N"]);
    assert_eq!(life.granted(Sent::Renewing).yiaddr(), address);
    life.move_server("192.0.2.2");
    let _rebind = dhcpcd(&life, &["-n"]);
    assert_eq!(life.granted_at("192.0.2.2", Sent::Rebinding).yiaddr(), address);
    life.notes("lib", &[54, 4, 192, 0, 2, 2]);
    let _release = dhcpcd(&life, &["-k"]);
    life.released();
}

#[test]
fn dhcpcd_comes_back_to_its_address_after_a_crash_and_is_refused_on_another_network() {
    let life = Life::new("1h");
    let client = dhcpcd(&life, &["-B"]);
    let address = life.gets();
    let crash = |client: TaskTracker| {
        drop(client);
        life.client.end_all();
        life.client.expect("ip", &["addr", "flush", "dev", "eth0"]);
    };
    crash(client);
    let client = dhcpcd(&life, &["-B"]);
    assert_eq!(life.granted(Sent::Rebooting).yiaddr(), address);
    crash(client);
    life.renumber();
    let _client = dhcpcd(&life, &["-B"]);
    life.refused(Sent::Rebooting);
    let there = life.granted(Sent::Selecting).yiaddr();
    assert!(there.to_string().starts_with("198.51.100."), "{there}");
    life.has(there);
}

fn udhcpc(life: &Life, options: &[&str]) -> TaskTracker {
    let (hook, pid) = (life.file("hook"), life.file("pid"));
    let common = ["udhcpc", "-f", "-R", "-i", "eth0", "-s", &hook, "-p", &pid];
    life.start("busybox", &[&common[..], options].concat())
}

fn signal(life: &Life, signal: &str) {
    let pid = fs::read_to_string(life.path("pid")).expect("udhcpc writes its pid");
    life.client.expect("kill", &[signal, pid.trim()]);
}

#[test]
fn udhcpc_renews_rebinds_when_its_server_moved_and_releases() {
    let life = Life::new(SHORTEST);
    let _client = udhcpc(&life, &[]);
    let address = life.gets();
    signal(&life, "-USR1");
    assert_eq!(life.granted(Sent::Renewing).yiaddr(), address);
    life.move_server("192.0.2.2");
    assert_eq!(life.granted_at("192.0.2.2", Sent::Rebinding).yiaddr(), address);
    // It releases to the server that it first took.
    life.move_server("192.0.2.1");
    signal(&life, "-USR2");
    life.released();
}

#[test]
fn udhcpc_that_asks_for_its_old_address_gets_it_until_that_is_no_longer_given() {
    let life = Life::new("1h");
    let client = udhcpc(&life, &["-r", "192.0.2.150"]);
    assert_eq!(life.gets(), Ipv4Addr::new(192, 0, 2, 150));
    drop(client);
    life.client.expect("ip", &["addr", "flush", "dev", "eth0"]);
    let _client = udhcpc(&life, &["-r", "192.0.2.150"]);
    assert_eq!(life.gets(), Ipv4Addr::new(192, 0, 2, 150));
    life.write_inventory(&inventory("192.0.2", "10-192.0.2.19", "1h"));
    signal(&life, "-USR1");
    life.refused(Sent::Renewing);
    assert!((10..20).contains(&life.gets().octets()[3]));
}

#[test]
fn udhcpc_declines_an_address_that_a_stranger_uses_and_gets_another() {
    let life = Life::new("1h");
    // What its MAC comes to in the pool.
    let _stranger = life.wire.client_at("02:00:00:00:00:66", "192.0.2.181");
    // -a asks by ARP before it takes an address, -A is how long it then waits.
    let _client = udhcpc(&life, &["-a", "-A", "1"]);
    life.daemon
        .wait_for("the refusal", |line| line.is(MACHINE, "declined", &["192.0.2.181"]));
    // The first lease went with the refusal: this one is another exchange's.
    life.has(Ipv4Addr::new(192, 0, 2, 145));
    assert_eq!(life.leases(), ["192.0.2.145"]);
}

/// systemd-networkd on its own: a /run of the test's, and a /sys that it can't write to, which tells
/// it that there is no udev to wait for.
fn networkd(life: &Life) -> TaskTracker {
    let settings = life.path("system/systemd/network");
    fs::create_dir_all(&settings).expect("our own folder");
    let network = "[Match]\nName=eth0\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n\
                   [DHCPv4]\nClientIdentifier=mac\n";
    fs::write(settings.join("10.network"), network).expect("our own folder");
    let run = life.mounted("system", "/run");
    let script = format!("{run} mount -o remount,ro /sys && exec /lib/systemd/systemd-networkd");
    life.start("sh", &["-c", &script])
}

#[test]
fn systemd_networkd_renews_rebinds_when_its_server_moved_and_releases() {
    let life = Life::new(SHORTEST);
    let client = networkd(&life);
    let address = life.gets();
    assert_eq!(life.granted(Sent::Renewing).yiaddr(), address);
    life.move_server("192.0.2.2");
    assert_eq!(life.granted_at("192.0.2.2", Sent::Rebinding).yiaddr(), address);
    life.notes("system/systemd/netif/leases", b"SERVER_ADDRESS=192.0.2.2\n");
    life.client.expect("kill", &[&client.0.id().to_string()]);
    life.released();
}

#[test]
fn systemd_networkd_gets_its_address_again_after_a_crash_and_is_refused_on_another_network() {
    let life = Life::new(SHORTEST);
    let client = networkd(&life);
    let address = life.gets();
    // It has no INIT-REBOOT: it asks from the start.
    drop(client);
    let _client = networkd(&life);
    assert_eq!(life.gets(), address);
    life.renumber();
    life.refused(Sent::Rebinding);
    let there = life.granted(Sent::Selecting).yiaddr();
    assert!(there.to_string().starts_with("198.51.100."), "{there}");
    life.has(there);
}
