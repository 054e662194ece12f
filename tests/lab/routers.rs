//! Rung 3: IPv6 router solicitations, asked through the kernel's own IPv6: who is told that no router is
//! here, and who is left alone.

use super::daemon::{Daemon, ask_json};
use super::namespace::{Namespace, Wire};
use super::room::Room;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::{
    io::Read,
    net::{Ipv6Addr, SocketAddrV6},
    time::Duration,
};

const MACHINE: [u8; 6] = [0x02, 0, 0, 0, 0, 0x71];
const ROUTER: [u8; 6] = [0x02, 0, 0, 0, 0, 0x72];
const MACHINE_TEXT: &str = "02:00:00:00:00:71";
const MACHINE_NAME: &str = "02-00-00-00-00-71";
/// UEFI's PXE stack by its DHCP: options 60 and 93.
const FIRMWARE: &[&str] = &["-V", "PXEClient:Arch:00007:UNDI:003016", "-x", "93:0007"];
const IPV6: [u8; 2] = [0x86, 0xdd];
const SOLICITATION: [u8; 8] = [133, 0, 0, 0, 0, 0, 0, 0];
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// A machine's IPv6: what it sends goes through its kernel, and what it gets is read off its wire.
struct Host6 {
    icmp: Socket,
    wire: Socket,
    index: u32,
}

impl Host6 {
    fn new(namespace: &Namespace) -> Host6 {
        let index = namespace.expect("cat", &["/sys/class/net/eth0/ifindex"]);
        let index = String::from_utf8_lossy(&index).trim().parse().expect("a number");
        let sockets = namespace.enter(|| {
            let icmp = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
            icmp.set_multicast_hops_v6(255)?;
            icmp.set_unicast_hops_v6(255)?;
            let everything = Protocol::from(i32::from(3_u16.to_be()));
            let wire = Socket::new(Domain::PACKET, Type::RAW, Some(everything))?;
            wire.set_nonblocking(true)?;
            std::io::Result::Ok((icmp, wire))
        });
        let (icmp, wire) = sockets.expect("root may open sockets in a namespace it made");
        Host6 { icmp, wire, index }
    }

    /// Sends to everybody of a group, or to one; the kernel has no address to send from until it knows that nobody else
    /// on the link has it.
    fn send(&self, message: &[u8], to: Ipv6Addr) {
        let to = SockAddr::from(SocketAddrV6::new(to, 0, 0, self.index));
        let sent = super::poll(super::SOON, || self.icmp.send_to(message, &to).ok());
        assert!(sent.is_some(), "the kernel has no IPv6 on eth0");
    }

    /// The next advertisement on the wire, as a whole frame.
    fn advertisement(&self) -> Option<Vec<u8>> {
        self.message(134)
    }

    /// The next message of that type on the wire, as a whole frame.
    fn message(&self, kind: u8) -> Option<Vec<u8>> {
        let mut buffer = [0; 2048];
        while let Ok(length) = (&self.wire).read(&mut buffer) {
            let frame = &buffer[..length];
            if frame.get(12..14) == Some(&IPV6) && frame.get(54) == Some(&kind) {
                return Some(frame.to_vec());
            }
        }
        None
    }

    /// The question for a router of a daemon; those of our own kernel and of a router's are none.
    fn question(&self) -> Option<Vec<u8>> {
        let is_others = |frame: &Vec<u8>| frame[6..12] != ROUTER && frame[6..12] != MACHINE;
        std::iter::from_fn(|| self.message(133)).find(is_others)
    }

    /// Solicits as iPXE does, again and again, until it is answered.
    fn solicits(&self) -> Vec<u8> {
        let answered = super::poll(super::SOON, || {
            self.send(&SOLICITATION, ALL_ROUTERS);
            super::poll(Duration::from_secs(1), || self.advertisement())
        });
        answered.expect("nobody answers the solicitation")
    }
}

fn counter(room: &Room, name: &str) -> u64 {
    ask_json(room, "status")["counters"][name].as_u64().expect("a counter")
}

/// Waits until a solicitation was counted under that name; the machine goes on asking.
fn solicits_and_is_counted(host: &Host6, room: &Room, name: &str) {
    let before = counter(room, name);
    let counted = super::poll(super::SOON, || {
        host.send(&SOLICITATION, ALL_ROUTERS);
        (counter(room, name) > before).then_some(())
    });
    assert!(counted.is_some(), "no solicitation is counted as {name}");
}

