//! Rung 3: the conformance cases that concern sockets, on the wire. Their twins on the engine say
//! what is decided; these see the frames that come of it.

use super::daemon::Daemon;
use super::frames::{Content, EVERYBODY, Frame, Watch, option};
use super::namespace::{Namespace, SERVER, Wire};
use super::room::Room;
use super::wire::hear;
use super::{SOON, poll};
use dhcproto::v4::{DhcpOption, Flags, Message, MessageType, Opcode, OptionCode, UnknownOption};
use dhcproto::{Decodable, Decoder, Encodable, Encoder};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket},
    time::Duration,
};

/// The client's hardware address, in its namespace and in its packets.
const MAC: [u8; 6] = [0x02, 0xbb, 0, 0, 0, 0x01];
const MAC_TEXT: &str = "02:bb:00:00:00:01";
const TO_ALL: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::BROADCAST, 67);
/// A socket on a port of `eth0`, whether that has an address or not.
fn socket(namespace: &Namespace, port: u16) -> UdpSocket {
    let socket = namespace.enter(|| {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.bind_device(Some(b"eth0"))?;
        socket.set_broadcast(true)?;
        socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into())?;
        std::io::Result::Ok(socket)
    });
    socket.expect("a socket in our own namespace").into()
}

fn request(kind: MessageType) -> Message {
    let mut message = Message::default();
    message.set_opcode(Opcode::BootRequest).set_chaddr(&MAC);
    message.opts_mut().insert(DhcpOption::MessageType(kind));
    message
}

fn with(mut message: Message, code: u8, body: &[u8]) -> Message {
    let option = UnknownOption::new(OptionCode::from(code), body.to_vec());
    message.opts_mut().insert(DhcpOption::Unknown(option));
    message
}

/// What a UEFI PXE ROM says of itself.
fn uefi(message: Message) -> Message {
    let message = with(message, 60, b"PXEClient:Arch:00007:UNDI:003016");
    with(with(message, 93, &[0, 7]), 94, &[1, 3, 16])
}

fn send(socket: &UdpSocket, message: &Message, to: SocketAddrV4) {
    let mut bytes = Vec::new();
    message
        .encode(&mut Encoder::new(&mut bytes))
        .expect("a message of ours encodes");
    socket.send_to(&bytes, to).expect("a datagram in our own namespace");
}

/// The next message at a socket and who sent it, or `None` in `timeout`.
fn receive(socket: &UdpSocket, timeout: Duration) -> Option<(Message, SocketAddr)> {
    socket.set_read_timeout(Some(timeout)).expect("a timeout above zero");
    let mut buffer = [0; 2048];
    let (length, from) = hear(socket, &mut buffer)?;
    let message = Message::decode(&mut Decoder::new(&buffer[..length])).expect("a reply is DHCP");
    Some((message, from))
}

fn kind(answer: Option<(Message, SocketAddr)>) -> Option<MessageType> {
    answer.and_then(|(message, _)| message.opts().msg_type())
}

fn server(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(SERVER.parse().expect("an address"), port)
}

const BEHIND: &str = "[[subnet]]\ncidr = \"198.51.100.0/24\"\npool = [\"198.51.100.100-198.51.100.199\"]\n";
const RELAY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// A namespace that speaks as a relay: its address on the network behind it, and a way there.
fn relay(wire: &Wire) -> Namespace {
    let relay = wire.client_at("02:00:c0:00:02:fe", "192.0.2.254");
    relay.expect("ip", &["addr", "add", &format!("{RELAY}/32"), "dev", "lo"]);
    let route = ["route", "add", "198.51.100.0/24", "via", "192.0.2.254"];
    wire.server.expect("ip", &route);
    relay
}

fn relayed(message: Message, agent: &[u8]) -> Message {
    let mut message = with(message, 82, agent);
    message.set_giaddr(RELAY).set_hops(1);
    message
}

#[test]
fn case_9_a_relay_that_asks_for_it_is_answered_on_the_port_it_sent_from() {
    let wire = Wire::new();
    let room = Room::new(BEHIND);
    let daemon = Daemon::start(&wire, &room);
    let relay = relay(&wire);
    let (usual, own) = (socket(&relay, 67), socket(&relay, 1067));
    // 82.1 is a port's name, 82.19 (RFC 8357) is empty.
    let mut asks_for_it = relayed(request(MessageType::Discover), b"\x01\x03p/1\x13\x00");
    asks_for_it.set_xid(1);
    send(&own, &asks_for_it, server(67));
    let (offer, from) = receive(&own, SOON).unwrap_or_else(|| panic!("{}", daemon.log_tail()));
    assert_eq!(from, server(67).into());
    assert!(offer.yiaddr().to_string().starts_with("198.51.100.1"), "{offer}");
    // The same relay without the wish listens where relays do, and there the first answer of all is this one.
    let mut plain = relayed(request(MessageType::Discover), b"\x01\x03p/1");
    plain.set_xid(2);
    send(&own, &plain, server(67));
    let xid = |socket| receive(socket, SOON).map(|(message, _)| message.xid());
    assert_eq!(xid(&usual), Some(2));
    asks_for_it.set_xid(3);
    send(&own, &asks_for_it, server(67));
    assert_eq!(xid(&own), Some(3));
}

