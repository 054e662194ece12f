//! Rung 3: whose next boot installs, over restarts, edits and a store that is lost; asked by machines that are
//! nothing but curl at an address.

use super::SOON;
use super::daemon::{Daemon, ask, ask_json};
use super::namespace::{Namespace, SERVER, Wire, text};
use super::room::Room;
use super::wire::{Flood, Rack, hear};
use serde_json::Value;
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

const INSTALLER: &str = "#!ipxe\n# installs {{ name }} {{ callback.base }}\n";
const INSTALLS: &str = "installs r1u41";

/// A host that installs once it is armed; its number is the last byte of its MAC and its address.
fn host(name: &str, number: u8) -> String {
    format!(
        "[[host]]\nname = \"{name}\"\nmac = \"02:00:00:00:00:{number}\"\naddress = \"192.0.2.{number}\"\n\
         boot = \"install\"\nscript = \"once\"\n"
    )
}

fn room(hosts: &[String]) -> Room {
    Room::new(&hosts.concat()).with_script("once", INSTALLER)
}

/// The script that the machine at this address gets.
fn script(client: &Namespace) -> String {
    let url = format!("http://{SERVER}/boot.ipxe");
    String::from_utf8_lossy(&client.expect("curl", &["-sSf", &url])).into_owned()
}

fn installs(client: &Namespace) -> bool {
    script(client).contains(INSTALLS)
}

/// How a host stands with its install.
fn install(room: &Room, name: &str) -> Value {
    let hosts = ask_json(room, "hosts");
    let found = hosts
        .as_array()
        .and_then(|hosts| hosts.iter().find(|host| host["name"] == name));
    found.map_or(Value::Null, |host| host["install"].clone())
}

fn state(room: &Room, name: &str) -> String {
    install(room, name)["state"].as_str().unwrap_or_default().to_owned()
}

fn wait_for_state(room: &Room, daemon: &Daemon, name: &str, wanted: &str) {
    let reached = super::poll(SOON, || (state(room, name) == wanted).then_some(()));
    assert!(
        reached.is_some(),
        "{name} is {}\n{}",
        install(room, name),
        daemon.log_tail()
    );
}

