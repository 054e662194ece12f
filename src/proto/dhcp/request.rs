//! A request as it was understood: every field typed, every field that is missing or bad absent.

use super::{IpxeFeatures, MalformedRequest, RelayAgent, wire};
use crate::model::{Arch, HardwareAddr, Uuid, text};
use dhcproto::v4::{DhcpOption, MessageType};
use std::net::Ipv4Addr;

/// What a client wants: option 53 of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// No option 53: plain BOOTP (RFC 951).
    Bootp,
    /// DHCPDISCOVER.
    Discover,
    /// DHCPREQUEST.
    Request,
    /// DHCPDECLINE.
    Decline,
    /// DHCPRELEASE.
    Release,
    /// DHCPINFORM.
    Inform,
    /// A type that no client of ours sends, a server's among them.
    Other(u8),
}

/// A request as it was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it wants.
    pub kind: RequestKind,
    /// The transaction, to be echoed.
    pub xid: u32,
    /// The flags, to be echoed.
    pub flags: u16,
    /// The client's own address where it has one, also known as `ciaddr`.
    pub client_address: Option<Ipv4Addr>,
    /// The relay, also known as `giaddr`.
    pub relay: Option<Ipv4Addr>,
    /// `htype`, `hlen` and `chaddr`, to be echoed.
    pub chaddr: HardwareAddr,
    /// What the client is known by: the same, or what its client identifier tells of one that sends no
    /// address (RFC 4390).
    pub hardware: HardwareAddr,
    /// Option 50.
    pub requested_address: Option<Ipv4Addr>,
    /// Option 54.
    pub server_identifier: Option<Ipv4Addr>,
    /// Option 61 with its type byte, to be echoed. No key where there is an address, because it changes
    /// between firmware, iPXE and system.
    pub client_identifier: Option<Vec<u8>>,
    /// Option 60.
    pub vendor_class: Option<Vec<u8>>,
    /// Option 77: one class per entry, whether sent raw or as RFC 3004 asks.
    pub user_classes: Vec<Vec<u8>>,
    /// Option 93: every value, in the client's order.
    pub archs: Vec<u16>,
    /// Option 97 as it came, to be echoed.
    pub machine_identifier: Option<Vec<u8>>,
    /// The UUID in option 97.
    pub uuid: Option<Uuid>,
    /// Option 175.
    pub ipxe: Option<IpxeFeatures>,
    /// Option 55; `None` where the client says nothing of what it wants.
    pub wanted_options: Option<Vec<u8>>,
    /// Option 57, in bytes.
    pub message_bytes_max: Option<u16>,
    /// Option 12 as it came.
    pub host_name: Option<Vec<u8>>,
    /// Option 81 (RFC 4702).
    pub client_name: Option<ClientName>,
    /// Option 82.
    pub relay_agent: Option<RelayAgent>,
    /// Option 118 (RFC 3011).
    pub subnet_selection: Option<Ipv4Addr>,
    /// Sub-option 71 of option 43: the boot item a PXE client picked, to be echoed on port 4011.
    pub boot_item: Option<Vec<u8>>,
}

/// A client's own fully qualified name: option 81 (RFC 4702).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientName {
    /// N, E, O and S, in the low four bits.
    pub flags: u8,
    /// The name as it came: labels where [`ClientName::is_encoded`], else ASCII.
    pub name: Vec<u8>,
}

impl ClientName {
    /// S: the client wants the server to update DNS.
    pub const SERVER_UPDATES: u8 = 1;
    /// O: the server did otherwise than the client wanted.
    pub const OVERRIDDEN: u8 = 2;
    /// E: names are labels behind their lengths.
    pub const ENCODED: u8 = 4;
    /// N: the server updates no DNS at all.
    pub const NO_UPDATES: u8 = 8;

    /// Whether names are labels behind their lengths (RFC 1035), and not the old ASCII.
    pub fn is_encoded(&self) -> bool {
        self.flags & ClientName::ENCODED != 0
    }

