//! The shipped unit: what systemd makes of it, as far as it can be asked offline.

use bootwright::model::limits::VALIDATION_TIMEOUT;
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
    let printed = String::from_utf8(run.stdout).unwrap();
    let line = printed
        .lines()
        .find(|line| line.contains("Overall exposure level"))
        .unwrap_or_else(|| panic!("{printed}{}", String::from_utf8_lossy(&run.stderr)));
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
fn a_log_server_of_this_host_has_its_port_before_we_take_it() {
    let unit = unit();
    let after: Vec<&str> = values(&unit, "After")
        .into_iter()
        .flat_map(str::split_whitespace)
        .collect();
    for program in ["rsyslog.service", "syslog-ng.service"] {
        assert!(after.contains(&program), "{after:?}");
    }
}

#[test]
fn a_reload_waits_for_its_verdict() {
    assert_eq!(values(&unit(), "ExecReload"), ["/usr/bin/bootwright reload"]);
}

#[test]
fn a_trial_of_files_may_die_of_memory_or_take_its_time_and_the_daemon_stays() {
    let unit = unit();
    assert_eq!(values(&unit, "OOMPolicy"), ["continue"]);
    let seconds: u64 = values(&unit, "TimeoutStartSec")[0].parse().unwrap();
    assert!(
        seconds > 2 * VALIDATION_TIMEOUT.as_secs(),
        "the files on disk, then the kept ones"
    );
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

/// `make install` into a folder of its own, whose `/etc/group` has `group`.
fn install(group: Option<&str>) -> (tempfile::TempDir, std::fs::Metadata) {
    let (root, inventory, _) = install_with(group, Path::new("/nonexistent"));
    (root, inventory)
}

/// The same with the live system that lies in a folder, and what it says.
fn install_with(group: Option<&str>, live: &Path) -> (tempfile::TempDir, std::fs::Metadata, String) {
    use std::fs;
    let root = tempfile::tempdir().unwrap();
    if let Some(group) = group {
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/group"), group).unwrap();
        let user = group
            .contains("bootwright")
            .then_some("bootwright:x:4321:4321::/:/usr/sbin/nologin\n");
        let users = format!("root:x:0:0::/root:/bin/sh\n{}", user.unwrap_or_default());
        fs::write(root.path().join("etc/passwd"), users).unwrap();
    }
    let run = Command::new("make")
        .arg("install")
        .arg(format!("DESTDIR={}", root.path().display()))
        // A folder that systemd-sysusers does not search.
        .arg("PREFIX=/opt/bootwright")
        .arg(format!("BINARY={}", env!("CARGO_BIN_EXE_bootwright")))
        .arg(format!("LIVE={}", live.display()))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("MAKEFLAGS")
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let inventory = fs::metadata(root.path().join("etc/bootwright/inventory.toml")).unwrap();
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    (root, inventory, said)
}

#[test]
fn the_live_system_is_installed_where_it_is_built_and_else_it_is_said_how() {
    let (root, _, said) = install_with(None, Path::new("/nonexistent"));
    let at = "srv/bootwright/images/bootwright-live";
    assert!(!root.path().join(at).exists());
    assert!(said.contains("make deployer"), "{said}");
    let live = tempfile::tempdir().unwrap();
    let files = ["vmlinuz", "initrd.zst", "image.toml"];
    for file in files {
        std::fs::write(live.path().join(file), file).unwrap();
    }
    let (root, _, said) = install_with(None, live.path());
    for file in files {
        assert_eq!(std::fs::read_to_string(root.path().join(at).join(file)).unwrap(), file);
    }
    assert!(!said.contains("make deployer"), "{said}");
}

#[test]
fn an_installed_inventory_is_for_root_and_the_daemon_alone() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let (_package, inventory) = install(None);
    assert_eq!(inventory.permissions().mode() & 0o777, 0o640);
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let (root, inventory) = install(Some("root:x:0:\nbootwright:x:4321:\n"));
    assert_eq!(
        (inventory.permissions().mode() & 0o777, inventory.uid(), inventory.gid()),
        (0o640, 0, 4321)
    );
    // The group is made where it is missing.
    drop(root);
    let (root, inventory) = install(Some("root:x:0:\n"));
    let group = std::fs::read_to_string(root.path().join("etc/group")).unwrap();
    let made = group.lines().find(|line| line.starts_with("bootwright:")).unwrap();
    assert!(
        made.contains(&format!(":{}:", inventory.gid())) && inventory.gid() != 0,
        "{group}"
    );
}

#[test]
fn installed_settings_are_sound_and_say_which_of_them_are_no_defaults() {
    let (root, _) = install(None);
    let at = root.path().join("etc/bootwright/bootwright.toml");
    let text = std::fs::read_to_string(at).unwrap();
    for line in ["scripts = \"ipxe-scripts\"", "images = \"/srv/bootwright/images\""] {
        assert!(text.lines().any(|found| found == line), "{text}");
    }
    for line in ["\"../ipxe-scripts\".", "Where nothing is said: \"../images\"."] {
        assert!(text.contains(line), "{text}");
    }
}
