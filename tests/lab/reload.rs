//! Rung 3: the inventory is edited while machines are served.

use super::daemon::{Daemon, ask, ask_json};
use super::namespace::{SERVER, Wire, text};
use super::room::Room;
use nix::sys::signal::Signal;
use std::fs;

const GOOD: &str = r#"
[[host]]
name    = "r1u01"
mac     = "02:00:00:00:00:41"
address = "192.0.2.41"
boot    = "live"
script  = "who"
"#;

/// The same host, renamed: the next good edit.
const BETTER: &str = r#"
[[host]]
name    = "r1u02"
mac     = "02:00:00:00:00:41"
address = "192.0.2.41"
boot    = "live"
script  = "who"
"#;

/// An address in no subnet, and a key nobody knows.
const BAD: &str = r#"
[[host]]
name    = "r1u03"
mac     = "02:00:00:00:00:41"
address = "198.51.100.41"
colour  = "red"
"#;

#[test]
fn a_bad_edit_changes_nothing_and_the_next_good_one_needs_no_restart() {
    let wire = Wire::new();
    let room = Room::new(GOOD).with_script("who", "#!ipxe\necho {{ name }}\n");
    let mut daemon = Daemon::start(&wire, &room);
    let client = wire.client_at("02:00:00:00:00:41", "192.0.2.41");
    let script = || {
        let url = format!("http://{SERVER}/boot.ipxe?mac=02-00-00-00-00-41");
        String::from_utf8_lossy(&client.expect("curl", &["-sSf", &url])).into_owned()
    };
    assert_eq!(script(), "#!ipxe\necho r1u01\n");

    room.write_inventory(BAD);
    daemon.wait_for("the bad address, with its line", |line| {
        line.level == "ERROR" && line.message.contains("inventory.toml:") && line.message.contains("198.51.100.41")
    });
    daemon.wait_for("the unknown key, of the same edit", |line| {
        line.level == "ERROR" && line.message.contains("colour")
    });
    assert_eq!(script(), "#!ipxe\necho r1u01\n", "the old generation serves");
    let refused = ask(&room, &["reload"]);
    assert!(!refused.status.success(), "reload must fail: {}", text(&refused));
    assert!(
        text(&refused).contains("198.51.100.41"),
        "reload says why: {}",
        text(&refused)
    );
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for("SIGHUP, which is heard", |line| {
        line.message.contains("reload by SIGHUP refused, ")
    });
    let status = ask_json(&room, "status").to_string();
    assert!(
        status.contains("198.51.100.41"),
        "status remembers the refusal: {status}"
    );

    room.write_inventory(BETTER);
    let renamed = super::poll(super::SOON, || (script() == "#!ipxe\necho r1u02\n").then_some(()));
    assert!(
        renamed.is_some(),
        "the edit took no effect: {}\n{}",
        script(),
        daemon.log_tail()
    );
    assert!(ask(&room, &["reload"]).status.success());
    assert!(daemon.is_alive());
    assert!(daemon.stop().success(), "SIGTERM is a clean end");
}

#[test]
fn an_inventory_that_is_unsound_at_the_start_is_refused_with_every_error() {
    let wire = Wire::new();
    let room = Room::new(BAD);
    let mut daemon = Daemon::spawn(&wire.server, &room);
    assert_eq!(daemon.wait_exit().code(), Some(1), "{}", daemon.log_tail());
    let said = daemon.log_tail();
    assert!(said.contains("198.51.100.41") && said.contains("colour"), "{said}");
}

#[test]
fn an_interface_without_a_subnet_is_said_and_served_once_the_inventory_has_one() {
    let wire = Wire::new();
    let room = Room::new("");
    room.write("inventory.toml", "[[subnet]]\ncidr = \"198.51.100.0/24\"\n");
    let daemon = Daemon::start(&wire, &room);
    let line = daemon.wait_for("the missing subnet", |line| {
        line.message
            .contains("no subnet of the inventory holds its address 192.0.2.1")
    });
    assert_eq!(line.level, "WARN");
    assert!(line.message.contains("cidr = \"192.0.2.0/24\""), "{line:?}");
    room.write_inventory("");
    daemon.wait_for("the next generation", |line| line.message.contains("generation 2"));
    assert!(wire.client("02:bb:00:00:00:01").gets_lease(&[]));
}

#[test]
fn a_loader_that_is_copied_in_is_served_and_one_that_is_taken_away_is_noticed() {
    let wire = Wire::new();
    let room = Room::new(GOOD).with_script("who", "#!ipxe\n");
    let daemon = Daemon::start(&wire, &room);
    let client = wire.client_at("02:00:00:00:00:41", "192.0.2.41");
    let asked = |file: &str| {
        let url = format!("http://{SERVER}/{file}");
        let output = client.run("curl", &["-s", "-o", "/dev/null", "-w", "%{http_code}", &url]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let becomes = |file: &str, code: &str| {
        let seen = super::poll(super::SOON, || (asked(file) == code).then_some(()));
        assert!(seen.is_some(), "{file}: {}\n{}", asked(file), daemon.log_tail());
    };
    let ipxe = fs::read("/usr/lib/ipxe/snponly.efi").expect("package ipxe is installed");
    for file in ["late2.efi", "modules/new/sleep.mod"] {
        assert_eq!(asked(file), "404");
        let path = room.path("loaders").join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("our own folder");
        fs::write(path, &ipxe).expect("our own folder");
        becomes(file, "200");
    }
    room.write_inventory(&format!("{GOOD}loader = \"late2.efi\"\n"));
    let listed = super::poll(super::SOON, || {
        let hosts = ask_json(&room, "hosts");
        (hosts[0]["loaders"] == serde_json::json!(["late2.efi"])).then_some(())
    });
    assert!(listed.is_some(), "{}", daemon.log_tail());
    fs::remove_file(room.path("loaders/late2.efi")).expect("our own file");
    daemon.wait_for("what is missed", |line| {
        line.level == "ERROR" && line.message.contains("there is no loader `late2.efi`")
    });
}