    /// The name where it is a part of one: labels without the root behind them (RFC 4702 section 2.3.1), or a
    /// single word in ASCII. `None` for a whole name, and for what is none.
    pub fn partial(&self) -> Option<String> {
        let name = match self.is_encoded() {
            true => rootless_labels(&self.name)?,
            false => String::from_utf8(self.name.clone()).ok()?,
        };
        let is_whole = !self.is_encoded() && name.contains('.');
        (!is_whole && text::is_domain_name(&name)).then_some(name)
    }

    /// Flags, two bytes of result codes that mean nothing any more, and the name.
    fn read(body: &[u8]) -> Option<ClientName> {
        let [flags, _, _, name @ ..] = body else { return None };
        Some(ClientName {
            flags: *flags & 0x0f,
            name: name.to_vec(),
        })
    }
}

/// Labels behind their lengths with a dot between them; `None` where the root is the last.
fn rootless_labels(mut encoded: &[u8]) -> Option<String> {
    let mut labels = Vec::new();
    while let Some((length, rest)) = encoded.split_first() {
        let (label, rest) = rest.split_at_checked(usize::from(*length))?;
        if label.is_empty() {
            return None;
        }
        labels.push(str::from_utf8(label).ok()?);
        encoded = rest;
    }
    Some(labels.join("."))
}

/// The flag that asks for a broadcast reply (RFC 2131 section 2).
const BROADCAST: u16 = 0x8000;
/// Sub-option 71 of option 43 (PXE 2.1, boot item).
const PXE_BOOT_ITEM: u8 = 71;

impl Request {
    /// Whether the client can take nothing but a broadcast.
    pub fn wants_broadcast(&self) -> bool {
        self.flags & BROADCAST != 0
    }

    /// The first architecture in option 93 that we know.
    pub fn arch(&self) -> Option<Arch> {
        self.archs.iter().find_map(|value| Arch::from_option_93(*value))
    }

    /// Whether one of the user classes (option 77) is `class`.
    pub fn has_user_class(&self, class: &[u8]) -> bool {
        self.user_classes.iter().any(|user_class| user_class == class)
    }

    /// Whether the client asked for an option; one that brings no list gets everything.
    pub fn wants(&self, code: u8) -> bool {
        self.wanted_options.as_ref().is_none_or(|codes| codes.contains(&code))
    }
}

/// Reads a request: whatever can be understood is kept, whatever is bad is left out.
pub fn parse(bytes: &[u8]) -> Result<Request, MalformedRequest> {
    let header = wire::header(bytes)?;
    let options = ParsedOptions(wire::options(bytes));
    let chaddr = HardwareAddr::from_wire(header.htype, header.hlen, header.chaddr);
    let client_identifier = options.bytes(61);
    Ok(Request {
        kind: options.kind(),
        xid: header.xid,
        flags: header.flags,
        client_address: specified(header.ciaddr),
        relay: specified(header.giaddr),
        chaddr,
        hardware: match &client_identifier {
            Some(identifier) if chaddr.as_bytes().is_empty() => HardwareAddr::of_client_identifier(identifier),
            Some(_) | None => chaddr,
        },
        requested_address: options.address(50),
        server_identifier: options.address(54),
        client_identifier,
        vendor_class: options.bytes(60),
        user_classes: options.bytes(77).map(user_classes).unwrap_or_default(),
        archs: options.bytes(93).map(archs).unwrap_or_default(),
        uuid: options.bytes(97).and_then(|body| Uuid::from_option_97(&body)),
        machine_identifier: options.bytes(97),
        ipxe: options.bytes(175).map(|body| IpxeFeatures::read(&body)),
        wanted_options: options.bytes(55),
        message_bytes_max: options.message_bytes_max(),
        host_name: options.bytes(12),
        client_name: options.bytes(81).and_then(|body| ClientName::read(&body)),
        relay_agent: options.bytes(82).map(|body| RelayAgent::read(&body)),
        subnet_selection: options.address(118),
        boot_item: options.boot_item(),
    })
}

