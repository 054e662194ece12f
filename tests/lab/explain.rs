//! Rung 3: what `bootwright explain` says of a machine is what the machine gets then, byte for byte; and asking leaves
//! no trace.

use super::daemon::{Daemon, ask, ask_json, ask_json_with};
use super::namespace::{Namespace, SERVER, Wire, text};
use super::room::Room;
use super::wire::hear;
use bootwright::model::{MacAddr, Uuid};
use bootwright::proto::dhcp::client::{ClientKind, ClientMessage};
use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    time::Duration,
};

const MAC: &str = "02:00:00:00:00:07";

const INVENTORY: &str = r#"
[profile.base]
boot    = "local"
cmdline = ["quiet"]

[profile.worker]
inherits = ["base"]
boot     = "live"
image    = "small"
script   = "tiny"

[[host]]
name    = "r1u07"
mac     = "02:00:00:00:00:07"
address = "192.0.2.7"
profile = "worker"
vars    = { role = "storage" }

[[rule]]
match   = { vendor = "ACME*" }
profile = "worker"
"#;

const SCRIPT: &str = "#!ipxe\necho {{ name }} is {{ vars.role | default(\"nothing\") }}\nkernel {{ image.kernel }} {{ cmdline }}\nboot\n";

fn room() -> Room {
    Room::new(INVENTORY)
        .with_script("tiny", SCRIPT)
        .with_small_image(b"a kernel, as far as bytes are compared")
}

/// Sends a DHCP packet as it is; the reply's bytes.
fn raw_reply(client: &Namespace, packet: &[u8]) -> Vec<u8> {
    let socket = client.enter(|| {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.bind_device(Some(b"eth0"))?;
        socket.set_broadcast(true)?;
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68).into())?;
        std::io::Result::Ok(UdpSocket::from(socket))
    });
    let socket = socket.expect("a socket in our own namespace");
    let mut buffer = [0; 2048];
    let reply = super::poll(super::SOON, || {
        socket
            .send_to(packet, (Ipv4Addr::BROADCAST, 67))
            .expect("a broadcast on our own wire");
        let (length, _) = hear(&socket, &mut buffer)?;
        Some(buffer[..length].to_vec())
    });
    reply.expect("the daemon answers")
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The files that an explanation tells, by who asks for each.
fn file<'e>(explanation: &'e Value, role: &str) -> &'e Value {
    let files = explanation["files"].as_array().expect("a list");
    let found = files.iter().find(|file| file["role"] == role);
    found.unwrap_or_else(|| panic!("no {role} in {explanation:#}"))
}

#[test]
fn a_machine_gets_what_explain_said_before_and_asking_leaves_no_trace() {
    let wire = Wire::new();
    let room = room();
    let daemon = Daemon::start(&wire, &room);
    let counters = ask_json(&room, "status")["counters"].clone();
    let explanation = ask_json_with(&room, &["explain", "r1u07"]);
    assert_eq!(explanation["host"], "r1u07");
    assert_eq!(ask_json(&room, "leases"), Value::Array(Vec::new()));
    assert_eq!(ask_json(&room, "why"), Value::Array(Vec::new()));
    assert_eq!(ask_json(&room, "status")["counters"], counters);
    let heard = daemon.lines().into_iter().filter(|line| line.target == "boot").count();
    assert_eq!(heard, 0, "{}", daemon.log_tail());

    // Its firmware's DISCOVER.
    let client = wire.client_at(MAC, "192.0.2.7");
    let mac: MacAddr = MAC.parse().expect("a MAC");
    let message = |client| ClientMessage {
        client,
        arch: 7,
        mac,
        xid: 0x626f_6f74,
        relay: None,
        takes: None,
        uuid: Some(Uuid::NIL),
        circuit_id: None,
    };
    for (place, kind) in [ClientKind::Firmware, ClientKind::Ipxe].into_iter().enumerate() {
        let reply = raw_reply(&client, &message(kind).encode());
        assert_eq!(explanation["replies"][place]["packet"], hexadecimal(&reply), "{kind:?}");
    }
    // Its loader, its script, its kernel.
    let loader = file(&explanation, "loader");
    assert_eq!(
        (&loader["standing"], loader["url"].as_str()),
        (&Value::from("there"), Some("tftp://192.0.2.1/snponly.efi"))
    );
    let fetched = client.expect("curl", &["-sSf", loader["url"].as_str().expect("a URL")]);
    assert_eq!(loader["bytes"], fetched.len());
    let script = &explanation["script"];
    let url = script["url"].as_str().expect("a URL");
    assert!(
        url.starts_with(&format!("http://{SERVER}/boot.ipxe?mac=02-00-00-00-00-07&")),
        "{url}"
    );
    let fetched = client.expect("curl", &["-sSf", url]);
    assert_eq!(script["text"], String::from_utf8_lossy(&fetched).into_owned());
    let kernel = file(&explanation, "kernel");
    let fetched = client.expect("curl", &["-sSf", kernel["url"].as_str().expect("a URL")]);
    assert_eq!(
        (&kernel["standing"], &kernel["bytes"]),
        (&Value::from("intact"), &Value::from(fetched.len()))
    );
    // A system of the same machine, by a client that systems run.
    let system = ask_json_with(&room, &["explain", "r1u07", "--stage", "system"]);
    assert_eq!(system["replies"][0]["address"], "192.0.2.7");
    assert!(client.gets_lease(&[]), "{}", daemon.log_tail());
}

