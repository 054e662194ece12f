//! Rung 3: clients behind real relays, on networks that the daemon is not on; and firmware there.

use super::daemon::{Daemon, Line, ask_json};
use super::frames::{Frame, Sent, Watch};
use super::namespace::{Namespace, SERVER, TaskTracker, Wire};
use super::room::Room;
use super::wire::{Flood, Rack, hear};
use dhcproto::v4::{DhcpOption, Message, MessageType, Opcode};
use dhcproto::{Decodable, Encodable};
use nix::sys::signal::Signal;
use std::{
    net::{Ipv4Addr, UdpSocket},
    process::Stdio,
    time::Duration,
};

/// The network behind the relay, and a host there that belongs to the relay's port `back0`. The relay sends from
/// its address on the daemon's wire, among machines.
pub const BEHIND: &str = r#"
[[subnet]]
cidr   = "198.51.100.0/24"
router = "198.51.100.1"
ports_from = ["198.51.100.1", "192.0.2.254"]
pool   = ["198.51.100.100-198.51.100.199"]
lease  = "1h"

[[host]]
name    = "r2u07"
mac     = "02:bb:00:00:02:07"
address = "198.51.100.7"
port    = "back0"

[[host]]
name    = "r2u08"
mac     = "02:bb:00:00:02:08"
address = "198.51.100.8"
port    = "back9"
"#;

/// A client's hardware address there.
const MAC: [u8; 6] = [0x02, 0xbb, 0, 0, 0x02, 0x01];

/// The relays that Debian has.
#[derive(Clone, Copy)]
pub enum Program {
    /// dhcrelay, which adds option 82; its circuit-id is the name of the interface.
    Isc,
    /// dhcp-helper, dnsmasq's sister, which adds nothing.
    DhcpHelper,
}