/// A command that must succeed, as JSON.
fn tell(room: &Room, arguments: &[&str]) -> Value {
    let output = ask(room, &[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", text(&output));
    serde_json::from_slice(&output.stdout).expect("--json prints JSON")
}

/// A command that must be refused, as JSON.
fn refused(room: &Room, arguments: &[&str]) -> Value {
    let output = ask(room, &[arguments, &["--json"]].concat());
    assert!(!output.status.success(), "{arguments:?}: {}", text(&output));
    serde_json::from_slice(&output.stdout).expect("--json prints JSON")
}

#[test]
fn a_person_arms_and_disarms_and_both_outlive_kill_9() {
    let wire = Wire::new();
    let room = room(&[host("r1u41", 41)]);
    let client = wire.client_at("02:00:00:00:00:41", "192.0.2.41");
    let daemon = Daemon::start(&wire, &room);
    assert_eq!((state(&room, "r1u41").as_str(), installs(&client)), ("new", false));

    let armed = tell(&room, &["arm", "r1u41", "--for", "2h", "--by", "ada"]);
    assert_eq!(armed["hosts"][0], "r1u41");
    let now = install(&room, "r1u41");
    assert_eq!(now["state"], "armed");
    assert!(now["by"].as_str().is_some_and(|by| by.starts_with("ada")), "{now}");
    daemon.crash();
    let daemon = Daemon::start(&wire, &room);
    assert_eq!(state(&room, "r1u41"), "armed");
    assert!(installs(&client), "{}", daemon.log_tail());
    daemon.wait_for("the install's begin", |line| {
        line.is("r1u41", "install_begun", &["192.0.2.41"])
    });
    daemon.crash();
    let daemon = Daemon::start(&wire, &room);
    assert_eq!(install(&room, "r1u41")["address"], "192.0.2.41");
    assert!(installs(&client), "it was not done");
    let refusal = refused(&room, &["arm", "r1u41"]);
    assert_eq!(refusal["code"], "not-armable", "{refusal}");

    assert_eq!(tell(&room, &["disarm", "r1u41"])["disarmed"][0], "r1u41");
    assert!(!installs(&client));
    daemon.crash();
    let _daemon = Daemon::start(&wire, &room);
    assert_eq!((state(&room, "r1u41").as_str(), installs(&client)), ("local", false));
    assert_eq!(tell(&room, &["disarm", "r1u41"])["unarmed"][0], "r1u41");
}

#[test]
fn who_appears_later_is_armed_and_nobody_else_by_whatever_is_edited_or_lost() {
    let wire = Wire::new();
    let room = room(&[host("r1u40", 40)]);
    let client = wire.client_at("02:00:00:00:00:41", "192.0.2.41");
    let daemon = Daemon::start(&wire, &room);
    room.write_inventory(&[host("r1u40", 40), host("r1u41", 41)].concat());
    wait_for_state(&room, &daemon, "r1u41", "armed");
    daemon.wait_for("the new target", |line| {
        line.has("install_target", &[("machine", "r1u41"), ("armed", "true")])
    });
    assert_eq!(state(&room, "r1u40"), "new");
    assert!(installs(&client), "{}", daemon.log_tail());
    tell(&room, &["disarm", "r1u41"]);

    // Renamed, its MAC another host's, another host by its name, and gone and there again.
    for hosts in [
        vec![host("r1u40", 40), host("r1u99", 41)],
        vec![host("r1u40", 41), host("r1u41", 40)],
        vec![host("r1u41", 43)],
        vec![],
        vec![host("r1u40", 40), host("r1u41", 41)],
    ] {
        room.write_inventory(&hosts.concat());
        let reload = ask(&room, &["reload"]);
        assert!(reload.status.success(), "{}", text(&reload));
        for host in ask_json(&room, "hosts").as_array().expect("a list") {
            assert_ne!(host["install"]["state"], "armed", "{host}");
        }
        assert!(!script(&client).contains("installs"), "{hosts:?}");
    }

    // A new host while nobody serves is armed by the store that served without it, and by no other.
    assert!(daemon.stop().success());
    room.write_inventory(&[host("r1u40", 40), host("r1u41", 41), host("r1u42", 42)].concat());
    let daemon = Daemon::start(&wire, &room);
    assert_eq!(state(&room, "r1u42"), "armed", "{}", daemon.log_tail());
    assert!(daemon.stop().success());
    fs::remove_dir_all(room.path("state")).expect("our own folder");
    let _daemon = Daemon::start(&wire, &room);
    for name in ["r1u40", "r1u41", "r1u42"] {
        assert_eq!(state(&room, name), "new");
    }
    assert!(!installs(&client));
}

#[test]
fn a_store_that_was_salvaged_arms_nobody() {
    let wire = Wire::new();
    let room = room(&[host("r1u41", 41)]);
    let client = wire.client_at("02:00:00:00:00:41", "192.0.2.41");
    let daemon = Daemon::start(&wire, &room);
    tell(&room, &["arm", "r1u41"]);
    assert!(daemon.stop().success());
    let database = room.path("state/bootwright.redb");
    let mut bytes = fs::read(&database).expect("the store's file");
    bytes[..4096].fill(0xff);
    fs::write(&database, bytes).expect("our own file");
    room.write_inventory(&[host("r1u41", 41), host("r1u42", 42)].concat());
    let daemon = Daemon::start(&wire, &room);
    assert_eq!(
        (state(&room, "r1u41").as_str(), state(&room, "r1u42").as_str()),
        ("new", "new")
    );
    assert!(!installs(&client), "{}", daemon.log_tail());
}

#[test]
fn a_state_that_is_restored_from_a_copy_of_when_a_host_was_armed_arms_nobody() {
    let wire = Wire::new();
    let room = room(&[host("r1u41", 41)]);
    let client = wire.client_at("02:00:00:00:00:41", "192.0.2.41");
    let daemon = Daemon::start(&wire, &room);
    tell(&room, &["arm", "r1u41"]);
    // As a backup does it, beside the daemon.
    let (state_folder, backup) = (room.path("state"), room.path("backup.tar"));
    let tar = |arguments: &[&str]| {
        let mut command = std::process::Command::new("tar");
        let done = command
            .arg("-C")
            .arg(&state_folder)
            .arg("-f")
            .arg(&backup)
            .args(arguments)
            .status();
        assert!(done.expect("tar is there").success(), "{arguments:?}");
    };
    tar(&["-c", "."]);
    let base = handed(&client).expect("it is armed");
    assert_eq!(answer(&client, &[&format!("{base}/done")]).0, "200");
    assert!(daemon.stop().success());
    tar(&["-x"]);
    let daemon = Daemon::start(&wire, &room);
    daemon.wait_for("what it finds", |line| line.has("state_restored", &[]));
    assert_eq!((state(&room, "r1u41").as_str(), installs(&client)), ("new", false));
    // It is the state from now on.
    tell(&room, &["arm", "r1u41"]);
    daemon.crash();
    let daemon = Daemon::start(&wire, &room);
    assert_eq!(state(&room, "r1u41"), "armed", "{}", daemon.log_tail());
    assert!(daemon.lines().iter().all(|line| line.event != "state_restored"));
}

#[test]
fn who_can_not_be_armed_is_told_why_and_nobody_is() {
    let wire = Wire::new();
    let locked = host("r1u42", 42) + "locked = true\n";
    let live = host("r1u43", 43).replace("install", "live").replace("once", "plain");
    let bare = host("r1u44", 44).replace("script = \"once\"\n", "");
    let broken = host("r1u45", 45) + "image = \"small\"\n";
    let room = room(&[host("r1u41", 41), locked, live, bare, broken]).with_small_image(&[7; 1000]);
    room.write_script("plain.ipxe", "#!ipxe\n# {{ name }}\n");
    fs::write(room.path("images/small/kernel.bin"), [8; 1000]).expect("our own file");
    let daemon = Daemon::start(&wire, &room);
    for (name, place) in [("r1u42", true), ("r1u43", true), ("r1u44", true), ("r1u45", true)] {
        let refusal = refused(&room, &["arm", name]);
        assert_eq!(refusal["code"], "not-armable", "{refusal}");
        assert!(
            refusal["detail"].as_str().is_some_and(|detail| detail.contains(name)),
            "{refusal}"
        );
        assert_eq!(refusal["help"].is_string(), place, "{refusal}");
    }
    let refusal = refused(&room, &["arm", "r1u41", "r1u42", "r1u43"]);
    assert_eq!(refusal["errors"].as_array().map(Vec::len), Some(2), "{refusal}");
    assert_eq!(state(&room, "r1u41"), "new", "all or none\n{}", daemon.log_tail());
    let refusal = refused(&room, &["arm", "r1u4l"]);
    assert_eq!(refusal["code"], "unknown-host", "{refusal}");
    assert!(
        refusal["help"].as_str().is_some_and(|help| help.contains("r1u41")),
        "{refusal}"
    );
}

#[test]
fn what_a_host_is_armed_for_ends_by_itself() {
    let wire = Wire::new();
    let room = room(&[host("r1u41", 41)]);
    let client = wire.client_at("02:00:00:00:00:41", "192.0.2.41");
    let daemon = Daemon::start(&wire, &room);
    tell(&room, &["arm", "r1u41", "--for", "1s"]);
    daemon.wait_for("the end of its time", |line| line.is("r1u41", "arming_expired", &[]));
    assert_eq!((state(&room, "r1u41").as_str(), installs(&client)), ("local", false));
}

/// The URL below which the machine's install tells of itself, if it was handed one.
fn handed(client: &Namespace) -> Option<String> {
    let script = curl(client, &[&format!("http://{SERVER}/boot.ipxe")])?;
    script
        .contains("installs")
        .then(|| script.split_whitespace().last().map(str::to_owned))?
}

/// What a request is answered with 200.
fn curl(client: &Namespace, arguments: &[&str]) -> Option<String> {
    let output = client.run("curl", &[&["-sSf", "--max-time", "5"], arguments].concat());
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The status and the body of whatever a request is answered with.
fn answer(client: &Namespace, arguments: &[&str]) -> (String, String) {
    let output = client.expect("curl", &[&["-sS", "-w", "\n%{http_code}"], arguments].concat());
    let text = String::from_utf8_lossy(&output).into_owned();
    let (body, status) = text.rsplit_once('\n').expect("curl writes the status");
    (status.to_owned(), body.to_owned())
}

/// A TFTP request for the script, as a loader sends it, or with no option.
fn asks_for_its_script(options: &str) -> Vec<u8> {
    ["\0\u{1}boot.ipxe\0octet\0", options].concat().into_bytes()
}

const OPTIONS: &str = "tsize\x000\0blksize\x001024\0";

/// What comes to a TFTP client next, and from where.
fn next_packet(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 2048];
    let (length, from) = hear(socket, &mut buffer).expect("the server answers");
    (buffer[..length].to_vec(), from)
}

#[test]
fn a_request_in_a_hosts_name_begins_no_install_and_its_own_acknowledgement_does() {
    let wire = Wire::new();
    let room = room(&[host("r1u41", 41), host("r1u42", 42), host("r1u43", 43)]);
    let [own, plain, curl] = [41, 42, 43].map(|number| {
        let address = format!("192.0.2.{number}");
        wire.client_at(&format!("02:00:00:00:00:{number}"), &address)
    });
    let stranger = wire.client_at("02:00:00:00:00:66", "192.0.2.66");
    let daemon = Daemon::start(&wire, &room);
    tell(&room, &["arm", "r1u41", "r1u42", "r1u43"]);
    let begun = |name: &str| state(&room, name) == "installing";

    // In their names: what is answered goes to them, who asked for nothing.
    for packet in [
        (|number| forged(41, number, OPTIONS)) as fn(u32) -> (SocketAddrV4, Vec<u8>),
        |number| forged(42, number, ""),
    ] {
        Flood::forged(&stranger, (SERVER, 200, 40), packet).finish();
    }
    let heard = super::poll(SOON, || {
        let counted = ask_json(&room, "status")["counters"]["tftp_received"].as_u64();
        (counted >= Some(80)).then_some(())
    });
    assert!(heard.is_some(), "{}", daemon.log_tail());
    assert!(!begun("r1u41") && !begun("r1u42"), "{}", daemon.log_tail());

    // Who asks for the size alone begins nothing; who takes the options does.
    let asks = |client: &Namespace, options: &str| {
        let socket = client.enter(|| UdpSocket::bind("0.0.0.0:0").expect("a socket in our own namespace"));
        socket.set_read_timeout(Some(SOON)).expect("a timeout above zero");
        socket
            .send_to(&asks_for_its_script(options), (SERVER, 69))
            .expect("there is a route");
        socket
    };
    let socket = asks(&own, OPTIONS);
    let (options, from) = next_packet(&socket);
    assert_eq!(options[..2], [0, 6]);
    assert!(!begun("r1u41"));
    socket
        .send_to(b"\0\x05\0\x08size only\0", from)
        .expect("there is a route");
    let probed = || ask_json(&room, "status")["counters"]["tftp_probed"].as_u64() >= Some(1);
    assert!(
        super::poll(SOON, || probed().then_some(())).is_some(),
        "{}",
        daemon.log_tail()
    );
    assert!(!begun("r1u41"));
    let socket = asks(&own, OPTIONS);
    let (_, from) = next_packet(&socket);
    socket.send_to(b"\0\x04\0\0", from).expect("there is a route");
    let (data, _) = next_packet(&socket);
    assert!(String::from_utf8_lossy(&data[4..]).contains(INSTALLS), "{data:?}");
    assert!(begun("r1u41"), "{}", daemon.log_tail());
    socket.send_to(b"\0\x04\0\x01", from).expect("there is a route");
    daemon.wait_for("the script", |line| line.is("r1u41", "sent", &["script once"]));

    // Without options the first block is what it acknowledges.
    let socket = asks(&plain, "");
    let (data, from) = next_packet(&socket);
    assert!(
        String::from_utf8_lossy(&data[4..]).contains("installs r1u42"),
        "{data:?}"
    );
    assert!(!begun("r1u42"));
    socket.send_to(b"\0\x04\0\x01", from).expect("there is a route");
    daemon.wait_for("the script", |line| line.is("r1u42", "sent", &["script once"]));
    assert!(begun("r1u42"), "{}", daemon.log_tail());

    // A real client, and the token that it was given is good.
    let script = curl.expect("curl", &["-sSf", &format!("tftp://{SERVER}/boot.ipxe")]);
    let script = String::from_utf8_lossy(&script).into_owned();
    let base = script.split_whitespace().last().expect("it has URLs");
    assert!(begun("r1u43"), "{}", daemon.log_tail());
    assert_eq!(answer(&curl, &[&format!("{base}/started")]).0, "200");
}

/// A request for the script in the name of the host with that number.
fn forged(host: u8, number: u32, options: &str) -> (SocketAddrV4, Vec<u8>) {
    let port = 2000 + u16::try_from(number % 1000).expect("a thousand");
    let source = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, host), port);
    (source, asks_for_its_script(options))
}

