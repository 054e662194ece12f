//! Rung 3: what a boot came to is known while it goes on, after `kill -9` and for as long as it is kept.

use super::SOON;
use super::daemon::{Daemon, ask, ask_json_with};
use super::namespace::{SERVER, Wire, text};
use super::proxy::OtherServer;
use super::room::{ONE_LIVE_HOST, Room};
use super::wire::Rack;
use serde_json::Value;
use std::fs;

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
    let room = Room::new(ONE_LIVE_HOST)
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
    assert_eq!((&before["generation"], &before["verdict"]), (&1.into(), &Value::Null));
    let journal = room.path("state/bootwright.journal");
    let is_written = || {
        let journal = fs::read(&journal).expect("the store's journal");
        let journal = String::from_utf8_lossy(&journal).into_owned();
        // The script is all that there is of it so far.
        journal.contains(r#""owner":{"host":"r1u01"}"#).then_some(())
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

#[test]
fn what_a_machine_did_before_it_was_listed_is_among_its_hosts_events() {
    let wire = Wire::new();
    let room = Room::new(ONE_LIVE_HOST)
        .with_settings("[unknown]\npolicy = \"lease\"\n")
        .with_script("who", "#!ipxe\necho {{ name }}\n")
        .with_small_image(&[7; 1000]);
    let daemon = Daemon::start(&wire, &room);
    let firmware = wire.client("02:00:00:00:00:43");
    assert!(firmware.gets_lease(&["-V", "PXEClient:Arch:00000:UNDI:002001", "-x", "0x5d:0000"]));
    let listed =
        "\n[[host]]\nname = \"r1u03\"\nmac = \"02:00:00:00:00:43\"\naddress = \"192.0.2.43\"\nboot = \"local\"\n";
    room.write_inventory(&format!("{ONE_LIVE_HOST}{listed}"));
    let reloaded = ask(&room, &["reload"]);
    assert!(reloaded.status.success(), "{}", text(&reloaded));
    let events = super::poll(SOON, || {
        let events = text(&ask(&room, &["events", "--host", "r1u03"]));
        events.contains("02-00-00-00-00-43").then_some(events)
    });
    assert!(events.is_some(), "{}", daemon.log_tail());
    let of_another = text(&ask(&room, &["events", "--host", "r1u01"]));
    assert!(!of_another.contains("02-00-00-00-00-43"), "{of_another}");
}

/// The verdict on a machine, once there is one.
fn verdict(room: &Room, daemon: &Daemon, machine: &str) -> Value {
    let found = super::poll(SOON, || {
        let listed = ask_json_with(room, &["why", machine]);
        Some(listed[0]["verdict"].clone()).filter(|verdict| !verdict.is_null())
    });
    found.unwrap_or_else(|| panic!("{}\n{}", text(&ask(room, &["why", machine])), daemon.log_tail()))
}

#[test]
fn why_names_the_cause_of_boots_that_come_to_nothing() {
    const FIRMWARE: [&str; 2] = ["-V", "PXEClient:Arch:00000:UNDI:002001"];
    let unarmed = "\n[[host]]\nname = \"r1u02\"\nmac = \"02:00:00:00:00:42\"\naddress = \"192.0.2.42\"\n\
                   boot = \"install\"\nscript = \"who\"\n";
    let wire = Wire::new();
    let room = Room::new(&format!("{ONE_LIVE_HOST}{unarmed}"))
        .with_settings("[unknown]\npolicy = \"lease\"\n")
        .with_script("who", "#!ipxe\necho {{ name }}\n")
        .with_small_image(&[7; 1000]);
    let daemon = Daemon::start(&wire, &room);
    let client = wire.client_at("02:00:00:00:00:41", "192.0.2.41");
    let get = |path: &str| {
        drop(
            client
                .command("curl")
                .args(["-s", &format!("http://{SERVER}{path}")])
                .output(),
        )
    };
    get("/boot.ipxe?mac=02-00-00-00-00-41");
    get("/image/smal/kernel.bin");
    let missing = verdict(&room, &daemon, "r1u01");
    assert_eq!(
        (&missing["cause"], &missing["missing"]),
        (&"artifact_missing".into(), &"artifacts".into())
    );
    assert_eq!(
        (&missing["severity"], &missing["confidence"]),
        (&"problem".into(), &"certain".into())
    );

    let of_firmware = |mac: &str, arch: &str| {
        let client = wire.client(mac);
        assert!(
            client.gets_lease(&[FIRMWARE[0], FIRMWARE[1], "-x", arch]),
            "{}",
            daemon.log_tail()
        );
        verdict(&room, &daemon, mac)
    };
    for (mac, arch, cause, severity) in [
        ("02:00:00:00:00:42", "0x5d:0000", "not_armed", "as_configured"),
        ("02:00:00:00:00:43", "0x5d:0000", "not_in_the_inventory", "problem"),
    ] {
        let verdict = of_firmware(mac, arch);
        assert_eq!(
            (&verdict["cause"], &verdict["severity"]),
            (&cause.into(), &severity.into()),
            "{verdict}"
        );
    }
    // The machine's screen has the same sentence.
    let why = ask_json_with(&room, &["why", "r1u02"])[0]["steps"][0]["reason"]["sentence"].clone();
    let unarmed = wire.client_at("02:00:00:00:00:44", "192.0.2.44");
    let script = format!("http://{SERVER}/boot.ipxe?mac=02-00-00-00-00-42");
    let screen = unarmed.expect("curl", &["-sSf", &script]);
    let screen = String::from_utf8_lossy(&screen);
    assert!(screen.contains(why.as_str().expect("a reason")), "{screen}\n{why}");

    let shown = text(&ask(&room, &["why", "r1u01"]));
    let action = missing["action"].as_str().expect("what to do");
    assert!(shown.contains(action), "{shown}");
}

/// The DISCOVER of OVMF's own PXE stack; its MAC is 52:54:00:00:00:a1.
const OVMF_PXE: &str = include_str!("../packets/ovmf-pxe-discover.hex");

#[test]
fn firmware_that_joins_no_two_offers_is_named_beside_another_server() {
    let bytes = OVMF_PXE.lines().filter(|line| !line.starts_with('#'));
    let bytes = bytes.flat_map(str::split_whitespace);
    let discover: Vec<u8> = bytes.map(|byte| u8::from_str_radix(byte, 16).expect("hex")).collect();
    let wire = Wire::new();
    let room = Room::new(&ONE_LIVE_HOST.replace("02:00:00:00:00:41", "52:54:00:00:00:a1"))
        .with_script("who", "#!ipxe\n")
        .with_small_image(b"x");
    room.set("mode = \"dhcp\"", "mode = \"proxy\"");
    let daemon = Daemon::start(&wire, &room);
    let _other = OtherServer::start(&wire, &[]);
    let machine = wire.client_at("52:54:00:00:00:a1", "192.0.2.161");
    let firmware = Rack::new(&machine);
    // It has an address from one server and its loader from the other, and takes neither.
    for asked in 1..=2 {
        firmware.send(&discover);
        daemon.wait_for("what to boot", |line| {
            let offers = daemon
                .lines()
                .into_iter()
                .filter(|line| line.event == "proxy_offered")
                .count();
            line.event == "proxy_offered" && offers >= asked
        });
    }
    let verdict = verdict(&room, &daemon, "r1u01");
    assert_eq!(verdict["cause"], "takes_no_two_offers");
    assert_eq!(
        (&verdict["last"], &verdict["missing"]),
        (&"offered".into(), &"addressed".into())
    );
}
