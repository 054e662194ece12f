//! What goes over a namespace's `eth0`, frame by frame: who sent it to whom, and the DHCP inside.
//!
//! A client's own socket shows what its kernel lets through; this shows the wire, its own requests
//! among it. Built on dhcproto, like `wire`, and not on the daemon's own code.

use super::namespace::Namespace;
use dhcproto::v4::{DhcpOption, Message, MessageType, Opcode, OptionCode};
use dhcproto::{Decodable, Decoder};
use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    cell::RefCell,
    io::Read,
    net::{Ipv4Addr, SocketAddrV4},
};

/// The link-layer address that everybody takes.
pub const EVERYBODY: [u8; 6] = [0xff; 6];
/// Every protocol, outgoing frames too: `ETH_P_ALL`.
const EVERYTHING: u16 = 3;
/// The longest frame of a virtual wire, on which nothing cuts up what a device could.
const FRAME_BYTES_MAX: usize = 65_536 + 14;
/// Frames of a crowd wait there until they are looked at.
const RECEIVE_BUFFER_BYTES: usize = 8 * 1024 * 1024;
const IPV4: [u8; 2] = [0x08, 0x00];
const ARP: [u8; 2] = [0x08, 0x06];

/// One frame.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The link-layer address that it is for.
    pub to: [u8; 6],
    /// What it carries, as far as the tests look.
    pub content: Content,
}

/// What a frame carries.
#[derive(Clone, Debug)]
pub enum Content {
    /// An ARP question after who has that address.
    ClientMessage(Ipv4Addr),
    /// DHCP, from one address and port to another.
    Dhcp {
        source: SocketAddrV4,
        destination: SocketAddrV4,
        /// Bytes of the datagram; who reads packets finds one message in it, however many they are.
        bytes: usize,
        message: Message,
    },
}

/// Which of a client's states it sends from: RFC 2131 section 4.3.2 tells them by their fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    Discover,
    Selecting,
    Rebooting,
    Renewing,
    Rebinding,
    Release,
    Decline,
    Other,
}

impl Frame {
    fn parse(bytes: &[u8]) -> Option<Frame> {
        let (header, body) = bytes.split_at_checked(14)?;
        let to = header[..6].try_into().ok()?;
        let content = match [header[12], header[13]] {
            ARP if body.get(6..8)? == [0, 1] => Content::ClientMessage(address(body, 24)?),
            IPV4 if *body.get(9)? == 17 => dhcp(body)?,
            _ => return None,
        };
        Some(Frame { to, content })
    }

    /// The DHCP message in it.
    pub fn message(&self) -> Option<&Message> {
        match &self.content {
            Content::Dhcp { message, .. } => Some(message),
            Content::ClientMessage(_) => None,
        }
    }

    /// Bytes of the DHCP datagram in it.
    pub fn dhcp_bytes(&self) -> Option<usize> {
        match &self.content {
            Content::Dhcp { bytes, .. } => Some(*bytes),
            Content::ClientMessage(_) => None,
        }
    }

    /// Where its datagram comes from and goes to.
    pub fn ends(&self) -> Option<(SocketAddrV4, SocketAddrV4)> {
        match &self.content {
            Content::Dhcp {
                source, destination, ..
            } => Some((*source, *destination)),
            Content::ClientMessage(_) => None,
        }
    }

    /// Whether it is a server's answer of that kind to the client with that hardware address.
    pub fn answers(&self, mac: [u8; 6], kind: MessageType) -> bool {
        let answers = |message: &Message| {
            message.opcode() == Opcode::BootReply
                && message.chaddr().starts_with(&mac)
                && message.opts().msg_type() == Some(kind)
        };
        self.message().is_some_and(answers)
    }