#[test]
fn nobody_begins_the_install_of_a_machine_that_is_off_by_its_acknowledgement() {
    let wire = Wire::new();
    let room = room(&[host("r1u41", 41)]).with_settings("[tftp]\nsingle_port = true\n");
    let stranger = wire.client_at("02:00:00:00:00:66", "192.0.2.66");
    let daemon = Daemon::start(&wire, &room);
    tell(&room, &["arm", "r1u41"]);
    // Each request, what would be its acknowledgement with options, and without.
    let packet: fn(u32) -> (SocketAddrV4, Vec<u8>) = |number| {
        let (source, request) = forged(41, number / 3, if number.is_multiple_of(2) { OPTIONS } else { "" });
        let acknowledgement = |block: u8| (source, vec![0, 4, 0, block]);
        match number % 3 {
            0 => (source, request),
            1 => acknowledgement(0),
            _ => acknowledgement(1),
        }
    };
    Flood::forged(&stranger, (SERVER, 50, 150), packet).finish();
    assert_eq!(state(&room, "r1u41"), "armed", "{}", daemon.log_tail());
    // It is switched on, and asks for itself.
    let own = wire.client_at("02:00:00:00:00:41", "192.0.2.41");
    let script = own.expect("curl", &["-sSf", &format!("tftp://{SERVER}/boot.ipxe")]);
    assert!(String::from_utf8_lossy(&script).contains(INSTALLS));
    assert_eq!(state(&room, "r1u41"), "installing");
}

