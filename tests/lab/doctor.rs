//! Rung 3: what the doctor says of a namespace that is well, and of one with real faults.

use super::daemon::Daemon;
use super::namespace::{Namespace, SERVER, TaskTracker, Wire, text};
use super::proxy::OtherServer;
use super::relays::{BEHIND, Program, Relayed};
use super::room::{Room, binary};
use super::wire::{Rack, throw_at};
use dhcproto::Encodable;
use dhcproto::v4::{DhcpOption, Message, MessageType, Opcode};
use serde_json::Value;
use std::{
    fs,
    net::{Ipv4Addr, UdpSocket},
    process::{Output, Stdio},
    time::{Duration, Instant},
};

/// What it found, and its exit code.
struct Verdict {
    report: Value,
    code: Option<i32>,
}

impl Verdict {
    fn of(output: &Output) -> Verdict {
        let report = serde_json::from_slice(&output.stdout);
        Verdict {
            report: report.unwrap_or_else(|error| panic!("{error}: {}", text(output))),
            code: output.status.code(),
        }
    }

    /// In the server's namespace.
    fn in_room(wire: &Wire, room: &Room, options: &[&str]) -> Verdict {
        let config = room.config();
        let arguments = ["doctor", "--json", "--config", config.to_str().expect("a plain name")];
        Verdict::of(&wire.server.run(&binary(), &[&arguments[..], options].concat()))
    }

    /// The same once it has a finding of a check.
    fn that_has(wire: &Wire, room: &Room, daemon: &Daemon, check: &str) -> Verdict {
        let found = super::poll(super::SOON, || {
            let found = Verdict::in_room(wire, room, &[]);
            let is_there = found.findings().iter().any(|one| one["check"] == check);
            is_there.then_some(found)
        });
        found.unwrap_or_else(|| panic!("no {check}: {}", daemon.log_tail()))
    }

    fn findings(&self) -> &[Value] {
        self.report["findings"].as_array().expect("a list")
    }

    /// The checks and subjects with that light. What keeps this machine's clock is no concern of the lab.
    fn with(&self, light: &str) -> Vec<(&str, &str)> {
        let found = self
            .findings()
            .iter()
            .filter(|one| one["light"] == light && one["check"] != "clock");
        found
            .map(|one| {
                (
                    one["check"].as_str().expect("a text"),
                    one["subject"].as_str().expect("a text"),
                )
            })
            .collect()
    }

    fn of_check(&self, check: &str) -> &Value {
        let found = self.findings().iter().find(|one| one["check"] == check);
        found.unwrap_or_else(|| panic!("no {check}: {}", self.report))
    }
}