#[test]
fn values_are_told_with_their_line_and_their_profile_and_what_was_passed_over_with_its_reason() {
    let wire = Wire::new();
    let room = room();
    let _daemon = Daemon::start(&wire, &room);
    let explanation = ask_json_with(&room, &["explain", "r1u07"]);
    let inventory = std::fs::read_to_string(room.path("inventory.toml")).expect("our own file");
    let line_of = |words: &str| inventory.lines().position(|line| line == words).expect("it is written") + 1;
    let setting = |key: &str| {
        let settings = explanation["settings"].as_array().expect("a list");
        settings
            .iter()
            .find(|row| row["key"] == key)
            .unwrap_or_else(|| panic!("no {key}"))
            .clone()
    };
    let boot = setting("boot");
    assert_eq!(
        (&boot["value"], &boot["layer"]),
        (&Value::from("live"), &Value::from("profile worker"))
    );
    assert_eq!(boot["place"]["line"], line_of("boot     = \"live\""));
    let below = &boot["overrules"][0];
    assert_eq!(
        (&below["value"], &below["layer"]),
        (&Value::from("local"), &Value::from("profile base"))
    );
    assert_eq!(below["place"]["line"], line_of("boot    = \"local\""));
    assert_eq!(setting("cmdline")["layer"], "profile base");
    assert_eq!(setting("vars.role")["layer"], "host r1u07");
    let address = setting("address");
    assert_eq!(
        (&address["value"], address["place"]["line"].as_u64()),
        (
            &Value::from("192.0.2.7"),
            u64::try_from(line_of("address = \"192.0.2.7\"")).ok(),
        )
    );

    let stranger = ask_json_with(&room, &["explain", "02:00:00:00:00:17"]);
    let verdicts: Vec<(&str, &str)> = stranger["matches"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| {
            (
                row["what"].as_str().unwrap_or_default(),
                row["verdict"].as_str().unwrap_or_default(),
            )
        })
        .collect();
    let expected = [
        ("host r1u07", "passed_over"),
        ("rule 1", "passed_over"),
        ("unlisted machines", "matched"),
    ];
    assert_eq!(verdicts, expected);
    let nobody = ask(&room, &["explain", "r1u08", "--json"]);
    assert!(!nobody.status.success(), "{}", text(&nobody));
    let refusal: Value = serde_json::from_slice(&nobody.stdout).expect("--json prints JSON");
    assert_eq!(refusal["code"], "unknown-host");
}

#[test]
fn the_same_function_explains_by_the_files_alone() {
    let wire = Wire::new();
    let room = room();
    let daemon = Daemon::start(&wire, &room);
    let online = ask_json_with(&room, &["explain", "r1u07"]);
    assert!(daemon.stop().success());
    let config = room.config().to_string_lossy().into_owned();
    let output = super::room::bootwright(&["explain", "r1u07", "--config", &config, "--json"]);
    assert!(output.status.success(), "{}", text(&output));
    let offline: Value = serde_json::from_slice(&output.stdout).expect("--json prints JSON");
    assert_eq!(offline["settings"], online["settings"]);
    assert_eq!(offline["matches"], online["matches"]);
    // No interface of that name is here: an address is made up that nobody else has.
    let own = offline["replies"][0]["next_server"].as_str().expect("an address");
    let text = offline["script"]["text"].as_str().expect("a text").replace(own, SERVER);
    assert_eq!(online["script"]["text"], text);
    assert_eq!(file(&offline, "kernel")["standing"], "intact");
}
