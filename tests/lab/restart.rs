//! Rung 3: the daemon starts again while the files on disk are refused, and shows how its interfaces stand.

use super::SOON;
use super::daemon::{Daemon, ask, ask_json};
use super::namespace::{INTERFACE, Namespace, SERVER, Wire, text};
use super::room::Room;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

fn inventory(name: &str) -> String {
    format!(
        "[[host]]\nname = \"{name}\"\nmac = \"02:00:00:00:00:41\"\naddress = \"192.0.2.41\"\nboot = \"live\"\nscript = \"who\"\n"
    )
}

/// An address in no subnet.
const BAD: &str = "[[host]]\nname = \"r1u03\"\nmac = \"02:00:00:00:00:41\"\naddress = \"198.51.100.41\"\n";

fn who() -> Room {
    Room::new(&inventory("r1u01")).with_script("who", "#!ipxe\necho {{ name }}\n")
}

fn script(client: &Namespace) -> String {
    let url = format!("http://{SERVER}/boot.ipxe?mac=02-00-00-00-00-41");
    String::from_utf8_lossy(&client.expect("curl", &["-sSf", &url])).into_owned()
}

/// The folder of the version that is kept, once `file` in it says `words`.
fn kept(room: &Room, file: &str, words: &str) -> PathBuf {
    let all = room.path("state/accepted");
    let found = super::poll(SOON, || {
        let folders = fs::read_dir(&all).ok()?.flatten().map(|entry| entry.path());
        let mut numbered = folders.filter(|folder| !folder.ends_with(".new"));
        numbered.find(|folder| fs::read_to_string(folder.join(file)).is_ok_and(|text| text.contains(words)))
    });
    found.unwrap_or_else(|| panic!("no version whose {file} says {words} is kept in {}", all.display()))
}

/// The daemon's next life, which finds its files refused.
fn start_with_kept(wire: &Wire, room: &Room, client: &Namespace, refused_file: &str) -> Daemon {
    let daemon = Daemon::start(wire, room);
    assert_eq!(
        script(client),
        "#!ipxe\necho r1u01\n",
        "the version accepted last serves"
    );
    let line = daemon.wait_for("what is served instead", |line| line.event == "last_good_served");
    assert_eq!(line.level, "ERROR");
    daemon.wait_for("why", |line| {
        line.level == "ERROR" && line.event == "file_error" && line.file.ends_with(refused_file)
    });
    let status = ask_json(room, "status");
    let folder = status["last_good"]["folder"].as_str().unwrap_or_default();
    assert!(
        PathBuf::from(folder).starts_with(room.path("state/accepted")),
        "{status}"
    );
    let errors = status["last_refusal"]["errors"].as_array().expect("a list");
    let is_of_file = |error: &Value| error["file"].as_str().is_some_and(|file| file.ends_with(refused_file));
    assert!(errors.iter().any(is_of_file), "{errors:?}");
    let shown = text(&ask(room, &["status"]));
    assert!(shown.contains("SERVED ARE THE FILES THAT WERE ACCEPTED"), "{shown}");
    daemon
}

#[test]
fn a_restart_that_finds_a_refused_inventory_serves_the_one_accepted_last() {
    let wire = Wire::new();
    let room = who();
    let client = wire.client_at("02:00:00:00:00:41", "192.0.2.41");
    let daemon = Daemon::start(&wire, &room);
    let folder = kept(&room, "inventory.toml", "r1u01");
    let mode = |path: PathBuf| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(folder.join("answers/preseed.cfg")), 0o600, "answers have secrets");
    assert_eq!(mode(room.path("state/accepted")), 0o700);
    room.write_inventory(BAD);
    assert!(daemon.stop().success());

    let daemon = start_with_kept(&wire, &room, &client, "inventory.toml");
    assert!(!ask(&room, &["reload"]).status.success());
    assert_eq!(
        script(&client),
        "#!ipxe\necho r1u01\n",
        "a refused reload changes nothing"
    );
    room.write_inventory(&inventory("r1u02"));
    let renamed = super::poll(SOON, || (script(&client) == "#!ipxe\necho r1u02\n").then_some(()));
    assert!(renamed.is_some(), "a corrected file takes over\n{}", daemon.log_tail());
    assert_eq!(ask_json(&room, "status")["last_good"], Value::Null);
    kept(&room, "inventory.toml", "r1u02");
    assert!(daemon.stop().success());
}

