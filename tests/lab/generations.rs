//! Rung 3: the journal of generations, and an earlier one put in force again, over kill -9 and a full disk.

use super::SOON;
use super::daemon::{Daemon, ask, ask_json, ask_json_with};
use super::namespace::{Namespace, SERVER, Wire, text};
use super::room::Room;
use serde_json::{Value, json};
use std::{fs, time::Duration};

fn host(name: &str, number: u8) -> String {
    format!(
        "[[host]]\nname = \"{name}\"\nmac = \"02:00:00:00:00:{number}\"\naddress = \"192.0.2.{number}\"\n\
         boot = \"install\"\nscript = \"once\"\n"
    )
}

fn room(hosts: &[String]) -> Room {
    Room::new(&hosts.concat()).with_script("once", "#!ipxe\n# installs {{ name }}\n")
}

fn reload(room: &Room) {
    let output = ask(room, &["reload"]);
    assert!(output.status.success(), "{}", text(&output));
}

fn numbers(room: &Room) -> Vec<u64> {
    let all = ask_json(room, "generations");
    let all = all.as_array().expect("a list").iter();
    all.filter_map(|one| one["number"].as_u64()).collect()
}

fn one(room: &Room, number: u64) -> Value {
    let found = ask_json_with(room, &["generations", &number.to_string()]);
    found[0].clone()
}

fn states(room: &Room) -> Vec<(String, String)> {
    let hosts = ask_json(room, "hosts");
    let state = |host: &Value| {
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (word(&host["name"]), word(&host["install"]["state"]))
    };
    hosts.as_array().expect("a list").iter().map(state).collect()
}

fn installs(client: &Namespace) -> bool {
    let script = client.expect("curl", &["-sSf", &format!("http://{SERVER}/boot.ipxe")]);
    String::from_utf8_lossy(&script).contains("installs")
}

#[test]
fn a_rollback_puts_a_host_back_and_arms_nobody_until_the_files_change() {
    let wire = Wire::new();
    let room = room(&[host("r1u40", 40), host("r1u41", 41)]);
    let client = wire.client_at("02:00:00:00:00:42", "192.0.2.42");
    let daemon = Daemon::start(&wire, &room);
    assert_eq!(numbers(&room), [1]);
    assert_eq!(one(&room, 1)["by"], "start");

    room.write_inventory(&host("r1u40", 40));
    reload(&room);
    let second = one(&room, 2);
    let counts = json!({"added": 0, "removed": 1, "changed": 0, "other": 0});
    assert_eq!(second["counts"], counts, "{second}");
    assert_eq!(second["files"], json!([{"file": "inventory.toml", "kind": "changed"}]));
    assert_eq!(second["changes"]["hosts"][0]["hosts"], json!(["r1u41"]));
    assert_ne!(second["digest"], one(&room, 1)["digest"]);

    // A generation with a host that this store never heard of, kept by another: it appears by a rollback.
    assert!(daemon.stop().success());
    fs::remove_dir_all(room.path("state")).expect("our own folder");
    let other = self::room(&[host("r1u40", 40), host("r1u42", 42)]);
    let elsewhere = Daemon::start(&wire, &other);
    assert!(elsewhere.stop().success());
    let foreign = fs::read(other.path("state/generations/1")).expect("a generation");
    fs::create_dir_all(room.path("state/generations")).expect("our own folder");
    fs::write(room.path("state/generations/1"), &foreign).expect("our own folder");
    let daemon = Daemon::start(&wire, &room);
    assert_eq!(numbers(&room), [1, 2], "{}", daemon.log_tail());
    let done = ask_json_with(&room, &["rollback", "1"]);
    assert_eq!(
        (&done["generation"], &done["rolled_back_to"]),
        (&json!(3), &json!(1)),
        "{done}"
    );
    let new = ("r1u42".to_owned(), "new".to_owned());
    assert!(states(&room).contains(&new), "{:?}", states(&room));
    assert!(!installs(&client), "{}", daemon.log_tail());
    let status = ask_json(&room, "status");
    assert_eq!(status["rolled_back_to"], 1, "{status}");
    assert_eq!(one(&room, 3)["rolled_back_to"], 1);
    let folder = done["folder"].as_str().expect("a folder");
    let kept = fs::read_to_string(format!("{folder}/inventory.toml")).expect("its inventory");
    assert!(kept.contains("r1u42"));

    // The files count once they change, and the host that was put back is no new one then.
    std::thread::sleep(Duration::from_secs(12));
    assert_eq!(ask_json(&room, "status")["generation"], 3, "a look changes nothing");
    room.write_inventory(&[host("r1u40", 40), host("r1u42", 42)].concat());
    let taken = super::poll(SOON, || (ask_json(&room, "status")["generation"] == 4).then_some(()));
    assert!(taken.is_some(), "{}", daemon.log_tail());
    assert!(states(&room).contains(&new), "{:?}", states(&room));
    assert!(ask_json(&room, "status")["rolled_back_to"].is_null());

    let refused = ask(&room, &["rollback", "77", "--json"]);
    let refused: Value = serde_json::from_slice(&refused.stdout).expect("--json prints JSON");
    assert_eq!(refused["code"], "not-found", "{refused}");
}