#[test]
fn case_10_a_broadcast_leaves_by_the_interface_that_the_request_came_in_on() {
    let wire = Wire::new();
    let room = Room::new(BEHIND);
    room.set("[\"eno2\"]", "[\"eno2\", \"eno3\"]");
    let there = Namespace::beside(&wire.server, "eno3", MAC_TEXT);
    wire.server
        .expect("ip", &["addr", "add", "198.51.100.1/24", "dev", "eno3"]);
    let daemon = Daemon::start(&wire, &room);
    let here = wire.client(MAC_TEXT);
    let (watch_here, watch_there) = (Watch::new(&here), Watch::new(&there));
    let mut discover = request(MessageType::Discover);
    discover.set_flags(Flags::default().set_broadcast());
    let offered = |watch: &Watch, xid: Option<u32>| {
        let is_offer = |frame: &Frame| frame.answers(MAC, MessageType::Offer);
        let is_of = |frame: &Frame| xid.is_none_or(|xid| frame.message().is_some_and(|offer| offer.xid() == xid));
        let frames = watch.frames().into_iter();
        frames.filter(is_offer).filter(is_of).collect::<Vec<Frame>>()
    };
    // Each side is asked again after the other: what strays to it has come by then.
    for (xid, (client, asked, network)) in (1..).zip([
        (&there, &watch_there, "198.51.100.1"),
        (&here, &watch_here, "192.0.2.1"),
        (&there, &watch_there, "198.51.100.1"),
        (&here, &watch_here, "192.0.2.1"),
    ]) {
        discover.set_xid(xid);
        send(&socket(client, 68), &discover, TO_ALL);
        let offer = poll(SOON, || offered(asked, Some(xid)).pop());
        let offer = offer.unwrap_or_else(|| panic!("no offer: {xid}\n{}", daemon.log_tail()));
        assert_eq!(offer.to, EVERYBODY);
        let (source, destination) = offer.ends().expect("it is DHCP");
        assert_eq!(destination, SocketAddrV4::new(Ipv4Addr::BROADCAST, 68));
        assert!(source.to_string().starts_with(network), "{source}");
        let address = offer.message().expect("it is DHCP").yiaddr();
        assert!(address.to_string().starts_with(network), "{address}");
    }
    let xids = |watch| {
        let offers = offered(watch, None).into_iter();
        offers
            .filter_map(|offer| Some(offer.message()?.xid()))
            .collect::<Vec<u32>>()
    };
    assert_eq!((xids(&watch_there), xids(&watch_here)), (vec![1, 3], vec![2, 4]));
}

#[test]
fn case_11_a_client_without_the_flag_gets_frames_to_its_mac_and_nobody_asks_who_has_its_address() {
    let wire = Wire::new();
    let room = Room::new("");
    let _daemon = Daemon::start(&wire, &room);
    let client = wire.client(MAC_TEXT);
    let watch = Watch::new(&client);
    let socket = socket(&client, 68);
    let expect_frame = |frame: &Frame| {
        let (source, destination) = frame.ends().expect("it is DHCP");
        let address = frame.message().expect("it is DHCP").yiaddr();
        assert_eq!(frame.to, MAC);
        assert_eq!(source, server(67));
        assert_eq!(destination, SocketAddrV4::new(address, 68));
        address
    };
    send(&socket, &request(MessageType::Discover), TO_ALL);
    let address = expect_frame(&watch.answer(MAC, MessageType::Offer));
    let taking = with(request(MessageType::Request), 50, &address.octets());
    let own: Ipv4Addr = SERVER.parse().expect("an address");
    send(&socket, &with(taking, 54, &own.octets()), TO_ALL);
    assert_eq!(expect_frame(&watch.answer(MAC, MessageType::Ack)), address);
    // An answer to a later question is behind everything that went with these.
    let mut later = request(MessageType::Discover);
    later.set_xid(3);
    send(&socket, &later, TO_ALL);
    watch.wait_for("the later offer", |frame| {
        frame.answers(MAC, MessageType::Offer) && frame.message().is_some_and(|offer| offer.xid() == 3)
    });
    let asks = |frame: &Frame| matches!(&frame.content, Content::ClientMessage(after) if *after == address);
    let asked = watch.frames().into_iter().find(asks);
    assert!(asked.is_none(), "{asked:?}");
}