#[test]
fn a_restart_serves_though_settings_scripts_images_and_loaders_are_broken_or_gone() {
    let wire = Wire::new();
    let kernel = vec![7u8; 1000];
    let image = "image = \"small\"\n";
    let room = Room::new(&(inventory("r1u01") + image))
        .with_script("who", "#!ipxe\necho {{ name }}\n")
        .with_small_image(&kernel);
    let client = wire.client_at("02:00:00:00:00:41", "192.0.2.41");
    let daemon = Daemon::start(&wire, &room);
    kept(&room, "bootwright.toml", "[state]");
    assert!(daemon.stop().success());

    // A file that an editor left half written, whose `[state]` can still be read.
    let settings = fs::read_to_string(room.config()).unwrap();
    room.write("bootwright.toml", &settings.replace("mode = \"dhcp\"", "mode = \"dhcp"));
    let daemon = start_with_kept(&wire, &room, &client, "bootwright.toml");
    assert!(daemon.stop().success());
    room.write("bootwright.toml", &settings);

    room.write_script("who.ipxe", "#!ipxe\necho {{ nam }}\n");
    let daemon = start_with_kept(&wire, &room, &client, "who.ipxe");
    let url = format!("http://{SERVER}/image/small/kernel.bin");
    assert_eq!(
        client.expect("curl", &["-sSf", &url]),
        kernel,
        "a sound image is served"
    );
    assert!(daemon.stop().success());
    room.write_script("who.ipxe", "#!ipxe\necho {{ name }}\n");

    room.set("\"/usr/lib/ipxe\"", "\"nothing\"");
    fs::remove_file(room.path("images/small/kernel.bin")).unwrap();
    let daemon = start_with_kept(&wire, &room, &client, "image.toml");
    let status = ask_json(&room, "status");
    assert_eq!(status["artifacts"]["unserved"][0]["file"], "kernel.bin", "{status}");
    fs::write(room.path("images/small/kernel.bin"), &kernel).unwrap();
    let served = super::poll(SOON, || {
        client.run("curl", &["-sSf", &url]).stdout.eq(&kernel).then_some(())
    });
    assert!(served.is_some(), "the image is there again\n{}", daemon.log_tail());
    assert_ne!(
        ask_json(&room, "status")["last_good"],
        Value::Null,
        "the files are still refused"
    );
    assert!(daemon.stop().success());
}

#[test]
fn a_start_that_fails_said_before_that_it_would_have_served_kept_files() {
    let wire = Wire::new();
    let room = who();
    let daemon = Daemon::start(&wire, &room);
    kept(&room, "inventory.toml", "r1u01");
    assert!(daemon.stop().success());
    room.write_inventory(BAD);
    room.write("admin.sock", "somebody's file");
    let mut daemon = Daemon::spawn(&wire.server, &room);
    assert!(!daemon.wait_exit().success());
    let logged = |event: &str| {
        let lines = daemon.lines().into_iter();
        lines
            .filter(|line| line.level == "ERROR" && line.event == event)
            .count()
    };
    let counts = ["last_good_served", "file_error", "exit"].map(logged);
    assert_eq!(counts, [1; 3], "{}", daemon.log_tail());
}

#[test]
fn root_takes_no_place_to_write_from_kept_settings_alone() {
    let wire = Wire::new();
    let room = who();
    let daemon = Daemon::start(&wire, &room);
    let folder = kept(&room, "bootwright.toml", "[state]");
    assert!(daemon.stop().success());
    room.write_inventory(BAD);
    // As whoever the daemon runs as could.
    let settings = folder.join("bootwright.toml");
    let honest = fs::read_to_string(&settings).unwrap();
    let (state, elsewhere) = (room.path("state"), room.path("elsewhere"));
    let [state, there] = [&state, &elsewhere].map(|path| format!("\"{}\"", path.display()));
    fs::write(&settings, honest.replace(&state, &there)).unwrap();
    let mut daemon = Daemon::spawn(&wire.server, &room);
    assert!(!daemon.wait_exit().success());
    daemon.wait_for("what is not taken", |line| {
        let path = there.replace('"', "");
        line.level == "ERROR"
            && line.has(
                "last_good_refused",
                &[("setting", "path under [state]"), ("path", &path)],
            )
    });
    assert!(!elsewhere.exists(), "{}", daemon.log_tail());
}