/// The networks behind the relay: the interface there, and the relay's addresses on it.
type Network = (&'static str, &'static [&'static str]);
const BACK0: Network = ("back0", &["198.51.100.1/24"]);

/// A router with a relay, between the wire and networks of its own.
pub struct Relayed {
    router: Namespace,
    _process: TaskTracker,
}

impl Relayed {
    /// `attach` brings the interfaces up, in the router's namespace.
    fn start(wire: &Wire, program: Program, networks: &[Network], attach: impl FnOnce(&Namespace)) -> Relayed {
        let router = wire.client_at("02:00:c0:00:02:fe", "192.0.2.254");
        attach(&router);
        for (port, address) in networks
            .iter()
            .flat_map(|(port, all)| all.iter().map(move |each| (port, each)))
        {
            router.expect("ip", &["addr", "add", address, "dev", port]);
            // The daemon's host sends what is for the networks behind through the router.
            let network = address.replace(".1/24", ".0/24");
            wire.server
                .expect("ip", &["route", "add", &network, "via", "192.0.2.254"]);
        }
        router.expect("sysctl", &["-q", "-w", "net.ipv4.ip_forward=1"]);
        let ports: Vec<&str> = networks.iter().flat_map(|(port, _)| ["-i", port]).collect();
        let mut command = match program {
            Program::Isc => {
                let mut command = router.command("dhcrelay");
                command.args(["-4", "-d", "-a", "-pf", "/dev/null", "-i", "eth0"]);
                command.args(ports).arg(SERVER);
                command
            }
            Program::DhcpHelper => {
                // tests/install-packages.sh puts it there: Debian lets only one relay be installed.
                let mut command = router.command("/usr/local/lib/bootwright-tests/dhcp-helper");
                command
                    .args(["-n", "-u", "root", "-r", "/dev/null", "-s", SERVER])
                    .args(ports);
                command
            }
        };
        let process = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("package iproute2 is installed");
        let relayed = Relayed {
            router,
            _process: TaskTracker(process),
        };
        relayed.router.wait_for_udp(67, "the relay");
        relayed
    }

    /// With one network, and a client there.
    pub fn with_client(wire: &Wire, program: Program, mac: &str) -> (Relayed, Namespace) {
        let mut client = None;
        let attach = |router: &Namespace| client = Some(Namespace::beside(router, "back0", mac));
        let relayed = Relayed::start(wire, program, &[BACK0], attach);
        (relayed, client.expect("attached above"))
    }
}

#[test]
fn a_client_behind_a_relay_gets_a_lease_of_its_own_network_and_renews_it() {
    for program in [Program::Isc, Program::DhcpHelper] {
        let wire = Wire::new();
        let room = Room::new(BEHIND);
        let daemon = Daemon::start(&wire, &room);
        let (_relayed, client) = Relayed::with_client(&wire, program, "02:bb:00:00:02:01");
        let watch = Watch::new(&client);
        assert!(client.gets_lease(&[]), "{}", daemon.log_tail());
        let says =
            |line: &Line| line.is("02-bb-00-00-02-01", "acknowledged", &[]) && line.address.starts_with("198.51.100.1");
        daemon.wait_for("the lease", says);
        // Once for each request: a client that is kept waiting asks again.
        let acknowledged = daemon.lines().into_iter().filter(says).count();
        let asks = |frame: &&Frame| frame.sent_by(MAC) == Some(Sent::Selecting);
        let asked = watch.frames().iter().filter(asks).count();
        assert!(acknowledged <= asked, "{}\n{}", watch.text(), daemon.log_tail());
        // A renewal goes past the relay, from the address itself.
        let leases = ask_json(&room, "leases");
        let address = leases[0]["address"].as_str().expect("an address").to_owned();
        client.expect("ip", &["addr", "add", &format!("{address}/24"), "dev", "eth0"]);
        client.expect("ip", &["route", "add", "default", "via", "198.51.100.1"]);
        let ack = client.enter(|| renew(&address));
        assert_eq!(ack.as_deref(), Some(address.as_str()), "{}", daemon.log_tail());
    }
}

/// Asks the daemon by name to prolong the lease of `address`, again every second as clients do; the address
/// it grants.
fn renew(address: &str) -> Option<String> {
    ask_by_name(MAC, address, MessageType::Request, super::SOON)
}

/// The same for any machine and any message of one that has its address.
fn ask_by_name(mac: [u8; 6], address: &str, kind: MessageType, patience: Duration) -> Option<String> {
    let mut request = Message::default();
    let own: Ipv4Addr = address.parse().expect("an address");
    request.set_opcode(Opcode::BootRequest).set_ciaddr(own);
    request.set_chaddr(&mac);
    request.opts_mut().insert(DhcpOption::MessageType(kind));
    let socket = UdpSocket::bind("0.0.0.0:68").expect("a socket in our own namespace");
    socket
        .set_read_timeout(Some(Duration::from_secs(1)))
        .expect("a timeout above zero");
    let bytes = request.to_vec().expect("a message of ours encodes");
    super::poll(patience, || {
        socket.send_to(&bytes, (SERVER, 67)).expect("there is a route");
        // What the relay still has for the client is not meant.
        let mut buffer = [0; 2048];
        let replies = std::iter::from_fn(|| {
            let (length, _) = hear(&socket, &mut buffer)?;
            Some(Message::from_bytes(&buffer[..length]).expect("a reply is DHCP"))
        });
        let is_ack = |reply: &Message| reply.opts().msg_type() == Some(MessageType::Ack);
        let mut acks = replies.filter(|reply| reply.xid() == request.xid() && is_ack(reply));
        acks.next().map(|ack| ack.yiaddr().to_string())
    })
}

/// A wire with two subnets, the first of which has room for one machine, and a wire beside it.
const SHARED: &str = r#"
[[subnet]]
cidr    = "198.51.100.0/24"
network = "rack-1"
router  = "198.51.100.1"
pool    = ["198.51.100.100-198.51.100.100"]

[[subnet]]
cidr    = "203.0.113.0/24"
network = "rack-1"
router  = "203.0.113.1"
pool    = ["203.0.113.100-203.0.113.199"]

[[subnet]]
cidr   = "198.18.5.0/24"
router = "198.18.5.1"
pool   = ["198.18.5.100-198.18.5.199"]
"#;

#[test]
fn machines_of_two_wires_behind_one_relay_get_addresses_of_their_own_wires_subnets() {
    for program in [Program::Isc, Program::DhcpHelper] {
        let wire = Wire::new();
        let room = Room::new(SHARED);
        let daemon = Daemon::start(&wire, &room);
        let mut clients = Vec::new();
        let networks = [
            ("back0", &["198.51.100.1/24", "203.0.113.1/24"][..]),
            ("back1", &["198.18.5.1/24"]),
        ];
        let _relayed = Relayed::start(&wire, program, &networks, |router| {
            for (port, mac) in [("back0", "02:bb:00:00:02:01"), ("back1", "02:bb:00:00:02:02")] {
                clients.push(Namespace::beside(router, port, mac));
            }
        });
        let expect = |client: &Namespace, machine: &str, network: &str| {
            assert!(client.gets_lease(&[]), "{machine}\n{}", daemon.log_tail());
            let first = format!("{network}.1");
            daemon.wait_for(&first, |line| {
                line.is(machine, "acknowledged", &[]) && line.address.starts_with(&first)
            });
        };
        expect(&clients[0], "02-bb-00-00-02-01", "198.51.100");
        expect(&clients[1], "02-bb-00-00-02-02", "198.18.5");
        // Another machine on the first wire, whose first subnet is full.
        clients[0].expect("ip", &["link", "set", "eth0", "address", "02:bb:00:00:02:03"]);
        expect(&clients[0], "02-bb-00-00-02-03", "203.0.113");
        clients[0].expect("ip", &["link", "set", "eth0", "address", "02:bb:00:00:02:01"]);
        expect(&clients[0], "02-bb-00-00-02-01", "198.51.100");
    }
}

/// Machines that start together behind a relay: nearly as many as one port of it may hold offers for.
const TOGETHER: u32 = 125;

#[test]
fn machines_behind_a_relay_that_start_together_all_hear_their_offers() {
    let wire = Wire::new();
    let room = Room::new(&BEHIND.replace("198.51.100.199", "198.51.100.253"));
    let daemon = Daemon::start(&wire, &room);
    let (relayed, client) = Relayed::with_client(&wire, Program::Isc, "02:bb:00:00:02:01");
    // Linux drops broadcasts that come to an interface without an address.
    client.expect("ip", &["addr", "add", "198.51.100.99/24", "dev", "eth0"]);
    let rack = Rack::reading_packets(&client);
    let watch = Watch::new(&relayed.router);
    let passed_on = || {
        let frames = watch.frames();
        let server: Ipv4Addr = SERVER.parse().expect("an address");
        let to_server = |frame: &&Frame| frame.ends().is_some_and(|(_, to)| *to.ip() == server);
        u32::try_from(frames.iter().filter(to_server).count()).expect("few")
    };
    // Until the server looks, they wait for it together.
    daemon.signal(Signal::SIGSTOP);
    for first in (0..TOGETHER).step_by(25) {
        rack.discover_together(first..first + 25, None);
        let are_there = super::poll(super::SOON, || (passed_on() >= first + 25).then_some(()));
        assert!(are_there.is_some(), "the relay passed on {}", passed_on());
    }
    daemon.signal(Signal::SIGCONT);
    let offered = rack.offered(TOGETHER as usize);
    assert!(
        offered.iter().copied().eq(0..TOGETHER),
        "only {offered:?}\n{}",
        daemon.log_tail()
    );
}

#[test]
fn a_host_behind_a_relay_boots_beside_refusals_to_relays_that_nobody_has() {
    let wire = Wire::new();
    let room = Room::new(BEHIND);
    let daemon = Daemon::start(&wire, &room);
    let (_relayed, client) = Relayed::with_client(&wire, Program::Isc, "02:bb:00:00:02:07");
    let flooder = wire.client_at("02:00:00:00:00:fb", "192.0.2.251");
    let flood = Flood::begin(&flooder, (SERVER, 5_000, 200_000), |number| {
        let mut message = Message::default();
        let [a, b, c, d] = number.to_be_bytes();
        message
            .set_opcode(Opcode::BootRequest)
            .set_chaddr(&[0x02, 0xdd, a, b, c, d]);
        let made_up = 2 + u8::try_from(number % 200).expect("few");
        message.set_giaddr(Ipv4Addr::new(192, 0, 2, made_up));
        message.opts_mut().insert(DhcpOption::MessageType(MessageType::Request));
        let elsewhere = Ipv4Addr::new(203, 0, 113, 9);
        message.opts_mut().insert(DhcpOption::RequestedIpAddress(elsewhere));
        message.to_vec().expect("a message of ours encodes")
    });
    let unresolved = || {
        ask_json(&room, "status")["counters"]["dhcp_unresolved"]
            .as_u64()
            .expect("a count")
    };
    let is_flooded = super::poll(super::SOON * 2, || (unresolved() > 2_000).then_some(()));
    assert!(is_flooded.is_some(), "{} not sent\n{}", unresolved(), daemon.log_tail());
    assert!(client.gets_lease(&[]), "{}", daemon.log_tail());
    drop(flood);
    daemon.wait_for("the reservation", |line| {
        line.is("r2u07", "acknowledged", &["198.51.100.7"])
    });
}

#[test]
fn a_host_at_its_own_port_of_a_relay_boots_and_one_at_another_gets_no_answer() {
    let wire = Wire::new();
    let room = Room::new(BEHIND);
    let daemon = Daemon::start(&wire, &room);
    let (_relayed, client) = Relayed::with_client(&wire, Program::Isc, "02:bb:00:00:02:07");
    assert!(client.gets_lease(&[]), "{}", daemon.log_tail());
    daemon.wait_for("the reservation", |line| {
        line.is("r2u07", "acknowledged", &["198.51.100.7"])
    });
    client.expect("ip", &["link", "set", "eth0", "address", "02:bb:00:00:02:08"]);
    assert!(
        client.gets_no_lease(&[]),
        "a host at the wrong port was answered\n{}",
        daemon.log_tail()
    );
    let line = daemon.wait_for("both ports", |line| line.is("r2u08", "wrong_port", &["other_port"]));
    assert_eq!(line.field("port"), "back0", "where it asks from");
    assert_eq!(line.level, "WARN");
}

/// A host behind the relay whose script and answer hold a secret, and that belongs to the port `back0`.
const SECRET: &str = r#"
[[subnet]]
cidr   = "198.51.100.0/24"
router = "198.51.100.1"
ports_from = ["198.51.100.1", "192.0.2.254"]

[[host]]
name    = "r2u07"
mac     = "02:bb:00:00:02:07"
address = "198.51.100.7"
port    = "back0"
boot    = "live"
script  = "hello"
answer  = "secret"
vars    = { root_password = "hunter2" }
"#;

#[test]
fn an_answer_for_a_host_with_a_port_goes_to_an_address_that_was_given_there_and_to_none_set_by_hand() {
    let wire = Wire::new();
    let room = Room::new(SECRET).with_script("hello", "#!ipxe\necho {{ vars.root_password }}\n");
    room.write("answers/secret.cfg", "{{ vars.root_password }}\n");
    let daemon = Daemon::start(&wire, &room);
    let (_relayed, host) = Relayed::with_client(&wire, Program::Isc, "02:bb:00:00:02:07");
    host.expect("ip", &["addr", "add", "198.51.100.7/24", "dev", "eth0"]);
    host.expect("ip", &["route", "add", "default", "via", "198.51.100.1"]);
    let fetch = |path: &str| {
        let url = format!("http://{SERVER}{path}");
        let output = host.run("curl", &["-sS", "-m", "60", "-w", "%{http_code}", &url]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let paths = ["/answer/r2u07/secret.cfg", "/boot.ipxe?mac=02-bb-00-00-02-07"];
    for path in paths {
        let got = fetch(path);
        assert!(got.ends_with("403") && !got.contains("hunter2"), "{path}: {got}");
    }
    let line = daemon.wait_for("the port", |line| {
        line.is("r2u07", "failed", &["answer secret.cfg", "not_at_its_port"])
    });
    assert_eq!(line.level, "WARN");
    assert_eq!(
        host.enter(|| asked_without_port(MessageType::Inform)),
        None,
        "{}",
        daemon.log_tail()
    );

    assert!(host.gets_lease(&[]), "{}", daemon.log_tail());
    for path in paths {
        let got = fetch(path);
        assert!(
            got.ends_with("200") && got.contains("hunter2"),
            "{path}: {got}\n{}",
            daemon.log_tail()
        );
    }
    // A renewal goes past the relay, and tells no port; so it is after a restart, too.
    let renews = |daemon: &Daemon| {
        let ack = host.enter(|| asked_without_port(MessageType::Request));
        assert_eq!(ack.as_deref(), Some("198.51.100.7"), "{}", daemon.log_tail());
    };
    renews(&daemon);
    daemon.crash();
    let daemon = Daemon::start(&wire, &room);
    for path in paths {
        assert!(fetch(path).contains("hunter2"), "{path}\n{}", daemon.log_tail());
    }
    renews(&daemon);
}

/// What the host of [`SECRET`] is acknowledged that has its address and goes past the relay.
fn asked_without_port(kind: MessageType) -> Option<String> {
    let patience = match kind {
        MessageType::Inform => Duration::from_secs(3),
        _ => super::SOON,
    };
    ask_by_name([0x02, 0xbb, 0, 0, 0x02, 0x07], "198.51.100.7", kind, patience)
}

mod firmware {
    use super::super::{
        daemon::Daemon,
        firmware::{LOADER, boots_to_the_kernel},
        machine::{Firmware, Machine},
        namespace::Wire,
        room::Room,
    };
    use super::{BACK0, Program, Relayed};

    /// A worker of the network behind the relay; its router is the way to the daemon.
    const WORKER: &str = r#"
[[subnet]]
cidr   = "198.51.100.0/24"
router = "198.51.100.1"

[profile.worker]
image  = "debian-12"
boot   = "live"
script = "debian-installer"
answer = "preseed"

[[host]]
name    = "r2u07"
mac     = "52:54:00:00:00:07"
address = "198.51.100.7"
profile = "worker"
vars    = { disk = "/dev/vda" }
"#;

    /// Boots the worker behind the relay until its kernel and its initrd have crossed the router.
    fn boot_to_the_kernel(firmware: Firmware, stage: &str, loader: Option<&str>) {
        let wire = Wire::new();
        let room = Room::new(WORKER).with_debian();
        let daemon = Daemon::start(&wire, &room);
        let relayed = Relayed::start(&wire, Program::Isc, &[BACK0], |router| {
            router.expect("ip", &["tuntap", "add", "back0", "mode", "tap"]);
            router.expect("ip", &["link", "set", "back0", "up"]);
        });
        let _machine = Machine::power_on_at(&relayed.router, "back0", firmware, "52:54:00:00:00:07");
        daemon.wait_for_within("the first offer", LOADER, |line| {
            line.is("r2u07", "offered", &["198.51.100.7"]) && line.stage == stage
        });
        boots_to_the_kernel(&daemon, "r2u07", loader);
    }

    #[test]
    fn seabios_with_its_own_ipxe_boots_through_a_relay() {
        boot_to_the_kernel(Firmware::SeaBios, "ipxe", None);
    }

    #[test]
    fn ovmf_pxe_boots_through_a_relay() {
        boot_to_the_kernel(Firmware::OvmfPxe, "uefi-pxe", Some("snponly.efi"));
    }
}