#[test]
fn a_machine_in_its_boot_is_told_that_no_router_is_here_and_a_system_is_told_nothing() {
    let wire = Wire::new();
    let room = Room::new("");
    let daemon = Daemon::start(&wire, &room);
    let machine = wire.client(MACHINE_TEXT);
    let host = Host6::new(&machine);
    // Nobody has acknowledged it yet.
    solicits_and_is_counted(&host, &room, "router_ignored");
    assert!(machine.gets_lease(FIRMWARE));
    let frame = host.solicits();
    assert_eq!(frame[..6], MACHINE, "to the machine alone");
    assert_eq!(frame[21], 255, "the hop limit");
    assert_eq!(frame[22..24], [0xfe, 0x80], "from a link-local address");
    assert_eq!(frame[38..40], [0xfe, 0x80], "to one");
    assert_eq!(frame[54..56], [134, 0]);
    assert_eq!(frame[58..70], [0; 12], "M, O and the lifetime among them");
    assert_eq!(frame.len(), 70, "no prefix, no option");
    daemon.wait_for("the event", |line| {
        line.is(MACHINE_NAME, "no_ipv6_router", &[]) && line.stage == "uefi-pxe"
    });
    assert!(counter(&room, "router_absence_advertised") >= 1);
    // The kernel believes it, and has no router by it.
    let routes = machine.expect("ip", &["-6", "route", "show", "default"]);
    assert_eq!(String::from_utf8_lossy(&routes), "");
    // Its system asks by DHCP, and is left alone from then on.
    assert!(machine.gets_lease(&[]));
    while host.advertisement().is_some() {}
    solicits_and_is_counted(&host, &room, "router_ignored");
    assert_eq!(host.advertisement(), None);
}

#[test]
fn a_router_is_asked_for_before_any_machine_is_there_and_again_when_the_link_comes_back() {
    let wire = Wire::new();
    // Our own kernel's questions would be taken for the daemon's.
    let no_ipv6 = "net.ipv6.conf.all.disable_ipv6=1";
    wire.server.expect("sysctl", &["-q", "-w", no_ipv6]);
    let listener = Host6::new(&wire.client(MACHINE_TEXT));
    let room = Room::new("");
    let _daemon = Daemon::start(&wire, &room);
    let asked = || super::poll(super::SOON, || listener.question());
    let first = asked().expect("nobody asks for a router");
    assert_eq!(first[..6], [0x33, 0x33, 0, 0, 0, 2], "all routers");
    // The fourth comes later than is waited for here: what comes then is of the link.
    for which in 2..=3 {
        assert!(asked().is_some(), "the question number {which} does not come");
    }
    for state in ["down", "up"] {
        wire.server
            .expect("ip", &["link", "set", super::namespace::INTERFACE, state]);
    }
    assert!(asked().is_some(), "another link may have another router");
}

#[test]
fn a_machine_that_asks_before_it_has_its_ack_is_told_without_asking_again() {
    let wire = Wire::new();
    let room = Room::new("");
    let _daemon = Daemon::start(&wire, &room);
    let machine = wire.client(MACHINE_TEXT);
    // Its kernel's own questions would be answered as well.
    let silent = "net.ipv6.conf.eth0.router_solicitations=0";
    machine.expect("sysctl", &["-q", "-w", silent]);
    let host = Host6::new(&machine);
    // The kernel may send by now.
    solicits_and_is_counted(&host, &room, "router_ignored");
    // On a busy machine the exchange may take longer than iPXE would stay silent.
    let told = super::poll(super::SOON * 2, || {
        assert!(machine.gets_lease(&[]), "its system asks: it is in no boot any more");
        while host.advertisement().is_some() {}
        host.send(&SOLICITATION, ALL_ROUTERS);
        assert!(machine.gets_lease(FIRMWARE));
        super::poll(Duration::from_secs(2), || host.advertisement())
    });
    assert!(told.is_some(), "who asked before its ACK was never told");
}

