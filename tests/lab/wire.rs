//! DHCP clients by the dozen over one socket: each has its own MAC, so the server sees a rack.
//!
//! They hear a socket's datagrams, or packets, as dhclient, udhcpc, dhcpcd and relays do: the first message
//! in each, whatever else a device left in it.
//!
//! Built on dhcproto and not on the daemon's own wire code, so that both can't be wrong alike.

use super::namespace::Namespace;
use dhcproto::v4::{DhcpOption, Message, MessageType, Opcode, OptionCode};
use dhcproto::{Decodable, Decoder, Encodable, Encoder};
use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    collections::BTreeSet,
    io::{ErrorKind, Read},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// How long a client waits before it asks again: datagrams get lost where buffers are full.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What clients hear.
enum Ear {
    /// The datagrams of the socket that they send by.
    Datagrams,
    /// The packets of its interface.
    Packets(Socket),
}

/// The clients' shared socket.
pub struct Rack {
    socket: UdpSocket,
    ear: Ear,
    patience: Duration,
    /// Whether the server is known to be dead.
    is_dead: Arc<AtomicBool>,
}

/// A turn of waiting for an answer.
const TURN: Duration = Duration::from_millis(200);
/// The longest packet of a virtual wire.
const PACKET_BYTES_MAX: usize = 65_536;
/// Answers to a crowd wait there.
const RECEIVE_BUFFER_BYTES: usize = 8 * 1024 * 1024;
/// IPv4 (ETH_P_IP).
const IPV4: u16 = 0x0800;