    /// What the client with that hardware address says in it.
    pub fn sent_by(&self, mac: [u8; 6]) -> Option<Sent> {
        let (message, (_, destination)) = (self.message()?, self.ends()?);
        if message.opcode() != Opcode::BootRequest || !message.chaddr().starts_with(&mac) {
            return None;
        }
        let options = message.opts();
        let names_server = options.get(OptionCode::ServerIdentifier).is_some();
        let names_address = options.get(OptionCode::RequestedIpAddress).is_some();
        let is_broadcast = destination.ip().is_broadcast();
        Some(match options.msg_type() {
            Some(MessageType::Discover) => Sent::Discover,
            Some(MessageType::Release) => Sent::Release,
            Some(MessageType::Decline) => Sent::Decline,
            Some(MessageType::Request) if names_server => Sent::Selecting,
            Some(MessageType::Request) if names_address && message.ciaddr().is_unspecified() => Sent::Rebooting,
            Some(MessageType::Request) if is_broadcast => Sent::Rebinding,
            Some(MessageType::Request) => Sent::Renewing,
            Some(_) | None => Sent::Other,
        })
    }
}

fn address(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    let four: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(four.into())
}

fn dhcp(packet: &[u8]) -> Option<Content> {
    let (source, destination) = (address(packet, 12)?, address(packet, 16)?);
    let udp = packet.get(usize::from(packet[0] & 0x0f) * 4..)?;
    let port = |at: usize| Some(u16::from_be_bytes([*udp.get(at)?, *udp.get(at + 1)?]));
    Some(Content::Dhcp {
        source: SocketAddrV4::new(source, port(0)?),
        destination: SocketAddrV4::new(destination, port(2)?),
        bytes: udp.len() - 8,
        message: Message::decode(&mut Decoder::new(udp.get(8..)?)).ok()?,
    })
}

/// Sees every frame of a namespace from now on.
pub struct Watch {
    socket: Socket,
    seen: RefCell<Vec<Frame>>,
}

impl Watch {
    pub fn new(namespace: &Namespace) -> Watch {
        let socket = namespace.enter(|| {
            let protocol = Protocol::from(i32::from(EVERYTHING.to_be()));
            let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?;
            socket.set_nonblocking(true)?;
            setsockopt(&socket, RcvBufForce, &RECEIVE_BUFFER_BYTES)?;
            std::io::Result::Ok(socket)
        });
        Watch {
            socket: socket.expect("root may watch a namespace it made"),
            seen: RefCell::default(),
        }
    }

    /// Every frame so far that the tests look at.
    pub fn frames(&self) -> Vec<Frame> {
        let mut buffer = [0; FRAME_BYTES_MAX];
        let mut seen = self.seen.borrow_mut();
        while let Ok(length) = (&self.socket).read(&mut buffer) {
            seen.extend(Frame::parse(&buffer[..length]));
        }
        seen.clone()
    }

    /// Waits for a frame; panics with all of them when it does not come.
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Frame) -> bool) -> Frame {
        super::poll(super::SOON, || self.frames().into_iter().find(|frame| wanted(frame)))
            .unwrap_or_else(|| panic!("no frame: {what}\n{}", self.text()))
    }

    /// Waits for the server's answer of that kind to that client.
    pub fn answer(&self, mac: [u8; 6], kind: MessageType) -> Frame {
        let what = format!("{kind:?}");
        self.wait_for(&what, |frame| frame.answers(mac, kind))
    }

    /// Every frame in a line, for a failure's report.
    pub fn text(&self) -> String {
        let line = |frame: &Frame| match &frame.content {
            Content::ClientMessage(address) => format!("{:02x?} who has {address}", frame.to),
            Content::Dhcp {
                source,
                destination,
                message,
                ..
            } => format!(
                "{:02x?} {source} > {destination} {:?} ciaddr {} yiaddr {}",
                frame.to,
                message.opts().msg_type(),
                message.ciaddr(),
                message.yiaddr()
            ),
        };
        self.frames().iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// The body of an option, as its bytes.
pub fn option(message: &Message, code: u8) -> Option<Vec<u8>> {
    use dhcproto::{Encodable, Encoder};
    let option: &DhcpOption = message.opts().get(OptionCode::from(code))?;
    let mut bytes = Vec::new();
    option.encode(&mut Encoder::new(&mut bytes)).ok()?;
    bytes.get(2..).map(<[u8]>::to_vec)
}
