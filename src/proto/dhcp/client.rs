//! The other side of the wire: what firmware, iPXE and systems ask, behind a relay or not, and what they read in an
//! answer. For the storm and for `boot::explain`, which play them; the servers have no use for it.
//!
//! The option lists are those of real packets: OVMF's own PXE stack and HTTP boot, the iPXE ROM of a NIC
//! (`tests/packets`), U-Boot and dhclient.

use super::wire::{self, END, FILE, HEADER_BYTES, MAGIC, OP_REPLY, OP_REQUEST};
use crate::model::{MacAddr, Uuid};
use std::{net::Ipv4Addr, time::Duration};

const ETHERNET: u8 = 1;
/// The flag that asks for a broadcast reply, which EDK2 always sets (RFC 2131 section 2).
const BROADCAST: [u8; 2] = [0x80, 0];
/// Option 57: what a frame holds.
const MESSAGE_BYTES_MAX: u16 = 1472;

/// Option 55 of EDK2.
const WANTED_BY_FIRMWARE: &[u8] = &[
    1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59, 60, 66, 67, 97, 128, 129,
    130, 131, 132, 133, 134, 135,
];
/// Option 55 of iPXE.
const WANTED_BY_IPXE: &[u8] = &[
    1, 3, 6, 7, 12, 15, 17, 26, 43, 60, 66, 67, 119, 128, 129, 130, 131, 132, 133, 134, 135, 175, 203,
];
/// Option 55 of U-Boot.
const WANTED_BY_U_BOOT: &[u8] = &[1, 3, 6, 12, 17, 66, 67];
/// Option 55 of udhcpc, which most installers and live systems have.
const WANTED_BY_SYSTEM: &[u8] = &[1, 3, 6, 12, 15, 28, 42];
/// Option 175 of an iPXE that fetches over HTTP (0x13) and boots what its platform boots: EFI
/// binaries (0x24) or a bzImage (0x18).
const FEATURES_EFI: &[u8] = &[0xeb, 3, 1, 0, 0, 0x17, 1, 1, 0x13, 1, 1, 0x24, 1, 1];
const FEATURES_BIOS: &[u8] = &[0xeb, 3, 1, 0, 0, 0x17, 1, 1, 0x13, 1, 1, 0x18, 1, 1];

/// Types of messages (option 53).
const DISCOVER: u8 = 1;
const REQUEST: u8 = 3;

/// What a circuit-id may have beside its head in option 82.
const CIRCUIT_ID_BYTES_MAX: usize = 253;

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    /// The machine's own PXE stack.
    Firmware,
    /// UEFI's HTTP boot.
    HttpFirmware,
    /// The iPXE that it loaded.
    Ipxe,
    /// An iPXE of which it is not known that it fetches by HTTP and boots what its platform boots.
    BareIpxe,
    /// U-Boot, which reads PXELINUX's configuration itself.
    UBoot,
    /// A running system or an installer.
    System,
}

/// A client's request, as it or its relay sends it.
#[derive(Clone, Copy, Debug)]
pub struct ClientMessage<'a> {
    /// Firmware, iPXE or a system.
    pub client: ClientKind,
    /// Option 93; a system sends none.
    pub arch: u16,
    /// The client.
    pub mac: MacAddr,
    /// The transaction.
    pub xid: u32,
    /// The relay, also known as `giaddr`: where the answer goes. `None` for a client on our own wire.
    pub relay: Option<Ipv4Addr>,
    /// The offer that a REQUEST takes; without one this is a DISCOVER.
    pub takes: Option<AcceptedOffer>,
    /// Option 97; `None` for one that is made of the MAC.
    pub uuid: Option<Uuid>,
    /// The circuit-id (option 82.1) that a relay or a switch adds, at most 253 bytes.
    pub circuit_id: Option<&'a [u8]>,
}

/// What a REQUEST names of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptedOffer {
    /// The address offered, option 50 of the REQUEST.
    pub address: Ipv4Addr,
    /// The server that offered, option 54 of the REQUEST.
    pub server: Ipv4Addr,
}

