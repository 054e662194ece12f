//! Rung 3: what keeps machines from coming up, made for real, and the name that `bootwright why` gives it.

use super::SOON;
use super::daemon::{Daemon, ask, ask_json_with};
use super::namespace::{Namespace, SERVER, Wire, text};
use super::proxy::OtherServer;
use super::relays::{BEHIND, Program, Relayed};
use super::room::{Room, SUBNET};
use super::wire::hear;
use bootwright::model::limits::{TFTP_RETRANSMIT_MAX, TFTP_SILENT_PACKETS_MAX};
use serde_json::Value;
use std::{
    fs,
    io::{Read, Write},
    net::{TcpStream, UdpSocket},
};

/// DHCP as BIOS and as UEFI ask.
const BIOS: [&str; 4] = ["-V", "PXEClient:Arch:00000:UNDI:002001", "-x", "0x5d:0000"];
const UEFI: [&str; 4] = ["-V", "PXEClient:Arch:00007:UNDI:003000", "-x", "0x5d:0007"];

const MAC: &str = "02:bb:00:00:00:41";
const OTHER: &str = "02:bb:00:00:00:42";
const ADDRESS: &str = "192.0.2.41";

/// One host with an address of its own.
const HOST: &str = r#"
[[host]]
name    = "r1u01"
mac     = "02:bb:00:00:00:41"
address = "192.0.2.41"
boot    = "live"
script  = "who"
"#;

fn room(inventory: &str) -> Room {
    Room::new(inventory).with_script("who", "#!ipxe\necho {{ name }}\n")
}

/// Waits for that verdict on a machine; all that is known of it.
fn must_be(room: &Room, daemon: &Daemon, machine: &str, cause: &str) -> Value {
    // The longest silence that a cause waits for is a minute.
    let found = super::poll(SOON * 4, || {
        let listed = ask_json_with(room, &["why", machine]);
        (listed[0]["verdict"]["cause"] == cause).then(|| listed[0].clone())
    });
    found.unwrap_or_else(|| {
        panic!(
            "no {cause}: {}\n{}",
            text(&ask(room, &["why", machine])),
            daemon.log_tail()
        )
    })
}

fn get(client: &Namespace, path: &str) {
    client.run(
        "curl",
        &["-sS", "-m", "20", "-o", "/dev/null", &format!("http://{SERVER}{path}")],
    );
}

/// Fetches a file by TFTP with blocks of that size; it may well fail.
fn tftp(client: &Namespace, file: &str, block: &str) {
    let arguments = [
        "30",
        "busybox",
        "tftp",
        "-g",
        "-b",
        block,
        "-r",
        file,
        "-l",
        "/dev/null",
        SERVER,
    ];
    client.run("timeout", &arguments);
}

#[test]
fn a_rogue_dnsmasq_that_wins() {
    let wire = Wire::new();
    let room = Room::new("");
    // We look whether the address is in use before we offer it; dnsmasq does not.
    room.write("inventory.toml", &format!("{SUBNET}probe = \"arp\"\n"));
    let daemon = Daemon::start(&wire, &room);
    let _rogue = OtherServer::start(&wire, &["--no-ping"]);
    assert!(wire.client(MAC).gets_lease(&BIOS), "{}", daemon.log_tail());
    let found = must_be(&room, &daemon, MAC, "other_dhcp_server");
    let said = found["verdict"]["sentence"].as_str().expect("a sentence");
    assert!(said.contains(OtherServer::ADDRESS), "{said}");
}

#[test]
fn tftp_that_a_firewall_stops_before_the_first_request() {
    let wire = Wire::new();
    let room = room(HOST);
    let daemon = Daemon::start(&wire, &room);
    let rules = "table inet room { chain in { type filter hook input priority 0; udp dport 69 drop; }; }";
    wire.server.expect("nft", &[rules]);
    let client = wire.client_at(MAC, ADDRESS);
    assert!(client.gets_lease(&UEFI), "{}", daemon.log_tail());
    client.run(
        "timeout",
        &[
            "3",
            "busybox",
            "tftp",
            "-g",
            "-r",
            "snponly.efi",
            "-l",
            "/dev/null",
            SERVER,
        ],
    );
    must_be(&room, &daemon, "r1u01", "loader_unfetched");
}