#[test]
fn beside_another_server_a_broadcast_makes_nobody_the_host_whose_script_installs() {
    let wire = Wire::new();
    let armed = host("r1u41", 41).replace("02:00:00:00:00:41", "02:bb:00:00:00:41");
    let room = room(&[armed.replace("address = \"192.0.2.41\"\n", "")]);
    room.set("mode = \"dhcp\"", "mode = \"proxy\"");
    let own = wire.client_at("02:bb:00:00:00:41", "192.0.2.41");
    let stranger = wire.client_at("02:00:00:00:00:66", "192.0.2.66");
    let daemon = Daemon::start(&wire, &room);
    tell(&room, &["arm", "r1u41"]);
    let url = format!("http://{SERVER}/boot.ipxe");
    let claims = |client: &Namespace, last: u8| {
        let addresses = [Ipv4Addr::new(192, 0, 2, last), Ipv4Addr::new(192, 0, 2, 9)];
        Rack::new(client).claims(0x41, addresses);
        daemon.wait_for("its word", |line| line.is("r1u41", "ignored", &["proxy_request"]));
    };
    claims(&stranger, 66);
    assert_eq!(answer(&stranger, &[&url]).0, "403", "{}", daemon.log_tail());
    assert!(
        !String::from_utf8_lossy(
            &stranger
                .run("curl", &["-sS", &format!("tftp://{SERVER}/boot.ipxe")])
                .stdout
        )
        .contains(INSTALLS)
    );
    assert_eq!(state(&room, "r1u41"), "armed", "{}", daemon.log_tail());
    claims(&own, 41);
    assert!(installs(&own), "{}", daemon.log_tail());
    assert_eq!(state(&room, "r1u41"), "installing");
}