impl Rack {
    /// A socket on port 68 of the client namespace, which must have an address of its own: Linux
    /// drops broadcasts that come to an interface without one.
    pub fn new(client: &Namespace) -> Rack {
        let socket = client.enter(|| {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
            socket.bind_device(Some(b"eth0"))?;
            socket.set_broadcast(true)?;
            socket.set_read_timeout(Some(TURN))?;
            socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68).into())?;
            std::io::Result::Ok(socket)
        });
        Rack {
            socket: socket.expect("a socket in our own namespace").into(),
            ear: Ear::Datagrams,
            patience: super::SOON,
            is_dead: Arc::default(),
        }
    }

    /// The same with clients that read packets.
    pub fn reading_packets(client: &Namespace) -> Rack {
        let packets = client.enter(|| {
            let protocol = Protocol::from(i32::from(IPV4.to_be()));
            let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol))?;
            setsockopt(&socket, RcvBufForce, &RECEIVE_BUFFER_BYTES)?;
            socket.set_read_timeout(Some(TURN))?;
            std::io::Result::Ok(socket)
        });
        Rack {
            ear: Ear::Packets(packets.expect("root may read packets in a namespace it made")),
            ..Rack::new(client)
        }
    }

    /// The same with clients that give up soon.
    pub fn impatient(self) -> Rack {
        self.socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .expect("a timeout that is not zero");
        self.with_patience(Duration::from_millis(300))
    }

    /// The same with clients that are told when the server is dead: who hears nothing then gives up.
    pub fn told(self, is_dead: &Arc<AtomicBool>) -> Rack {
        Rack {
            is_dead: Arc::clone(is_dead),
            ..self
        }
    }

    /// The same with clients that wait so long for each answer.
    pub fn with_patience(self, patience: Duration) -> Rack {
        Rack { patience, ..self }
    }

    /// One client's DISCOVER, OFFER, REQUEST, ACK: the acknowledged address, or `None` where an
    /// answer did not come in time.
    pub fn lease(&self, client: u32) -> Option<Ipv4Addr> {
        self.lease_from(&self.discover(client)?)
    }

    /// One client's DISCOVER and the OFFER.
    pub fn discover(&self, client: u32) -> Option<Message> {
        self.exchange(&message(client, MessageType::Discover), MessageType::Offer)
    }

    /// The REQUEST for an offer and the ACK's address.
    pub fn lease_from(&self, offer: &Message) -> Option<Ipv4Addr> {
        let Some(DhcpOption::ServerIdentifier(server)) = offer.opts().get(OptionCode::ServerIdentifier) else {
            panic!("an offer without a server identifier: {offer}");
        };
        let mut request = message(number(offer), MessageType::Request);
        request
            .opts_mut()
            .insert(DhcpOption::RequestedIpAddress(offer.yiaddr()));
        request.opts_mut().insert(DhcpOption::ServerIdentifier(*server));
        self.exchange(&request, MessageType::Ack).map(|ack| ack.yiaddr())
    }

    /// The DISCOVERs of so many clients in one breath, as a rack that powers on; `relay` has passed them on,
    /// where there is one. Nobody asks again.
    pub fn discover_together(&self, clients: std::ops::Range<u32>, relay: Option<Ipv4Addr>) {
        for client in clients {
            let mut message = message(client, MessageType::Discover);
            message.set_giaddr(relay.unwrap_or(Ipv4Addr::UNSPECIFIED));
            self.send(&message.to_vec().expect("a message of ours encodes"));
        }
    }

    /// The clients that hear an offer, as many as are waited for or come in time.
    pub fn offered(&self, count: usize) -> BTreeSet<u32> {
        let end = Instant::now() + self.patience;
        let mut offered = BTreeSet::new();
        while offered.len() < count && Instant::now() < end {
            let reply = self
                .hear()
                .filter(|reply| reply.opts().msg_type() == Some(MessageType::Offer));
            offered.extend(reply.map(|offer| number(&offer)));
        }
        offered
    }

    /// Says, as anybody may, that a client takes this address from that server.
    pub fn claims(&self, client: u32, [address, server]: [Ipv4Addr; 2]) {
        let mut request = message(client, MessageType::Request);
        request.opts_mut().insert(DhcpOption::RequestedIpAddress(address));
        request.opts_mut().insert(DhcpOption::ServerIdentifier(server));
        self.send(&request.to_vec().expect("a message of ours encodes"));
    }

    /// Sends what a client would, once.
    pub fn send(&self, bytes: &[u8]) {
        // An answer of "no route" or "no buffer" would be the lab's fault, not the daemon's.
        self.socket
            .send_to(bytes, (Ipv4Addr::BROADCAST, 67))
            .expect("a broadcast in our own namespace");
    }

    fn exchange(&self, message: &Message, wanted: MessageType) -> Option<Message> {
        let mut bytes = Vec::new();
        message
            .encode(&mut Encoder::new(&mut bytes))
            .expect("a message of ours encodes");
        let end = Instant::now() + self.patience;
        let mut ask_again = Instant::now();
        while Instant::now() < end {
            if Instant::now() >= ask_again {
                self.send(&bytes);
                ask_again += ASK_AGAIN;
            }
            // Asked first: what a server said before its death is heard.
            let is_dead = self.is_dead.load(Ordering::Acquire);
            let Some(reply) = self.hear() else {
                if is_dead {
                    return None;
                }
                continue;
            };
            if reply.xid() == message.xid() && reply.opts().msg_type() == Some(wanted) {
                return Some(reply);
            }
        }
        None
    }

    /// The next message that reaches the clients, if one comes in this turn.
    fn hear(&self) -> Option<Message> {
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        let bytes = match &self.ear {
            Ear::Datagrams => {
                let (length, _) = hear(&self.socket, &mut buffer)?;
                &buffer[..length]
            }
            Ear::Packets(socket) => {
                let length = (&*socket).read(&mut buffer).ok()?;
                to_a_client(&buffer[..length])?
            }
        };
        let reply = Message::decode(&mut Decoder::new(bytes)).ok()?;
        (reply.opcode() == Opcode::BootReply).then_some(reply)
    }
}

/// The datagram in an IPv4 packet that goes to a client's port, or to a relay's.
fn to_a_client(packet: &[u8]) -> Option<&[u8]> {
    let udp = packet.get(usize::from(packet.first()? & 0x0f) * 4..)?;
    let port = u16::from_be_bytes([*udp.get(2)?, *udp.get(3)?]);
    (packet.get(9) == Some(&17) && matches!(port, 67 | 68)).then(|| udp.get(8..))?
}

/// The client that a reply is for.
fn number(reply: &Message) -> u32 {
    u32::from_be_bytes(reply.chaddr()[2..6].try_into().expect("four bytes"))
}