#[test]
fn a_firmware_that_asks_for_the_size_and_never_for_the_file() {
    let wire = Wire::new();
    let room = room(HOST);
    let daemon = Daemon::start(&wire, &room);
    let client = wire.client_at(MAC, ADDRESS);
    assert!(client.gets_lease(&UEFI), "{}", daemon.log_tail());
    client.enter(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket in our own namespace");
        socket.set_read_timeout(Some(SOON)).expect("a timeout above zero");
        let request = b"\0\x01snponly.efi\0octet\0tsize\x000\0blksize\x001468\0";
        socket.send_to(request, (SERVER, 69)).expect("the wire is up");
        let mut buffer = [0; 2048];
        let (length, from) = hear(&socket, &mut buffer).expect("an answer");
        assert!(buffer[..length].starts_with(&[0, 6]), "an OACK");
        socket
            .send_to(b"\0\x05\0\x08User aborted the transfer\0", from)
            .expect("the wire is up");
    });
    let found = must_be(&room, &daemon, "r1u01", "loader_unfetched");
    let asked = found["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .any(|step| step["event"] == "size_asked");
    assert!(asked, "{found}");
}

#[test]
fn a_first_block_that_a_firewall_or_a_small_mtu_has_never_acknowledged() {
    type Fault = fn(&Wire, &Namespace);
    let firewall: Fault = |wire, _| {
        let rules = "table inet room { chain in { type filter hook input priority 0; udp dport 32768-65535 drop; }; }";
        wire.server.expect("nft", &[rules]);
    };
    let mtu: Fault = |_, client| drop(client.expect("ip", &["link", "set", "eth0", "mtu", "900"]));
    for (fault, block) in [(firewall, "512"), (mtu, "1468")] {
        let wire = Wire::new();
        let room = room(HOST);
        let daemon = Daemon::start(&wire, &room);
        let client = wire.client_at(MAC, ADDRESS);
        assert!(client.gets_lease(&UEFI), "{}", daemon.log_tail());
        fault(&wire, &client);
        tftp(&client, "snponly.efi", block);
        let tries = TFTP_RETRANSMIT_MAX * TFTP_SILENT_PACKETS_MAX;
        assert!(tries < SOON * 3, "the verdict is waited for long enough");
        must_be(&room, &daemon, "r1u01", "tftp_first_block_lost");
    }
}

#[test]
fn a_host_at_another_switch_port_than_its_own() {
    let wire = Wire::new();
    let room = Room::new(BEHIND);
    let daemon = Daemon::start(&wire, &room);
    // It belongs to `back9`, and the relay says `back0`.
    let (_relayed, client) = Relayed::with_client(&wire, Program::Isc, "02:bb:00:00:02:08");
    assert!(client.gets_no_lease(&UEFI), "{}", daemon.log_tail());
    must_be(&room, &daemon, "r2u08", "wrong_port");
}

#[test]
fn a_relay_that_no_subnet_is_for() {
    let wire = Wire::new();
    let room = Room::new("");
    let daemon = Daemon::start(&wire, &room);
    let (_relayed, client) = Relayed::with_client(&wire, Program::Isc, "02:bb:00:00:02:01");
    assert!(client.gets_no_lease(&UEFI), "{}", daemon.log_tail());
    must_be(&room, &daemon, "02:bb:00:00:02:01", "relay_in_no_subnet");
}

#[test]
fn a_pool_that_others_have_used_up() {
    let wire = Wire::new();
    let room = Room::new("");
    let one = SUBNET.replace("192.0.2.100-192.0.2.199", "192.0.2.100-192.0.2.100");
    room.write("inventory.toml", &one);
    let daemon = Daemon::start(&wire, &room);
    assert!(wire.client(MAC).gets_lease(&[]), "{}", daemon.log_tail());
    assert!(wire.client(OTHER).gets_no_lease(&UEFI), "{}", daemon.log_tail());
    must_be(&room, &daemon, OTHER, "pool_empty");
}

#[test]
fn a_network_card_that_was_changed() {
    let wire = Wire::new();
    let room = room(&format!("{HOST}serial = \"SN-7\"\n"));
    let daemon = Daemon::start(&wire, &room);
    let client = wire.client_at(OTHER, "192.0.2.77");
    assert!(client.gets_lease(&UEFI), "{}", daemon.log_tail());
    get(&client, "/boot.ipxe?mac=02-bb-00-00-00-42&serial=SN-7");
    let found = must_be(&room, &daemon, OTHER, "nic_changed");
    assert_eq!(found["host"], Value::Null);
    assert!(
        found["verdict"]["sentence"]
            .as_str()
            .expect("a sentence")
            .contains("r1u01"),
        "{found}"
    );
}

