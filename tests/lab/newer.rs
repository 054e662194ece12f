//! Loaders of newer Debian releases than the one of this machine.

use super::daemon::{Daemon, ask, ask_json_with};
use super::firmware::LOADER;
use super::machine::{Firmware, Machine, SERIAL};
use super::namespace::{Wire, text};
use super::room::Room;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The root of a Debian suite that has these packages; nothing of it touches the system.
pub fn root_of(suite: &str, packages: &[&str]) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/newer-root.sh");
    let output = Command::new(script).arg(suite).args(packages).output();
    let output = output.expect("tests/newer-root.sh is in the checkout");
    assert!(output.status.success(), "{}", text(&output));
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}

/// Boots a machine through the `snponly.efi` of a suite, whose autoexec.ipxe comes before any DHCP of its own. What it
/// shows, it `logs` to us, if it is built to.
fn boots_by_autoexec(firmware: Firmware, stage: &str, suite: &str, logs: bool) {
    let wire = Wire::new();
    // A host that is known by what only its script's request says.
    let host = format!("[[host]]\nname = \"r1u07\"\nserial = \"{SERIAL}\"\nboot = \"live\"\nscript = \"shown\"\n");
    let room = Room::new(&host).with_script("shown", "#!ipxe\necho {{ name }} came up with ${net0/ip}\nsleep 600\n");
    let loader = root_of(suite, &["ipxe"]).join("usr/lib/ipxe/snponly.efi");
    fs::copy(&loader, room.path("loaders/snponly.efi")).expect("the suite's package ipxe has it");
    let daemon = Daemon::start(&wire, &room);
    let machine = Machine::power_on(&wire, firmware, "52:54:00:00:00:07");
    daemon.wait_for_within("the loader", LOADER, |line| {
        line.event == "sent" && line.file == "loader snponly.efi" && line.stage == stage
    });
    daemon.wait_for_within("its autoexec", LOADER, |line| {
        line.event == "sent" && line.file == "autoexec.ipxe"
    });
    daemon.wait_for_within("the script", LOADER, |line| line.is("r1u07", "sent", &["script shown"]));
    machine.wait_for("r1u07 came up with 192.0.2.1", LOADER);
    let steps = daemon.lines().into_iter().filter(|line| line.target == "boot");
    let again = steps.filter(|line| line.stage == "ipxe" && line.event != "sent");
    assert_eq!(
        again.map(|line| line.event).collect::<Vec<_>>(),
        [""; 0],
        "it asked DHCP again"
    );
    let is_logged = || {
        let why = ask_json_with(&room, &["why", "r1u07"]);
        let lines = why[0]["log"]["lines"].as_array()?.clone();
        let shown = |line: &serde_json::Value| line["text"].as_str()?.contains("came up with 192.0.2.1").then_some(());
        lines
            .iter()
            .find(|line| line["tag"] == "ipxe" && shown(line).is_some())
            .cloned()
    };
    if logs {
        let line = super::poll(super::SOON, is_logged);
        assert!(
            line.is_some(),
            "{}\n{}",
            text(&ask(&room, &["why", "r1u07"])),
            daemon.log_tail()
        );
    }
}

#[test]
fn ipxe_1_21_1_that_runs_its_autoexec_with_a_closed_interface_comes_to_the_hosts_script() {
    boots_by_autoexec(Firmware::OvmfPxe, "uefi-pxe", "trixie", false);
}

#[test]
fn ipxe_2_0_by_uefi_http_boot_comes_to_the_hosts_script_and_logs_what_it_shows() {
    boots_by_autoexec(Firmware::OvmfHttp, "uefi-http", "sid", true);
}
