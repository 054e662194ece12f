//! Rung 3: `bootwright storm`, the virtual fleet, against the daemon.

use super::daemon::{Daemon, ask, ask_json};
use super::namespace::{Namespace, Wire, text};
use super::room::Room;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    process::Output,
    time::Duration,
};

/// The fleet's own network behind its host, and a rule for everybody on it.
const FLEET: &str = r#"
[[subnet]]
cidr   = "198.18.0.0/16"
pool   = ["198.18.1.0-198.18.3.255"]
lease  = "1h"

[profile.fleet]
image  = "small"
boot   = "live"
script = "live"

[[rule]]
match   = { arch = "x86_64" }
profile = "fleet"
"#;

const KERNEL_BYTES: usize = 300_000;
/// How long machines may take that fail at once; the host that runs tests can be slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// The host that storms, with the fleet's network on its loopback.
fn fleet_host(wire: &Wire) -> Namespace {
    let host = wire.client_at("02:00:c0:00:02:fe", "192.0.2.254");
    host.expect("ip", &["route", "add", "local", "198.18.0.0/16", "dev", "lo"]);
    wire.server
        .expect("ip", &["route", "add", "198.18.0.0/16", "via", "192.0.2.254"]);
    host
}

fn storm(host: &Namespace, arguments: &[&str]) -> Output {
    let fixed = ["storm", "--server", "192.0.2.1", "--relay", "198.18.0.1", "--json"];
    host.run(&super::room::binary(), &[&fixed, arguments].concat())
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(output)))
}

/// Machines by the cause of their failure.
fn causes(report: &Value) -> Vec<(Value, u64)> {
    let failures = report["failures"].as_array().expect("a report lists its failures");
    failures
        .iter()
        .map(|alike| (alike["cause"].clone(), alike["machines"].as_u64().unwrap_or_default()))
        .collect()
}

#[test]
fn two_hundred_machines_of_either_firmware_come_up_and_the_report_has_them() {
    let wire = Wire::new();
    let room = Room::new(FLEET).with_small_image(&[7; KERNEL_BYTES]);
    let daemon = Daemon::start(&wire, &room);
    let host = fleet_host(&wire);
    for (firmware, reads) in [("uefi", "packets"), ("bios", "datagrams")] {
        let played = ["--firmware", firmware, "--reads", reads];
        let arguments = [&["--machines", "200", "--spread", "2"], &played[..]].concat();
        let output = storm(&host, &arguments);
        assert!(output.status.success(), "{}\n{}", text(&output), daemon.log_tail());
        let report = report(&output);
        assert_eq!((&report["machines"], &report["up"]), (&200.into(), &200.into()));
        let stages: Vec<(&str, u64)> = report["stages"]
            .as_array()
            .expect("a report has its stages")
            .iter()
            .map(|stage| (stage["stage"].as_str().unwrap(), stage["machines"].as_u64().unwrap()))
            .collect();
        let expected = ["firmware", "loader", "ipxe", "script", "kernel"].map(|stage| (stage, 200));
        assert_eq!(stages, expected);
        let bytes = report["bytes"].as_u64().unwrap();
        assert!(
            bytes > 200 * KERNEL_BYTES as u64,
            "{bytes} bytes are less than the kernels'"
        );
    }
    // Each machine was a client of its own, and the same one both times.
    let leases = ask_json(&room, "leases");
    assert_eq!(leases.as_array().map(Vec::len), Some(200));
    assert!(leases.to_string().contains("02:00:00:00:00:c8"), "{leases}");
}

#[test]
fn what_is_missing_is_a_cause_with_its_machines_and_the_exit_code_says_so() {
    let wire = Wire::new();
    let room = Room::new(FLEET).with_script("live", "#!ipxe\nkernel {{ http }}/image/small/missing\nboot\n");
    let room = room.with_small_image(&[7; 1000]);
    let daemon = Daemon::start(&wire, &room);
    let host = fleet_host(&wire);
    let output = storm(&host, &["--machines", "20", "--spread", "0"]);
    assert_eq!(output.status.code(), Some(1), "{}", daemon.log_tail());
    assert_eq!(
        causes(&report(&output)),
        [(serde_json::json!({ "http-status": 404 }), 20)]
    );
}