impl ClientMessage<'_> {
    /// The request's bytes.
    pub fn encode(&self) -> Vec<u8> {
        self.encode_as(if self.takes.is_some() { REQUEST } else { DISCOVER })
    }

    /// The REQUEST that UEFI's firmware sends to a boot server's port 4011, past any relay, from the address that it was
    /// given.
    pub fn encode_for_boot_server(&self, address: Ipv4Addr) -> Vec<u8> {
        let own = ClientMessage {
            takes: None,
            relay: None,
            circuit_id: None,
            ..*self
        };
        let mut bytes = own.encode_as(REQUEST);
        bytes[12..16].copy_from_slice(&address.octets());
        bytes
    }

    fn encode_as(&self, kind: u8) -> Vec<u8> {
        let mut bytes = self.header();
        let mut put = |code: u8, body: &[u8]| {
            let length = u8::try_from(body.len()).expect("the lists above are short");
            bytes.extend_from_slice(&[code, length]);
            bytes.extend_from_slice(body);
        };
        put(53, &[kind]);
        put(57, &MESSAGE_BYTES_MAX.to_be_bytes());
        if let Some(offer) = self.takes {
            put(50, &offer.address.octets());
            put(54, &offer.server.octets());
        }
        if self.client != ClientKind::System {
            put(93, &self.arch.to_be_bytes());
            put(94, &[1, 3, 16]);
            put(60, self.vendor_class().as_bytes());
            put(97, &self.machine_identifier());
        }
        match self.client {
            ClientKind::Firmware | ClientKind::HttpFirmware => put(55, WANTED_BY_FIRMWARE),
            ClientKind::UBoot => put(55, WANTED_BY_U_BOOT),
            ClientKind::System => put(55, WANTED_BY_SYSTEM),
            ClientKind::Ipxe | ClientKind::BareIpxe => {
                put(77, b"iPXE");
                put(55, WANTED_BY_IPXE);
                match (self.client, self.arch) {
                    (ClientKind::BareIpxe, _) => {}
                    (_, 0) => put(175, FEATURES_BIOS),
                    (_, _) => put(175, FEATURES_EFI),
                }
                let [a, b, c, d, e, f] = self.mac.0;
                put(61, &[ETHERNET, a, b, c, d, e, f]);
            }
        }
        if let Some(port) = self.circuit_id {
            // A relay's option is the last.
            let port = &port[..port.len().min(CIRCUIT_ID_BYTES_MAX)];
            let length = u8::try_from(port.len()).expect("it was cut to what an option holds");
            put(82, &[&[1, length], port].concat());
        }
        bytes.push(END);
        bytes
    }

    fn header(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        // One hop, where it came through a relay.
        bytes[..4].copy_from_slice(&[OP_REQUEST, ETHERNET, 6, u8::from(self.relay.is_some())]);
        bytes[4..8].copy_from_slice(&self.xid.to_be_bytes());
        bytes[10..12].copy_from_slice(&BROADCAST);
        bytes[24..28].copy_from_slice(&self.relay.unwrap_or(Ipv4Addr::UNSPECIFIED).octets());
        bytes[28..34].copy_from_slice(&self.mac.0);
        bytes[236..].copy_from_slice(&MAGIC);
        bytes
    }

    fn vendor_class(&self) -> String {
        let class = match self.client {
            ClientKind::HttpFirmware => "HTTPClient",
            ClientKind::UBoot => return "U-Boot".into(),
            ClientKind::Firmware | ClientKind::Ipxe | ClientKind::BareIpxe | ClientKind::System => "PXEClient",
        };
        format!("{class}:Arch:{:05}:UNDI:003016", self.arch)
    }

    /// Option 97: type 0 and a UUID, the machine's own where none is given.
    fn machine_identifier(&self) -> [u8; 17] {
        let mut body = [0; 17];
        match self.uuid {
            Some(uuid) => body[1..].copy_from_slice(&uuid.option_97()),
            None => {
                body[1] = 0xb0;
                body[11..].copy_from_slice(&self.mac.0);
            }
        }
        body
    }
}

/// What an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerReplyKind {
    /// DHCPOFFER.
    Offer,
    /// DHCPACK.
    Ack,
    /// DHCPNAK.
    Nak,
}

/// A server's answer, as far as firmware and iPXE look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerReply {
    /// Offer, ACK or NAK.
    pub kind: ServerReplyKind,
    /// The transaction.
    pub xid: u32,
    /// The client, also known as `chaddr`.
    pub mac: MacAddr,
    /// The address given, also known as `yiaddr`.
    pub address: Ipv4Addr,
    /// The TFTP server, also known as `siaddr`; 0.0.0.0 where none is named.
    pub next_server: Ipv4Addr,
    /// Option 54, without which EDK2 takes no offer.
    pub server: Ipv4Addr,
    /// Option 67, else `file`, up to its NUL; raw.
    pub boot_file: Option<Vec<u8>>,
    /// Option 51: how long the address is the client's; zero where the option is absent.
    pub lease: Duration,
}