#[test]
fn an_install_tells_of_itself_to_its_end_and_nobody_else_does() {
    let wire = Wire::new();
    let room = room(&[host("r1u41", 41), host("r1u42", 42)]);
    let client = wire.client_at("02:00:00:00:00:41", "192.0.2.41");
    let other = wire.client_at("02:00:00:00:00:42", "192.0.2.42");
    let daemon = Daemon::start(&wire, &room);
    tell(&room, &["arm", "r1u41"]);
    assert_eq!(
        answer(&other, &[&format!("http://{SERVER}/boot.ipxe?mac=02-00-00-00-00-41")]).0,
        "403"
    );
    let base = handed(&client).expect("it is armed");
    let token = base.rsplit('/').next().expect("a token stands at the end").to_owned();
    let url = |word: &str| format!("{base}/{word}");

    assert!(curl(&client, &[&url("started")]).is_some());
    let form = ["-d", "percent=40", "--data-urlencode", "message=base system"];
    assert!(curl(&client, &[&form[..], &[&url("progress")]].concat()).is_some());
    let now = install(&room, "r1u41");
    assert_eq!(
        (&now["state"], &now["percent"]),
        (&"installing".into(), &40.into()),
        "{now}"
    );

    let guessed = url("done").replace(&token, &"0".repeat(32));
    let of_other = url("done").replace("r1u41", "r1u42");
    let of_nobody = url("done").replace("r1u41", "r1u99");
    let refusals = [
        answer(&other, &[&url("done")]),
        answer(&client, &[&guessed]),
        answer(&client, &[&of_other]),
        answer(&client, &[&of_nobody]),
        answer(&client, &[&url("finished")]),
        answer(&other, &["-d", "reason=mine", &url("failed")]),
    ];
    for refusal in &refusals {
        assert_eq!(refusal, &("403".to_owned(), "refused\n".to_owned()));
    }
    let counted = ask_json(&room, "status")["reasons"]["callback_refused"].as_u64();
    assert_eq!(counted, Some(refusals.len() as u64));
    assert_eq!(state(&room, "r1u41"), "installing");
    assert_eq!(answer(&client, &["-X", "PUT", &url("done")]).0, "405");

    for _ in 0..2 {
        assert!(
            curl(&client, &["-d", "", &url("done")]).is_some(),
            "its answer may be lost"
        );
    }
    assert_eq!(
        (state(&room, "r1u41").as_str(), installs(&client)),
        ("installed", false)
    );
    assert_eq!(
        answer(&client, &[&url("started")]),
        ("403".to_owned(), "refused\n".to_owned())
    );
    assert_eq!(answer(&client, &[&url("failed")]).0, "403");
    daemon.crash();
    let daemon = Daemon::start(&wire, &room);
    assert_eq!(
        (state(&room, "r1u41").as_str(), installs(&client)),
        ("installed", false)
    );

    tell(&room, &["arm", "r1u41"]);
    let again = handed(&client).expect("it is armed again");
    assert_ne!(again, base, "another install has another token");
    assert_eq!(answer(&client, &[&url("done")]).0, "403", "the token of before");
    assert!(
        curl(
            &client,
            &["--data-urlencode", "reason=no disk", &format!("{again}/failed")]
        )
        .is_some()
    );
    let now = install(&room, "r1u41");
    assert!(
        now["state"] == "failed" && now["reason"].as_str().is_some_and(|why| why.contains("no disk")),
        "{now}"
    );
    assert!(!installs(&client));
    assert!(!daemon.log_tail().contains(&token), "a token is in no log");
}