#[test]
fn a_machine_that_gave_up_is_powered_on_again_and_what_stopped_it_is_told() {
    let wire = Wire::new();
    let room = Room::new(FLEET).with_script("live", "#!ipxe\nkernel {{ http }}/image/small/missing\nboot\n");
    let room = room.with_small_image(&[7; 1000]);
    let daemon = Daemon::start(&wire, &room);
    let host = fleet_host(&wire);
    let give_up = storm(&host, &["--machines", "5", "--spread", "0", "--power-cycles", "1"]);
    assert_eq!(give_up.status.code(), Some(1), "{}", daemon.log_tail());
    let given_up = report(&give_up);
    let missing = || serde_json::json!({ "http-status": 404 });
    assert_eq!(given_up["setbacks"][0]["machines"], 5, "{given_up}");
    assert_eq!(causes(&given_up), [(missing(), 5)]);
    let come_up = std::thread::scope(|scope| {
        let storm = scope.spawn(|| storm(&host, &["--machines", "5", "--spread", "0", "--power-cycles", "100"]));
        // Two failures of each are the first storm's.
        let have_failed_again = || {
            let mut failures = BTreeMap::<String, u32>::new();
            for line in daemon.lines() {
                if line.event == "failed" && line.file == "image small/missing" {
                    *failures.entry(line.machine).or_default() += 1;
                }
            }
            (failures.len() == 5 && failures.values().all(|times| *times >= 3)).then_some(())
        };
        super::poll(PATIENCE, have_failed_again).expect("every machine fails once more");
        let script = "#!ipxe\nkernel {{ http }}/image/small/kernel.bin\nboot\n";
        room.write_script("live.ipxe", script);
        assert!(ask(&room, &["reload"]).status.success());
        storm.join().expect("the storm ends")
    });
    assert!(come_up.status.success(), "{}\n{}", text(&come_up), daemon.log_tail());
    let came_up = report(&come_up);
    assert_eq!((&came_up["up"], &came_up["power_cycled"]), (&5.into(), &5.into()));
    assert_eq!(came_up["setbacks"][0]["cause"], missing());
    assert_eq!(causes(&came_up), []);
}

/// The storm that is hit, and how many leases the daemon knows when it is killed each time.
const HIT_MACHINES: usize = 500;
const KILLED_AT: [usize; 3] = [50, 250, 450];

#[test]
fn three_kills_in_a_storm_of_five_hundred_stop_only_whose_transfer_they_cut() {
    let wire = Wire::new();
    // Offers are on no disk: in a narrow pool a machine that comes after a kill may be offered what another was
    // before it.
    let fleet = FLEET.replace("198.18.3.255", "198.18.255.254");
    let room = Room::new(&fleet).with_small_image(&[7; KERNEL_BYTES]);
    let mut daemon = Daemon::start(&wire, &room);
    let host = fleet_host(&wire);
    let machines = HIT_MACHINES.to_string();
    let how = ["--spread", "10", "--power-cycles", "10", "--time-limit", "150"];
    let (output, daemon) = std::thread::scope(|scope| {
        let storm = scope.spawn(|| storm(&host, &[&["--machines", &machines], &how[..]].concat()));
        for wanted in KILLED_AT {
            let is_hit = || {
                let leases = ask_json(&room, "leases").as_array().map_or(0, Vec::len);
                (leases >= wanted || storm.is_finished()).then_some(leases)
            };
            let leases = super::poll(PATIENCE, is_hit);
            assert!(
                leases.is_some_and(|leases| leases >= wanted),
                "{leases:?} leases\n{}",
                daemon.log_tail()
            );
            assert!(!storm.is_finished(), "the storm was over before {wanted} leases");
            daemon.crash();
            daemon = Daemon::start(&wire, &room);
        }
        (storm.join().expect("the storm ends"), daemon)
    });
    let report = report(&output);
    eprintln!("three kills in a storm: {report}");
    assert!(output.status.success(), "{report}\n{}", daemon.log_tail());
    assert_eq!(report["up"], HIT_MACHINES);
    // DHCP outlives a kill, and no address was given twice: those would be causes of their own.
    for stopped in report["setbacks"].as_array().expect("a report lists its setbacks") {
        let (cause, stage) = (&stopped["cause"], &stopped["stage"]);
        let is_cut = ["tftp-silent", "http-broken", "http-silent"]
            .map(Value::from)
            .contains(cause);
        let is_transfer = ["loader", "script", "kernel"].map(Value::from).contains(stage);
        assert!(is_cut && is_transfer, "{stopped}");
    }
    let leases = ask_json(&room, "leases");
    let of = |key: &str| -> BTreeSet<String> {
        let all = leases.as_array().expect("a list of leases").iter();
        all.map(|lease| lease[key].to_string()).collect()
    };
    assert_eq!((of("address").len(), of("client").len()), (HIT_MACHINES, HIT_MACHINES));
}

#[test]
fn a_script_that_leads_to_another_server_is_not_followed() {
    let wire = Wire::new();
    let room = Room::new(FLEET).with_script("live", "#!ipxe\nkernel http://192.0.2.9/linux\nboot\n");
    let room = room.with_small_image(&[7; 1000]);
    let _daemon = Daemon::start(&wire, &room);
    let host = fleet_host(&wire);
    let output = storm(&host, &["--machines", "5", "--spread", "0"]);
    assert_eq!(causes(&report(&output)), [("elsewhere".into(), 5)]);
}

#[test]
fn addresses_that_are_not_the_hosts_and_a_server_that_is_silent_are_reported() {
    let wire = Wire::new();
    let room = Room::new(FLEET).with_small_image(&[7; 1000]);
    let daemon = Daemon::start(&wire, &room);
    let host = fleet_host(&wire);
    host.expect("ip", &["route", "del", "local", "198.18.0.0/16", "dev", "lo"]);
    host.expect("ip", &["addr", "add", "198.18.0.1/32", "dev", "lo"]);
    let output = storm(&host, &["--machines", "5", "--spread", "0"]);
    assert_eq!(causes(&report(&output)), [("not-our-address".into(), 5)]);
    drop(daemon);
    let output = storm(&host, &["--machines", "5", "--spread", "0", "--time-limit", "2"]);
    assert_eq!(causes(&report(&output)), [("out-of-time".into(), 5)]);
}
