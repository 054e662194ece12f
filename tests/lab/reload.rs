//! Rung 3: the inventory is edited while machines are served.

use super::daemon::{Daemon, ask, ask_json};
use super::namespace::{SERVER, Wire, text};
use super::room::{Room, SUBNET};
use bootwright::model::limits::ALLOCATOR_ARENAS_MAX;
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

/// The inventory's first line with these words.
fn line_of(room: &Room, words: &str) -> String {
    let text = fs::read_to_string(room.path("inventory.toml")).expect("our own file");
    let line = text
        .lines()
        .position(|line| line.contains(words))
        .expect("it was written");
    (line + 1).to_string()
}

/// With the library's own limit of eight a processor there are a dozen at the start already, and each grows to
/// the largest reload and answer that was ever made in it.
#[test]
fn reloads_and_answers_do_not_each_fill_an_arena_of_their_own() {
    let wire = Wire::new();
    let room = Room::new(GOOD).with_script("who", "#!ipxe\necho {{ name }}\n");
    let daemon = Daemon::start(&wire, &room);
    for _ in 0..3 {
        let reloaded = ask(&room, &["reload"]);
        assert!(reloaded.status.success(), "{}", text(&reloaded));
        ask_json(&room, "leases");
    }
    assert!(
        daemon.further_arenas() < ALLOCATOR_ARENAS_MAX,
        "{} beside the first",
        daemon.further_arenas()
    );
}

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
    let line_of = |words: &str| line_of(&room, words);
    daemon.wait_for("the bad address, with its line", |line| {
        line.level == "ERROR"
            && line.has("file_error", &[("line", &line_of("address"))])
            && line.file.ends_with("inventory.toml")
    });
    daemon.wait_for("the unknown key, of the same edit", |line| {
        line.level == "ERROR" && line.has("file_error", &[("line", &line_of("colour"))])
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
        line.has("reload_refused", &[("trigger", "SIGHUP")])
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
    let log = daemon.log_tail();
    assert!(log.contains("198.51.100.41") && log.contains("colour"), "{log}");
}

#[test]
fn an_interface_without_a_subnet_is_reported_and_served_once_the_inventory_has_one() {
    let wire = Wire::new();
    let room = Room::new("");
    room.write("inventory.toml", "[[subnet]]\ncidr = \"198.51.100.0/24\"\n");
    let daemon = Daemon::start(&wire, &room);
    let line = daemon.wait_for("the missing subnet", |line| {
        line.has("no_subnet", &[("address", SERVER)])
    });
    assert_eq!(line.level, "WARN");
    assert_eq!(line.field("cidr"), "192.0.2.0/24");
    room.write_inventory("");
    daemon.wait_for("the next generation", |line| {
        line.has("reloaded", &[("generation", "2")])
    });
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
    let line_of = |words: &str| line_of(&room, words);
    daemon.wait_for("what is missed", |line| {
        line.level == "ERROR" && line.has("file_error", &[("line", &line_of("late2.efi"))])
    });
}

/// The daemon's memory in kB, and whether it answers.
fn memory_of(daemon: &Daemon, room: &Room) -> u64 {
    let _ = ask_json(room, "status");
    daemon.resident_kb()
}

#[test]
fn files_that_nobody_could_judge_cost_the_daemon_neither_its_life_nor_its_memory() {
    const MORE_KB_MAX: u64 = 24 * 1024;
    let wire = Wire::new();
    let room = Room::new(GOOD).with_script("who", "#!ipxe\necho {{ name }}\n");
    let mut daemon = Daemon::start(&wire, &room);
    let before = memory_of(&daemon, &room);
    let refused = |daemon: &Daemon, what: &str| {
        daemon.wait_for(what, |line| line.event == "file_error" && line.file.ends_with(what));
        assert!(!ask(&room, &["reload"]).status.success(), "{what}");
        let now = memory_of(daemon, &room);
        assert!(now < before + MORE_KB_MAX, "{what}: {before} kB before, {now} kB now");
    };
    let words = "It is a long text, about [many] things = none of them \"TOML.\n";
    room.write("inventory.toml", &words.repeat(2_000_000 / words.len()));
    refused(&daemon, "inventory.toml");
    room.write_inventory(GOOD);
    let grows = "{% set ns = namespace(a=[1]) %}{% for i in range(40) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}";
    room.write_script("who.ipxe", &format!("#!ipxe\n{grows}{{{{ (ns.a ~ 'x') | length }}}}\n"));
    refused(&daemon, "who.ipxe");
    fs::remove_file(room.path("scripts/who.ipxe")).expect("our own file");
    nix::unistd::mkfifo(&room.path("scripts/pipe.ipxe"), nix::sys::stat::Mode::S_IRWXU).expect("our own folder");
    refused(&daemon, "pipe.ipxe");
    fs::remove_file(room.path("scripts/pipe.ipxe")).expect("our own file");
    room.write_script("who.ipxe", "#!ipxe\necho again {{ name }}\n");
    let client = wire.client_at("02:00:00:00:00:41", "192.0.2.41");
    let url = format!("http://{SERVER}/boot.ipxe?mac=02-00-00-00-00-41");
    let script = || String::from_utf8_lossy(&client.expect("curl", &["-sSf", &url])).into_owned();
    let served = super::poll(super::SOON, || (script() == "#!ipxe\necho again r1u01\n").then_some(()));
    assert!(served.is_some(), "{}\n{}", script(), daemon.log_tail());
    assert!(daemon.is_alive());
}

#[test]
fn edits_behind_a_link_and_in_a_folder_that_came_back_are_seen() {
    let wire = Wire::new();
    let room = Room::new("");
    let folder = |name: &str| room.path(name);
    let settings = fs::read_to_string(room.config()).expect("our own file");
    for name in ["git/rooms", "etc"] {
        fs::create_dir_all(folder(name)).expect("our own folder");
    }
    room.write(
        "git/rooms/room.toml",
        &format!("{SUBNET}{GOOD}").replace("who", "local"),
    );
    std::os::unix::fs::symlink("../git/rooms/room.toml", folder("etc/inventory.toml")).expect("our own folder");
    let elsewhere = ["scripts", "answers", "images", "loaders"]
        .into_iter()
        .fold(settings, |text, name| {
            text.replace(&format!("\"{name}\""), &format!("\"{}\"", folder(name).display()))
        });
    let elsewhere = elsewhere.replace(
        "\"inventory.toml\"",
        &format!("\"{}\"", folder("etc/inventory.toml").display()),
    );
    room.write("bootwright.toml", &elsewhere);
    let daemon = Daemon::start(&wire, &room);
    let named = |name: &str| {
        let seen = super::poll(super::SOON, || {
            (ask_json(&room, "hosts")[0]["name"] == name).then_some(())
        });
        assert!(
            seen.is_some(),
            "{name}: {}\n{}",
            ask_json(&room, "hosts"),
            daemon.log_tail()
        );
    };
    named("r1u01");
    let edit = |name: &str| {
        let text = format!("{SUBNET}{GOOD}").replace("who", "local").replace("r1u01", name);
        room.write("git/rooms/room.toml", &text);
    };
    edit("r1u02");
    named("r1u02");
    fs::rename(folder("etc"), folder("etc.away")).expect("our own folder");
    daemon.wait_for("the missing inventory", |line| {
        line.event == "file_error" && line.file.ends_with("etc/inventory.toml")
    });
    fs::create_dir(folder("etc")).expect("our own folder");
    edit("r1u03");
    std::os::unix::fs::symlink("../git/rooms/room.toml", folder("etc/inventory.toml")).expect("our own folder");
    named("r1u03");
    edit("r1u04");
    named("r1u04");
    assert_eq!(ask_json(&room, "status")["unwatched"], serde_json::json!([]));
}