/// Kills, where `INSTALL_KILLS` says nothing else, and the machines that install meanwhile.
const KILLS: u32 = 12;
const MACHINES: [(&str, u8); 3] = [("r1u41", 41), ("r1u42", 42), ("r1u43", 43)];

#[test]
fn no_install_runs_twice_and_none_is_forgotten_whenever_the_daemon_is_killed() {
    let kills = std::env::var("INSTALL_KILLS").map_or(KILLS, |count| count.parse().expect("a number"));
    let wire = Wire::new();
    let hosts: Vec<String> = MACHINES.iter().map(|(name, number)| host(name, *number)).collect();
    let room = room(&[hosts.concat(), host("r1u49", 49)]);
    let client = |number: u8| wire.client_at(&format!("02:00:00:00:00:{number}"), &format!("192.0.2.{number}"));
    let (clients, unarmed) = (MACHINES.map(|(_, number)| client(number)), client(49));
    let over = AtomicBool::new(false);
    let installed = std::thread::scope(|scope| {
        let (room, over) = (&room, &over);
        let machines: Vec<_> = MACHINES
            .iter()
            .zip(&clients)
            .map(|((name, _), client)| scope.spawn(move || install_again_and_again(room, (name, client), over)))
            .collect();
        let bystander = scope.spawn(|| {
            while !over.load(Ordering::Acquire) {
                assert_eq!(handed(&unarmed), None, "nobody armed it");
            }
        });
        // Any seed will do; what it is shows when a round fails.
        let mut seed = std::process::id();
        let mut daemon = Daemon::start(&wire, room);
        for _ in 0..kills {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            std::thread::sleep(Duration::from_millis(u64::from((seed >> 16) % 700)));
            daemon.crash();
            daemon = Daemon::start(&wire, room);
        }
        over.store(true, Ordering::Release);
        let installed: Vec<u32> = machines
            .into_iter()
            .map(|machine| machine.join().expect("seen above"))
            .collect();
        bystander.join().expect("seen above");
        for (name, _) in MACHINES {
            assert_eq!(state(room, name), "installed", "{}", daemon.log_tail());
        }
        installed
    });
    eprintln!("{kills} kills, installs of each machine: {installed:?}");
    assert!(installed.iter().all(|installs| *installs > 0), "{installed:?}");
}

