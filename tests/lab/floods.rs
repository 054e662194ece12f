//! Rung 3: many at once. A rack that starts in one moment is read as its clients read, packet by packet; and
//! answers that nobody takes keep none from anybody else.

use super::SOON;
use super::daemon::{Daemon, ask_json};
use super::frames::{Frame, Watch};
use super::namespace::{Namespace, SERVER, TaskTracker, Wire};
use super::room::Room;
use super::wire::{Flood, Rack};
use dhcproto::Encodable;
use dhcproto::v4::{DhcpOption, Message, MessageType, Opcode};
use nix::sys::signal::Signal;
use std::{
    fs,
    net::{Ipv4Addr, SocketAddrV4},
    process::{Child, Stdio},
};

/// DISCOVERs that are there when the server looks: nearly one batch of its socket.
const TOGETHER: u32 = 30;
/// Real clients that start in the same moment.
const CLIENTS: u8 = 40;
/// No reply of ours is longer to a client that says nothing of what it takes.
const REPLY_BYTES_MAX: usize = 548;

#[test]
fn replies_that_leave_together_reach_those_who_read_packets_each_for_itself() {
    let wire = Wire::new();
    let room = Room::new("");
    let daemon = Daemon::start(&wire, &room);
    let client = wire.client_at("02:00:00:00:00:fa", "192.0.2.250");
    // The wire carries both ways, whatever its bridge was doing a moment ago.
    client.expect(
        "curl",
        &[
            "-sS",
            "--retry-connrefused",
            "--retry",
            "20",
            "-o",
            "/dev/null",
            &format!("http://{SERVER}/"),
        ],
    );
    for (relay, clients) in [(None, 0..TOGETHER), (Some("192.0.2.250"), TOGETHER..2 * TOGETHER)] {
        let rack = Rack::reading_packets(&client);
        let watch = Watch::new(&client);
        daemon.signal(Signal::SIGSTOP);
        rack.discover_together(clients.clone(), relay.map(|relay| relay.parse().expect("an address")));
        daemon.signal(Signal::SIGCONT);
        let offered = rack.offered(TOGETHER as usize);
        assert!(
            offered.iter().copied().eq(clients),
            "through {relay:?} only {offered:?}\n{}",
            daemon.log_tail()
        );
        assert_eq!(longer_than_a_reply(&watch), Vec::<usize>::new());
    }
}

/// What comes from the server's port in more bytes than one reply has.
fn longer_than_a_reply(watch: &Watch) -> Vec<usize> {
    let frames = watch.frames();
    let replies = frames.iter().filter(|frame| is_reply(frame));
    let bytes = replies.filter_map(Frame::dhcp_bytes);
    bytes.filter(|bytes| *bytes > REPLY_BYTES_MAX).collect()
}

fn is_reply(frame: &Frame) -> bool {
    frame
        .message()
        .is_some_and(|message| message.opcode() == Opcode::BootReply)
}

fn offers(frames: &[Frame]) -> usize {
    let is_offer = |frame: &&Frame| {
        let message = frame.message().filter(|_| is_reply(frame));
        message.is_some_and(|message| message.opts().msg_type() == Some(MessageType::Offer))
    };
    frames.iter().filter(is_offer).count()
}

#[test]
fn forty_udhcpc_that_start_together_each_hear_their_own_offer() {
    let wire = Wire::new();
    let room = Room::new("");
    let daemon = Daemon::start(&wire, &room);
    let clients = plug_in(&wire);
    // Everything is broadcast, so a bystander hears what they hear.
    let bystander = wire.client("02:00:00:00:00:fb");
    let watch = Watch::new(&bystander);
    daemon.signal(Signal::SIGSTOP);
    let mut running: Vec<TaskTracker> = clients.iter().map(|client| TaskTracker(udhcpc(client))).collect();
    let have_all_asked = || (askers(&watch) == usize::from(CLIENTS)).then_some(());
    super::poll(SOON * 2, have_all_asked).expect("every client asks");
    daemon.signal(Signal::SIGCONT);
    for client in &mut running {
        let ended = super::poll(SOON * 2, || client.0.try_wait().expect("our own child"));
        assert!(ended.is_some_and(|status| status.success()), "{}", daemon.log_tail());
    }
    let printed = || daemon.lines().iter().filter(|line| line.event == "offered").count();
    // The log has a pipe to go through.
    let is_heard = super::poll(SOON, || (offers(&watch.frames()) == printed()).then_some(()));
    assert!(
        is_heard.is_some(),
        "{} offers were sent, {} frames have one\n{}",
        printed(),
        offers(&watch.frames()),
        watch.text()
    );
    assert_eq!(longer_than_a_reply(&watch), Vec::<usize>::new());
}

/// A namespace for each client, made a few at a time.
fn plug_in(wire: &Wire) -> Vec<Namespace> {
    let numbers: Vec<u8> = (0..CLIENTS).collect();
    std::thread::scope(|scope| {
        let hands = numbers.chunks(usize::from(CLIENTS) / 4).map(|numbers| {
            let plug = |number: &u8| wire.client(&format!("02:cc:00:00:00:{number:02x}"));
            scope.spawn(move || numbers.iter().map(plug).collect::<Vec<_>>())
        });
        let hands: Vec<_> = hands.collect();
        let clients = hands
            .into_iter()
            .map(|hand| hand.join().expect("a namespace can be made"));
        clients.flatten().collect()
    })
}