/// The options of one request, by what they mean.
struct ParsedOptions(wire::OptionMap);

impl ParsedOptions {
    /// A body that is not empty.
    fn bytes(&self, code: u8) -> Option<Vec<u8>> {
        self.0.get(&code).filter(|body| !body.is_empty()).cloned()
    }

    /// dhcproto's meaning of a body of exactly `length` bytes.
    fn sized(&self, code: u8, length: usize) -> Option<DhcpOption> {
        let body = self.0.get(&code).filter(|body| body.len() == length)?;
        wire::meaning(code, body)
    }

    fn address(&self, code: u8) -> Option<Ipv4Addr> {
        match self.sized(code, 4)? {
            DhcpOption::RequestedIpAddress(address)
            | DhcpOption::ServerIdentifier(address)
            | DhcpOption::SubnetSelection(address) => specified(address),
            _ => None,
        }
    }

    fn kind(&self) -> RequestKind {
        match self.sized(53, 1) {
            None => RequestKind::Bootp,
            Some(DhcpOption::MessageType(kind)) => match kind {
                MessageType::Discover => RequestKind::Discover,
                MessageType::Request => RequestKind::Request,
                MessageType::Decline => RequestKind::Decline,
                MessageType::Release => RequestKind::Release,
                MessageType::Inform => RequestKind::Inform,
                other => RequestKind::Other(other.into()),
            },
            Some(_) => RequestKind::Bootp,
        }
    }

    fn message_bytes_max(&self) -> Option<u16> {
        match self.sized(57, 2)? {
            DhcpOption::MaxMessageSize(bytes) => Some(bytes),
            _ => None,
        }
    }

    fn boot_item(&self) -> Option<Vec<u8>> {
        let body = self.0.get(&43)?;
        let mut field = body.as_slice();
        while let Some((code, value, rest)) = wire::next(field) {
            if code == PXE_BOOT_ITEM {
                return Some(value.to_vec());
            }
            field = rest;
        }
        None
    }
}

fn specified(address: Ipv4Addr) -> Option<Ipv4Addr> {
    (!address.is_unspecified()).then_some(address)
}

/// Option 77. RFC 3004 wants every class behind its length; iPXE and many others send one class
/// raw. A body that divides into lengths exactly is read as the RFC says, and every other as it is.
fn user_classes(body: Vec<u8>) -> Vec<Vec<u8>> {
    let mut classes = Vec::new();
    let mut rest = body.as_slice();
    while let [length, tail @ ..] = rest {
        match tail.split_at_checked(usize::from(*length)) {
            Some((class, after)) if !class.is_empty() => {
                classes.push(class.to_vec());
                rest = after;
            }
            Some(_) | None => return vec![body],
        }
    }
    classes
}

/// Option 93; an odd byte at the end is dropped.
fn archs(body: Vec<u8>) -> Vec<u16> {
    body.chunks_exact(2)
        .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_class_is_read_raw_and_behind_its_length() {
        assert_eq!(user_classes(b"iPXE".to_vec()), [b"iPXE".to_vec()]);
        assert_eq!(user_classes(b"\x04iPXE".to_vec()), [b"iPXE".to_vec()]);
        assert_eq!(
            user_classes(b"\x04iPXE\x03lab".to_vec()),
            [b"iPXE".to_vec(), b"lab".to_vec()]
        );
        assert_eq!(user_classes(b"\x00".to_vec()), [b"\x00".to_vec()]);
    }

    #[test]
    fn the_first_architecture_that_we_know_counts() {
        assert_eq!(archs(vec![0x12, 0x67, 0, 7, 0]), [0x1267, 7]);
    }
}