#[test]
fn where_a_router_advertises_a_machine_in_its_boot_is_left_to_it() {
    let wire = Wire::new();
    let room = Room::new("");
    let daemon = Daemon::start(&wire, &room);
    let machine = wire.client(MACHINE_TEXT);
    let router = wire.client("02:00:00:00:00:72");
    // A lifetime of half an hour, and nothing else.
    let advertisement = [134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    Host6::new(&router).send(&advertisement, ALL_NODES);
    daemon.wait_for("the router", |line| {
        line.has("ipv6_router", &[("mac", "02:00:00:00:00:72")])
    });
    assert!(machine.gets_lease(FIRMWARE));
    let host = Host6::new(&machine);
    solicits_and_is_counted(&host, &room, "router_present");
    assert_eq!(counter(&room, "router_absence_advertised"), 0);
}

#[test]
fn a_router_that_answers_our_own_question_alone_is_heard_though_our_kernel_has_no_ipv6() {
    let wire = Wire::new();
    let no_ipv6 = "net.ipv6.conf.all.disable_ipv6=1";
    wire.server.expect("sysctl", &["-q", "-w", no_ipv6]);
    let room = Room::new("");
    let daemon = Daemon::start(&wire, &room);
    let machine = wire.client(MACHINE_TEXT);
    let router = wire.client("02:00:00:00:00:72");
    let routing = Host6::new(&router);
    assert!(machine.gets_lease(FIRMWARE));
    let host = Host6::new(&machine);
    std::thread::scope(|scope| {
        // It answers the daemon alone, which asks again and again as its link came up, where its question says that it
        // is.
        let answering = scope.spawn(|| {
            let (to, mac) = super::poll(super::SOON, || {
                let frame = routing.question()?;
                let address = <[u8; 16]>::try_from(frame.get(22..38)?).ok()?;
                let named = frame.get(62..70)?.strip_prefix(&[1, 1])?;
                let mac: Vec<String> = named.iter().map(|byte| format!("{byte:02x}")).collect();
                Some((Ipv6Addr::from(address), mac.join(":")))
            })
            .expect("somebody solicits and says where it is");
            let to_text = to.to_string();
            router.expect(
                "ip",
                &["-6", "neigh", "replace", &to_text, "lladdr", &mac, "dev", "eth0"],
            );
            let advertisement = [134, 0, 0, 0, 64, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            routing.send(&advertisement, to);
        });
        host.send(&SOLICITATION, ALL_ROUTERS);
        answering.join().expect("the router does not panic");
    });
    daemon.wait_for("the router", |line| line.event == "ipv6_router");
    // On a busy machine its answer may be late for who asked first; nobody is told any more from here on.
    let told = counter(&room, "router_absence_advertised");
    solicits_and_is_counted(&host, &room, "router_present");
    assert_eq!(counter(&room, "router_absence_advertised"), told);
}

#[test]
fn where_this_host_forwards_ipv6_it_is_the_router_if_a_program_may_say_so() {
    let wire = Wire::new();
    let forwarding = format!("net.ipv6.conf.{}.forwarding=1", super::namespace::INTERFACE);
    wire.server.expect("sysctl", &["-q", "-w", &forwarding]);
    let room = Room::new("");
    let daemon = Daemon::start(&wire, &room);
    let machine = wire.client(MACHINE_TEXT);
    assert!(machine.gets_lease(FIRMWARE));
    let host = Host6::new(&machine);
    // It forwards for its containers: nobody else would tell the machine anything.
    host.solicits();
    assert_eq!(counter(&room, "router_present"), 0);
    let raw = || Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6));
    let _advertiser = wire.server.enter(raw).expect("root may in a namespace it made");
    solicits_and_is_counted(&host, &room, "router_present");
    // Nobody is told any more from here on.
    let told = counter(&room, "router_absence_advertised");
    solicits_and_is_counted(&host, &room, "router_present");
    assert_eq!(counter(&room, "router_absence_advertised"), told);
    daemon.wait_for("the notice", |line| line.event == "ipv6_forwarding");
}

#[test]
fn a_key_turns_it_off() {
    let wire = Wire::new();
    let room = Room::new("");
    room.set("mode = \"dhcp\"", "mode = \"dhcp\"\nrouter_advertisements = false");
    let _daemon = Daemon::start(&wire, &room);
    let machine = wire.client(MACHINE_TEXT);
    assert!(machine.gets_lease(FIRMWARE));
    let host = Host6::new(&machine);
    host.send(&SOLICITATION, ALL_ROUTERS);
    // What is asked after it is answered, and it is not.
    assert!(machine.gets_lease(FIRMWARE));
    assert_eq!(host.advertisement(), None);
    let all = ["router_absence_advertised", "router_ignored", "router_present"];
    assert!(all.iter().all(|name| counter(&room, name) == 0));
}