/// dnsmasq on the daemon's own machine and interface.
fn dnsmasq_here(server: &Namespace) -> TaskTracker {
    let mut command = server.command("dnsmasq");
    command.args([
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--port=0",
        "--user=root",
        "--pid-file",
        "--leasefile-ro",
        "--interface=eno2",
        "--dhcp-range=192.0.2.60,192.0.2.69,255.255.255.0,1h",
    ]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let child = child.expect("package dnsmasq-base is installed");
    server.wait_for_udp(67, "dnsmasq");
    TaskTracker(child)
}

#[test]
fn dnsmasq_a_firewall_a_wrong_mtu_and_a_full_disk_are_all_named_and_nothing_else_is_red() {
    let wire = Wire::new();
    let room = Room::new("");
    let _client = wire.client("02:bb:00:00:00:01");
    let _dnsmasq = dnsmasq_here(&wire.server);
    wire.server.expect("ip", &["link", "set", "eno2", "mtu", "1280"]);
    let rules =
        "table inet room { chain in { type filter hook input priority 0; policy accept; udp dport 69 drop; }; }";
    wire.server.expect("nft", &[rules]);
    // A disk of its own, which nobody else sees and which goes with the program.
    let state = room.path("state");
    let state = state.to_str().expect("a plain name");
    let run = format!(
        "mkdir -p {state} && mount -t tmpfs -o size=64k none {state} && \
         {{ head -c 100000 /dev/zero > {state}/full 2> /dev/null; exec {} doctor --json --config {}; }}",
        binary(),
        room.config().display()
    );
    let found = Verdict::of(&wire.server.run("sh", &["-c", &run]));
    assert_eq!(found.code, Some(1), "{}", found.report);
    let mut red = found.with("red");
    red.sort_unstable();
    assert_eq!(
        red,
        [
            ("disk_space", state),
            ("firewall", "eno2"),
            ("mtu", "eno2"),
            ("port", "udp/67 on eno2")
        ],
        "{:#}",
        found.report
    );
    assert_eq!(found.with("amber"), [], "{:#}", found.report);
    let port = found.of_check("port");
    assert!(
        port["sentence"].as_str().expect("a text").contains("dnsmasq (process "),
        "{port}"
    );
    for one in found.findings() {
        assert_eq!(one["remedy"].is_string(), one["light"] != "green", "{one}");
    }
}

#[test]
fn where_all_is_well_all_is_green_with_a_daemon_and_without() {
    let wire = Wire::new();
    let room = Room::new("").with_small_image(b"kernel");
    let _client = wire.client("02:bb:00:00:00:01");
    let check = |what: &str| {
        let found = Verdict::in_room(&wire, &room, &[]);
        assert_eq!(
            (found.with("red"), found.with("amber")),
            (vec![], vec![]),
            "{what}: {:#}",
            found.report
        );
        assert_eq!(found.code, Some(0));
        let checks: Vec<&str> = found.with("green").iter().map(|(check, _)| *check).collect();
        for wanted in [
            "files",
            "interface",
            "address",
            "mtu",
            "uplink",
            "port",
            "firewall",
            "loader",
            "image",
            "disk_space",
            "open_files",
        ] {
            assert!(checks.contains(&wanted), "{what}: no {wanted} in {checks:?}");
        }
        found
    };
    let found = check("no daemon");
    let is_free =
        |one: &&Value| one["check"] == "port" && one["sentence"].as_str().is_some_and(|said| said.contains("nobody"));
    assert_eq!(found.findings().iter().filter(is_free).count(), 5);
    let daemon = Daemon::start(&wire, &room);
    let found = check("a daemon");
    let is_needed = |one: &&Value| is_free(one) && one["subject"] != "udp/514 on eno2";
    assert_eq!(found.findings().iter().filter(is_needed).count(), 0);
    assert_eq!(found.of_check("daemon")["subject"], format!("process {}", daemon.pid()));
    // What nobody asked for was not done.
    assert!(
        found.report["unseen"].to_string().contains("--probe"),
        "{}",
        found.report
    );
}

#[test]
fn a_probe_finds_the_other_dhcp_server_and_never_ourselves() {
    let wire = Wire::new();
    let room = Room::new("");
    let _client = wire.client("02:bb:00:00:00:01");
    let _daemon = Daemon::start(&wire, &room);
    let alone = Verdict::in_room(&wire, &room, &["--probe"]);
    assert_eq!(
        alone.of_check("other_dhcp_server")["light"],
        "green",
        "{}",
        alone.report
    );
    let _other = OtherServer::start(&wire, &["--no-ping"]);
    let found = Verdict::in_room(&wire, &room, &["--probe"]);
    assert_eq!(
        (found.with("red"), found.code),
        (vec![("other_dhcp_server", "eno2")], Some(1))
    );
    let said = found.of_check("other_dhcp_server")["sentence"]
        .as_str()
        .expect("a text");
    assert!(said.contains(OtherServer::ADDRESS) && !said.contains(SERVER), "{said}");
    // Beside a guest it is as it should be.
    room.set("mode = \"dhcp\"", "mode = \"proxy\"");
    let guest = Verdict::in_room(&wire, &room, &["--probe"]);
    assert_eq!(
        guest.of_check("other_dhcp_server")["light"],
        "green",
        "{}",
        guest.report
    );
}

#[test]
fn a_policy_that_drops_is_seen_through_and_a_clever_rule_is_said_to_be_too_clever() {
    let wire = Wire::new();
    let room = Room::new("");
    let _client = wire.client("02:bb:00:00:00:01");
    let lights = |rules: &str| {
        wire.server.expect("nft", &["flush ruleset"]);
        wire.server.expect("nft", &[rules]);
        let found = Verdict::in_room(&wire, &room, &[]);
        let of_firewall = found.findings().iter().filter(|one| one["check"] == "firewall");
        of_firewall
            .map(|one| one["light"].as_str().expect("a text").to_owned())
            .collect::<Vec<String>>()
    };
    let table = |rules: &str| {
        format!("table inet room {{ chain in {{ type filter hook input priority 0; policy drop; {rules} }}; }}")
    };
    let known = "ct state vmap { established : accept, related : accept, invalid : drop }";
    assert_eq!(
        lights(&table(&format!(
            "{known}; iifname eno2 udp dport {{ 67, 69 }} accept; tcp dport 80 accept;"
        ))),
        ["green"]
    );
    assert_eq!(
        lights(&table(&format!("{known}; udp dport 67 accept; tcp dport 80 accept;"))),
        ["red"]
    );
    assert_eq!(
        lights(&table(&format!(
            "{known}; udp dport {{ 67, 69 }} limit rate 5/second accept; tcp dport 80 accept;"
        ))),
        ["amber", "amber"]
    );
}

#[test]
fn iptables_rules_are_seen_as_iptables_has_them() {
    let wire = Wire::new();
    let room = Room::new("");
    let _client = wire.client("02:bb:00:00:00:01");
    for (rule, light) in [
        (
            "-A INPUT -i eno2 -p udp -m multiport --dports 67,69 -m comment --comment boots -j ACCEPT",
            "green",
        ),
        ("-A INPUT -i eno2 -p udp -m udp --dport 69 -j DROP", "red"),
        ("-A INPUT -p udp --dport 69 -m limit --limit 1/min -j DROP", "amber"),
    ] {
        wire.server.expect("iptables", &["-F"]);
        wire.server.expect("iptables", &rule.split(' ').collect::<Vec<&str>>());
        let found = Verdict::in_room(&wire, &room, &[]);
        assert_eq!(found.of_check("firewall")["light"], light, "{rule}: {:#}", found.report);
    }
}

#[test]
fn who_signed_a_shim_is_read_from_the_file() {
    let host =
        "[[host]]\nname = \"r1u07\"\nmac = \"02:bb:00:00:00:07\"\naddress = \"192.0.2.11\"\nloader = \"shimx64.efi\"\n";
    let wire = Wire::new();
    let room = Room::new(host).with_other_loaders();
    let _client = wire.client("02:bb:00:00:00:01");
    let found = Verdict::in_room(&wire, &room, &[]);
    let of_shim = |one: &&Value| {
        let said = one["sentence"].as_str().expect("a text");
        one["check"] == "signature" && said.contains("shimx64.efi")
    };
    let shim = found
        .findings()
        .iter()
        .find(of_shim)
        .unwrap_or_else(|| panic!("{:#}", found.report));
    let said = shim["sentence"].as_str().expect("a text");
    assert!(
        said.contains("UEFI CA 20") && said.contains("(until 20") && said.contains("SBAT shim,"),
        "{said}"
    );
    assert_eq!(found.with("red"), [], "{:#}", found.report);
}

#[test]
fn relays_are_told_with_their_subnets_and_a_switch_that_calls_all_its_ports_the_same() {
    for (inventory, light, said) in [
        (BEHIND, "green", "passes on what is asked in 198.51.100.0/24"),
        ("", "amber", "lies in no subnet of the inventory"),
    ] {
        let wire = Wire::new();
        let room = Room::new(inventory);
        let daemon = Daemon::start(&wire, &room);
        let (_relayed, client) = Relayed::with_client(&wire, Program::Isc, "02:bb:00:00:02:01");
        // Linux drops broadcasts that come to an interface without an address.
        client.expect("ip", &["addr", "add", "198.51.100.99/24", "dev", "eth0"]);
        let rack = Rack::reading_packets(&client).impatient();
        // dhcrelay's port is its interface, whoever asks there.
        (1..=3).for_each(|machine| drop(rack.discover(machine)));
        let found = Verdict::that_has(&wire, &room, &daemon, "relay");
        let relay = found.of_check("relay");
        assert_eq!(
            (&relay["subject"], &relay["light"]),
            (&"198.51.100.1".into(), &light.into())
        );
        assert!(relay["sentence"].as_str().expect("a text").contains(said), "{relay}");
        let is_of_switch = |one: &&Value| one["check"] == "switch_port";
        let switches: Vec<&Value> = found.findings().iter().filter(is_of_switch).collect();
        match light {
            "green" => {
                assert_eq!(switches.len(), 1, "{}", found.report);
                let said = switches[0]["sentence"].as_str().expect("a text");
                assert!(said.contains("it said back0 of each of 3 machines"), "{said}");
            }
            // Nobody goes by what it tells.
            _ => assert_eq!(switches, Vec::<&Value>::new()),
        }
    }
}

#[test]
fn a_switch_that_says_its_vlan_for_its_port_is_named() {
    let wire = Wire::new();
    let room = Room::new(BEHIND);
    let daemon = Daemon::start(&wire, &room);
    let relay = wire.client_at("02:00:c0:00:02:fe", "192.0.2.254");
    let mut message = Message::default();
    message
        .set_opcode(Opcode::BootRequest)
        .set_chaddr(&[0x02, 0xbb, 0, 0, 2, 9])
        .set_giaddr(Ipv4Addr::new(198, 51, 100, 1));
    message
        .opts_mut()
        .insert(DhcpOption::MessageType(MessageType::Discover));
    let mut packet = message.to_vec().expect("a message of ours encodes");
    // In place of the end: option 82 with a circuit-id and a remote-id.
    assert_eq!(packet.pop(), Some(255));
    packet.extend(*b"\x52\x0f\x01\x06vlan10\x02\x05leaf1\xff");
    throw_at(&relay, SERVER.parse().expect("an address"), 67, &[packet]);
    let found = Verdict::that_has(&wire, &room, &daemon, "switch_port");
    let switch = found.of_check("switch_port");
    assert_eq!(
        (&switch["subject"], &switch["light"]),
        (&"leaf1 (relay 198.51.100.1)".into(), &"amber".into())
    );
    assert!(
        switch["sentence"].as_str().expect("a text").contains("VLAN, vlan10"),
        "{switch}"
    );
}

#[test]
fn another_program_at_the_log_servers_port_is_amber_and_named() {
    let wire = Wire::new();
    let room = Room::new("");
    let _client = wire.client("02:bb:00:00:00:01");
    let taken = wire.server.enter(|| UdpSocket::bind("0.0.0.0:514"));
    let _taken = taken.expect("nobody has it in a namespace of our own");
    let found = Verdict::in_room(&wire, &room, &[]);
    assert_eq!(
        (found.with("red"), found.with("amber"), found.code),
        (vec![], vec![("port", "udp/514 on eno2")], Some(0)),
        "{:#}",
        found.report
    );
    let is_amber = |one: &&Value| one["light"] == "amber" && one["check"] == "port";
    let port = found.findings().iter().find(is_amber).expect("it is the one");
    let holder = format!("(process {})", std::process::id());
    assert!(port["sentence"].as_str().expect("a text").contains(&holder), "{port}");
}

#[test]
fn the_log_servers_port_is_no_concern_where_machines_may_not_log_to_us() {
    let wire = Wire::new();
    let room = Room::new("").with_settings("[syslog]\nenabled = false\n");
    let _client = wire.client("02:bb:00:00:00:01");
    let taken = wire.server.enter(|| UdpSocket::bind("0.0.0.0:514"));
    let _taken = taken.expect("nobody has it in a namespace of our own");
    let found = Verdict::in_room(&wire, &room, &[]);
    assert_eq!(
        (found.with("red"), found.with("amber"), found.code),
        (vec![], vec![], Some(0)),
        "{:#}",
        found.report
    );
    assert!(
        found.findings().iter().all(|one| one["subject"] != "udp/514 on eno2"),
        "{:#}",
        found.report
    );
}

#[test]
fn a_firewalls_program_that_hangs_keeps_the_doctor_waiting_for_no_more_than_its_time() {
    let wire = Wire::new();
    let room = Room::new("");
    let _client = wire.client("02:bb:00:00:00:01");
    let hangs = room.path("hangs");
    fs::write(&hangs, "#!/bin/sh\nsleep 600\n").expect("a new file");
    let config = room.config();
    // For this program alone, and gone with it.
    let run = format!(
        "chmod 755 {hangs} && mount --bind {hangs} \"$(readlink -f \"$(command -v nft)\")\" && \
         exec {} doctor --json --config {}",
        binary(),
        config.display(),
        hangs = hangs.display()
    );
    let start = Instant::now();
    let found = Verdict::of(&wire.server.run("sh", &["-c", &run]));
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    let unseen = found.report["unseen"].to_string();
    assert!(unseen.contains("(nft): it did not end within"), "{unseen}");
    // What was not seen is neither green nor anything else.
    assert!(
        found.findings().iter().all(|one| one["check"] != "firewall"),
        "{:#}",
        found.report
    );
}