#[test]
fn generations_are_numbered_on_over_a_restart_and_one_that_is_refused_changes_nothing() {
    let wire = Wire::new();
    let room = room(&[host("r1u40", 40)]);
    let daemon = Daemon::start(&wire, &room);
    room.write_script("once.ipxe", "#!ipxe\n# installs {{ name }} anew\n");
    reload(&room);
    assert_eq!(one(&room, 2)["changes"]["hosts"][0]["texts"][0], "script once.ipxe");
    daemon.crash();
    let daemon = Daemon::start(&wire, &room);
    assert_eq!(
        (numbers(&room), &ask_json(&room, "status")["generation"]),
        (vec![1, 2], &json!(2))
    );
    daemon.crash();
    room.write_inventory(&host("r1u40", 41));
    fs::write(room.path("state/generations/.new"), "half of one").expect("our own folder");
    let daemon = Daemon::start(&wire, &room);
    assert_eq!(numbers(&room), [1, 2, 3]);
    // What is kept of the second is not sound today.
    let mut second = fs::read(room.path("state/generations/2")).expect("a generation");
    let middle = second.len() - 20;
    second[middle] ^= 0xff;
    fs::write(room.path("state/generations/2"), second).expect("our own folder");
    let refused = ask(&room, &["rollback", "2"]);
    assert!(!refused.status.success(), "{}", text(&refused));
    assert_eq!(ask_json(&room, "status")["generation"], 3);
    drop(daemon);
}

#[test]
fn a_rollback_stays_whole_while_the_files_on_disk_and_another_rollback_are_refused() {
    let wire = Wire::new();
    let room = Room::new(
        "[[host]]\nname = \"r1u40\"\nmac = \"02:00:00:00:00:40\"\naddress = \"192.0.2.40\"\nboot = \"live\"\n\
         script = \"base\"\n",
    )
    .with_script("base", "#!ipxe\n# one {{ http }}\n")
    .with_settings("[http]\nport = 80\n");
    let client = wire.client_at("02:00:00:00:00:40", "192.0.2.40");
    let daemon = Daemon::start(&wire, &room);
    let script = || {
        let script = client.expect("curl", &["-sSf", &format!("http://{SERVER}/boot.ipxe")]);
        String::from_utf8_lossy(&script).into_owned()
    };
    // The second listens elsewhere once it is started anew; this process does not.
    room.set("port = 80\n", "port = 8080\n");
    reload(&room);
    room.set("port = 8080\n", "port = 80\n");
    room.write_script("base.ipxe", "#!ipxe\n# three {{ http }}\n");
    reload(&room);
    let done = ask_json_with(&room, &["rollback", "2"]);
    assert_eq!(done["rolled_back_to"], 2, "{done}");
    let expected = format!("#!ipxe\n# one http://{SERVER}\n");
    assert_eq!(script(), expected);
    // One that is refused today takes nothing from what is in force.
    let mut third = fs::read(room.path("state/generations/3")).expect("a generation");
    let bad = fs::read(room.path("state/generations/3")).expect("a generation");
    let line = bad.iter().position(|byte| *byte == b'\n').expect("a line");
    third.truncate(line + 1);
    let mut packed = flate2::write::GzEncoder::new(third, flate2::Compression::fast());
    for (path, text) in [("bootwright.toml", ""), ("inventory.toml", "nothing = 1")] {
        use std::io::Write as _;
        packed
            .write_all(&u32::try_from(path.len()).unwrap().to_be_bytes())
            .unwrap();
        packed.write_all(path.as_bytes()).unwrap();
        packed
            .write_all(&u64::try_from(text.len()).unwrap().to_be_bytes())
            .unwrap();
        packed.write_all(text.as_bytes()).unwrap();
    }
    fs::write(room.path("state/generations/3"), packed.finish().unwrap()).expect("our own folder");
    let refused = ask(&room, &["rollback", "3"]);
    assert!(!refused.status.success(), "{}", text(&refused));
    let folder = done["folder"].as_str().expect("a folder");
    assert!(fs::metadata(format!("{folder}/inventory.toml")).is_ok(), "{folder}");
    // Files that are refused have what is in force looked at again, and it is the same.
    room.write_inventory("nothing = 1");
    assert!(!ask(&room, &["reload"]).status.success());
    assert_eq!(script(), expected, "{}", daemon.log_tail());
}