fn udhcpc(client: &Namespace) -> Child {
    let arguments = [
        "udhcpc",
        "-i",
        "eth0",
        "-f",
        "-q",
        "-n",
        "-B",
        "-s",
        "/bin/true",
        "-T",
        "2",
        "-t",
        "20",
    ];
    let mut command = client.command("busybox");
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("package iproute2 is installed")
}

/// How many different clients have asked.
fn askers(watch: &Watch) -> usize {
    let frames = watch.frames();
    let requests = frames.iter().filter_map(Frame::message);
    let requests = requests.filter(|message| message.opcode() == Opcode::BootRequest);
    let askers: std::collections::BTreeSet<Vec<u8>> = requests.map(|message| message.chaddr().to_vec()).collect();
    askers.len()
}

/// Made-up machines by the ten thousand fit in it, and the hosts that must not be kept from booting.
fn crowded_room(hosts: u32) -> Room {
    let room = Room::new("");
    let mut inventory = "[[subnet]]\ncidr = \"198.18.0.0/16\"\npool = [\"198.18.1.0-198.18.3.255\"]\n".to_owned();
    for host in 0..hosts {
        inventory += &format!(
            "[[host]]\nname = \"r{host}\"\nmac = \"02:bb:00:00:00:{host:02x}\"\naddress = \"198.18.4.{host}\"\n"
        );
    }
    room.write("inventory.toml", &inventory);
    room
}

const HOSTS: u32 = 30;
/// The flood's server, packets a second, and packets at most.
const FLOOD: (&str, u32, u32) = ("198.18.0.1", 5_000, 300_000);

/// Has every listed host do its exchange while a flood goes on, and holds what the kernel has of it.
fn hosts_boot_beside(packet: fn(u32) -> Vec<u8>) -> serde_json::Value {
    let wire = Wire::wide();
    let room = crowded_room(HOSTS);
    let daemon = Daemon::start(&wire, &room);
    let [rack, flooder] = [
        ("02:00:00:00:00:fa", "198.18.250.1/16"),
        ("02:00:00:00:00:fb", "198.18.250.2/16"),
    ]
    .map(|(mac, address)| {
        let client = wire.client(mac);
        client.expect("ip", &["addr", "add", address, "dev", "eth0"]);
        client
    });
    let rack = Rack::reading_packets(&rack);
    let counted = |name: &str| ask_json(&room, "status")["counters"][name].as_u64().expect("a count");
    let flood = Flood::begin(&flooder, FLOOD, packet);
    // By then its answers would fill any buffer.
    let is_flooded = super::poll(SOON * 2, || (counted("dhcp_received") >= 10_000).then_some(()));
    assert!(is_flooded.is_some(), "the flood does not arrive\n{}", daemon.log_tail());
    for host in 0..HOSTS {
        let address = rack.lease(host);
        let own = Ipv4Addr::new(198, 18, 4, u8::try_from(host).expect("few"));
        assert_eq!(address, Some(own), "host {host} of {HOSTS}\n{}", daemon.log_tail());
    }
    // Every entry is an address that the kernel was made to ask for, and keeps it from knowing others.
    let neighbours = wire.server.expect("ip", &["-4", "neigh", "show"]);
    let neighbours = String::from_utf8_lossy(&neighbours).lines().count();
    assert!(neighbours < 1000, "{neighbours} neighbours");
    drop(flood);
    ask_json(&room, "status")
}

fn client(number: u32) -> [u8; 6] {
    let [a, b, c, d] = number.to_be_bytes();
    [0x02, 0xdd, a, b, c, d]
}

/// An address that nobody has.
fn made_up(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 16, 0)) + number % 40_000)
}

#[test]
fn listed_hosts_boot_beside_informs_from_addresses_that_nobody_has() {
    let status = hosts_boot_beside(|number| {
        let mut message = Message::default();
        message.set_opcode(Opcode::BootRequest).set_chaddr(&client(number));
        message.set_ciaddr(made_up(number));
        message.opts_mut().insert(DhcpOption::MessageType(MessageType::Inform));
        message.to_vec().expect("a message of ours encodes")
    });
    // They are answered where they asked from, without a question to anybody.
    let replied = status["counters"]["dhcp_replied"].as_u64().expect("a count");
    assert!(replied > 5_000, "{status}");
}

#[test]
fn listed_hosts_boot_beside_refusals_to_relays_that_nobody_has() {
    let status = hosts_boot_beside(|number| {
        let mut message = Message::default();
        message.set_opcode(Opcode::BootRequest).set_chaddr(&client(number));
        message.set_giaddr(made_up(number));
        message.opts_mut().insert(DhcpOption::MessageType(MessageType::Request));
        let elsewhere = Ipv4Addr::new(203, 0, 113, 9);
        message.opts_mut().insert(DhcpOption::RequestedIpAddress(elsewhere));
        message.to_vec().expect("a message of ours encodes")
    });
    let unresolved = status["counters"]["dhcp_unresolved"].as_u64().expect("a count");
    assert!(unresolved > 5_000, "what was not sent is not counted: {status}");
}

