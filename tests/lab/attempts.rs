//! Rung 3: what a boot came to is known while it goes on, after `kill -9` and for as long as it is kept.

use super::SOON;
use super::daemon::{Daemon, ask, ask_json_with};
use super::namespace::{SERVER, Wire, text};
use super::room::Room;
use serde_json::Value;
use std::fs;

const INVENTORY: &str = r#"
[[host]]
name    = "r1u01"
mac     = "02:00:00:00:00:41"
address = "192.0.2.41"
boot    = "live"
script  = "who"
image   = "small"
"#;

/// What `bootwright why` says of the host, once `is_so`.
fn attempts(room: &Room, daemon: &Daemon, is_so: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let found = super::poll(SOON, || {
        let listed = ask_json_with(room, &["why", "r1u01", "--all"]);
        let attempts = listed.as_array().expect("a list").clone();
        is_so(&attempts).then_some(attempts)
    });
    found.unwrap_or_else(|| {
        panic!(
            "{}\n{}",
            text(&ask(room, &["why", "r1u01", "--all"])),
            daemon.log_tail()
        )
    })
}

fn came_to(attempts: &[Value]) -> Vec<&str> {
    attempts
        .iter()
        .filter_map(|attempt| attempt["progress"].as_str())
        .collect()
}

#[test]
fn a_boot_goes_on_in_its_timeline_over_a_kill_and_the_next_one_has_its_own() {
    let wire = Wire::new();
    let room = Room::new(INVENTORY)
        .with_script("who", "#!ipxe\necho {{ name }}\n")
        .with_small_image(&[7; 1000]);
    let client = wire.client_at("02:00:00:00:00:41", "192.0.2.41");
    let get = |path: &str| client.expect("curl", &["-sSf", "-o", "/dev/null", &format!("http://{SERVER}{path}")]);
    let script = "/boot.ipxe?mac=02-00-00-00-00-41";

    let daemon = Daemon::start(&wire, &room);
    assert_eq!(attempts(&room, &daemon, |_| true), Vec::<Value>::new());
    get(script);
    let [before] = <[Value; 1]>::try_from(attempts(&room, &daemon, |seen| seen.len() == 1)).expect("one");
    assert_eq!(
        (&before["host"], &before["progress"]),
        (&"r1u01".into(), &"script".into())
    );
    assert_eq!(before["generation"], 1);
    let journal = room.path("state/bootwright.journal");
    let is_written = || {
        let journal = fs::read(&journal).expect("the store's journal");
        let journal = String::from_utf8_lossy(&journal).into_owned();
        journal.contains(r#""progress":"script""#).then_some(())
    };
    assert!(super::poll(SOON, is_written).is_some(), "{}", daemon.log_tail());
    daemon.crash();

    let daemon = Daemon::start(&wire, &room);
    get("/image/small/kernel.bin");
    let [after] = <[Value; 1]>::try_from(attempts(&room, &daemon, |seen| came_to(seen) == ["artifacts"])).expect("one");
    assert_eq!(after["id"], before["id"], "the same boot");
    let steps = after["steps"].as_array().expect("steps");
    let files: Vec<&str> = steps.iter().filter_map(|step| step["file"].as_str()).collect();
    assert_eq!(files, ["script who", "image small/kernel.bin"]);
    assert_eq!((&steps[1]["event"], &steps[1]["bytes"]), (&"sent".into(), &1000.into()));
    assert!(steps[1]["at_ms"].as_u64() >= steps[0]["at_ms"].as_u64());
    // A clean end writes what the last seconds brought.
    get("/image/small/kernel.bin");
    assert!(daemon.stop().success());
    let daemon = Daemon::start(&wire, &room);
    let [ended] = <[Value; 1]>::try_from(attempts(&room, &daemon, |_| true)).expect("one");
    assert_eq!(ended["steps"][1]["times"], 2, "{ended}");

    // The machine is switched on again: its firmware asks where iPXE had its kernel.
    let firmware = wire.client("02:00:00:00:00:41");
    assert!(firmware.gets_lease(&["-V", "PXEClient:Arch:00000:UNDI:002001", "-x", "0x5d:0000"]));
    let both = attempts(&room, &daemon, |seen| seen.len() == 2);
    assert_eq!(came_to(&both), ["addressed", "artifacts"]);
    assert_eq!(both[0]["steps"][0]["stage"], "bios-pxe");
    let shown = text(&ask(&room, &["why", "r1u01"]));
    assert!(shown.contains("bios-pxe") && !shown.contains("kernel.bin"), "{shown}");
}
