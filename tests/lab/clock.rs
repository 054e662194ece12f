//! Rung 3: the host's clock is set, while the daemon runs and between two of its lives. libfaketime moves the
//! clock of the daemon alone, and leaves the monotonic ones as the kernel does.

use super::SOON;
use super::daemon::{Daemon, Line, ask_json, expiry_s};
use super::namespace::Wire;
use super::room::{Room, binary};
use super::wire::Rack;
use std::{collections::BTreeMap, net::Ipv4Addr, path::PathBuf, process::Command};

/// An hour's lease has no more, and when it was given just now not much less.
const LASTING_S: std::ops::RangeInclusive<u64> = 3000..=3600;

/// Whether the clock was set by about so many days.
fn is_about(line: &Line, days: i64) -> bool {
    let by: Option<i64> = line.field("seconds").parse().ok();
    by.is_some_and(|by| (by - days * 86_400).abs() < 3600)
}

/// The room with the clock of its host.
struct Host {
    wire: Wire,
    room: Room,
}

impl Host {
    fn new() -> Host {
        Host {
            wire: Wire::new(),
            room: Room::new(""),
        }
    }

    /// Sets the clock: a difference to this machine's own, as faketime(1) has it.
    fn set_clock(&self, difference: &str) {
        self.room.write("clock", &format!("{difference}\n"));
    }

    /// A daemon's life in the boot of that name.
    fn start(&self, boot: char) -> Daemon {
        let name = "xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx".replace('x', &boot.to_string());
        self.room.write("boot_id", &format!("{name}\n"));
        // `ip netns exec` has made a mount namespace for it.
        let script = "mount --bind \"$1\" /proc/sys/kernel/random/boot_id && shift && exec env \"$@\"";
        let mut command = self.wire.server.command("sh");
        command
            .args(["-c", script, "sh"])
            .arg(self.room.path("boot_id"))
            .arg(format!("LD_PRELOAD={}", library().display()))
            .arg(format!("FAKETIME_TIMESTAMP_FILE={}", self.room.path("clock").display()))
            .args([
                "FAKETIME_NO_CACHE=1",
                "FAKETIME_DONT_FAKE_MONOTONIC=1",
                "DONT_FAKE_MONOTONIC=1",
            ])
            .arg(binary());
        Daemon::start_as(command, &self.room)
    }

    /// Who has which address by `bootwright leases`; what is left of each is what it was given.
    fn leases(&self, difference_s: i64) -> BTreeMap<Ipv4Addr, String> {
        let clock = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("after 1970")
            .as_secs()
            .saturating_add_signed(difference_s);
        let leases = ask_json(&self.room, "leases");
        let lease = |lease: &serde_json::Value| {
            let ends = expiry_s(lease);
            let left = ends.saturating_sub(clock);
            assert!(LASTING_S.contains(&left), "{left} s are left of {lease}");
            let text = |key: &str| lease[key].as_str().expect("a text").to_owned();
            (text("address").parse().expect("an address"), text("client"))
        };
        leases.as_array().expect("a list").iter().map(lease).collect()
    }
}

fn library() -> PathBuf {
    let listed = Command::new("dpkg").args(["-L", "libfaketime"]).output();
    let listed = listed.map(|output| output.stdout).unwrap_or_default();
    let library = String::from_utf8_lossy(&listed)
        .lines()
        .find(|line| line.ends_with("/libfaketimeMT.so.1"))
        .map(PathBuf::from);
    library.expect("package faketime: tests/install-packages.sh installs it")
}

/// Three machines, and what they are given.
fn three(rack: &Rack, first: u32) -> Vec<Ipv4Addr> {
    let lease = |client| rack.lease(client).expect("a machine gets its lease");
    (first..first + 3).map(lease).collect()
}

#[test]
fn a_clock_that_is_set_to_now_and_a_restart_end_no_lease() {
    let host = Host::new();
    host.set_clock("-9000d");
    let daemon = host.start('a');
    let rack = Rack::new(&host.wire.client_at("02:00:00:00:00:fa", "192.0.2.250"));
    let given = three(&rack, 1);
    assert_eq!(host.leases(-9000 * 86_400).len(), 3);
    host.set_clock("+0d");
    let set = host.leases(0);
    assert!(given.iter().all(|address| set.contains_key(address)), "{set:?}");
    daemon.wait_for("that the clock was set", |line| {
        line.level == "WARN" && line.event == "clock_set" && is_about(line, 9000)
    });
    let more = three(&rack, 4);
    daemon.crash();

    // Killed and started again in the same boot; then the host is rebooted, and its clock is right.
    for boot in ['a', 'b'] {
        let daemon = host.start(boot);
        let known = host.leases(0);
        assert_eq!(known.len(), 6, "{known:?}\n{}", daemon.log_tail());
        assert!(given.iter().chain(&more).all(|address| known.contains_key(address)));
        daemon.crash();
    }
    let _daemon = host.start('b');
    assert_eq!(three(&rack, 1), given, "each keeps its own");
    let strangers = three(&rack, 100);
    assert!(
        strangers
            .iter()
            .all(|address| !given.contains(address) && !more.contains(address))
    );
}

#[test]
fn a_host_that_reboots_without_a_battery_gives_no_lease_to_others() {
    let host = Host::new();
    host.set_clock("+0d");
    let daemon = host.start('a');
    let rack = Rack::new(&host.wire.client_at("02:00:00:00:00:fa", "192.0.2.250"));
    let given = three(&rack, 1);
    daemon.crash();

    host.set_clock("-9000d");
    let daemon = host.start('b');
    assert_eq!(host.leases(-9000 * 86_400).len(), 3, "{}", daemon.log_tail());
    let more = three(&rack, 4);
    assert!(
        more.iter().all(|address| !given.contains(address)),
        "{more:?} and {given:?}"
    );
    // The time server speaks.
    host.set_clock("+0d");
    daemon.wait_for("that the clock was set", |line| {
        line.event == "clock_set" && !line.field("seconds").starts_with('-')
    });
    assert_eq!(host.leases(0).len(), 6);
    assert!(daemon.stop().success());

    let daemon = host.start('c');
    assert_eq!(host.leases(0).len(), 6, "{}", daemon.log_tail());
    // Set back by mistake, and never corrected.
    host.set_clock("-300d");
    daemon.wait_for("that the clock was set", |line| {
        line.event == "clock_set" && is_about(line, -300)
    });
    assert_eq!(host.leases(-300 * 86_400).len(), 6);
    daemon.crash();
    let daemon = host.start('d');
    let known = super::poll(SOON, || {
        Some(host.leases(-300 * 86_400)).filter(|known| known.len() == 6)
    });
    assert!(known.is_some(), "{}", daemon.log_tail());
}