#[test]
fn case_12_a_nak_is_broadcast_and_a_relayed_nak_sets_the_flag() {
    let wire = Wire::new();
    let room = Room::new(BEHIND);
    let _daemon = Daemon::start(&wire, &room);
    // An address of a network that is not here, from a client that set no flag.
    let reboot = with(request(MessageType::Request), 50, &[203, 0, 113, 5]);
    let client = wire.client(MAC_TEXT);
    let watch = Watch::new(&client);
    send(&socket(&client, 68), &reboot, TO_ALL);
    let refusal = watch.answer(MAC, MessageType::Nak);
    assert_eq!(refusal.to, EVERYBODY);
    let (_, destination) = refusal.ends().expect("it is DHCP");
    assert_eq!(destination, SocketAddrV4::new(Ipv4Addr::BROADCAST, 68));

    let relay = relay(&wire);
    let usual = socket(&relay, 67);
    send(&usual, &relayed(reboot, b"\x01\x03p/1"), server(67));
    let (refusal, _) = receive(&usual, SOON).expect("a relay is answered");
    assert_eq!(refusal.opts().msg_type(), Some(MessageType::Nak));
    assert!(refusal.flags().broadcast(), "{refusal}");
}

#[test]
fn case_15_a_renewal_is_acknowledged_by_unicast_to_the_address_it_prolongs() {
    let wire = Wire::new();
    let room = Room::new("");
    let _daemon = Daemon::start(&wire, &room);
    let client = wire.client(MAC_TEXT);
    let watch = Watch::new(&client);
    let asking = socket(&client, 68);
    send(&asking, &request(MessageType::Discover), TO_ALL);
    let offer = watch.answer(MAC, MessageType::Offer);
    let address = offer.message().expect("it is DHCP").yiaddr();
    client.expect("ip", &["addr", "add", &format!("{address}/24"), "dev", "eth0"]);
    let mut renewal = request(MessageType::Request);
    renewal.set_ciaddr(address);
    send(&asking, &renewal, server(67));
    let (ack, from) = receive(&asking, SOON).expect("a renewal is answered");
    assert_eq!(from, server(67).into());
    assert_eq!((ack.ciaddr(), ack.yiaddr()), (address, address));
    let frame = watch.answer(MAC, MessageType::Ack);
    let (_, destination) = frame.ends().expect("it is DHCP");
    assert_eq!((frame.to, destination), (MAC, SocketAddrV4::new(address, 68)));
}

#[test]
fn case_20_and_case_21_a_guest_offers_on_67_and_answers_on_4011_from_4011_whatever_port_asked() {
    let wire = Wire::new();
    let room = Room::new("");
    room.set("mode = \"dhcp\"", "mode = \"proxy\"");
    let daemon = Daemon::start(&wire, &room);
    let client = wire.client_at(MAC_TEXT, "192.0.2.60");
    let own = Ipv4Addr::new(192, 0, 2, 60);
    let watch = Watch::new(&client);
    let (as_ipxe, as_edk2) = (socket(&client, 68), socket(&client, 4011));
    let mut discover = uefi(request(MessageType::Discover));
    discover.set_flags(Flags::default().set_broadcast());
    send(&as_ipxe, &discover, TO_ALL);
    let offer = watch.answer(MAC, MessageType::Offer);
    let (source, destination) = offer.ends().expect("it is DHCP");
    assert_eq!(
        (source, destination),
        (server(67), SocketAddrV4::new(Ipv4Addr::BROADCAST, 68))
    );
    let offer = offer.message().expect("it is DHCP");
    assert!(offer.yiaddr().is_unspecified());
    assert_eq!(option(offer, 60).as_deref(), Some(&b"PXEClient"[..]));
    assert_eq!(option(offer, 43), None);
    assert_eq!(kind(receive(&as_ipxe, SOON)), Some(MessageType::Offer));

    let mut second = uefi(request(MessageType::Request));
    second.set_ciaddr(own);
    for asking in [&as_edk2, &as_ipxe] {
        let port = asking.local_addr().expect("it is bound").port();
        send(asking, &second, server(4011));
        let (ack, from) = receive(asking, SOON).unwrap_or_else(|| panic!("{port}\n{}", daemon.log_tail()));
        assert_eq!(from, server(4011).into(), "the answer to port {port}");
        assert_eq!(ack.opts().msg_type(), Some(MessageType::Ack));
        assert!(ack.yiaddr().is_unspecified());
    }
    // What 4011 is for is answered there alone.
    send(&as_edk2, &discover, server(4011));
    send(&as_edk2, &second, server(4011));
    assert_eq!(
        kind(receive(&as_edk2, SOON)),
        Some(MessageType::Ack),
        "the first answer"
    );
}
