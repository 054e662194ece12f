//! Rung 3: whole lives of leases in the clients of newer Debian suites, each in a root of its suite: obtain,
//! renew, rebind when the server's address changed, be moved to another address at T1, be moved to another
//! wire, release. All of them live at once, each on wires of its own with a daemon of its own.

use super::{Life, MACHINE, SHORTEST, inventory};
use crate::frames::Sent;
use crate::namespace::TaskTracker;
use dhcproto::v4::MessageType;
use nix::sys::signal::Signal;
use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    thread::ScopedJoinHandle,
    time::Instant,
};

/// What the clients need from each suite.
const PACKAGES: [(&str, &[&str]); 2] = [
    (
        "trixie",
        &[
            "dhcpcd-base",
            "busybox",
            "network-manager",
            "connman",
            "isc-dhcp-client",
            "klibc-utils",
            "systemd",
            "dbus",
            "iproute2",
        ],
    ),
    (
        "sid",
        &["dhcpcd-base", "network-manager", "systemd", "dbus", "iproute2"],
    ),
];

/// A client of a suite.
struct Client {
    suite: &'static str,
    package: &'static str,
    /// What starts it, in the root's shell.
    start: &'static str,
    /// What makes it release its lease, where anything does.
    release: Option<Signal>,
    /// Whether it goes by the server that it first took, whoever granted it a rebinding: it renews there and
    /// leaves a NAK alone that another sends.
    has_one_server: bool,
}

/// A view of the root that is the client's own, with what a system has mounted: $1 is the root, $2 a folder
/// that nobody else uses, $3 what runs there. A /sys that can't be written to tells NetworkManager and
/// systemd-networkd that there is no udev to wait for.
const IN_ROOT: &str = r#"
mkdir -p "$2" && mount -t tmpfs tmpfs "$2" && mkdir "$2/upper" "$2/work" "$2/root" &&
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root" && cd "$2/root" &&
mount --bind /dev dev && mount -t proc proc proc && mount --bind /sys sys && mount -o remount,ro,bind sys &&
mount -t tmpfs tmpfs run && mkdir run/dbus && exec chroot . sh -c "$3"
"#;

const NETWORKD: &str = r"
mkdir -p /run/systemd/network
printf '[Match]\nName=eth0\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n' > /run/systemd/network/10.network
exec /usr/lib/systemd/systemd-networkd
";

const DHCPCD: &str = "exec dhcpcd -4 -B -f /dev/null --script /bin/true eth0";

const NETWORK_MANAGER: &str = r"
cd /etc/NetworkManager
printf '[main]\nplugins=keyfile\ndhcp=internal\ndns=none\nno-auto-default=*\n' > NetworkManager.conf
printf '[connection]\nid=eth0\ntype=ethernet\ninterface-name=eth0\n[ipv4]\nmethod=auto\n[ipv6]\nmethod=disabled\n' > system-connections/eth0.nmconnection
chmod 600 system-connections/eth0.nmconnection
dbus-daemon --system --fork --nopidfile
exec NetworkManager --no-daemon
";

const CONNMAN: &str = "dbus-daemon --system --fork --nopidfile; exec connmand -n -r -i eth0";

/// It asks again ten seconds after T1 at the earliest, which would be beyond T2.
const DHCLIENT: &str = r"
echo 'supersede dhcp-rebinding-time 18;' > /run/dhclient.conf
exec dhclient -4 -d -cf /run/dhclient.conf eth0
";

const UDHCPC: &str = r#"
printf '#!/bin/sh\ncase $1 in bound|renew) ip addr replace $ip/24 dev $interface;; deconfig) ip addr flush dev $interface;; esac\n' > /run/hook
chmod 755 /run/hook
exec busybox udhcpc -f -R -i eth0 -s /run/hook
"#;

const CLIENTS: [Client; 9] = [
    of("trixie", "systemd", NETWORKD, Some(Signal::SIGTERM)),
    of("trixie", "dhcpcd-base", DHCPCD, Some(Signal::SIGALRM)),
    of("trixie", "network-manager", NETWORK_MANAGER, None),
    of("trixie", "connman", CONNMAN, Some(Signal::SIGTERM)),
    of("trixie", "isc-dhcp-client", DHCLIENT, None),
    Client {
        has_one_server: true,
        ..of("trixie", "busybox", UDHCPC, Some(Signal::SIGTERM))
    },
    of("sid", "systemd", NETWORKD, Some(Signal::SIGTERM)),
    of("sid", "dhcpcd-base", DHCPCD, Some(Signal::SIGALRM)),
    of("sid", "network-manager", NETWORK_MANAGER, None),
];

const fn of(suite: &'static str, package: &'static str, start: &'static str, release: Option<Signal>) -> Client {
    Client {
        suite,
        package,
        start,
        release,
        has_one_server: false,
    }
}

/// The root of a suite with what the clients need; made on the first call of all.
fn root(suite: &str) -> PathBuf {
    let (_, packages) = PACKAGES.iter().find(|(known, _)| *known == suite).expect("a suite");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/newer-root.sh");
    let made = Command::new(script).arg(suite).args(*packages).output();
    let made = made.expect("the script runs");
    let printed = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "no root of {suite}: {printed}");
    PathBuf::from(String::from_utf8_lossy(&made.stdout).trim())
}

