//! Rung 3: clients behind a relay, ISC's own, on a network that the daemon is not on.

use super::daemon::{Daemon, Line};
use super::namespace::{Namespace, Running, Wire};
use super::room::Room;
use std::{process::Stdio, time::Duration};

/// The network behind the relay, and a host there that belongs to the relay's port `back0`.
const BEHIND: &str = r#"
[[subnet]]
cidr   = "198.51.100.0/24"
router = "198.51.100.1"
pool   = ["198.51.100.100-198.51.100.199"]
lease  = "1h"

[[host]]
name    = "r2u07"
mac     = "02:bb:00:00:02:07"
address = "198.51.100.7"
port    = "back0"

[[host]]
name    = "r2u08"
mac     = "02:bb:00:00:02:08"
address = "198.51.100.8"
port    = "back9"
"#;

/// A relay between the wire and a network of its own; the client is on the latter.
struct Relayed {
    client: Namespace,
    _relay: Namespace,
    _process: Running,
}

impl Relayed {
    fn start(wire: &Wire, mac: &str) -> Relayed {
        let relay = wire.client_at("02:00:c0:00:02:fe", "192.0.2.254");
        let client = Namespace::beside(&relay, "back0", mac);
        relay.expect("ip", &["addr", "add", "198.51.100.1/24", "dev", "back0"]);
        relay.expect("sysctl", &["-q", "-w", "net.ipv4.ip_forward=1"]);
        // The daemon's host sends what is for the network behind through the relay.
        wire.server
            .expect("ip", &["route", "add", "198.51.100.0/24", "via", "192.0.2.254"]);
        let mut command = relay.command("dhcrelay");
        // -a adds option 82, whose circuit-id is the name of the interface.
        command.args([
            "-4",
            "-d",
            "-a",
            "-pf",
            "/dev/null",
            "-i",
            "back0",
            "-i",
            "eth0",
            "192.0.2.1",
        ]);
        let process = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("package isc-dhcp-relay is installed");
        Relayed {
            client,
            _relay: relay,
            _process: Running(process),
        }
    }
}

#[test]
fn a_client_behind_a_relay_gets_a_lease_of_its_own_network() {
    let wire = Wire::new();
    let room = Room::new(BEHIND);
    let daemon = Daemon::start(&wire, &room);
    let relayed = Relayed::start(&wire, "02:bb:00:00:02:01");
    assert!(relayed.client.gets_lease(&[]), "{}", daemon.log_tail());
    let acknowledged = |line: &Line| line.says("02-bb-00-00-02-01", &["acknowledged 198.51.100.1"]);
    daemon.wait_for("a lease of the network behind", Duration::from_secs(5), acknowledged);
}

#[test]
fn a_host_at_its_own_port_of_a_relay_boots_and_one_at_another_gets_no_answer() {
    let wire = Wire::new();
    let room = Room::new(BEHIND);
    let daemon = Daemon::start(&wire, &room);
    let relayed = Relayed::start(&wire, "02:bb:00:00:02:07");
    assert!(relayed.client.gets_lease(&[]), "{}", daemon.log_tail());
    daemon.wait_for("the reservation", Duration::from_secs(5), |line| {
        line.says("r2u07", &["acknowledged 198.51.100.7"])
    });
    relayed
        .client
        .expect("ip", &["link", "set", "eth0", "address", "02:bb:00:00:02:08"]);
    assert!(
        !relayed.client.gets_lease(&[]),
        "a host at the wrong port was answered\n{}",
        daemon.log_tail()
    );
    let line = daemon.wait_for("both ports", Duration::from_secs(5), |line| {
        line.says("r2u08", &["not answered", "back9", "asks from back0"])
    });
    assert_eq!(line.level, "WARN");
}
