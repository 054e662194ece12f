//! Rung 3: what `bootwright plan` says of a candidate is what becomes of it.

use super::daemon::{Daemon, ask, ask_json};
use super::namespace::{Wire, text};
use super::room::Room;
use serde_json::Value;

fn host(name: &str, number: u8) -> String {
    format!(
        "[[host]]\nname = \"{name}\"\nmac = \"02:00:00:00:00:{number}\"\naddress = \"192.0.2.{number}\"\n\
         boot = \"install\"\nscript = \"once\"\n"
    )
}

fn room(hosts: &[String]) -> Room {
    Room::new(&hosts.concat()).with_script("once", "#!ipxe\n# installs {{ name }}\n")
}

/// The exit code, and what the plan of a candidate is as JSON.
fn plan(running: &Room, candidate: &Room) -> (Option<i32>, Value) {
    let path = candidate.config();
    let output = ask(running, &["plan", &path.to_string_lossy(), "--json"]);
    let plan = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output)));
    (output.status.code(), plan)
}

fn wiped(plan: &Value) -> Vec<&str> {
    let wipes = plan["wipes"].as_array().map_or(&[][..], Vec::as_slice);
    wipes.iter().filter_map(|wipe| wipe["host"].as_str()).collect()
}

fn armed(room: &Room) -> Vec<String> {
    let hosts = ask_json(room, "hosts");
    let is_armed = |host: &&Value| host["install"]["state"] == "armed";
    let hosts = hosts.as_array().expect("a list").iter().filter(is_armed);
    hosts
        .filter_map(|host| host["name"].as_str().map(str::to_owned))
        .collect()
}

#[test]
fn who_is_armed_by_a_reload_was_named_by_the_plan_before() {
    let wire = Wire::new();
    let room_in_force = room(&[host("r1u40", 40)]);
    let daemon = Daemon::start(&wire, &room_in_force);
    let same = room(&[host("r1u40", 40)]);
    let (code, answer) = plan(&room_in_force, &same);
    assert_eq!((code, wiped(&answer)), (Some(0), vec![]), "{answer}");

    let both = [host("r1u40", 40), host("r1u41", 41)];
    let candidate = room(&both);
    let (code, answer) = plan(&room_in_force, &candidate);
    assert_eq!((code, wiped(&answer)), (Some(3), vec!["r1u41"]), "{answer}");
    assert_eq!(answer["wipes"][0]["why"], "first_appearance");
    let shown = ask(&room_in_force, &["plan", &candidate.config().to_string_lossy()]);
    assert!(text(&shown).starts_with("WIPES r1u41"), "{}", text(&shown));
    room_in_force.write_inventory(&both.concat());
    assert!(ask(&room_in_force, &["reload"]).status.success());
    assert_eq!(armed(&room_in_force), ["r1u41"]);

    // It is wiped whether or not the same is taken again, and that is no change.
    let (code, answer) = plan(&room_in_force, &candidate);
    assert_eq!((code, wiped(&answer)), (Some(0), vec!["r1u41"]), "{answer}");
    assert!(ask(&room_in_force, &["disarm", "r1u41"]).status.success());
    candidate.write_script("once.ipxe", "#!ipxe\n# installs {{ name }} in another way\n");
    let (code, answer) = plan(&room_in_force, &candidate);
    assert_eq!((code, wiped(&answer)), (Some(2), vec![]), "{answer}");
    assert_eq!(answer["hosts"][0]["hosts"], serde_json::json!(["r1u40", "r1u41"]));
    assert_eq!(answer["hosts"][0]["texts"][0], "script once.ipxe");

    candidate.write_inventory("[[host]]\nname = \"r1u40\"\n");
    let (code, answer) = plan(&room_in_force, &candidate);
    assert_eq!(
        (code, &answer["code"]),
        (Some(1), &Value::from("files-refused")),
        "{answer}"
    );
    assert!(answer["errors"][0]["line"].is_u64(), "{answer}");
    assert!(daemon.stop().success());
    let (code, answer) = plan(&room_in_force, &same);
    assert_eq!(
        (code, &answer["code"]),
        (Some(1), &Value::from("no-daemon")),
        "{answer}"
    );
}