#[test]
fn an_interface_that_loses_its_link_or_its_address_or_is_misspelt_is_reported_and_shown() {
    let wire = Wire::new();
    let room = Room::new("");
    room.set("[\"eno2\"]", "[\"eno2\", \"eno22\"]");
    let client = wire.client("02:bb:00:00:00:01");
    let config = room.config();
    let checked = wire
        .server
        .run(env!("CARGO_BIN_EXE_bootwright"), &["check", &config.to_string_lossy()]);
    assert!(checked.status.success(), "it may come later");
    assert!(text(&checked).contains("no interface `eno22`"), "{}", text(&checked));
    let daemon = Daemon::start(&wire, &room);
    let missing = daemon.wait_for("the misspelt interface", |line| {
        line.has("interface_missing", &[("interface", "eno22")])
    });
    assert_eq!(missing.level, "WARN");
    let interface = |place: usize| ask_json(&room, "status")["interfaces"][place].clone();
    let becomes = |what: &str, is: &dyn Fn(&Value) -> bool| {
        let seen = super::poll(SOON, || is(&interface(0)).then_some(()));
        assert!(seen.is_some(), "{what}: {}\n{}", interface(0), daemon.log_tail());
    };
    let of_other = interface(1);
    assert_eq!((&of_other["name"], &of_other["link"]), (&"eno22".into(), &Value::Null));
    assert!(
        of_other["problem"]
            .as_str()
            .unwrap()
            .contains("there is no such interface")
    );
    becomes("it serves", &|eno2| {
        eno2["link"] == "up" && eno2["problem"] == Value::Null
    });
    assert_eq!(interface(0)["addresses"][0], SERVER);

    let ip = |arguments: &[&str]| wire.server.expect("ip", arguments);
    let port = String::from_utf8(ip(&["-o", "link", "show", "master", INTERFACE])).unwrap();
    let port = port.split(": ").nth(1).unwrap().split('@').next().unwrap().to_owned();
    ip(&["link", "set", &port, "down"]);
    daemon.wait_for("no carrier", |line| {
        line.level == "WARN" && line.has("link_down", &[("interface", INTERFACE)])
    });
    becomes("it shows no carrier", &|eno2| {
        eno2["link"] == "no carrier" && eno2["problem"] != Value::Null
    });
    let shown = text(&ask(&room, &["status"]));
    assert!(shown.contains("INTERFACE eno2 (dhcp) SERVES NOBODY since "), "{shown}");
    ip(&["link", "set", &port, "up"]);
    daemon.wait_for("the link again", |line| line.event == "link_up");
    becomes("it serves again", &|eno2| {
        eno2["link"] == "up" && eno2["problem"] == Value::Null
    });

    ip(&["addr", "flush", "dev", INTERFACE]);
    daemon.wait_for("no address", |line| line.event == "no_address");
    becomes("it shows no address", &|eno2| {
        eno2["addresses"].as_array().unwrap().is_empty()
    });
    ip(&["addr", "add", "192.0.2.1/24", "dev", INTERFACE]);
    becomes("it has its address", &|eno2| eno2["addresses"][0] == SERVER);
    ip(&["link", "set", INTERFACE, "down"]);
    becomes("it is off", &|eno2| eno2["link"] == "off");
    ip(&["link", "set", INTERFACE, "up"]);
    becomes("it is on", &|eno2| eno2["link"] == "up");
    assert!(client.gets_lease(&[]));
    assert!(daemon.stop().success());
}

/// How many datagrams the kernel had no room for, of those that the subscriber to news of interfaces did not read.
fn lost_news(server: &Namespace) -> u64 {
    let sockets = String::from_utf8(server.expect("cat", &["/proc/net/netlink"])).expect("text");
    let rows = sockets.lines().skip(1);
    let fields = rows.map(|row| row.split_ascii_whitespace().collect::<Vec<_>>());
    // Groups: links, IPv4 addresses and routes.
    fields
        .filter(|fields| fields[1] == "0" && fields[3] == "00000051")
        .map(|fields| fields[8].parse::<u64>().expect("a number"))
        .sum()
}

#[test]
fn news_of_interfaces_that_were_too_many_for_the_kernel_to_keep_are_made_up_for() {
    let wire = Wire::new();
    let room = Room::new("");
    let client = wire.client("02:bb:00:00:00:01");
    let daemon = Daemon::start(&wire, &room);
    daemon.wait_for("it serves", |line| line.event == "serving");
    let mut changes = String::new();
    for _ in 0..4000 {
        changes.push_str("addr add 203.0.113.1/32 dev lo\naddr del 203.0.113.1/32 dev lo\n");
    }
    changes.push_str("addr del 192.0.2.1/24 dev eno2\naddr add 192.0.2.2/24 dev eno2\n");
    room.write("changes", &changes);
    let path = room.path("changes");
    daemon.signal(Signal::SIGSTOP);
    wire.server.expect("ip", &["-batch", &path.to_string_lossy()]);
    let lost = lost_news(&wire.server);
    daemon.signal(Signal::SIGCONT);
    assert!(lost > 0, "the kernel kept them all, and nothing was to be made up for");
    daemon.wait_for("the new address", |line| {
        line.has("serving", &[("addresses", "192.0.2.2")])
    });
    assert!(client.gets_lease(&[]), "{}", daemon.log_tail());
}