/// Reads an answer; `None` for what no client takes for one.
pub fn parse_reply(bytes: &[u8]) -> Option<ServerReply> {
    let fixed: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
    if fixed[0] != OP_REPLY || fixed[236..] != MAGIC {
        return None;
    }
    let options = wire::options(bytes);
    let body = |code: u8| options.get(&code).map(Vec::as_slice);
    let kind = match body(53)? {
        [2] => ServerReplyKind::Offer,
        [5] => ServerReplyKind::Ack,
        [6] => ServerReplyKind::Nak,
        _ => return None,
    };
    let quad = |at: usize| [fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]];
    let file = match body(52) {
        // The field holds options and no name (RFC 2131 section 4.1).
        Some([overload]) if overload & 1 != 0 => None,
        _ => Some(&fixed[FILE]),
    };
    Some(ServerReply {
        kind,
        xid: u32::from_be_bytes(quad(4)),
        mac: MacAddr([fixed[28], fixed[29], fixed[30], fixed[31], fixed[32], fixed[33]]),
        address: Ipv4Addr::from(quad(16)),
        next_server: Ipv4Addr::from(quad(20)),
        server: <[u8; 4]>::try_from(body(54)?).ok()?.into(),
        boot_file: [body(67), file].into_iter().flatten().find_map(name),
        lease: body(51)
            .and_then(|body| body.try_into().ok())
            .map_or(Duration::ZERO, |seconds| {
                Duration::from_secs(u32::from_be_bytes(seconds).into())
            }),
    })
}

/// A name up to its NUL, where it has one.
fn name(field: &[u8]) -> Option<Vec<u8>> {
    let name = field.split(|byte| *byte == 0).next()?;
    (!name.is_empty()).then(|| name.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::dhcp::{Reply, ReplyKind, ReplyOption, RequestKind, parse};

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 1, 7]);
    const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    fn message(client: ClientKind) -> ClientMessage<'static> {
        ClientMessage {
            client,
            arch: 7,
            mac: MAC,
            xid: 0xb007,
            relay: Some(Ipv4Addr::new(198, 51, 100, 1)),
            takes: None,
            uuid: None,
            circuit_id: None,
        }
    }

    #[test]
    fn our_own_server_reads_firmware_and_ipxe_for_what_they_play() {
        let firmware = parse(&message(ClientKind::Firmware).encode()).unwrap();
        assert_eq!(firmware.kind, RequestKind::Discover);
        assert_eq!(firmware.relay, Some(Ipv4Addr::new(198, 51, 100, 1)));
        assert_eq!(firmware.hardware.mac(), Some(MAC));
        assert_eq!(firmware.archs, [7]);
        assert!(firmware.user_classes.is_empty() && firmware.uuid.is_some());
        let system = parse(&message(ClientKind::System).encode()).unwrap();
        assert!(system.archs.is_empty() && system.uuid.is_none() && system.user_classes.is_empty());
        let ipxe = parse(&message(ClientKind::Ipxe).encode()).unwrap();
        assert!(ipxe.has_user_class(b"iPXE"));
        assert!(ipxe.ipxe.unwrap().http && ipxe.ipxe.unwrap().efi);
    }

    #[test]
    fn a_request_names_the_offer_it_takes() {
        let mut message = message(ClientKind::Firmware);
        message.takes = Some(AcceptedOffer {
            address: Ipv4Addr::new(198, 51, 100, 100),
            server: SERVER,
        });
        let request = parse(&message.encode()).unwrap();
        assert_eq!(request.kind, RequestKind::Request);
        assert_eq!(request.requested_address, Some(Ipv4Addr::new(198, 51, 100, 100)));
        assert_eq!(request.server_identifier, Some(SERVER));
    }

    #[test]
    fn an_answer_of_our_own_server_is_read_back() {
        let request = parse(&message(ClientKind::Firmware).encode()).unwrap();
        let mut reply = Reply::to(&request, ReplyKind::Offer, SERVER);
        reply.your_address = Ipv4Addr::new(198, 51, 100, 100);
        reply.next_server = SERVER;
        reply.options = vec![ReplyOption::LeaseTime(Duration::from_secs(3600))];
        reply.boot_file = Some("snponly.efi".to_owned());
        let answer = parse_reply(&reply.encode()).unwrap();
        let expected = ServerReply {
            kind: ServerReplyKind::Offer,
            xid: 0xb007,
            mac: MAC,
            address: Ipv4Addr::new(198, 51, 100, 100),
            next_server: SERVER,
            server: SERVER,
            boot_file: Some(b"snponly.efi".to_vec()),
            lease: Duration::from_secs(3600),
        };
        assert_eq!(answer, expected);
    }

    #[test]
    fn no_prefix_of_an_answer_panics_and_one_without_its_server_is_none() {
        let request = parse(&message(ClientKind::Ipxe).encode()).unwrap();
        let bytes = Reply::to(&request, ReplyKind::Ack, SERVER).encode();
        for length in 0..=bytes.len() {
            let _ = parse_reply(&bytes[..length]);
        }
        let mut anonymous = bytes;
        let at = HEADER_BYTES + 3;
        assert_eq!(anonymous[at], 54);
        anonymous[at] = 224;
        assert_eq!(parse_reply(&anonymous), None);
    }
}