fn version(root: &Path, package: &str) -> String {
    let ask = ["dpkg-query", "-W", "-f", "${Version}", package];
    let printed = Command::new("chroot").arg(root).args(ask).output();
    String::from_utf8_lossy(&printed.expect("chroot runs").stdout).into_owned()
}

fn start(life: &Life, root: &Path, script: &str) -> TaskTracker {
    let (root, own) = (root.to_string_lossy(), life.file("scratch"));
    life.start("unshare", &["-m", "sh", "-c", IN_ROOT, "sh", &root, &own, script])
}

/// Two wires of the same link-layer address, as those of a trunk are, and a client on the first.
fn on_two_wires() -> Life {
    Life::in_room(SHORTEST, |wire, room| {
        wire.add_second();
        room.set("interfaces = [\"eno2\"]", "interfaces = [\"eno2\", \"eno3\"]");
        room.write("inventory.toml", &both_wires(""));
    })
}

fn both_wires(hosts: &str) -> String {
    let [first, second] = ["192.0.2", "198.51.100"].map(|net| inventory(net, &format!("100-{net}.199"), SHORTEST));
    format!("{first}{second}{hosts}")
}

/// One client's life; how many seconds each part of it took.
fn live(client: &Client, root: &Path) -> Vec<u64> {
    let life = on_two_wires();
    let mut took = Vec::new();
    let mut began = Instant::now();
    let mut done = || {
        took.push(began.elapsed().as_secs());
        began = Instant::now();
    };
    let running = start(&life, root, client.start);
    let address = life.gets();
    done();
    assert_eq!(life.granted(Sent::Renewing).yiaddr(), address);
    done();
    life.move_server("192.0.2.2");
    assert_eq!(life.granted_at("192.0.2.2", Sent::Rebinding).yiaddr(), address);
    done();
    if client.has_one_server {
        life.move_server("192.0.2.1");
    }
    let host = "[[host]]\nname = \"r1u21\"\nmac = \"02:00:00:00:00:21\"\naddress = \"192.0.2.11\"\n";
    life.write_inventory(&both_wires(host));
    moved(&life, Ipv4Addr::new(192, 0, 2, 11));
    done();
    life.wire.rewire();
    let there = moved(&life, Ipv4Addr::new(198, 51, 100, 100));
    life.daemon.wait_for("that it is not in its rack", |line| {
        line.is("r1u21", "reservation_unavailable", &[&there.to_string()])
    });
    done();
    if let Some(signal) = client.release {
        let pid = nix::unistd::Pid::from_raw(running.0.id().cast_signed());
        nix::sys::signal::kill(pid, signal).expect("the client is our child");
        let release = |line: &crate::daemon::Line| line.is("r1u21", "released", &[&there.to_string()]);
        life.daemon.wait_for("the release", release);
        done();
    }
    took
}

/// Refused when it renews, and heard to be: it asks anew before it would have rebound. It is granted an
/// address of the same network as `mac_typo`, and has it.
fn moved(life: &Life, near: Ipv4Addr) -> Ipv4Addr {
    life.exchange(Sent::Renewing, MessageType::Nak, |_| true);
    let next = crate::poll(super::TURN, || {
        let frames = life.watch.frames();
        let mut later = frames[life.told.get()..].iter();
        later.find_map(|frame| frame.sent_by(super::MAC).filter(|sent| *sent != Sent::Renewing))
    });
    assert_eq!(next, Some(Sent::Discover), "{MACHINE}\n{}", life.watch.text());
    let given = life.exchange(Sent::Selecting, MessageType::Ack, |_| true).yiaddr();
    assert_eq!(given.octets()[..3], near.octets()[..3], "{}", life.watch.text());
    life.has(given);
    given
}

#[test]
fn clients_of_newer_suites_obtain_renew_rebind_are_moved_and_release() {
    let roots = PACKAGES.map(|(suite, _)| (suite, root(suite)));
    let root = |suite: &str| &roots.iter().find(|(known, _)| *known == suite).expect("a suite").1;
    let rows: Vec<(String, Option<Vec<u64>>)> = std::thread::scope(|scope| {
        let lives: Vec<(String, ScopedJoinHandle<'_, Vec<u64>>)> = CLIENTS
            .iter()
            .map(|client| {
                let root = root(client.suite);
                let name = format!("{} {}", client.package, version(root, client.package));
                (name, scope.spawn(move || live(client, root)))
            })
            .collect();
        lives.into_iter().map(|(name, life)| (name, life.join().ok())).collect()
    });
    println!("seconds to: obtain, renew, rebind, be moved at T1, be on another wire, release");
    for (name, took) in &rows {
        println!("{name:45} {took:?}");
    }
    let failed: Vec<&String> = rows
        .iter()
        .filter(|(_, took)| took.is_none())
        .map(|(name, _)| name)
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn klibcs_ipconfig_gets_its_lease() {
    let life = on_two_wires();
    let _client = start(&life, &root("trixie"), "exec /usr/lib/klibc/bin/ipconfig -t 60 -d eth0");
    life.gets();
}