/// Datagrams to the daemon at a steady rate, until it is dropped or its number is over.
pub struct Flood {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    /// To port 67; `packet` makes the datagram with that number.
    pub fn begin(from: &Namespace, (server, per_second, most): (&str, u32, u32), packet: fn(u32) -> Vec<u8>) -> Flood {
        let socket = from.enter(|| UdpSocket::bind("0.0.0.0:0").expect("a socket in our own namespace"));
        socket.connect((server, 67)).expect("there is a route");
        Flood::run((per_second, most), move |number| {
            // A full buffer of the flood's own is no concern of the test.
            let _ = socket.send(&packet(number));
        })
    }

    /// To port 69, in others' names; `packet` makes the source and the datagram with that number.
    pub fn forged(
        from: &Namespace,
        (server, per_second, most): (&str, u32, u32),
        packet: fn(u32) -> (SocketAddrV4, Vec<u8>),
    ) -> Flood {
        let server = SocketAddrV4::new(server.parse().expect("an address"), 69);
        // IPPROTO_RAW: the IP header is ours, but for its checksum.
        let raw = || Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255)));
        let socket = from.enter(raw).expect("root may forge in a namespace it made");
        Flood::run((per_second, most), move |number| {
            let (source, datagram) = packet(number);
            let _ = socket.send_to(&in_name_of(source, server, &datagram), &server.into());
        })
    }

    /// Waits until its number is over.
    pub fn finish(mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    fn run((per_second, most): (u32, u32), mut send: impl FnMut(u32) + Send + 'static) -> Flood {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let start = Instant::now();
            let mut sent = 0;
            while sent < most && !stopped.load(Ordering::Relaxed) {
                let due = (start.elapsed() * per_second).as_secs();
                while u64::from(sent) < due && sent < most {
                    send(sent);
                    sent += 1;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        Flood {
            stop,
            thread: Some(thread),
        }
    }
}

/// An IP packet with a datagram, without checksums: UDP may go without one.
fn in_name_of(source: SocketAddrV4, to: SocketAddrV4, datagram: &[u8]) -> Vec<u8> {
    let udp_bytes = u16::try_from(8 + datagram.len()).expect("a small datagram");
    let mut packet = vec![0x45, 0];
    packet.extend((20 + udp_bytes).to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    packet.extend(source.ip().octets());
    packet.extend(to.ip().octets());
    for number in [source.port(), to.port(), udp_bytes, 0] {
        packet.extend(number.to_be_bytes());
    }
    packet.extend_from_slice(datagram);
    packet
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What a running system's client sends; no boot fields are asked for.
fn message(client: u32, kind: MessageType) -> Message {
    let [a, b, c, d] = client.to_be_bytes();
    let mut message = Message::default();
    message
        .set_opcode(Opcode::BootRequest)
        .set_chaddr(&[0x02, 0xBB, a, b, c, d])
        .set_xid(0x4257_0000 ^ client ^ if kind == MessageType::Request { 1 << 31 } else { 0 })
        .set_flags(dhcproto::v4::Flags::default().set_broadcast());
    message.opts_mut().insert(DhcpOption::MessageType(kind));
    message.opts_mut().insert(DhcpOption::ParameterRequestList(vec![
        OptionCode::SubnetMask,
        OptionCode::Router,
        OptionCode::DomainNameServer,
    ]));
    message
}

/// Receives a datagram, until the socket's timeout. A machine that stops for a moment ends the wait early,
/// and so does the end of a program that another test runs: then it is waited for again.
pub fn hear(socket: &UdpSocket, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
    loop {
        match socket.recv_from(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            received => return received.ok(),
        }
    }
}

/// Sends datagrams to a UDP port of the daemon from the client namespace.
pub fn throw(client: &Namespace, port: u16, datagrams: &[Vec<u8>]) {
    let server = super::namespace::SERVER.parse().expect("an address");
    throw_at(client, server, port, datagrams);
}

/// The same where the daemon has another address.
pub fn throw_at(client: &Namespace, server: Ipv4Addr, port: u16, datagrams: &[Vec<u8>]) {
    client.enter(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket in our own namespace");
        for datagram in datagrams {
            // A closed port's ICMP answer shows up as an error here; the daemon's life is asked
            // about separately.
            let _ = socket.send_to(datagram, (server, port));
        }
    });
}