/// Arms a machine, and has it install, until it is over; how often it was done. What was armed is installed to its
/// end, and what is done is never handed out again.
fn install_again_and_again(room: &Room, (name, client): (&str, &Namespace), over: &AtomicBool) -> u32 {
    let mut installed = 0;
    while installed == 0 || !over.load(Ordering::Acquire) {
        // Who is not told may have armed it all the same.
        until_done(name, "armed", || {
            ask(room, &["arm", name]).status.success().then_some(())
        });
        let base = until_done(name, "handed its install", || handed(client));
        until_done(name, "begun", || curl(client, &[&format!("{base}/started")]));
        until_done(name, "under way", || curl(client, &[&format!("{base}/progress/50")]));
        until_done(name, "done", || curl(client, &[&format!("{base}/done")]));
        installed += 1;
        for _ in 0..3 {
            assert_eq!(handed(client), None, "{name} is done, and is to install again");
        }
    }
    installed
}

fn until_done<T>(name: &str, what: &str, work: impl FnMut() -> Option<T>) -> T {
    super::poll(SOON, work).unwrap_or_else(|| panic!("{name} is not {what}: it is forgotten"))
}

/// One command a line, as the shipped answers have them.
const LINES: &str = "{% if callback %}\n{{ callback.started | curl }}\n{{ callback.progress | wget }}\n\
    busybox sh -c '{{ callback.done | busybox }}'\n{{ callback.done | curl }}\n{% endif %}\n";

#[test]
fn the_lines_for_installers_are_taken_from_curl_wget_and_busybox() {
    let wire = Wire::new();
    let host = [&host("r1u41", 41), "answer = \"lines\"\n"].concat();
    let room = room(&[host]);
    room.write("answers/lines.sh", LINES);
    let client = wire.client_at("02:00:00:00:00:41", "192.0.2.41");
    let daemon = Daemon::start(&wire, &room);
    tell(&room, &["arm", "r1u41", "--for", "2h"]);
    assert!(installs(&client));
    let lines = client.expect("curl", &["-sSf", &format!("http://{SERVER}/answer/r1u41/lines.sh")]);
    let lines = String::from_utf8(lines).expect("our own text");
    let steps = ["started", "progress", "done"];
    assert_eq!(lines.lines().count(), steps.len() + 1, "{lines}");
    for (line, step) in lines.lines().zip(steps) {
        client.expect("sh", &["-ec", line]);
        let word = ["callback ", step].concat();
        daemon.wait_for(step, |seen| seen.is("r1u41", "sent", &[&word]));
    }
    // Said once more, it is as well.
    client.expect("sh", &["-ec", lines.lines().last().expect("there are some")]);
    assert_eq!(state(&room, "r1u41"), "installed");
}

/// The disks of the only host, as `arm` shows them.
fn armed_disks(room: &Room) -> Value {
    tell(room, &["arm", "r1u41"])["disks"][0].clone()
}

