//! Rung 3: what the doctor says of a namespace that is well, and of one with real faults.

use super::daemon::Daemon;
use super::namespace::{Namespace, SERVER, TaskTracker, Wire, text};
use super::proxy::OtherServer;
use super::room::{Room, binary};
use serde_json::Value;
use std::process::{Output, Stdio};

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
    assert_eq!(found.findings().iter().filter(is_free).count(), 4);
    let daemon = Daemon::start(&wire, &room);
    let found = check("a daemon");
    assert_eq!(found.findings().iter().filter(is_free).count(), 0);
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
