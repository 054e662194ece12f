//! The shipped unit: what systemd makes of it, as far as it can be asked offline.
#![expect(clippy::unwrap_used, reason = "what fails in a helper fails its test")]

use std::{path::Path, process::Command};

/// The worst exposure that is accepted, out of 10 (dnsmasq and nginx as packaged: 9.6).
const EXPOSURE_MAX: f64 = 2.0;

fn unit() -> String {
    std::fs::read_to_string(unit_path()).unwrap()
}

fn unit_path() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/bootwright.service")
}

/// Every value of `key`, in order.
fn values<'u>(unit: &'u str, key: &str) -> Vec<&'u str> {
    unit.lines()
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .collect()
}

#[test]
fn systemd_calls_the_exposure_two_or_less() {
    let run = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager"])
        .arg(unit_path())
        .output();
    let run = run.unwrap_or_else(|error| panic!("systemd-analyze (package systemd): {error}"));
    let said = String::from_utf8(run.stdout).unwrap();
    let line = said
        .lines()
        .find(|line| line.contains("Overall exposure level"))
        .unwrap_or_else(|| panic!("{said}{}", String::from_utf8_lossy(&run.stderr)));
    let figure = line.split(": ").nth(1).unwrap().split(' ').next().unwrap();
    let exposure: f64 = figure.parse().unwrap();
    assert!(exposure <= EXPOSURE_MAX, "{line}");
}

#[test]
fn the_start_is_done_when_the_daemon_says_so() {
    let unit = unit();
    assert_eq!(values(&unit, "Type"), ["notify"]);
    assert_eq!(values(&unit, "NotifyAccess"), ["main"]);
    assert_eq!(values(&unit, "Restart"), ["on-failure"]);
    assert_eq!(values(&unit, "WatchdogSec").len(), 1);
}

#[test]
fn a_reload_waits_for_its_verdict() {
    assert_eq!(values(&unit(), "ExecReload"), ["/usr/bin/bootwright reload"]);
}

#[test]
fn only_ports_and_frames_are_privileged() {
    let unit = unit();
    let two = ["CAP_NET_BIND_SERVICE CAP_NET_RAW"];
    assert_eq!(values(&unit, "AmbientCapabilities"), two);
    assert_eq!(values(&unit, "CapabilityBoundingSet"), two);
    assert_eq!(values(&unit, "User"), ["bootwright"]);
}

#[test]
fn state_and_socket_are_closed_to_others() {
    let unit = unit();
    for folder in ["StateDirectory", "RuntimeDirectory"] {
        assert_eq!(values(&unit, folder), ["bootwright"]);
        assert_eq!(values(&unit, &format!("{folder}Mode")), ["0750"]);
    }
}