#[test]
fn two_machines_that_report_one_uuid() {
    const UUID: &str = "0x61:0011223344556677889900aabbccddeeff";
    let wire = Wire::new();
    let by_uuid = "[[host]]\nname = \"r1u09\"\nuuid = \"44332211-6655-8877-9900-aabbccddeeff\"\naddress = \"192.0.2.49\"\n\
                   boot = \"live\"\nscript = \"who\"\n";
    let room = room(by_uuid);
    let daemon = Daemon::start(&wire, &room);
    let asks = |client: &Namespace, options: &[&str]| client.gets_lease(&[options, &["-x", UUID]].concat());
    let first = wire.client(MAC);
    assert!(asks(&first, &UEFI), "{}", daemon.log_tail());
    // Its system is up, and uses the address.
    assert!(asks(&first, &[]), "{}", daemon.log_tail());
    let second = wire.client(OTHER);
    assert!(asks(&second, &UEFI), "{}", daemon.log_tail());
    let found = must_be(&room, &daemon, "r1u09", "address_of_its_double");
    assert!(
        found["verdict"]["sentence"].as_str().expect("a sentence").contains(MAC),
        "{found}"
    );
}

#[test]
fn an_image_whose_bytes_changed_on_the_disk() {
    let wire = Wire::new();
    let room = room(&format!("{HOST}image = \"small\"\n")).with_small_image(&[7; 100_000]);
    let daemon = Daemon::start(&wire, &room);
    let client = wire.client_at(MAC, ADDRESS);
    fs::write(room.path("images/small/kernel.bin"), [8; 100_000]).expect("our own file");
    get(&client, "/boot.ipxe?mac=02-bb-00-00-00-41");
    let is_refused = super::poll(SOON, || {
        get(&client, "/image/small/kernel.bin");
        let listed = ask_json_with(&room, &["why", "r1u01"]);
        (listed[0]["verdict"]["cause"] == "artifact_corrupt").then_some(())
    });
    assert!(
        is_refused.is_some(),
        "{}\n{}",
        text(&ask(&room, &["why", "r1u01"])),
        daemon.log_tail()
    );
}

#[test]
fn a_machine_that_is_gone_at_37_percent() {
    const BYTES: usize = 64 << 20;
    let wire = Wire::new();
    let room = room(&format!("{HOST}image = \"small\"\n")).with_small_image(&vec![7; BYTES]);
    let daemon = Daemon::start(&wire, &room);
    let client = wire.client_at(MAC, ADDRESS);
    get(&client, "/boot.ipxe?mac=02-bb-00-00-00-41");
    client.enter(|| {
        let mut stream = TcpStream::connect((SERVER, 80)).expect("the daemon listens");
        write!(
            stream,
            "GET /image/small/kernel.bin HTTP/1.1\r\nHost: x\r\nUser-Agent: iPXE/2.0.0\r\n\r\n"
        )
        .expect("it reads");
        let mut left = BYTES * 37 / 100;
        let mut buffer = vec![0; 65_536];
        while left > 0 {
            let room = left.min(buffer.len());
            let got = stream.read(&mut buffer[..room]).expect("it sends");
            assert!(got > 0, "it is not over");
            left -= got;
        }
    });
    let found = must_be(&room, &daemon, "r1u01", "artifact_cut");
    let steps = found["steps"].as_array().expect("steps");
    let cut = steps.iter().find(|step| step["event"] == "failed").expect("the cut");
    let (had, of) = (cut["bytes"].as_u64(), cut["of"].as_u64());
    // What lay in the buffers on its way had been sent too.
    assert!(
        of == Some(BYTES as u64) && had >= Some(BYTES as u64 * 36 / 100) && had < of,
        "{cut}"
    );
}

#[test]
fn a_network_card_that_ipxe_can_not_open() {
    let wire = Wire::new();
    let room = room(HOST);
    let daemon = Daemon::start(&wire, &room);
    let client = wire.client_at(MAC, ADDRESS);
    assert!(client.gets_lease(&UEFI), "{}", daemon.log_tail());
    for file in ["snponly.efi", "autoexec.ipxe"] {
        tftp(&client, file, "1432");
    }
    must_be(&room, &daemon, "r1u01", "nic_closed_in_ipxe");
}

#[test]
fn an_address_that_somebody_else_uses_and_the_machine_declines() {
    let wire = Wire::new();
    let room = room(HOST);
    let daemon = Daemon::start(&wire, &room);
    let _squatter = wire.client_at("02:bb:00:00:00:99", ADDRESS);
    // It asks and declines for ever.
    let asks = [
        "15",
        "busybox",
        "udhcpc",
        "-i",
        "eth0",
        "-n",
        "-q",
        "-s",
        "/bin/true",
        "-a",
    ];
    wire.client(MAC).run("timeout", &[&asks[..], &BIOS].concat());
    let found = must_be(&room, &daemon, "r1u01", "address_in_use");
    let declined = found["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .any(|step| step["event"] == "reservation_conflict");
    assert!(declined, "{found}");
    assert!(
        found["verdict"]["sentence"]
            .as_str()
            .expect("a sentence")
            .contains(ADDRESS),
        "{found}"
    );
}
