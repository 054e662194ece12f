//! DHCP clients by the dozen over one socket: each has its own MAC, so the server sees a rack.
//!
//! Built on dhcproto and not on the daemon's own wire code, so that both can't be wrong alike.

use super::namespace::Namespace;
use dhcproto::v4::{DhcpOption, Message, MessageType, Opcode, OptionCode};
use dhcproto::{Decodable, Decoder, Encodable, Encoder};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket},
    time::{Duration, Instant},
};

/// How long a client waits before it asks again: datagrams get lost where buffers are full.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The clients' shared socket.
pub struct Rack {
    socket: UdpSocket,
    patience: Duration,
}

impl Rack {
    /// A socket on port 68 of the client namespace, which must have an address of its own: Linux
    /// drops broadcasts that come to an interface without one.
    pub fn new(client: &Namespace) -> Rack {
        let socket = client.enter(|| {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
            socket.bind_device(Some(b"eth0"))?;
            socket.set_broadcast(true)?;
            socket.set_read_timeout(Some(Duration::from_millis(200)))?;
            socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68).into())?;
            std::io::Result::Ok(socket)
        });
        Rack {
            socket: socket.expect("a socket in our own namespace").into(),
            patience: super::SOON,
        }
    }

    /// The same with clients that give up soon: for a server that is about to die.
    pub fn impatient(self) -> Rack {
        self.socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .expect("a timeout that is not zero");
        self.with_patience(Duration::from_millis(300))
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
        let client = u32::from_be_bytes(offer.chaddr()[2..6].try_into().expect("four bytes"));
        let mut request = message(client, MessageType::Request);
        request
            .opts_mut()
            .insert(DhcpOption::RequestedIpAddress(offer.yiaddr()));
        request.opts_mut().insert(DhcpOption::ServerIdentifier(*server));
        self.exchange(&request, MessageType::Ack).map(|ack| ack.yiaddr())
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
        let mut buffer = [0; 2048];
        while Instant::now() < end {
            if Instant::now() >= ask_again {
                self.send(&bytes);
                ask_again += ASK_AGAIN;
            }
            let Some((length, _)) = hear(&self.socket, &mut buffer) else {
                continue;
            };
            let Ok(reply) = Message::decode(&mut Decoder::new(&buffer[..length])) else {
                continue;
            };
            if reply.xid() == message.xid() && reply.opts().msg_type() == Some(wanted) {
                return Some(reply);
            }
        }
        None
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

/// Sends one datagram to a UDP port of the daemon from the client namespace.
pub fn throw(client: &Namespace, port: u16, datagrams: &[Vec<u8>]) {
    client.enter(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket in our own namespace");
        for datagram in datagrams {
            // A closed port's ICMP answer shows up as an error here; the daemon's life is asked
            // about separately.
            let _ = socket.send_to(datagram, (super::namespace::SERVER, port));
        }
    });
}