#[test]
fn who_arms_a_host_sees_the_disks_that_its_machine_told_of_over_kill_9_a_rename_and_another_rule() {
    let listed = |name: &str, serial: &str| host(name, 41) + &format!("disk = {{ serial = \"{serial}\" }}\n");
    let keeps = "#!ipxe\n# installs {{ name }} {{ callback.base }}\nparams {{ disk.rule }}\n";
    let room = Room::new(&listed("r1u41", "S2")).with_script("once", keeps);
    let wire = Wire::new();
    let client = wire.client_at("02:00:00:00:00:41", "192.0.2.41");
    let daemon = Daemon::start(&wire, &room);
    let unknown = armed_disks(&room);
    assert_eq!(
        (unknown["disks"].as_array().map(Vec::len), &unknown["told"]),
        (Some(0), &Value::Null)
    );
    assert_eq!(ask_json(&room, "hosts")[0].get("disks"), None);
    let base = script(&client)
        .lines()
        .find_map(|line| line.strip_prefix("# installs r1u41 ").map(str::to_owned))
        .expect("it is armed");
    // As lsblk of util-linux 2.38 prints them, in a line of an installer's shell.
    let lsblk = r#"{"blockdevices": [
        {"name":"sr0", "size":1073741312, "model":"DVD", "serial":null, "rm":true, "ro":false, "type":"rom"},
        {"name":"sda", "size":480103981056, "model":"SAMSUNG", "serial":"S1", "rm":false, "ro":false, "type":"disk"},
        {"name":"sdb", "size":960197124096, "model":"SAMSUNG", "serial":"S2", "rm":false, "ro":false, "type":"disk"}]}"#;
    let started = format!("{base}/started");
    client.expect("curl", &["-sSf", "--data-binary", lsblk, &started]);
    client.expect("curl", &["-sSf", &format!("{base}/done")]);
    daemon.crash();
    let daemon = Daemon::start(&wire, &room);
    let known = armed_disks(&room);
    let names: Vec<&str> = known["disks"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|disk| disk["name"].as_str())
        .collect();
    assert_eq!(names, ["sda", "sdb"], "{known}");
    assert_eq!(
        (&known["chosen"], &known["warning"]),
        (&Value::from("sdb"), &Value::Null),
        "{known}"
    );
    assert!(known["told"].is_string(), "{known}");
    script(&client);
    for command in ["hosts", "why"] {
        let shown = super::poll(SOON, || {
            Some(ask_json(&room, command)[0]["disks"].clone()).filter(Value::is_object)
        });
        let shown = shown.unwrap_or_else(|| panic!("{command} shows no disks"));
        assert_eq!(
            (&shown["disks"], &shown["chosen"]),
            (&known["disks"], &known["chosen"]),
            "{command}"
        );
    }
    let output = ask(&room, &["disarm", "r1u41"]);
    assert!(output.status.success(), "{}", text(&output));

    // Its machine is the same under another name, and no disk fits another rule.
    room.write_inventory(&listed("r1u42", "S9"));
    assert!(ask(&room, &["reload"]).status.success(), "{}", daemon.log_tail());
    let renamed = tell(&room, &["arm", "r1u42"])["disks"][0].clone();
    assert_eq!(
        (renamed["disks"].as_array().map(Vec::len), &renamed["chosen"]),
        (Some(2), &Value::Null)
    );
    assert!(
        renamed["warning"].as_str().is_some_and(|why| why.contains("S9")),
        "{renamed}"
    );
}

#[test]
fn an_install_whose_host_is_renamed_is_named_before_and_goes_on_once_the_name_is_back() {
    let wire = Wire::new();
    let room = room(&[host("r1u41", 41)]);
    let client = wire.client_at("02:00:00:00:00:41", "192.0.2.41");
    let daemon = Daemon::start(&wire, &room);
    tell(&room, &["arm", "r1u41"]);
    let base = script(&client)
        .lines()
        .find_map(|line| line.strip_prefix("# installs r1u41 ").map(str::to_owned))
        .expect("it is armed");
    room.write_inventory(&host("r1u42", 41));
    // It is in force as soon as it is saved, or by this.
    assert!(ask(&room, &["reload"]).status.success(), "{}", daemon.log_tail());
    daemon.wait_for("the word of it", |line| {
        line.event == "install_interrupted" && line.machine == "r1u41"
    });
    let refused = client.run(
        "curl",
        &["-sS", "-o", "/dev/null", "-w", "%{http_code}", &format!("{base}/done")],
    );
    assert_eq!(String::from_utf8_lossy(&refused.stdout), "403");
    assert!(!installs(&client), "nor is the machine armed by its other name");
    assert_eq!(state(&room, "r1u42"), "new");

    room.write_inventory(&host("r1u41", 41));
    assert!(ask(&room, &["reload"]).status.success(), "{}", daemon.log_tail());
    client.expect("curl", &["-sSf", &format!("{base}/done")]);
    assert_eq!(state(&room, "r1u41"), "installed");
}