/// Eight transfers of each made-up address, which is as many as one may have.
fn forged(range: [u8; 2], number: u32) -> (SocketAddrV4, Vec<u8>) {
    let address = u32::from(Ipv4Addr::new(range[0], range[1], 16, 0)) + number / 8 % 40_000;
    let port = 2000 + u16::try_from(number % 8).expect("eight");
    let source = SocketAddrV4::new(address.into(), port);
    (source, b"\0\x01snponly.efi\0octet\0".to_vec())
}

/// A loader of 28 blocks, beside iPXE's of 119.
const SHORT_LOADER: (&str, usize) = ("short.efi", 40_000);

/// What others ask for in the names of addresses that nobody has.
struct Forged {
    per_second: u32,
    packet: fn(u32) -> (SocketAddrV4, Vec<u8>),
    /// It is under way once so much of that was counted.
    seen_by: (&'static str, u64),
}

/// A machine fetches a loader, block by block, `times` in a row, beside a flood; also the most neighbours that the
/// kernel had meanwhile.
fn loaders_arrive_beside(wire: &Wire, (loader, times): (&str, usize), forged: &Forged) -> (serde_json::Value, usize) {
    let room = crowded_room(1);
    let (short, bytes) = SHORT_LOADER;
    fs::write(room.path("loaders").join(short), vec![7; bytes]).expect("the room's own folder");
    let daemon = Daemon::start(wire, &room);
    let machine = wire.client("02:bb:00:00:00:00");
    machine.expect("ip", &["addr", "add", "198.18.4.0/16", "dev", "eth0"]);
    let own = Rack::reading_packets(&machine).lease(0);
    assert_eq!(own, Some(Ipv4Addr::new(198, 18, 4, 0)), "{}", daemon.log_tail());
    let flooder = wire.client("02:00:00:00:00:fb");
    flooder.expect("ip", &["addr", "add", "198.18.250.2/16", "dev", "eth0"]);
    let counted = |name: &str| ask_json(&room, "status")["counters"][name].as_u64().expect("a count");
    let (server, _, packets) = FLOOD;
    let flood = Flood::forged(&flooder, (server, forged.per_second, packets), forged.packet);
    let (counter, least) = forged.seen_by;
    let is_flooded = super::poll(SOON * 2, || (counted(counter) >= least).then_some(()));
    assert!(is_flooded.is_some(), "the flood does not arrive\n{}", daemon.log_tail());
    let neighbours = || {
        let listed = wire.server.expect("ip", &["-4", "neigh", "show"]);
        String::from_utf8_lossy(&listed).lines().count()
    };
    let mut most = neighbours();
    for _ in 0..times {
        // Three seconds for each block where all wait for an address that nobody has.
        let fetching = ["-sSf", "-m", "150", "--tftp-blksize", "1468", "-o", "/dev/null"];
        let fetched = machine.run(
            "curl",
            &[&fetching[..], &[&format!("tftp://198.18.0.1/{loader}")]].concat(),
        );
        let told = String::from_utf8_lossy(&fetched.stderr);
        assert!(fetched.status.success(), "{told}\n{}", daemon.log_tail());
        most = most.max(neighbours());
    }
    drop(flood);
    (ask_json(&room, "status"), most)
}

#[test]
fn a_machine_is_sent_its_loader_beside_tftp_requests_from_addresses_that_nobody_has() {
    let wire = Wire::wide();
    let flood = Forged {
        per_second: 5_000,
        packet: |number| forged([198, 18], number),
        seen_by: ("tftp_received", 10_000),
    };
    let (status, neighbours) = loaders_arrive_beside(&wire, ("snponly.efi", 3), &flood);
    // The kernel has room for 1,024 of all namespaces together. From 512 on it forgets now and then who did not answer
    // five seconds ago, in which so many more are asked for as may be.
    assert!(neighbours < 900, "{neighbours} neighbours");
    let unresolved = status["counters"]["tftp_unresolved"].as_u64().expect("a count");
    assert!(unresolved > 5_000, "what was not sent is not counted: {status}");
}

#[test]
fn a_machine_is_sent_its_loader_beside_answers_that_wait_in_the_kernel_for_nobody() {
    let wire = Wire::wide();
    // On this wire too, though no address of the interface says so.
    wire.server
        .expect("ip", &["route", "add", "198.19.0.0/16", "dev", "eno2"]);
    // As many as fill the buffer of a lane, and no more: what is in it stays there for three seconds.
    let flood = Forged {
        per_second: 1_000,
        packet: |number| forged([198, 19], number),
        seen_by: ("tftp_no_room", 1),
    };
    let (status, _) = loaders_arrive_beside(&wire, (SHORT_LOADER.0, 1), &flood);
    let dropped = status["counters"]["tftp_no_room"].as_u64().expect("a count");
    assert!(
        dropped > 1,
        "nobody waited while the machine fetched its loader: {status}"
    );
}
